"""Masks of products as areas to exclude, dilated in native pixels."""

from __future__ import annotations

import math

import numpy as np
from scipy import ndimage

from c2seg.products.native import NativeMask
from c2seg.types import Grid, Window

__all__ = ["excluded"]

_METERS_PER_DEGREE = 111_195.0


def excluded(mask: NativeMask, window: Window) -> np.ndarray:
    """Return where a mask excludes native pixels of a window, bool [H, W], dilated by a disk of ``margin_m``."""
    radius = _radius_px(mask)
    around = window.expand(math.ceil(radius)).intersect(Window(0, 0, mask.place.height, mask.place.width))
    codes = mask.source.read([mask.index], around)[0]
    hit = np.isin(codes, mask.exclude)
    grows = hit if mask.dilate is None else np.isin(codes, mask.dilate)
    if mask.bits:
        flagged = (codes.astype(np.int64) & mask.bits) != 0
        hit, grows = hit | flagged, grows | flagged
    if radius > 0 and grows.any():
        hit |= ndimage.distance_transform_edt(~grows) <= radius
    rows, cols = window.shift(-around.row, -around.col).slices
    result: np.ndarray = hit[rows, cols]
    return result


def _radius_px(mask: NativeMask) -> float:
    """Return the margin in native pixels."""
    if mask.margin_m <= 0:
        return 0.0
    if not isinstance(mask.place, Grid):
        return mask.margin_m / 10.0  # placed approximately: as if pixels had 10 m
    side = min(mask.place.resolution_xy)
    geographic = mask.place.crs is not None and _is_geographic(mask.place.crs)
    return mask.margin_m / (side * (_METERS_PER_DEGREE if geographic else 1.0))


def _is_geographic(wkt: str) -> bool:
    from rasterio.crs import CRS

    return bool(CRS.from_wkt(wkt).is_geographic)
