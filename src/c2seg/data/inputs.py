"""Which files a city is read from, so that no output replaces one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import yaml

from c2seg.data.city import City, LabeledCity
from c2seg.errors import DataError
from c2seg.raster import data_files

__all__ = ["city_inputs", "city_rasters", "files_named_in"]

_MOST_BYTES = 2**20


def city_inputs(path: Path, city: City | LabeledCity | None = None) -> list[Path]:
    """Return the paths that a city is read from: itself, what its ``city.yaml`` names, and the rasters of an opened one.

    A folder stands for every file in it. Labels are among them, though nothing opens them here.
    """
    beside = path.with_name(f"{path.stem}_label{path.suffix}") if path.name else path
    described = list(files_named_in(path / "city.yaml"))
    scenes = [place for place in described if place.is_dir() and place.resolve() != path.resolve()]
    deeper = [place for scene in scenes for place in files_named_in(scene / "city.yaml")]
    named = [path, beside, *described, *deeper]
    return [*named, *(file for place in named for file in vrt_files(place)), *(city_rasters(city) if city else ())]


def vrt_files(path: Path) -> Iterator[Path]:
    """Yield the files behind a ``.vrt``; none of another file, or of one that cannot be opened."""
    if path.suffix.lower() == ".vrt" and path.is_file():
        with suppress(DataError):
            yield from data_files(path)


def files_named_in(file: Path) -> Iterator[Path]:
    """Yield the files and folders that any value of a YAML file names, relative to it. What is no YAML names none."""
    try:
        if file.is_file() and file.stat().st_size <= _MOST_BYTES:
            for token in yaml.scan(file.read_text(encoding="utf-8")):
                if isinstance(token, yaml.ScalarToken) and token.value and len(token.value) < 4096:
                    place = file.parent / token.value
                    if "\0" not in token.value and place.exists():
                        yield place
    except (OSError, ValueError, yaml.YAMLError):
        return


def city_rasters(city: City | LabeledCity) -> Iterator[Path]:
    """Yield the rasters of an opened city, with the files behind them where the raster tells."""
    images = city.images if isinstance(city, LabeledCity) else city
    sources: list[object] = [item.source for scene in images.scenes for item in scene.modalities.values()]
    sources += [scene.valid.source for scene in images.scenes if scene.valid is not None]
    sources += [label.source for label in city.labels] if isinstance(city, LabeledCity) else []
    for source in sources:
        for place in (getattr(source, "path", None), *getattr(source, "files", ())):
            if isinstance(place, str | Path):
                yield Path(place)
