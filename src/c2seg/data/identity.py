"""Which city of C2Seg a path is: by what it holds, by the names of the releases, or by the record of a simulated pair."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from c2seg.data.city import City
from c2seg.data.published import CITIES, DATASETS, PublishedCity
from c2seg.documents import read_yaml
from c2seg.errors import C2SegError, DataError

__all__ = ["Identity", "identify"]

_ABOVE = 3
"""Folders above a city in which the record of its simulated pair may lie."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Name, dataset (``C2Seg-AB``, ``C2Seg-BW``) and role of a city in it."""

    name: str
    dataset: str
    role: Literal["source", "target"]
    simulated: bool = False


def identify(path: Path, city: City | None) -> Identity | None:
    """Return which city of C2Seg a path is; None if it is none. ``city`` is what was opened from it, if anything could be."""
    if simulated := _simulated(path, city):  # at full size it has the sizes of a published city
        return simulated
    if city is not None and city.name in CITIES:
        return _published(CITIES[city.name])
    return _by_names(path)


def _published(city: PublishedCity) -> Identity:
    return Identity(city.name, city.dataset, "source" if city.split == "train" else "target")


def _simulated(path: Path, city: City | None) -> Identity | None:
    """Return the city of a simulated pair, whose ``pair.yaml`` lies above it."""
    names = {path.stem.removesuffix("_multimodal"), path.name, *([city.name] if city is not None else [])}
    for above in path.resolve().parents[:_ABOVE]:
        file = above / "pair.yaml"
        if not file.is_file():
            continue
        try:
            content = read_yaml(file, DataError)
        except C2SegError:
            return None
        stated = content if isinstance(content, dict) else {}
        dataset = f"C2Seg-{str(stated.get('pair', '')).upper()}"
        if dataset not in DATASETS:
            return None
        if stated.get("source") in names:
            return Identity(str(stated["source"]), dataset, "source", simulated=True)
        if stated.get("target") in names:
            return Identity(str(stated["target"]), dataset, "target", simulated=True)
        return None
    return None


def _by_names(path: Path) -> Identity | None:
    """Return the city that the names of a path say: ``C2Seg_AB/train``, ``berlin_multimodal.mat``, ``Wuhan``."""
    for city in CITIES.values():
        if re.fullmatch(rf"{city.name}(_multimodal)?", path.stem if path.suffix else path.name, re.IGNORECASE):
            return _published(city)
    named = re.search(r"c2seg.?(ab|bw)", path.resolve().parent.name, re.IGNORECASE)
    split = path.resolve().name.lower()
    for city in CITIES.values():
        if named and (city.dataset, city.split) == (f"C2Seg-{named[1].upper()}", split):
            return _published(city)
    return None
