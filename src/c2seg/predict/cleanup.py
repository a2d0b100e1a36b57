"""Merge the small areas of a finished map into their largest neighbors (GDAL's sieve filter).

An area is a connected set of pixels of one class. Pixels that touch at a corner are connected, so that a diagonal line one
pixel wide is one area. Axes: H row, W column.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

import numpy as np
from rasterio.features import sieve

from c2seg.artifacts.maps import CleanupSettings
from c2seg.errors import C2SegError, InputError, unknown_name
from c2seg.legend import BACKGROUND, LandClass, Legend

__all__ = ["CleanedMap", "Cleanup", "clean_rows", "requested_cleanup", "sieved"]

_CONNECTIVITY = 8
_ROWS = 512
_THIN = {"street", "streets", "road", "roads"}  # words in the names of classes that are thin by nature


@dataclass(frozen=True)
class Cleanup:
    """Areas of fewer than ``min_area_px`` pixels are merged. The ``excluded`` classes neither lose nor gain a pixel."""

    min_area_px: int
    excluded: tuple[LandClass, ...] = ()

    def record(self) -> CleanupSettings:
        """Return the settings as a map's record holds them, equal for equal results."""
        names = tuple(item.name for item in self.excluded)
        return CleanupSettings(min_area_px=self.min_area_px, connectivity=_CONNECTIVITY, kept=names)


@dataclass(frozen=True)
class CleanedMap:
    """The ids uint8 [H, W] of a cleaned map (0 nodata), pixels by id (256 numbers), and how many pixels changed class."""

    ids: np.ndarray
    counts: list[int]
    changed_pixels: int


def requested_cleanup(min_area_px: int | None, keep: Collection[str] | None, legend: Legend) -> Cleanup | None:
    """Return the cleanup that options ask for, None if none.

    ``keep`` holds names or ids of classes; ``None`` stands for the legend's streets and roads, if it has any. Raises InputError
    for an area below 2 pixels, an unknown class, or classes without an area.
    """
    if min_area_px is None:
        if keep is not None:
            raise InputError("`min_area_keep` names classes that `min_area_px` leaves alone; give `min_area_px`")
        return None
    if min_area_px < 2:
        raise InputError(f"`min_area_px` must be at least 2, found {min_area_px}")
    if keep is None:
        return Cleanup(
            min_area_px, tuple(c for c in legend.classes if _THIN & set(re.findall(r"\w+", c.name.casefold())))
        )
    known = {str(c.id): c for c in legend.classes} | {c.name.casefold(): c for c in legend.classes}
    for name in keep:
        if name.strip().casefold() not in known:
            raise InputError(f"`min_area_keep`: {unknown_name('class', name.strip(), legend.names)}")
    excluded = {known[name.strip().casefold()] for name in keep}
    return Cleanup(min_area_px, tuple(c for c in legend.classes if c in excluded))


def sieved(ids: np.ndarray, min_area_px: int) -> np.ndarray:
    """Return ids uint8 [H, W] in which areas of fewer than ``min_area_px`` pixels have the id of their largest neighbor.

    Where that neighbor is small too, its own largest neighbor counts, and so on. An area from which no large one is reached
    stays. Pixels of id 0 are neither changed nor grown into. Memory: 2 bytes a pixel besides ``ids``, and GDAL's list of
    areas. Raises C2SegError when memory runs out.
    """
    out = np.zeros_like(ids)
    sieve(ids, min(min_area_px, ids.size), out=out, mask=ids, connectivity=_CONNECTIVITY)
    # rasterio drops GDAL's error code: a filter that failed leaves zeros.
    if np.count_nonzero(out) != np.count_nonzero(ids):
        raise C2SegError(
            "cannot merge small areas: out of memory; finished rows are kept: run the same command to resume when there is more"
        )
    return out


def clean_rows(read: Callable[[int, int], np.ndarray], shape: tuple[int, int], cleanup: Cleanup) -> CleanedMap:
    """Clean a whole map whose rows ``read(first, last)`` gives, uint8 [last-first, W]; rows are read twice.

    Nodata (id 0) is not changed. Memory: 3 bytes a pixel of the map for the time of the filter, then 1, and GDAL's list of
    areas. Raises C2SegError when memory runs out.
    """
    merged = np.arange(256, dtype=np.uint8)
    merged[[c.id for c in cleanup.excluded]] = BACKGROUND
    ids = np.empty(shape, np.uint8)
    for first, last in _bands(shape[0]):
        ids[first:last] = merged[read(first, last)]
    out = sieved(ids, cleanup.min_area_px)
    del ids
    counts, changed = np.zeros(256, np.int64), 0
    for first, last in _bands(shape[0]):
        before, after = read(first, last), out[first:last]
        np.copyto(after, before, where=merged[before] == BACKGROUND)
        changed += int(np.count_nonzero(after != before))
        counts += np.bincount(after.ravel(), minlength=256)
    return CleanedMap(out, counts.tolist(), changed)


def _bands(height: int) -> Iterator[tuple[int, int]]:
    for first in range(0, height, _ROWS):
        yield first, min(first + _ROWS, height)
