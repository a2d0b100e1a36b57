"""Smooth maps from a grid to pixels of another geometry, and values read at such pixels.

A sensor's geometry is costly to solve and smooth. It is solved at Chebyshev nodes of a patch of the grid, and between them it
is the polynomial through the nodes, whose error is far below a hundredth of a pixel for patches of some kilometers
(Trefethen, Approximation Theory and Approximation Practice, 2013, chapters 2 to 5). Results depend on the patch alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from rasterio.crs import CRS
from rasterio.warp import transform

from c2seg.types import Grid, Window

__all__ = ["Patch", "between_nodes", "block_around", "sample_bilinear"]

_CHUNK_ROWS = 32
"""Temporary arrays of 32 rows stay in the processor's cache."""


@dataclass(frozen=True)
class Patch:
    """A window of a grid with ``count`` x ``count`` nodes, from corner to corner."""

    grid: Grid
    window: Window
    count: int = 8

    @property
    def nodes_xy(self) -> tuple[np.ndarray, np.ndarray]:
        """Coordinates of the nodes in the grid's CRS, float64 [count, count] both, rows first."""
        share = _nodes(self.count)
        rows, cols = self.window.row + self.window.height * share, self.window.col + self.window.width * share
        a, b, c, d, e, f = self.grid.transform[:6]
        return a * cols + b * rows[:, None] + c, d * cols + e * rows[:, None] + f

    def nodes_in(self, crs: str | CRS) -> tuple[np.ndarray, np.ndarray]:
        """Coordinates of the nodes in another CRS, x (or longitude) and y (or latitude), infinite where there are none."""
        x, y = self.nodes_xy
        there = transform(CRS.from_wkt(self.grid.crs or ""), crs, x.ravel().tolist(), y.ravel().tolist())
        return np.array(there[0]).reshape(x.shape), np.array(there[1]).reshape(x.shape)

    def weights(self, window: Window) -> tuple[np.ndarray, np.ndarray]:
        """Return weights of the nodes for the pixel centers of a window inside the patch, float64 [H, count], [count, W]."""
        rows = (np.arange(window.row, window.row_end) + 0.5 - self.window.row) / self.window.height
        cols = (np.arange(window.col, window.col_end) + 0.5 - self.window.col) / self.window.width
        return _lagrange(rows, self.count), np.ascontiguousarray(_lagrange(cols, self.count).T)


def between_nodes(down: np.ndarray, nodes: np.ndarray, across: np.ndarray) -> np.ndarray:
    """Return values at pixels, float64 [H, W], of values at nodes [count, count]; weights are those of ``Patch.weights``.

    Some rows at a time: BLAS would share larger products among threads, whose number must not change the last digits.
    """
    rows = down @ nodes
    result = np.empty((len(down), across.shape[1]))
    for first in range(0, len(rows), _CHUNK_ROWS):
        np.matmul(rows[first : first + _CHUNK_ROWS], across, out=result[first : first + _CHUNK_ROWS])
    return result


def block_around(rows: np.ndarray, cols: np.ndarray, margin: int, height: int, width: int) -> Window:
    """Return the window of an image that bilinear values at ``rows`` and ``cols`` need, with a margin; NaN do not count."""
    if np.isnan(rows).all():
        return Window(0, 0, 0, 0)
    top, bottom = np.clip([np.nanmin(rows), np.nanmax(rows)], -2, height + 1)
    first, last = np.clip([np.nanmin(cols), np.nanmax(cols)], -2, width + 1)
    row, col = int(np.floor(top)) - margin, int(np.floor(first)) - margin
    window = Window(row, col, int(np.floor(bottom)) + 2 + margin - row, int(np.floor(last)) + 2 + margin - col)
    return window.intersect(Window(0, 0, height, width))


def sample_bilinear(values: np.ndarray, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
    """Return values, float32 [h, w], at fractional pixels [H, W]; whole numbers are pixel centers.

    The result is NaN where one of the four pixels around is NaN or outside, and where a coordinate is NaN. Each result depends
    on its four pixels alone.
    """
    padded = np.pad(np.asarray(values, np.float32), 1, constant_values=np.nan)
    flat, (height, width) = padded.ravel(), padded.shape
    result = np.empty(rows.shape, np.float32)
    for first in range(0, rows.shape[0], _CHUNK_ROWS):
        part = slice(first, first + _CHUNK_ROWS)
        # fmin and fmax turn NaN into a place on the padding.
        row = np.fmax(np.fmin(rows[part], height - 2.5), -1.0) + 1
        col = np.fmax(np.fmin(cols[part], width - 2.5), -1.0) + 1
        _bilinear(flat, width, row, col, result[part])
    return result


def _bilinear(flat: np.ndarray, width: int, rows: np.ndarray, cols: np.ndarray, out: np.ndarray) -> None:
    row, col = rows.astype(np.int32), cols.astype(np.int32)
    down, across = (rows - row).astype(np.float32), (cols - col).astype(np.float32)
    index = row * np.int32(width)
    index += col
    upper, right = flat.take(index), flat.take(index + 1)
    right -= upper
    right *= across
    upper += right
    index += width
    lower, right = flat.take(index), flat.take(index + 1)
    right -= lower
    right *= across
    lower += right
    lower -= upper
    lower *= down
    np.add(upper, lower, out=out)


def _nodes(count: int) -> np.ndarray:
    """Return Chebyshev points of the second kind on 0..1, in rising order."""
    nodes: np.ndarray = (1 - np.cos(np.pi * np.arange(count) / (count - 1))) / 2
    return nodes


def _lagrange(places: np.ndarray, count: int) -> np.ndarray:
    """Return values of the polynomials that are 1 at one node and 0 at the others, [N, count], by the barycentric formula."""
    weights = (-1.0) ** np.arange(count)
    weights[[0, -1]] /= 2
    distance = places[:, None] - _nodes(count)
    distance = np.where(distance == 0, 1e-300, distance)
    terms = weights / distance
    result: np.ndarray = terms / terms.sum(axis=1, keepdims=True)
    return result
