"""A city as a folder of rasters: ``msi.tif``, ``hsi.tif``, ``sar.tif``, ``label.tif``, ``valid.tif``, any subset.

A ``city.yaml`` may name other files and other modalities, and describe them::

    name: Potsdam
    legend: c2seg13              # or a legend file
    modalities:
      msi: {file: s2.tif, bands: [{name: B2, role: blue, wavelength_nm: 492}, ...], scale: 0.0001}
      hsi: {file: enmap.tif, wavelengths_nm: [418.2, 424.0, ...], keep: "1-130, 137-224"}
    label: {file: label.tif, label_map: challenge}   # or the file name alone; label_map may be a mapping file, or auto
    valid: valid.tif
    scenes: [north, south]       # instead of modalities: sub-folders, each a scene

``keep`` selects bands by 1-based ranges. ``bands`` and ``wavelengths_nm`` describe the selected bands only.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from c2seg.data.city import ROLES, Band, City, Label, Layer, Modality, Scene
from c2seg.data.layouts.old_keys import with_present_keys
from c2seg.documents import read_yaml
from c2seg.errors import C2SegError, DataError, unknown_name
from c2seg.legend import Legend, c2seg13, load_legend
from c2seg.raster import RasterFile, relate_grids
from c2seg.types import Grid

__all__ = ["LOOKS_FOR", "NAME", "images", "labels", "recognize"]

NAME = "folder of rasters"
LOOKS_FOR = "a folder with msi.tif, hsi.tif or sar.tif, or a city.yaml"
MODALITIES = ("msi", "sar", "hsi")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _check_band(band: Band) -> Band:
    """Raise ValueError, which pydantic reports with its place, for an unknown role or a wavelength that is not positive."""
    if band.role is not None and band.role not in ROLES:
        raise ValueError(unknown_name("role", band.role, ROLES))
    if band.wavelength_nm is not None and not band.wavelength_nm > 0:
        raise ValueError(f"wavelength_nm must be positive, found {band.wavelength_nm}")
    return band


class ModalityEntry(_Strict):
    """A modality in city.yaml."""

    file: str
    bands: tuple[Annotated[Band, AfterValidator(_check_band)], ...] | None = None
    wavelengths_nm: tuple[float, ...] | None = None
    scale: float = 1.0
    keep: str | None = None


class LabelEntry(_Strict):
    """The label in city.yaml."""

    file: str
    label_map: str = "challenge"


def _label_entry(value: Any) -> Any:
    if isinstance(value, str):
        return {"file": value}
    return with_present_keys(value, {"numbering": "label_map"}, "label in city.yaml")


class CityFile(_Strict):
    """The content of city.yaml."""

    name: str | None = None
    legend: str = "c2seg13"
    modalities: dict[str, ModalityEntry] = Field(default_factory=dict)
    label: Annotated[LabelEntry | None, BeforeValidator(_label_entry)] = None
    valid: str | None = None
    scenes: tuple[str, ...] = ()


def recognize(path: Path) -> bool:
    """Return True for a folder with a city.yaml or one of the standard rasters."""
    return path.is_dir() and ((path / "city.yaml").is_file() or any(_standard(path, name) for name in MODALITIES))


def images(path: Path) -> City:
    """Open the images of a city folder. Problems are listed in ``problems`` by file."""
    settings = _settings(path)
    problems: list[str] = []
    folders = [path / name for name in settings.scenes] or [path]
    scenes = []
    for folder in folders:
        scene = _scene(folder, settings if folder == path else _settings(folder), problems)
        if scene is not None:
            scenes.append(scene)
    if not scenes and not problems:
        problems.append(f"{path}: city.yaml names no modality, and there is no msi.tif, hsi.tif or sar.tif")
    return City(settings.name or path.resolve().name, _legend(path, settings), tuple(scenes), tuple(problems))


def labels(path: Path, city: City, label_map: str | None) -> tuple[Label, ...] | None:
    """Open the labels of the city's scenes; None if a scene has none."""
    settings = _settings(path)
    folders = {(path / name).resolve().name: path / name for name in settings.scenes or (".",)}
    labels = []
    for scene in city.scenes:
        folder = folders[scene.name]
        entry = (_settings(folder) if settings.scenes else settings).label
        file = folder / entry.file if entry else _standard(folder, "label")
        if file is None:
            return None
        source = RasterFile(file)
        if source.count != 1:
            raise DataError(f"{file} has {source.count} bands; a label has one")
        relation = relate_grids(scene.grid, source.grid, f"the images of {scene.name}", file.name)
        if relation.ratio != 1:
            raise DataError(f"{file} is {relation.ratio} times coarser than the images; resample it to their grid")
        stated = entry.label_map if entry else "challenge"
        if stated.endswith((".yaml", ".yml")):
            stated = str(folder / stated)
        labels.append(Label(source, relation, str(file), label_map=label_map or stated))
    return tuple(labels)


def _settings(path: Path) -> CityFile:
    file = path / "city.yaml"
    if not file.is_file():
        return CityFile()
    try:
        content = read_yaml(file, DataError)
        return CityFile.model_validate({} if content is None else content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        unknown = first["type"] in {"extra_forbidden", "unexpected_keyword_argument"}
        message = "unknown key" if unknown else first["msg"].removeprefix("Value error, ")
        keys, where = _keys_at(first["loc"])
        raise DataError(f"{file}: {place}: {message} (keys of {where}: {', '.join(keys)})") from error


def _keys_at(place: Sequence[int | str]) -> tuple[Iterable[str], str]:
    """Return the valid keys at a place in city.yaml, and the name of that place."""
    if "bands" in place[2:]:
        return [field.name for field in fields(Band)], "a band"
    if place[:1] == ("modalities",) and len(place) > 2:
        return ModalityEntry.model_fields, "a modality"
    if place[:1] == ("label",) and len(place) > 1:
        return LabelEntry.model_fields, "label"
    return CityFile.model_fields, "city.yaml"


def _legend(path: Path, settings: CityFile) -> Legend:
    return c2seg13() if settings.legend == "c2seg13" else load_legend(path / settings.legend)


def _standard(path: Path, name: str) -> Path | None:
    return next((file for suffix in (".tif", ".tiff") if (file := path / f"{name}{suffix}").is_file()), None)


def _scene(path: Path, settings: CityFile, problems: list[str]) -> Scene | None:
    entries = dict(settings.modalities)
    if not entries:
        entries = {name: ModalityEntry(file=file.name) for name in MODALITIES if (file := _standard(path, name))}
    opened: dict[str, tuple[RasterFile, ModalityEntry]] = {}
    for name, entry in entries.items():
        try:
            opened[name] = (_open(path / entry.file, entry), entry)
        except C2SegError as error:
            problems.append(str(error))
    if not opened:
        return None
    finest = min(opened, key=lambda name: opened[name][0].grid.resolution_xy[0])
    grid = opened[finest][0].grid
    modalities = {}
    for name, (source, entry) in opened.items():
        try:
            bands = _bands(source, entry, path / entry.file)
            relation = relate_grids(grid, source.grid, opened[finest][0].path.name, source.path.name)
            modalities[name] = Modality(source, relation, str(source.path), name, bands, entry.scale)
        except C2SegError as error:
            problems.append(f"{path}: {error}")
    try:
        valid = _valid(path, settings, grid)
    except C2SegError as error:
        problems.append(f"{path}: {error}")
        valid = None
    return Scene(path.resolve().name, grid, modalities, valid)


def _open(file: Path, entry: ModalityEntry) -> RasterFile:
    source = RasterFile(file)
    return RasterFile(file, _keep(entry.keep, source.count, file)) if entry.keep else source


def _valid(path: Path, settings: CityFile, grid: Grid) -> Layer | None:
    file = path / settings.valid if settings.valid else _standard(path, "valid")
    if file is None:
        return None
    source = RasterFile(file)
    relation = relate_grids(grid, source.grid, "the images", file.name)
    return Layer(source, relation, str(file))


def _keep(text: str, count: int, file: Path) -> tuple[int, ...]:
    """Parse 1-based ranges such as "1-130, 137-224" to 0-based band numbers."""
    numbers: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)\s*(?:-\s*(\d+)\s*)?", part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
        if not 1 <= first <= last <= count:
            raise DataError(f"{file}: keep {text!r} is not a list of ranges within 1-{count}, such as 1-4, 7")
        numbers.extend(range(first - 1, last))
    return tuple(numbers)


def _bands(source: RasterFile, entry: ModalityEntry, file: Path) -> tuple[Band, ...]:
    for key in ("bands", "wavelengths_nm"):
        given = getattr(entry, key)
        if given is not None and len(given) != source.count:
            raise DataError(f"{file} has {source.count} bands, city.yaml gives {len(given)} {key}")
    if entry.bands is not None:
        bands = list(entry.bands)
    else:
        bands = [Band(text, text.lower() if text.lower() in ROLES else None) for text in source.descriptions]
    if entry.wavelengths_nm is not None:
        bands = [replace(b, wavelength_nm=nm) for b, nm in zip(bands, entry.wavelengths_nm, strict=True)]
    return tuple(bands)
