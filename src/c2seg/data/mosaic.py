"""Tiles put back on their city's grid: read the mosaic by window, prove that the assumed order of the tiles holds.

The order is not documented with the data, so it is never taken on trust: overlapping tiles must hold equal pixels, and
where no tiles overlap the image must run on across their edges.
"""

from __future__ import annotations

import hashlib
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
from c2seg.errors import DataError
from c2seg.raster.reading import file_fingerprint, open_raster
from c2seg.types import Window

__all__ = ["OrderEvidence", "TileMosaic", "find_order", "tile_problem"]

_OPEN_FILES = 64  # handles per thread; a patch of a tile's size touches at most 9 tiles


@dataclass(frozen=True)
class TileMosaic:
    """Tiles of one modality as a RasterSource of the whole city. Files are opened on first use, per thread.

    ``files[N]`` is tile N; ``count``, ``dtype`` and ``nodata`` are those of the tiles (taken from one of them).
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
        """Return [C, H, W] of a window inside the city. Raises DataError naming a tile that is damaged or differs."""
        values = np.empty((self.count, window.height, window.width), self.dtype)
        for (iy, ix), part in self.tiles.cover(window):
            place = self.tiles.place(iy, ix)
            rows, cols = part.shift(-window.row, -window.col).slices
            values[:, rows, cols] = self.read_tile(self.tiles.index(iy, ix), part.shift(-place.row, -place.col))
        return values

    def read_tile(self, index: int, part: Window | None = None) -> np.ndarray:
        """Return [C, h, w] of a tile, or of a part of it (tile coordinates)."""
        area = RasterioWindow(part.col, part.row, part.width, part.height) if part else None
        try:
            values: np.ndarray = self._dataset(index).read(window=area)
        except RasterioError as error:
            cause = " ".join(str(error.__cause__ or error).split())
            raise DataError(
                f"cannot read {self.files[index]}: truncated or damaged ({cause}); copy it again"
            ) from error
        return values

    def fingerprint(self) -> str:
        """Sizes of all tiles and sampled blocks of up to 16 of them."""
        try:
            sizes = [file.stat().st_size for file in self.files]
        except OSError as error:
            raise DataError(f"cannot read {error.filename}: {error.strerror}") from error
        digest = hashlib.sha256(repr((self.tiles, sizes)).encode())
        for index in np.unique(np.linspace(0, len(self.files) - 1, 16).astype(int)):
            digest.update(file_fingerprint(self.files[index]).encode())
        return digest.hexdigest()[:16]

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
    """Say how an open tile differs from what the mosaic expects; None if it does not."""
    t = mosaic.tiles.tile_px
    if (dataset.height, dataset.width) != (t, t):
        return f"{file} has {dataset.height} x {dataset.width} pixels, the other tiles {t} x {t}"
    if dataset.count != mosaic.count:
        return f"{file} has {dataset.count} bands, the other tiles {mosaic.count}"
    if not np.can_cast(np.result_type(*dataset.dtypes), mosaic.dtype, "same_kind"):
        return f"{file} holds {dataset.dtypes[0]}, the other tiles {mosaic.dtype}"
    return None


@dataclass(frozen=True)
class OrderEvidence:
    """The order that holds (``tiles``), and what speaks for it: ``agreement`` of overlaps (0..1) or edge ``contrast``.

    ``contrast`` is the step across tile edges in units of the step between neighboring rows inside tiles (1 = runs on).
    Both are None when nothing could be tested (flat images); then ``tiles`` is the first candidate.
    """

    tiles: TileGrid
    agreement: float | None = None
    contrast: float | None = None
    pairs: int = 0

    @property
    def text(self) -> str:
        """Say it in words."""
        where = "down the columns" if self.tiles.order == "columns" else "along the rows"
        if self.agreement is not None:
            return f"tiles are numbered {where}: {self.pairs} overlaps agree in {self.agreement:.2%} of their pixels"
        if self.contrast is not None:
            return f"tiles are numbered {where}: over {self.pairs} edges the step is {self.contrast:.2f} times normal"
        return f"tiles are taken as numbered {where}: without overlap or texture the order cannot be tested"


def find_order(
    read_tile: Callable[[int], np.ndarray], candidates: Sequence[TileGrid], where: str, *, pairs: int = 24
) -> OrderEvidence:
    """Return which of the candidate tilings the tiles obey, from up to ``pairs`` pairs of neighbors each.

    ``read_tile(N)`` returns [C, t, t]. Raises DataError, with the numbers found, when none holds.
    """
    tested = [(tiles, *_agreement(read_tile, tiles, pairs)) for tiles in candidates]
    if any(count for _, _, count in tested):
        best = max((entry for entry in tested if entry[2]), key=lambda entry: entry[1])
        if best[1] >= 0.999:
            return OrderEvidence(best[0], agreement=best[1], pairs=best[2])
        found = "; ".join(
            f"numbered by {tiles.order} over {tiles.height} x {tiles.width} px {agreement:.1%} of overlapping pixels agree"
            for tiles, agreement, count in tested
            if count
        )
        raise DataError(f"{where}: the tiles do not lie as the window rule says ({found}); they cannot be put together")
    edges = [(tiles, *_contrast(read_tile, tiles, pairs)) for tiles in candidates]
    edges = sorted((entry for entry in edges if entry[2]), key=lambda entry: entry[1])
    if not edges:
        return OrderEvidence(candidates[0])
    tiles, contrast, count = edges[0]
    rivals = [other for grid, other, _ in edges[1:] if list(grid.windows()) != list(tiles.windows())]
    if contrast > 2.0 or any(other < 1.2 * contrast for other in rivals):
        found = "; ".join(f"numbered by {grid.order} {value:.2f} times" for grid, value, _ in edges)
        raise DataError(
            f"{where}: the image does not run on across the edges of its tiles (step across edges against the normal "
            f"step, {found}); the order of the tiles is unknown, so they cannot be put together"
        )
    return OrderEvidence(tiles, contrast=contrast, pairs=count)


def _spread(pairs: Iterable[Any], count: int) -> list[Any]:
    every = list(pairs)
    return [every[i] for i in np.unique(np.linspace(0, len(every) - 1, count).astype(int))] if every else []


def _agreement(read_tile: Callable[[int], np.ndarray], tiles: TileGrid, pairs: int) -> tuple[float, int]:
    """Return the share of equal pixels in the overlaps of neighbors, and the number of overlaps with texture."""
    overlapping = [(a, b) for a, b in tiles.neighbors() if not tiles.place(*a).intersect(tiles.place(*b)).is_empty]
    equal = total = used = 0
    for a, b in _spread(overlapping, pairs):
        common = tiles.place(*a).intersect(tiles.place(*b))
        parts = []
        for place in (a, b):
            origin = tiles.place(*place)
            rows, cols = common.shift(-origin.row, -origin.col).slices
            parts.append(np.nan_to_num(read_tile(tiles.index(*place))[:, rows, cols]))
        if all((part == part[:, :1, :1]).all() for part in parts):
            continue  # nothing but fill: agrees under any order
        same = (parts[0] == parts[1]).all(axis=0)
        equal, total, used = equal + int(same.sum()), total + same.size, used + 1
    return (equal / total if total else 0.0), used


def _contrast(read_tile: Callable[[int], np.ndarray], tiles: TileGrid, pairs: int) -> tuple[float, int]:
    """Return the median over touching neighbors of (step across the edge) / (step inside the tiles)."""
    ratios = []
    touching = [(a, b) for a, b in tiles.neighbors() if tiles.place(*a).intersect(tiles.place(*b)).is_empty]
    for a, b in _spread(touching, pairs):
        first, second = (np.nan_to_num(read_tile(tiles.index(*place)).astype(np.float64)) for place in (a, b))
        if a[0] == b[0]:  # side by side: turn, so that the common edge is the last row and the first row
            first, second = first.swapaxes(1, 2), second.swapaxes(1, 2)
        inside = (np.abs(np.diff(first, axis=1)).mean() + np.abs(np.diff(second, axis=1)).mean()) / 2
        if inside > 0:
            ratios.append(np.abs(first[:, -1] - second[:, 0]).mean() / inside)
    return (float(np.median(ratios)) if ratios else 0.0), len(ratios)
