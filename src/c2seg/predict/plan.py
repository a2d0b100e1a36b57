"""Where the windows of a map lie, and which rows are finished when."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from c2seg.data import Scene
from c2seg.errors import InputError
from c2seg.recipes.schema import Prediction
from c2seg.types import Window

__all__ = ["WindowPlan", "suitable_plan", "taper", "window_plan"]


@dataclass(frozen=True, slots=True)
class WindowPlan:
    """Windows of ``window_px`` over a raster, neighbors sharing at least ``overlap_px``.

    Offsets are multiples of ``snap_px`` (a grid ratio or a network's stride). The last window of a row or column is
    moved back inside the raster as far as ``snap_px`` allows, else it overhangs by less than ``snap_px``. A raster smaller
    than a window gets one window of its own size, rounded up to ``snap_px``.
    """

    height: int
    width: int
    window_px: int
    overlap_px: int = 0
    snap_px: int = 1

    def __post_init__(self) -> None:
        if self.window_px % self.snap_px or self.window_px < self.snap_px:
            raise InputError(f"the window ({self.window_px} px) must be a multiple of {self.snap_px} px")
        if not 0 <= self.overlap_px < self.window_px or self._step < 1:
            raise InputError(
                f"the overlap ({self.overlap_px} px) leaves no step of {self.snap_px} px in windows of {self.window_px} px"
            )

    @property
    def _step(self) -> int:
        return (self.window_px - self.overlap_px) // self.snap_px * self.snap_px

    @property
    def rows(self) -> tuple[int, ...]:
        """First rows of the windows."""
        return self._offsets(self.height)

    @property
    def cols(self) -> tuple[int, ...]:
        """First columns of the windows."""
        return self._offsets(self.width)

    @property
    def window_hw(self) -> tuple[int, int]:
        """Height and width of every window."""
        return self._size(self.height), self._size(self.width)

    @property
    def strips(self) -> tuple[tuple[int, int], ...]:
        """First and last-plus-one row that are finished by each row of windows."""
        rows = self.rows
        return tuple(zip(rows, (*rows[1:], self.height), strict=True))

    def windows(self, row_index: int) -> tuple[Window, ...]:
        """Return the windows of one row of windows, from left to right."""
        height, width = self.window_hw
        return tuple(Window(self.rows[row_index], col, height, width) for col in self.cols)

    def first_row_for(self, strip: int) -> int:
        """Return the index of the first row of windows that reaches into a strip."""
        start = self.strips[strip][0]
        return next(index for index, row in enumerate(self.rows) if row + self.window_hw[0] > start)

    def weight_sums(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the sums of the taper over all windows by row [height] and by column [width], float32.

        The sum at a pixel is the product of both, since windows form a full grid.
        """
        sums = []
        for length, size, offsets in zip(
            (self.height, self.width), self.window_hw, (self.rows, self.cols), strict=True
        ):
            total = np.zeros(offsets[-1] + size, np.float32)
            for offset in offsets:
                total[offset : offset + size] += taper(size, self.overlap_px)
            sums.append(total[:length])
        return sums[0], sums[1]

    def _size(self, length: int) -> int:
        return min(self.window_px, -(-length // self.snap_px) * self.snap_px)

    def _offsets(self, length: int) -> tuple[int, ...]:
        size = self._size(length)
        last = -(-(length - size) // self.snap_px) * self.snap_px
        return (*range(0, last, self._step), last)


def taper(size: int, overlap_px: int) -> np.ndarray:
    """Return weights float32 [size] that rise linearly over the overlap at both ends; 1 without overlap.

    Positive everywhere, so that every pixel of a window counts.
    """
    if not overlap_px:
        return np.ones(size, np.float32)
    distance = np.minimum(np.arange(1, size + 1), np.arange(size, 0, -1))
    return np.minimum(1.0, distance / (min(overlap_px, size) + 1)).astype(np.float32)


def window_plan(scene: Scene, settings: Prediction, predictor: object) -> WindowPlan:
    """Return the windows of a predictor over a scene; offsets are multiples of its ``stride_px`` if it has one.

    Windows that are ``tiles`` lie where ``data.TileGrid`` has them, if the scene holds one. Others may be larger than the
    settings say, as in ``suitable_plan``. Raises InputError for tiles that are no multiple of the stride.
    """
    height, width = scene.grid.height, scene.grid.width
    if settings.windows == "tiles" and min(height, width) >= settings.window_px:
        return replace(WindowPlan(height, width, settings.window_px, settings.overlap, _stride(predictor)), snap_px=1)
    return suitable_plan(height, width, settings, predictor)


def suitable_plan(height: int, width: int, settings: Prediction, predictor: object) -> WindowPlan:
    """Return the windows over so many pixels, as large as the settings say, or as little larger as a predictor's stride asks.

    They are multiples of the stride, and a step of one stride fits beside their overlap.
    """
    snap = _stride(predictor)
    least = max(settings.window_px, settings.overlap + snap)
    return WindowPlan(height, width, -(-least // snap) * snap, settings.overlap, snap)


def _stride(predictor: object) -> int:
    return int(getattr(predictor, "stride_px", 1))
