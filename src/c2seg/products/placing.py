"""From pixels of a target grid to native pixels: which native window a block of the target needs, and how GDAL is told."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from affine import Affine
from rasterio.crs import CRS
from rasterio.transform import GCPTransformer, RPCTransformer
from rasterio.warp import transform

from c2seg.errors import GridError
from c2seg.products.native import ControlPoints, Placement
from c2seg.raster import GDAL_ERRORS
from c2seg.types import Grid, Window

__all__ = ["native_window", "offset_of", "placed_at", "same_pixels"]

_DEGREES = "EPSG:4326"
_LATTICE = 9
"""Points along each side of a block at which the mapping to native pixels is evaluated."""
_SAME_PX = 1e-3
"""Of a native pixel: what differs by less is the same pixel."""


def native_window(place: Placement, target: Grid, margin_px: int = 4) -> tuple[Window, float] | None:
    """Return the native window that a target grid needs, and native pixels for each target pixel along a side.

    The window has a margin for kernels and lies inside the native raster. None if there is no overlap.
    """
    rows, cols = np.meshgrid(*(np.linspace(0, side, _LATTICE) for side in (target.height, target.width)), indexing="ij")
    r, c = _native_pixels(place, target, rows.ravel(), cols.ravel())
    good = np.isfinite(r) & np.isfinite(c)
    if not good.any():
        return None
    ratio = _ratio(r.reshape(rows.shape), c.reshape(rows.shape), target)
    margin = margin_px + math.ceil(2 * ratio)
    if not isinstance(place, Grid):  # bent: what lies between the points of the lattice is less certain
        margin += math.ceil(0.02 * max(np.ptp(r[good]), np.ptp(c[good])))
    top, west = math.floor(r[good].min()) - margin, math.floor(c[good].min()) - margin
    bottom, east = math.ceil(r[good].max()) + margin, math.ceil(c[good].max()) + margin
    window = Window(top, west, bottom - top, east - west).intersect(Window(0, 0, place.height, place.width))
    return None if window.is_empty else (window, ratio)


def same_pixels(place: Placement, target: Grid) -> tuple[int, int] | None:
    """Return row and column of the native pixel that the target's first pixel is, if pixels coincide; None otherwise."""
    return offset_of(place, target, 1)


def offset_of(place: Placement, target: Grid, ratio: int) -> tuple[int, int] | None:
    """Return the native row and column where the target begins, if its pixels are blocks of ``ratio`` native pixels a side."""
    if not isinstance(place, Grid) or place.crs is None or target.crs is None:
        return None
    relation = ~place.transform @ target.transform
    span = max(target.height, target.width)
    if max(abs(relation.a - ratio), abs(relation.e - ratio), abs(relation.b), abs(relation.d)) * span > _SAME_PX:
        return None
    row, col = round(relation.f), round(relation.c)
    if max(abs(relation.f - row), abs(relation.c - col)) > _SAME_PX:
        return None
    same = place.crs == target.crs or CRS.from_wkt(place.crs) == CRS.from_wkt(target.crs)
    return (row, col) if same else None


def placed_at(place: Placement, window: Window) -> dict[str, Any]:
    """Return what tells ``rasterio.warp.reproject`` where the pixels of a native window lie."""
    if isinstance(place, Grid):
        return {"src_transform": place.crop(window).transform, "src_crs": CRS.from_wkt(str(place.crs))}
    if isinstance(place, ControlPoints):
        how = {"SRC_METHOD": "GCP_TPS"} if place.splines else {}
        return {"gcps": place.shifted(window.row, window.col), "src_crs": CRS.from_user_input(place.crs), **how}
    height = {"RPC_DEM": str(place.dem)} if place.dem else {"RPC_HEIGHT": str(place.height_m)}
    return {"rpcs": place.shifted(window.row, window.col), "src_crs": CRS.from_user_input(_DEGREES), **height}


def _native_pixels(place: Placement, target: Grid, rows: np.ndarray, cols: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return native rows and columns (pixel corners are whole numbers) of points of the target."""
    a, b, c, d, e, f = target.transform[:6]
    crs = place.crs if isinstance(place, Grid | ControlPoints) else _DEGREES
    x, y = _transformed(a * cols + b * rows + c, d * cols + e * rows + f, target.crs, crs)
    if isinstance(place, Grid):
        inverse: Affine = ~place.transform
        return inverse.d * x + inverse.e * y + inverse.f, inverse.a * x + inverse.b * y + inverse.c
    x, y = np.where(np.isfinite(x), x, 0), np.where(np.isfinite(y), y, 0)
    if isinstance(place, ControlPoints):
        with GCPTransformer(place.shifted(0, 0), tps=place.splines) as transformer:
            pixels = transformer.rowcol(x.tolist(), y.tolist(), op=float)
    else:
        options = {"RPC_DEM": str(place.dem)} if place.dem else {"RPC_HEIGHT": str(place.height_m)}
        with RPCTransformer(place.rpc, **options) as transformer:
            pixels = transformer.rowcol(x.tolist(), y.tolist(), op=float)
    return np.asarray(pixels[0], float), np.asarray(pixels[1], float)


def _transformed(x: np.ndarray, y: np.ndarray, source: str | None, target: str | None) -> tuple[np.ndarray, np.ndarray]:
    if source == target:
        return x, y
    if source is None or target is None:
        raise GridError("a raster without CRS cannot be warped; assign one (gdal_edit.py -a_srs EPSG:...)")
    crs = CRS.from_user_input(source), CRS.from_user_input(target)
    try:
        xs, ys = transform(*crs, x.tolist(), y.tolist())
    except GDAL_ERRORS:  # a point is outside of the domain of a CRS: the others count
        points = [_one(crs, a, b) for a, b in zip(x.tolist(), y.tolist(), strict=True)]
        xs, ys = zip(*points, strict=True)
    return np.asarray(xs), np.asarray(ys)


def _one(crs: tuple[CRS, CRS], x: float, y: float) -> tuple[float, float]:
    """Transform a point; infinite where it cannot be."""
    try:
        xs, ys = transform(*crs, [x], [y])
    except GDAL_ERRORS:
        return math.inf, math.inf
    return float(xs[0]), float(ys[0])


def _ratio(rows: np.ndarray, cols: np.ndarray, target: Grid) -> float:
    """Return native pixels for each target pixel along a side, from the lattice; 1 where it is not finite."""
    step_row, step_col = target.height / (_LATTICE - 1), target.width / (_LATTICE - 1)
    down = np.hypot(np.diff(rows, axis=0), np.diff(cols, axis=0)) / step_row
    right = np.hypot(np.diff(rows, axis=1), np.diff(cols, axis=1)) / step_col
    steps = np.concatenate([down.ravel(), right.ravel()])
    steps = steps[np.isfinite(steps)]
    return float(np.median(steps)) if steps.size else 1.0
