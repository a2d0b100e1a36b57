"""Mosaics of tiles on their city's grid: windowed reading, and a test of the assumed tile order.

The data do not document the order, so it is always tested. Overlapping tiles must have equal pixels. If tiles do not
overlap, the image must continue across their edges.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rasterio.errors import RasterioError
from rasterio.windows import Window as RasterioWindow

from c2seg.data.tiling import TileGrid
from c2seg.errors import DataError, one_line
from c2seg.raster import data_files, files_digest, open_raster
from c2seg.types import Window

__all__ = ["OrderEvidence", "TileMosaic", "find_order", "tile_problem"]

_ONE_BY_ONE = "`order: none` in tiles.yaml opens them one by one"
_OPEN_FILES = 64  # handles per thread; a patch of one tile size touches at most 9 tiles


@dataclass(frozen=True)
class TileMosaic:
    """Tiles of one modality as a RasterSource of the whole city. Each thread opens files on first use.

    ``files[N]`` is tile N; ``count``, ``dtype`` and ``nodata`` are those of one of the tiles.
    """

    files: tuple[Path, ...]
    tiles: TileGrid
    count: int
    dtype: np.dtype[Any]
    nodata: float | None = None
    _local: threading.local = field(default_factory=threading.local, repr=False, compare=False)

    def __reduce__(self) -> tuple[Any, ...]:
        return (TileMosaic, (self.files, self.tiles, self.count, self.dtype, self.nodata))

    @property
    def height(self) -> int:
        """Number of rows of the city."""
        return self.tiles.height

    @property
    def width(self) -> int:
        """Number of columns of the city."""
        return self.tiles.width

    def read(self, window: Window) -> np.ndarray:
        """Return raw values [C, H, W] of a window inside the city. Raises DataError for a damaged or inconsistent tile."""
        values = np.empty((self.count, window.height, window.width), self.dtype)
        for (iy, ix), part in self.tiles.cover(window):
            place = self.tiles.place(iy, ix)
            rows, cols = part.shift(-window.row, -window.col).slices
            values[:, rows, cols] = self.read_tile(self.tiles.index(iy, ix), part.shift(-place.row, -place.col))
        return values

    def read_tile(self, index: int, part: Window | None = None) -> np.ndarray:
        """Return raw values [C, h, w] of a tile, or of a part of it (in tile coordinates)."""
        area = RasterioWindow(part.col, part.row, part.width, part.height) if part else None
        try:
            values: np.ndarray = self._dataset(index).read(window=area)
        except RasterioError as error:
            cause = one_line(error.__cause__ or error)
            raise DataError(
                f"cannot read {self.files[index]}: truncated or damaged ({cause}); copy it again"
            ) from error
        return values

    def fingerprint(self) -> str:
        """Return a digest of every byte of all tiles."""
        folder = self.files[0].parent
        plain = len(os.listdir(folder)) == len(self.files)  # thousands of tiles: do not look for sidecars one by one
        files = self.files if plain else [part for file in self.files for part in data_files(file)]
        return files_digest(files, self.tiles)

    def _dataset(self, index: int) -> Any:
        state = self._local.__dict__
        if state.get("process") != os.getpid():  # handles inherited through fork share file offsets with the parent
            state["process"], state["handles"] = os.getpid(), OrderedDict()
        handles: OrderedDict[int, Any] = state["handles"]
        if index in handles:
            handles.move_to_end(index)
            return handles[index]
        dataset = open_raster(self.files[index])
        problem = tile_problem(self, dataset, self.files[index])
        if problem:
            raise DataError(problem)
        handles[index] = dataset
        if len(handles) > _OPEN_FILES:
            handles.popitem(last=False)[1].close()
        return dataset


def tile_problem(mosaic: TileMosaic, dataset: Any, file: Path) -> str | None:
    """Return how an open tile differs from the mosaic; None if it does not."""
    t = mosaic.tiles.tile_px
    if (dataset.height, dataset.width) != (t, t):
        return f"{file} has {dataset.height} x {dataset.width} pixels, the other tiles {t} x {t}"
    if dataset.count != mosaic.count:
        return f"{file} has {dataset.count} bands, the other tiles {mosaic.count}"
    if not np.can_cast(np.result_type(*dataset.dtypes), mosaic.dtype, "same_kind"):
        return f"{file} has type {dataset.dtypes[0]}, the other tiles {mosaic.dtype}"
    return None


@dataclass(frozen=True)
class OrderEvidence:
    """The confirmed order (``tiles``) and its evidence: ``agreement`` of overlaps (0..1) or edge ``contrast``.

    ``contrast`` is the step across tile edges relative to the step between neighboring rows inside tiles (1 = continuous).
    Both are None if nothing could be tested (constant images). Then ``tiles`` is the first candidate.
    """

    tiles: TileGrid
    agreement: float | None = None
    contrast: float | None = None
    pairs: int = 0

    @property
    def text(self) -> str:
        """Return the evidence as text."""
        where = "down the columns" if self.tiles.order == "columns" else "along the rows"
        if self.agreement is not None:
            return f"tiles are numbered {where}: {self.pairs} overlaps agree in {self.agreement:.2%} of their pixels"
        if self.contrast is not None:
            return f"tiles are numbered {where}: over {self.pairs} edges the step is {self.contrast:.2f} times normal"
        return f"tiles are assumed to be numbered {where}: without overlap or texture the order cannot be tested"


def find_order(
    read_tile: Callable[[int], np.ndarray], candidates: Sequence[TileGrid], where: str, *, pairs: int = 24
) -> OrderEvidence:
    """Return the candidate tiling that matches the tiles, tested on up to ``pairs`` pairs of neighbors each.

    ``read_tile(N)`` returns [C, t, t]. Raises DataError, with the test results, if no candidate matches.
    """
    tested = [(tiles, *_agreement(read_tile, tiles, pairs)) for tiles in candidates]
    if any(count for _, _, count in tested):
        best = max((entry for entry in tested if entry[2]), key=lambda entry: entry[1])
        if best[1] >= 0.999:
            return OrderEvidence(best[0], agreement=best[1], pairs=best[2])
        results = "; ".join(
            f"numbered by {tiles.order} over {tiles.height} x {tiles.width} px {agreement:.1%} of overlapping pixels agree"
            for tiles, agreement, count in tested
            if count
        )
        raise DataError(
            f"{where}: the tiles contradict the window rule ({results}), so they cannot be assembled; {_ONE_BY_ONE}"
        )
    edges = [(tiles, *_contrast(read_tile, tiles, pairs)) for tiles in candidates]
    edges = sorted((entry for entry in edges if entry[2]), key=lambda entry: entry[1])
    if not edges:
        return OrderEvidence(candidates[0])
    tiles, contrast, count = edges[0]
    rivals = [other for grid, other, _ in edges[1:] if list(grid.windows()) != list(tiles.windows())]
    if contrast > 2.0 or any(other < 1.2 * contrast for other in rivals):
        results = "; ".join(f"numbered by {grid.order} {value:.2f} times" for grid, value, _ in edges)
        raise DataError(
            f"{where}: the image is not continuous across tile edges (step across edges relative to the normal step: "
            f"{results}); the order of the tiles is unknown, so they cannot be assembled; {_ONE_BY_ONE}"
        )
    return OrderEvidence(tiles, contrast=contrast, pairs=count)


def _evenly_spaced(pairs: Iterable[Any], count: int) -> list[Any]:
    listed = list(pairs)
    return [listed[i] for i in np.unique(np.linspace(0, len(listed) - 1, count).astype(int))] if listed else []


def _agreement(read_tile: Callable[[int], np.ndarray], tiles: TileGrid, pairs: int) -> tuple[float, int]:
    """Return the fraction of equal pixels in the overlaps of neighbors, and the number of overlaps with texture."""
    overlapping = [(a, b) for a, b in tiles.neighbors() if not tiles.place(*a).intersect(tiles.place(*b)).is_empty]
    equal = total = used = 0
    for a, b in _evenly_spaced(overlapping, pairs):
        common = tiles.place(*a).intersect(tiles.place(*b))
        parts = []
        for place in (a, b):
            origin = tiles.place(*place)
            rows, cols = common.shift(-origin.row, -origin.col).slices
            parts.append(np.nan_to_num(read_tile(tiles.index(*place))[:, rows, cols]))
        if all((part == part[:, :1, :1]).all() for part in parts):
            continue  # constant: equal under any order
        same = (parts[0] == parts[1]).all(axis=0)
        equal, total, used = equal + int(same.sum()), total + same.size, used + 1
    return (equal / total if total else 0.0), used


def _contrast(read_tile: Callable[[int], np.ndarray], tiles: TileGrid, pairs: int) -> tuple[float, int]:
    """Return the median over touching neighbors of (step across the edge) / (step inside the tiles)."""
    ratios = []
    touching = [(a, b) for a, b in tiles.neighbors() if tiles.place(*a).intersect(tiles.place(*b)).is_empty]
    for a, b in _evenly_spaced(touching, pairs):
        first, second = (np.nan_to_num(read_tile(tiles.index(*place)).astype(np.float64)) for place in (a, b))
        if a[0] == b[0]:  # side by side: transpose, so that the common edge is the last row and the first row
            first, second = first.swapaxes(1, 2), second.swapaxes(1, 2)
        inside = (np.abs(np.diff(first, axis=1)).mean() + np.abs(np.diff(second, axis=1)).mean()) / 2
        if inside > 0:
            ratios.append(np.abs(first[:, -1] - second[:, 0]).mean() / inside)
    return (float(np.median(ratios)) if ratios else 0.0), len(ratios)
