"""Which class the map has at a point, by the terms of the sample: a minimum mapping unit, a positional tolerance.

Areas smaller than the minimum mapping unit count to the class that surrounds them most. Within the positional tolerance the map
is right if it has the reference class there: the point then counts as mapped so, its reference stays, and estimated areas do
not depend on the tolerance. Without both, it is the class of the pixel.

Axes: n point, H row, W column.
"""

from __future__ import annotations

import math

import numpy as np

from c2seg.legend import BACKGROUND
from c2seg.types import Window
from c2seg.verify.classmap import ClassMap

__all__ = ["mapped_ids", "tolerance_px"]


def tolerance_px(class_map: ClassMap, tolerance_m: float | None) -> float:
    """Return a tolerance in meters as pixels of a map; without a CRS a pixel's side is taken from the transform."""
    if not tolerance_m:
        return 0.0
    side = class_map.grid.pixel_side_m() or float(np.prod(class_map.grid.resolution_xy)) ** 0.5
    return tolerance_m / side


def mapped_ids(
    class_map: ClassMap,
    rows: np.ndarray,
    cols: np.ndarray,
    reference: np.ndarray,
    *,
    min_unit_px: int | None = None,
    tolerance: float = 0.0,
) -> np.ndarray:
    """Return the ids uint8 [n] that the map has at points; 0 where it has none.

    ``reference`` uint8 [n] are the labels, for the ``tolerance`` in pixels.
    """
    ids = class_map.ids_at(rows, cols)
    if not tolerance and (min_unit_px or 0) <= 1:
        return ids
    for index in range(len(rows)):
        if ids[index] != BACKGROUND:
            ids[index] = _by_terms(
                class_map, int(rows[index]), int(cols[index]), reference[index], min_unit_px, tolerance
            )
    return ids


def _by_terms(
    class_map: ClassMap, row: int, col: int, reference: np.uint8, min_unit_px: int | None, tolerance: float
) -> np.uint8:
    unit = min_unit_px or 1
    reach = max(unit, math.ceil(tolerance)) + 1
    window = Window(row - reach, col - reach, 2 * reach + 1, 2 * reach + 1).intersect(class_map.grid.window)
    ids = class_map.read_ids(window)
    row, col = row - window.row, col - window.col
    if tolerance:
        lines, columns = np.ogrid[: window.height, : window.width]
        near = (lines - row) ** 2 + (columns - col) ** 2 <= tolerance**2
        if (ids[near] == reference).any():
            return reference
    return _surrounding(ids, row, col, unit) if unit > 1 else np.uint8(ids[row, col])


def _surrounding(ids: np.ndarray, row: int, col: int, unit: int) -> np.uint8:
    """Return the class of a pixel, or what surrounds its area most if that has fewer than ``unit`` pixels (4-connected)."""
    from scipy.ndimage import binary_dilation, label

    parts, _ = label(ids == ids[row, col])
    area = parts == parts[row, col]
    if area.sum() >= unit:
        return np.uint8(ids[row, col])
    around = ids[binary_dilation(area) & ~area]
    around = around[around != BACKGROUND]
    return np.uint8(np.bincount(around).argmax()) if around.size else np.uint8(ids[row, col])
