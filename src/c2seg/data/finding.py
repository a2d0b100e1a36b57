"""Published data under a folder, at any depth: cities of both releases, archives that are not unpacked, broken downloads.

Cities are recognized by their contents: sizes and numbers of tiles, sizes of scenes, else by the names of the releases
(``C2Seg_AB/train``, ``berlin_multimodal.mat``). Simulated pairs are recognized by their ``pair.yaml``. Nothing is renamed,
copied or unpacked.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from c2seg.data.city import City
from c2seg.data.identity import Identity, identify
from c2seg.data.label_map import contradicted_label_map, states_label_map
from c2seg.data.layouts import Layout, add_labels, folder, layout_of, mat, tiles
from c2seg.data.published import ARCHIVES, CITIES, DATASETS, RELEASE_FILES, RELEASE_PAGE
from c2seg.errors import C2SegError, DataError
from c2seg.progress import Progress, no_progress
from c2seg.raster.downloads import UNFINISHED, archive_problem

__all__ = ["DataCity", "PublishedData", "find_data"]

_MOST_FOLDERS = 20_000
_DEEPEST = 10
_RESULTS = ("record.json", "benchmark.json", "model.safetensors")
"""Files of folders that hold results, which are not looked into."""

Role = Literal["source", "target"]


@dataclass(frozen=True)
class DataCity:
    """A city under the folder. ``dataset`` is ``C2Seg-AB`` or ``C2Seg-BW``; ``problems`` say why it cannot be used."""

    name: str
    dataset: str
    role: Role
    layout: str
    path: Path
    labeled: bool
    size: tuple[int, int] | None
    """Rows and columns; None where it cannot be opened."""
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    simulated: bool = False

    @property
    def usable(self) -> bool:
        """True if it can be trained on (a source needs labels) or predicted."""
        return not self.problems and (self.labeled or self.role == "target")


@dataclass(frozen=True)
class PublishedData:
    """What a folder holds. ``archives`` are whole and not unpacked; ``broken`` says what is wrong with files, one line each."""

    root: Path
    cities: tuple[DataCity, ...]
    archives: tuple[Path, ...] = ()
    broken: tuple[str, ...] = ()
    others: tuple[Path, ...] = ()
    """Cities that are none of C2Seg."""

    @cached_property
    def missing(self) -> tuple[str, ...]:
        """What a table needs and the folder lacks, with where it comes from, a line each."""
        lines = []
        for name, city in CITIES.items():
            role = "source" if city.split == "train" else "target"
            here = [c for c in self.cities if (c.dataset, c.role) == (city.dataset, role)]
            usable = [c for c in here if c.usable]
            files = " and ".join(RELEASE_FILES[name])
            archive = next(file for file in ARCHIVES if city.dataset[-2:] in file)
            if not usable:
                packed = [path for path in self.archives if path.name == archive]
                how = (
                    f"unpack {packed[0]}"
                    if packed
                    else f"{archive} (tiles) or {files} (whole scene) from {RELEASE_PAGE}"
                )
                lines.append(f"{city.dataset}: {role} {name}: {how}")
            elif role == "target" and not any(c.labeled for c in usable):
                lines.append(
                    f"{city.dataset}: labels of {name}, without which nothing is scored: {files} from {RELEASE_PAGE}"
                )
        return tuple(lines)

    @property
    def problems(self) -> tuple[str, ...]:
        """What is wrong with what is there."""
        return (*self.broken, *(f"{c.name}: {text}" for c in self.cities for text in c.problems))


def find_data(root: Path, *, thorough: bool = False, progress: Progress = no_progress) -> PublishedData:
    """Look for published data under a folder, and open what is there; labels are opened, too.

    ``thorough`` also reads every tile's header and label. Links to folders are followed once. Raises DataError if ``root`` is
    no folder, or has more folders than can be looked through.
    """
    if not root.is_dir():
        raise DataError(f"{root} is not a folder; give the folder that holds the unpacked releases")
    cities, archives, broken, others = [], [], [], []
    for number, place in enumerate(_places(root)):
        progress(0, 1, place.name)
        if place.suffix.lower() in (".zip", *UNFINISHED):
            problem = archive_problem(place)
            broken += [problem] if problem else []
            archives += [] if problem else [place]
            continue
        if _is_label(place):
            broken.append(f"{place} lies alone: {_images_of(place).name} is missing; download it from {RELEASE_PAGE}")
            continue
        city = _open(place, thorough=thorough, progress=progress)
        if city is None:
            others.append(place)
        else:
            cities.append(city)
        progress(number + 1, number + 2, place.name)
    if cities or archives or broken or others:
        progress(1, 1, "")
    return PublishedData(root, tuple(cities), tuple(archives), tuple(dict.fromkeys(broken)), tuple(others))


def _places(root: Path) -> Iterator[Path]:
    """Yield cities, archives and unfinished downloads, in the order of their paths; folders inside a city are skipped."""
    visited: set[Path] = set()
    for count, (current, folders, files) in enumerate(os.walk(root, followlinks=True)):
        place = Path(current)
        if count == _MOST_FOLDERS:
            raise DataError(f"{root} has more than {_MOST_FOLDERS:,} folders; give the one that holds the releases")
        if place.resolve() in visited or any(name in files for name in _RESULTS):
            folders.clear()
            continue
        visited.add(place.resolve())
        yield from (place / name for name in sorted(files) if _is_download(place / name))
        if tiles.recognize(place) or folder.recognize(place):
            yield from _inner_archives(place)
            folders.clear()
            yield place
            continue
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        if len(place.relative_to(root).parts) >= _DEEPEST:
            folders.clear()
        scenes = [place / name for name in sorted(files) if mat.recognize(place / name)]
        yield from (file for file in scenes if not _is_label(file) or not _images_of(file).is_file())


def _is_download(path: Path) -> bool:
    """Return whether a file is an archive of the releases, or an unfinished download."""
    suffix = path.suffix.lower()
    return suffix in UNFINISHED or (suffix == ".zip" and (path.name in ARCHIVES or _named_after_city(path)))


def _named_after_city(path: Path) -> bool:
    """Return whether the name of a file is that of a release, a city, a modality or a split."""
    words = [*CITIES, "c2seg", *DATASETS, "msi", "sar", "hsi", "label", "train", "test"]
    return any(word.lower() in path.stem.lower() for word in words)


def _is_label(path: Path) -> bool:
    """Return whether a file is the label of a scene of the full-scene release."""
    return path.suffix.lower() == ".mat" and path.stem.lower().endswith("_label")


def _images_of(label: Path) -> Path:
    return label.with_name(f"{label.stem[: -len('_label')]}{label.suffix}")


def _inner_archives(split: Path) -> Iterator[Path]:
    """Yield archives inside the modality folders of a split: that of BW holds some."""
    for name in (*tiles.MODALITIES, "label"):
        inside = split / name
        if inside.is_dir():
            yield from sorted(file for file in inside.glob("*.*") if file.suffix.lower() in (".zip", *UNFINISHED))


def _open(path: Path, *, thorough: bool, progress: Progress) -> DataCity | None:
    """Open a city; None if it is none of C2Seg, nor simulated."""
    layout = layout_of(path)
    try:
        city, problems = layout.images(path), []
    except C2SegError as error:
        city, problems = None, [str(error)]
    known = identify(path, city)
    if known is None:
        return None
    problems += [] if city is None else list(city.problems)
    labeled = False
    if city is not None and city.scenes and not problems:
        labeled, more = _labels(path, city, known)
        problems += more
        if thorough and not more:
            problems += _every_tile(layout, path, city, labeled=labeled, progress=progress)
    size = (city.scenes[0].grid.height, city.scenes[0].grid.width) if city is not None and city.scenes else None
    notes = city.notes if city is not None else ()
    return DataCity(
        known.name, known.dataset, known.role, layout.NAME, path, labeled, size, tuple(problems), notes, known.simulated
    )


def _labels(path: Path, city: City, known: Identity) -> tuple[bool, list[str]]:
    """Return whether a city has labels, and what is wrong with them."""
    try:
        labeled = add_labels(path, city)
        if labeled is None:
            lacking = [f"{path} has no labels; a source city needs them"] if known.role == "source" else []
            return False, lacking
        problem = contradicted_label_map(labeled, is_stated=states_label_map(path))
    except C2SegError as error:
        return False, [str(error)]
    return problem is None, [problem] if problem else []


def _every_tile(layout: Layout, path: Path, city: City, *, labeled: bool, progress: Progress) -> list[str]:
    """Return the problems of single tiles."""
    check = getattr(layout, "check", None)
    if check is None:
        return []
    labels = add_labels(path, city) if labeled else None
    codes = {255, *labels.images.legend.codes(labels.labels[0].label_map)} if labels else None
    return list(check(path, city, codes, progress))
