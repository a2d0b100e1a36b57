"""Strata of a map: by mapped class, band of confidence, zone, and what these cross to.

Axes: H row, W column; h stratum. A pixel's code is a number below ``StrataRule.codes`` for each combination, whether it
occurs or not. Strata are those that occur, numbered from 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Protocol

import numpy as np

from c2seg.errors import DataError, InputError, unknown_name
from c2seg.legend import Legend
from c2seg.progress import Progress, no_progress
from c2seg.raster import RasterFile
from c2seg.types import Window
from c2seg.verify.classmap import ClassMap, check_has_pixels
from c2seg.verify.zones import NO_ZONE, Zones, open_zones

__all__ = ["BANDS", "ConfidenceLayer", "Counted", "StrataRule", "count_strata", "open_confidence", "strata_rule"]

BANDS = (0.5, 0.8)
"""Confidences at which a new band begins."""
_MOST_CODES = 60_000
_MOST_STRATA = 1000
_KINDS = ("class", "confidence", "zone")


@dataclass(frozen=True)
class ConfidenceLayer:
    """The confidence beside a map: bytes of 1/200 (255 nodata), or floats in 0..1."""

    raster: RasterFile

    def read(self, window: Window) -> np.ndarray:
        """Return float32 [H, W] in 0..1; NaN without data."""
        return self.scaled(self.raster.read(window)[0])

    def scaled(self, raw: np.ndarray) -> np.ndarray:
        """Return raw values as float32 in 0..1; NaN without data."""
        values = raw.astype(np.float32)
        if self.raster.nodata is not None:
            values[raw == self.raster.nodata] = np.nan
        return values / np.float32(200.0) if raw.dtype == np.uint8 else values


class Part(Protocol):
    """One thing that strata are made of."""

    def names(self) -> Sequence[str]:
        """Names by code."""

    def read(self, window: Window, ids: np.ndarray) -> np.ndarray:
        """Return codes, int32 [H, W]; those of pixels of id 0 do not count."""


@dataclass(frozen=True)
class ClassPart:
    """The mapped class: codes in the order of the legend."""

    legend: Legend

    def names(self) -> Sequence[str]:
        """Names of the classes."""
        return self.legend.names

    def read(self, window: Window, ids: np.ndarray) -> np.ndarray:
        """Return the places of the ids in the legend."""
        codes: np.ndarray = self.legend.index_table().astype(np.int32)[ids]
        return codes


@dataclass(frozen=True)
class ConfidencePart:
    """Bands of confidence; pixels without one count to the lowest."""

    layer: ConfidenceLayer
    edges: tuple[float, ...]

    def bounds(self) -> list[tuple[float, float]]:
        """Return from, to of each band."""
        ends = (0.0, *self.edges, 1.0)
        return list(pairwise(ends))

    def names(self) -> Sequence[str]:
        """Names of the bands."""
        return [f"confidence {low:g} to {high:g}" for low, high in self.bounds()]

    def read(self, window: Window, ids: np.ndarray) -> np.ndarray:
        """Return the number of edges that the confidence has reached."""
        values = np.nan_to_num(self.layer.read(window), nan=0.0)
        codes: np.ndarray = np.digitize(values, np.array(self.edges, np.float32) - np.float32(1e-6)).astype(np.int32)
        return codes


@dataclass(frozen=True)
class ZonePart:
    """Zones of a vector file; the first code is that of pixels in none."""

    zones: Zones

    def names(self) -> Sequence[str]:
        """Names of the zones."""
        return (NO_ZONE, *self.zones.names)

    def read(self, window: Window, ids: np.ndarray) -> np.ndarray:
        """Return the zones' codes."""
        return self.zones.codes(window).astype(np.int32)


@dataclass(frozen=True)
class StrataRule:
    """What strata are made of; no part: the whole map is one stratum. ``confidence`` is read for means, too."""

    legend: Legend
    parts: tuple[Part, ...] = ()
    confidence: ConfidenceLayer | None = None

    @property
    def codes(self) -> int:
        """Number of combinations."""
        return int(np.prod([len(part.names()) for part in self.parts], dtype=np.int64)) if self.parts else 1

    def read(self, window: Window, ids: np.ndarray) -> np.ndarray:
        """Return codes int32 [H, W] of a window with its ids; -1 where the id is 0."""
        codes = np.zeros(ids.shape, np.int32)
        for part in self.parts:
            codes = codes * len(part.names()) + part.read(window, ids)
        codes[ids == 0] = -1
        return codes

    def meaning(self, code: int) -> dict[type, int]:
        """Return the code of each part, by its type."""
        result: dict[type, int] = {}
        for part in reversed(self.parts):
            code, result[type(part)] = divmod(code, len(part.names()))
        return result

    def name(self, code: int) -> str:
        """Return the name of a stratum."""
        meaning = self.meaning(code)
        return ", ".join(part.names()[meaning[type(part)]] for part in self.parts) or "map"


@dataclass(frozen=True)
class Counted:
    """What a pass over a map tells of its strata: code [h], pixels [h], mean confidence [h] (None: no layer), and pixels by
    window and stratum, int64 [windows, h]."""

    codes: np.ndarray
    pixels: np.ndarray
    confidence: np.ndarray | None
    by_window: np.ndarray

    def numbers(self, codes: int) -> np.ndarray:
        """Return the table int32 [codes] from code to stratum, 0-based; -1 for codes that do not occur."""
        table = np.full(codes, -1, np.int32)
        table[self.codes] = np.arange(len(self.codes), dtype=np.int32)
        return table


def strata_rule(
    class_map: ClassMap,
    kinds: Sequence[str],
    *,
    zones: Path | None = None,
    zone_field: str | None = None,
    confidence: Path | None = None,
    bands: Sequence[float] = BANDS,
) -> StrataRule:
    """Return the rule for strata of ``kinds``: ``class``, ``confidence``, ``zone``, each at most once.

    Raises InputError for an unknown kind, bands that do not rise within 0..1, and a layer or file that is missing.
    """
    unknown = [kind for kind in kinds if kind not in _KINDS]
    if unknown:
        raise InputError(unknown_name("kind of strata", unknown[0], _KINDS))
    if len(set(kinds)) < len(kinds):
        raise InputError(f"strata are named twice: {', '.join(kinds)}")
    if ("zone" in kinds) != (zones is not None):
        raise InputError("strata of zones need a vector file (`zones`) and `strata` with zone; give both")
    layer = open_confidence(class_map, confidence)
    parts: list[Part] = []
    for kind in kinds:
        if kind == "class":
            parts.append(ClassPart(class_map.legend))
        elif kind == "confidence":
            if layer is None:
                raise InputError(
                    f"{class_map.path} has no confidence beside it; predict it with `confidence`, or name the layer here"
                )
            parts.append(ConfidencePart(layer, _edges(bands)))
        elif zones is not None:
            parts.append(ZonePart(open_zones(zones, zone_field, class_map.grid)))
    rule = StrataRule(class_map.legend, tuple(parts), layer)
    if rule.codes > _MOST_CODES:
        raise InputError(f"strata of {', '.join(kinds)} would have {rule.codes} combinations; leave one out")
    return rule


def open_confidence(class_map: ClassMap, path: Path | None = None) -> ConfidenceLayer | None:
    """Open the confidence of a map: the file given, else what its record names. Raises DataError if it does not fit."""
    place = path or class_map.confidence_path
    if place is None:
        return None
    raster = RasterFile(place, (0,))
    if (raster.height, raster.width) != (class_map.grid.height, class_map.grid.width):
        raise DataError(f"{place} does not lie on the grid of {class_map.path}; give the confidence of this map")
    return ConfidenceLayer(raster)


def count_strata(
    class_map: ClassMap, rule: StrataRule, progress: Progress = no_progress, *, means: bool = True
) -> Counted:
    """Count the pixels of strata in one pass over the map, by windows. ``means``: also the mean confidence of each.

    Raises InputError for a map without pixels, or more than 1000 strata.
    """
    sums, known = np.zeros(rule.codes), np.zeros(rule.codes, np.int64)
    present = np.zeros(rule.codes, bool)
    by_window: list[tuple[np.ndarray, np.ndarray]] = []
    layer = rule.confidence if means else None
    for window, ids in class_map.scan(progress):
        codes = rule.read(window, ids)
        inside = codes[codes >= 0]
        counts = np.bincount(inside, minlength=rule.codes)
        here = np.flatnonzero(counts)
        by_window.append((here, counts[here]))
        present[here] = True
        if present.sum() > _MOST_STRATA:
            raise InputError(f"the map has more than {_MOST_STRATA} strata; use fewer zones or bands")
        if layer is not None:
            values = layer.read(window)[codes >= 0]
            told = np.isfinite(values)
            sums += np.bincount(inside[told], values[told], minlength=rule.codes)
            known += np.bincount(inside[told], minlength=rule.codes)
    check_has_pixels(class_map.count(), class_map.path)
    codes = np.flatnonzero(present)
    table = np.zeros((len(by_window), len(codes)), np.int64)
    for row, (here, counts) in zip(table, by_window, strict=True):
        row[np.searchsorted(codes, here)] = counts
    confidence = None if layer is None else np.where(known > 0, sums / np.maximum(known, 1), np.nan)[codes]
    return Counted(codes, table.sum(0), confidence, table)


def _edges(bands: Sequence[float]) -> tuple[float, ...]:
    edges = tuple(float(band) for band in bands)
    if not edges or any(not 0 < edge < 1 for edge in edges) or any(a >= b for a, b in pairwise(edges)):
        raise InputError(f"`bands` must rise within 0..1, found {', '.join(f'{edge:g}' for edge in edges) or 'none'}")
    return edges
