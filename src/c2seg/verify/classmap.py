"""A map of classes that is sampled and checked: opened with its legend and its record, read by windows.

Axes: H row, W column, C band, n point. Id 0 is nodata: such pixels belong to no population.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from c2seg.artifacts.maps import MapRecord
from c2seg.artifacts.upgrade import artifact_of
from c2seg.documents import read_json
from c2seg.errors import DataError, InputError
from c2seg.legend import BACKGROUND, Legend, c2seg13
from c2seg.metrics import ReferenceCode, map_legend
from c2seg.metrics.maps import reference_ids
from c2seg.metrics.references import agreed_legend
from c2seg.progress import Progress, no_progress
from c2seg.raster import RasterFile, short
from c2seg.types import Grid, Window

__all__ = ["ClassMap", "MapCounts", "check_has_pixels", "open_map", "read_at", "row_windows", "windows_of"]

_STRIP_PX = 2_000_000


@dataclass(frozen=True)
class MapCounts:
    """What one pass over a map tells: pixels by id, int64 [256], and a digest of all ids."""

    pixels: np.ndarray
    digest: str


@dataclass(frozen=True)
class ClassMap:
    """An opened map. ``record`` is the JSON that ``predict`` or ``fuse`` wrote beside it; None for another raster."""

    path: Path
    raster: RasterFile
    legend: Legend
    record: MapRecord | None = None
    _counts: list[MapCounts] = field(default_factory=list, repr=False, compare=False)

    @property
    def grid(self) -> Grid:
        """Its grid."""
        return self.raster.grid

    @property
    def city_path(self) -> Path | None:
        """Where the predicted city was, if that is recorded."""
        city = self.record.city if self.record else None
        return (self.path.parent / city.path).resolve() if city else None

    @property
    def confidence_path(self) -> Path | None:
        """The confidence beside it, if one was written and is still there."""
        name = self.record.confidence if self.record else None
        path = self.path.parent / name if name else None
        return path if path is not None and path.is_file() else None

    def read_ids(self, window: Window) -> np.ndarray:
        """Return ids uint8 [H, W] of a window inside the map; 0 is nodata. Raises DataError for ids outside the legend."""
        ids = reference_ids(self.raster, window, ReferenceCode(self.legend))
        unknown = sorted({*np.flatnonzero(np.bincount(ids.ravel(), minlength=256)).tolist()} - {0, *self.legend.ids})
        if unknown:
            raise DataError(
                f"{self.path} has the values {unknown[:8]}, which are not in legend {self.legend.name!r}; give its "
                "`legend`"
            )
        return ids

    def scan(self, progress: Progress = no_progress) -> Iterator[tuple[Window, np.ndarray]]:
        """Yield the map's windows with their ids, uint8 [H, W]; after the last, ``count`` knows the result."""
        pixels, digest = np.zeros(256, np.int64), hashlib.sha256(f"{self.grid.height} {self.grid.width}".encode())
        for window in row_windows(self.grid):
            ids = self.read_ids(window)
            pixels += np.bincount(ids.ravel(), minlength=256)
            digest.update(np.ascontiguousarray(ids).data)
            yield window, ids
            progress(window.row_end, self.grid.height)
        self._counts[:] = [MapCounts(pixels, short(digest))]

    def count(self, progress: Progress = no_progress) -> MapCounts:
        """Return pixels by id and the digest, in one pass that is remembered."""
        if not self._counts:
            for _ in self.scan(progress):
                pass
        return self._counts[0]

    def class_pixels(self) -> np.ndarray:
        """Return int64 [K]: pixels by class in the order of the legend."""
        return self.count().pixels[list(self.legend.ids)]

    def ids_at(self, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
        """Return the ids uint8 [n] at pixels inside the map; 0 is nodata."""
        ids = np.empty(len(rows), np.uint8)
        for window, inside in windows_of(rows, self.grid):
            part = self.read_ids(window)
            ids[inside] = part[rows[inside] - window.row, cols[inside]]
        return ids


def open_map(path: Path, legend: Legend | None = None) -> ClassMap:
    """Open a map of classes.

    ``legend`` must agree with the classes in the file's tags; None: those, else C2Seg's 13. Raises DataError for a file that is
    no raster or has several bands, InputError for two legends.
    """
    raster = RasterFile(path)
    if raster.count != 1:
        raise DataError(f"{path} has {raster.count} bands; a map of classes has one")
    agreed = agreed_legend([("the legend given", legend), (str(path), map_legend(raster))])
    return ClassMap(path, raster, agreed or c2seg13(), _record_beside(path))


def row_windows(grid: Grid, pixels: int = _STRIP_PX) -> Iterator[Window]:
    """Yield full-width windows of about ``pixels`` pixels that partition a grid, in order of rows."""
    rows = max(1, pixels // max(grid.width, 1))
    rows = max(1, rows // 256 * 256) if rows > 256 else rows
    for row in range(0, grid.height, rows):
        yield Window(row, 0, min(rows, grid.height - row), grid.width)


def read_at(raster: RasterFile, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
    """Return the values [C, n] of a raster at pixels inside it; only rows with points are read."""
    values = np.empty((raster.count, len(rows)), raster.dtype)
    pixels = max(raster.width, _STRIP_PX // raster.count)
    for window, inside in windows_of(rows, raster.grid, pixels):
        values[:, inside] = raster.read(window)[:, rows[inside] - window.row, cols[inside]]
    return values


def windows_of(rows: np.ndarray, grid: Grid, pixels: int = _STRIP_PX) -> Iterator[tuple[Window, np.ndarray]]:
    """Yield windows that hold points, trimmed to their rows, and the points' indices."""
    for window in row_windows(grid, pixels):
        inside = np.flatnonzero((rows >= window.row) & (rows < window.row_end))
        if inside.size:
            first, last = int(rows[inside].min()), int(rows[inside].max())
            yield Window(first, 0, last + 1 - first, grid.width), inside


def _record_beside(path: Path) -> MapRecord | None:
    """Return the record of a map; None if the JSON beside it is of something else."""
    beside = path.with_suffix(".json")
    if not beside.is_file():
        return None
    content = read_json(beside)
    if not isinstance(content, dict) or artifact_of(content) != "map":
        return None
    record = MapRecord.parse(content, str(beside))
    return record if Path(record.path).name == path.name else None


def check_has_pixels(counts: MapCounts, path: Path) -> None:
    """Raise InputError for a map without a pixel of a class."""
    if not counts.pixels[BACKGROUND + 1 :].any():
        raise InputError(f"{path} has no pixel of a class; there is nothing to sample")
