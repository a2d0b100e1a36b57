"""Small rasters as products, for tests of ``prepare``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from scipy.ndimage import gaussian_filter

from c2seg.types import Grid

__all__ = ["grid_of", "pattern", "write_raster"]


def write_raster(path: Path, values: np.ndarray, grid: Grid, *, names=(), scale=None, offset=None, **profile) -> Path:
    """Write [C, H, W] as a GeoTIFF with small tiles."""
    profile = {
        "driver": "GTiff", "height": values.shape[1], "width": values.shape[2], "count": len(values), "dtype": values.dtype,
        "transform": grid.transform, "crs": grid.crs, "tiled": True, "blockxsize": 128, "blockysize": 128,
    } | profile  # fmt: skip
    with rasterio.open(path, "w", **profile) as file:
        file.write(values)
        for number, name in enumerate(names, 1):
            file.set_band_description(number, name)
        if scale is not None:
            file.scales = (scale,) * len(values)
        if offset is not None:
            file.offsets = (offset,) * len(values)
    return path


def grid_of(side: int, pixel: float, west: float, north: float, epsg: int) -> Grid:
    """Return a square grid."""
    crs = rasterio.CRS.from_epsg(epsg).to_wkt()
    return Grid(side, side, Affine(pixel, 0, west, 0, -pixel, north), crs)


def pattern(side: int, bands: int = 4, seed: int = 0) -> np.ndarray:
    """Return smooth fields of digital numbers between 500 and 6000, uint16 [bands, side, side]."""
    rng = np.random.default_rng(seed)
    fields = gaussian_filter(rng.standard_normal((bands, side, side)), (0, 3, 3))
    return np.clip(fields / fields.std() * 600 + 3000, 500, 6000).astype(np.uint16)
