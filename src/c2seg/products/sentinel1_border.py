"""Invalid pixels along the edges of Sentinel-1 GRD images of processors before IPF 2.90.

These images have dark noise where there is no data, in place of zeros. A real pixel holds at least the thermal noise of the
tables, so that means of DN^2 below half of it cannot be data: such cells of 32 pixels are invalid where they form an unbroken
run from an edge. Up to 32 pixels of data beyond the run go, too. Later processors write zeros, which need no search.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from c2seg.products.sentinel1_calibration import Noise
from c2seg.types import Window

__all__ = ["FIRST_CLEAN_IPF", "Border", "find_border"]

FIRST_CLEAN_IPF = 2.90
_CELL = 32
_MOST_CELLS = 100
"""A border is at most this many cells wide."""
_SHARE = 0.5


@dataclass(frozen=True, eq=False)
class Border:
    """First and last + 1 valid pixel of each line [lines], and first and last + 1 valid line of each pixel [pixels]."""

    first_pixel: np.ndarray
    last_pixel: np.ndarray
    first_line: np.ndarray
    last_line: np.ndarray

    def inside(self, window: Window) -> np.ndarray:
        """Return whether pixels of a window lie inside the border, bool [H, W]."""
        lines, pixels = np.arange(window.row, window.row_end), np.arange(window.col, window.col_end)
        rows, cols = window.slices
        along = (pixels >= self.first_pixel[rows, None]) & (pixels < self.last_pixel[rows, None])
        across = (lines[:, None] >= self.first_line[cols]) & (lines[:, None] < self.last_line[cols])
        result: np.ndarray = along & across
        return result


def find_border(read: Callable[[Window], np.ndarray], noise: Noise, lines: int, pixels: int) -> Border:
    """Return the border of an image. It is read once, 512 lines at a time; ``read`` returns DN [H, W] of a window."""
    dark_lines, sums = [], []
    for row in range(0, lines, 16 * _CELL):
        window = Window(row, 0, min(16 * _CELL, lines - row), pixels)
        ratio = _cells(read(window).astype(np.float32) ** 2) / np.maximum(_cells(noise.read(window)), 1e-9)
        dark_lines.append(ratio < _SHARE)
        sums.append(_cell_rows(ratio) < _SHARE)
    by_line = np.concatenate(dark_lines)
    by_cell = np.concatenate(sums).T  # [cells along range, cells along azimuth]
    first_line, last_line = _edges(by_cell, lines)
    return Border(*_edges(by_line, pixels), _each_pixel(first_line, pixels), _each_pixel(last_line, pixels))


def _edges(dark: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the first and last + 1 valid pixel of rows of cells [N, cells] of which dark ones at the ends are invalid."""
    starts, ends = _run(dark), _run(dark[:, ::-1])
    first = np.where(starts > 0, (starts + 1) * _CELL, 0)
    tail = length - (dark.shape[1] - 1) * _CELL  # the last cell may be narrower
    last = np.where(ends > 0, length - tail - ends * _CELL, length)
    return first, np.maximum(last, 0)


def _run(dark: np.ndarray) -> np.ndarray:
    """Return the length of the dark run at the start of each row [N], at most ``_MOST_CELLS``."""
    part = dark[:, :_MOST_CELLS]
    run: np.ndarray = np.where(part.all(axis=1), part.shape[1], np.argmin(part, axis=1))
    return run


def _cells(values: np.ndarray) -> np.ndarray:
    """Return means of 32 pixels along lines, [H, cells]; the last cell may be narrower."""
    starts = np.arange(0, values.shape[1], _CELL)
    sizes = np.diff(np.append(starts, values.shape[1]))
    means: np.ndarray = np.add.reduceat(values, starts, axis=1, dtype=np.float64) / sizes
    return means


def _cell_rows(values: np.ndarray) -> np.ndarray:
    """Return means of 32 lines, [cells, W]."""
    return _cells(np.ascontiguousarray(values.T)).T


def _each_pixel(values: np.ndarray, pixels: int) -> np.ndarray:
    return np.repeat(values, _CELL)[:pixels]
