"""Small rasters of class ids made by code."""

import warnings

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.errors import NotGeoreferencedWarning

UTM = "EPSG:32633"


@pytest.fixture
def write_raster(tmp_path):
    """Return a function that writes an array [H, W] as a raster below tmp_path; ``origin`` in pixels of ``step`` m."""

    def write(name, array, *, crs=UTM, origin=(0, 0), step=10.0, nodata=None, **profile):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        array = np.asarray(array)
        place = {}
        if crs is not None:
            place = {
                "crs": crs,
                "transform": Affine(step, 0, 400000 + 10 * origin[1], 0, -step, 5800000 - 10 * origin[0]),
            }
        driver = "PNG" if path.suffix == ".png" else "GTiff"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(
                path, "w", driver=driver, height=array.shape[0], width=array.shape[1], count=1, dtype=array.dtype,
                nodata=nodata, **place, **profile,
            ) as dataset:  # fmt: skip
                dataset.write(array, 1)
        return path

    return write


@pytest.fixture
def maps():
    """Ground truth (0, 1..13, 255) and prediction (0..13) of 90 x 70 pixels with structure."""
    rng = np.random.default_rng(7)
    reference = rng.choice(np.array([0, *range(1, 12), 255], np.uint8), (18, 14)).repeat(5, 0).repeat(5, 1)
    prediction = np.where(rng.random(reference.shape) < 0.6, reference, rng.integers(0, 14, reference.shape)).astype(
        np.uint8
    )
    prediction[prediction == 255] = 3
    return reference, prediction
