"""Write small rasters for tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from rasterio.crs import CRS


def write_raster(path: Path, array: np.ndarray, *, resolution=10.0, origin=(5e5, 5e6), crs=32633, nodata=None) -> Path:
    """Write [C, H, W] as a GeoTIFF."""
    path.parent.mkdir(parents=True, exist_ok=True)
    transform = Affine(resolution, 0, origin[0], 0, -resolution, origin[1])
    with rasterio.open(
        path, "w", driver="GTiff", count=array.shape[0], height=array.shape[1], width=array.shape[2],
        dtype=array.dtype, transform=transform, crs=CRS.from_epsg(crs) if crs else None, nodata=nodata,
    ) as dataset:  # fmt: skip
        dataset.write(array)
    return path
