"""Many cities predicted with one model: a list in, one map each, one table."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from c2seg.artifacts import MapRecord, ModelFile
from c2seg.data import City
from c2seg.documents import read_json, read_text
from c2seg.errors import C2SegError, DataError, one_line
from c2seg.outputs import Output, check_outputs, make_folder, write_text
from c2seg.raster import is_object, mosaic_groups, mosaic_text, object_path

__all__ = ["CitiesResult", "CityEntry", "listed_cities", "map_place", "predict_cities", "standing_maps"]

TABLE = "cities.csv"
_MANIFESTS = (".txt", ".csv")
_STAC = (".json", ".geojson")
_IMAGES = ("msi", "hsi", "sar")


@dataclass(frozen=True)
class CityEntry:
    """A city of a list; ``name`` is that of its map."""

    name: str
    path: Path


@dataclass(frozen=True)
class CitiesResult:
    """What became of a list: a map for each city that could be predicted, and in one line why others could not."""

    maps: dict[str, tuple[MapRecord, ...]]
    failed: dict[str, str]
    table: Path


def listed_cities(path: Path) -> tuple[CityEntry, ...] | None:
    """Return the cities of a list; None if ``path`` is not a list.

    A list is a text file with a path on each line, a CSV file with the columns ``path`` and maybe ``name``, or a STAC item
    collection whose items have the asset ``city``, a folder, or assets ``msi``, ``hsi``, ``sar`` in one folder. Paths are as
    seen from the list. Raises DataError for a damaged list, and for two cities of one name.
    """
    if path.is_dir() or path.suffix.lower() not in (*_MANIFESTS, *_STAC):
        return None
    entries = _stac_entries(path) if path.suffix.lower() in _STAC else _text_entries(path)
    if not entries:
        raise DataError(f"{path} lists no city")
    names = [entry.name for entry in entries]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise DataError(f"{path} has two cities named {twice[0]}; give names in a CSV file with the columns name,path")
    return entries


def _text_entries(path: Path) -> tuple[CityEntry, ...]:
    lines = [line for line in read_text(path).splitlines() if line.strip() and not line.startswith("#")]
    if path.suffix.lower() == ".txt":
        return tuple(_entry(path, line.strip()) for line in lines)
    rows = list(csv.DictReader(lines))
    if rows and "path" not in rows[0]:
        raise DataError(f"{path} has no column path; it has {', '.join(rows[0])}")
    return tuple(_entry(path, row["path"] or "", row.get("name")) for row in rows)


def _entry(path: Path, place: str, name: str | None = None) -> CityEntry:
    city = path.absolute().parent / object_path(place)
    return CityEntry(_file_name(name or city.stem), city)


def _file_name(name: str) -> str:
    return re.sub(r"[^\w.-]+", "-", name).strip("-.") or "city"


def _stac_entries(path: Path) -> tuple[CityEntry, ...]:
    content = read_json(path)
    items = content.get("features") if isinstance(content, dict) else None
    if not isinstance(items, list):
        raise DataError(f"{path} is no STAC item collection: it has no features")
    return tuple(_stac_entry(path, item) for item in items)


def _stac_entry(path: Path, item: Any) -> CityEntry:
    assets = item.get("assets") if isinstance(item, dict) else None
    if not isinstance(assets, dict) or not isinstance(item.get("id"), str):
        raise DataError(f"{path} has a feature that is no STAC item: it needs id and assets")
    named = ("city",) if "city" in assets else tuple(name for name in _IMAGES if name in assets)
    links = {name: _local(path, assets[name]) for name in named}
    folders = {link if name == "city" else link.parent for name, link in links.items()}
    if len(folders) != 1:
        raise DataError(
            f"{path}: item {item['id']} needs the asset city, a folder, or assets {', '.join(_IMAGES)} in one folder"
        )
    return _entry(path, str(folders.pop()), item["id"])


def _local(path: Path, asset: Any) -> Path:
    """Return where an asset of a list lies. Raises DataError for one that is not on a file system."""
    link = str(asset.get("href", "")) if isinstance(asset, dict) else ""
    if is_object(object_path(link)):
        return object_path(link)
    parts = urlparse(link)
    if parts.scheme not in ("", "file"):
        raise DataError(f"{link} is neither on a file system nor s3://; mount it, or copy the city")
    return Path(os.path.normpath(path.absolute().parent / unquote(parts.path)))


def predict_cities(
    entries: Sequence[CityEntry],
    out: Path,
    predict: Callable[[Path, Path], Sequence[MapRecord]],
    standing: Callable[[Path, Path], Sequence[MapRecord] | None],
) -> CitiesResult:
    """Predict cities one after the other into a folder; a city that fails does not stop the others.

    ``predict(city, place)`` writes the map of a city at ``place``, which has no suffix; ``standing`` returns the records of one
    whose map stands from an earlier run, and is not predicted again. The table ``cities.csv`` has a row for each city. Raises
    OutputError.
    """
    check_outputs([Output(out, is_folder=True)], overwrite=True)
    make_folder(out)
    maps: dict[str, tuple[MapRecord, ...]] = {}
    failed: dict[str, str] = {}
    for entry in entries:
        try:
            place = out / entry.name
            maps[entry.name] = tuple(standing(entry.path, place) or predict(entry.path, place))
        except C2SegError as error:
            failed[entry.name] = one_line(error)
    write_text(out / TABLE, _table(entries, maps, failed))
    _write_indexes(out, maps)
    return CitiesResult(maps, failed, out / TABLE)


def _write_indexes(out: Path, maps: dict[str, tuple[MapRecord, ...]]) -> None:
    files = []
    for name, records in maps.items():
        folder = out / name  # of a city with several scenes
        files += [folder / record.path if folder.is_dir() else out / record.path for record in records]
    for number, group in enumerate(mosaic_groups(files)):
        write_text(out / ("index.vrt" if number == 0 else f"index-{number + 1}.vrt"), mosaic_text(group, out))


def map_place(city: City, place: Path) -> Path:
    """Return the map of a city at ``place`` in a folder of maps: a GeoTIFF, or a folder for several scenes."""
    return place if len(city.scenes) > 1 else place.with_name(f"{place.name}.tif")


def standing_maps(model: ModelFile, city: City, place: Path, *, tta: bool, precision: str) -> list[MapRecord] | None:
    """Return the records of a city's maps if all stand as this model would make them; ``city`` has the model's bands."""
    out = map_place(city, place)
    files = [out] if len(city.scenes) == 1 else [out / f"{scene.name}.tif" for scene in city.scenes]
    expected = (model.digest, city.fingerprint(), tta, precision)
    records = []
    for file in files:
        try:
            record = MapRecord.read(file.with_suffix(".json"))
        except C2SegError:
            return None
        key = record.key
        if not file.is_file() or key is None or (key.model, key.city, key.tta, key.precision) != expected:
            return None
        records.append(record)
    return records


def _table(entries: Sequence[CityEntry], maps: dict[str, tuple[MapRecord, ...]], failed: dict[str, str]) -> str:
    """Return a row for each city: pixels, seconds, km2 by class (pixels where the map has no CRS), what went wrong."""
    classes = list(
        dict.fromkeys(name for records in maps.values() for record in records for name in record.class_pixels)
    )
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["name", "map", "unit", "pixels", "nodata_pixels", "seconds", *classes, "error"])
    for entry in entries:
        for record in maps.get(entry.name, ()):
            areas = record.area_km2 or record.class_pixels
            unit = "km2" if record.area_km2 else "pixels"
            amounts = [areas.get(name, "") for name in classes]
            writer.writerow(
                [entry.name, record.path, unit, record.pixels, record.nodata_pixels, record.seconds, *amounts, ""]
            )
        if entry.name in failed:
            writer.writerow([entry.name, *[""] * (5 + len(classes)), failed[entry.name]])
    return text.getvalue()
