"""Rasters as the world delivers them: masks, alpha, VRTs, ENVI headers, other placements."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from rasterio.errors import NotGeoreferencedWarning

NORTH_UP = Affine(10, 0, 600_000, 0, -10, 5_300_000)


def write_odd(
    path: Path, values, *, transform=NORTH_UP, crs="EPSG:32632", names=(), mask=None, internal=True, **profile
):
    """Write [C, H, W] with any driver; ``mask`` bool [H, W] becomes a mask band, inside the file or beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    settings = {
        "driver": "GTiff", "count": len(values), "height": values.shape[1], "width": values.shape[2],
        "dtype": values.dtype.name, "transform": transform, "crs": crs, **profile,
    }  # fmt: skip
    with warnings.catch_warnings(), rasterio.Env(GDAL_TIFF_INTERNAL_MASK=internal):
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path, "w", **settings) as dataset:
            dataset.write(values)
            for band, text in enumerate(names, 1):
                dataset.set_band_description(band, text)
        if mask is not None:
            with rasterio.open(path, "r+") as dataset:
                dataset.write_mask(mask)
    return path


def write_vrt(path: Path, source: str, shape: tuple[int, int, int], *, relative=True, dtype="UInt16", extra="") -> Path:
    """Write a VRT over the bands of one file."""
    bands, height, width = shape
    entries = "".join(
        f'<VRTRasterBand dataType="{dtype}" band="{band}">{extra}<SimpleSource>'
        f'<SourceFilename relativeToVRT="{int(relative)}">{source}</SourceFilename><SourceBand>{band}</SourceBand>'
        "</SimpleSource></VRTRasterBand>"
        for band in range(1, bands + 1)
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f'<VRTDataset rasterXSize="{width}" rasterYSize="{height}"><SRS>EPSG:32632</SRS>'
        f"<GeoTransform>600000,10,0,5300000,0,-10</GeoTransform>{entries}</VRTDataset>"
    )
    return path


def ramp(bands=3, height=20, width=30, dtype=np.uint16):
    """Return [C, H, W] in which all values differ."""
    return np.arange(bands * height * width, dtype=dtype).reshape(bands, height, width)
