"""Lists of cities: manifests and STAC item collections."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from c2seg.documents import read_json, read_text
from c2seg.errors import DataError, InputError
from c2seg.raster import is_object, object_path

__all__ = ["CityEntry", "city_entries", "listed_cities"]

_MANIFESTS = (".txt", ".csv")
_STAC = (".json", ".geojson")
_IMAGES = ("msi", "hsi", "sar")


@dataclass(frozen=True)
class CityEntry:
    """A city of a list; ``name`` is that of its outputs, ``osm`` its OpenStreetMap extract if the list names one."""

    name: str
    path: Path
    osm: Path | None = None


def city_entries(paths: Sequence[Path]) -> tuple[CityEntry, ...]:
    """Return the cities of a list, if ``paths`` is one list, or each path as a city. Raises DataError, InputError."""
    listed = listed_cities(paths[0]) if len(paths) == 1 else None
    entries = listed or tuple(CityEntry(path.stem, path.absolute()) for path in paths)
    if len({entry.name for entry in entries}) < len(entries):
        raise InputError("two cities have one name; give a CSV file with the columns name,path")
    return entries


def listed_cities(path: Path) -> tuple[CityEntry, ...] | None:
    """Return the cities of a list; None if ``path`` is not a list.

    A list is a text file with a path on each line, a CSV file with the columns ``path`` and maybe ``name`` and ``osm``, or a
    STAC item collection whose items have the asset ``city``, a folder, or assets ``msi``, ``hsi``, ``sar`` in one folder, and
    maybe ``osm``. Paths are as seen from the list. Raises DataError for a damaged list, and for two cities of one name.
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
    return tuple(_entry(path, row["path"] or "", row.get("name"), row.get("osm")) for row in rows)


def _entry(path: Path, place: str, name: str | None = None, osm: str | None = None) -> CityEntry:
    folder = path.absolute().parent
    city = folder / object_path(place)
    return CityEntry(_file_name(name or city.stem), city, folder / osm if osm else None)


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
    osm = str(_local(path, assets["osm"])) if "osm" in assets else None
    return _entry(path, str(folders.pop()), item["id"], osm)


def _local(path: Path, asset: Any) -> Path:
    """Return where an asset of a list lies. Raises DataError for one that is not on a file system."""
    link = str(asset.get("href", "")) if isinstance(asset, dict) else ""
    if is_object(object_path(link)):
        return object_path(link)
    parts = urlparse(link)
    if parts.scheme not in ("", "file"):
        raise DataError(f"{link} is neither on a file system nor s3://; mount it, or copy the city")
    return Path(os.path.normpath(path.absolute().parent / unquote(parts.path)))
