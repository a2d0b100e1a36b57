"""A small test set, honest submissions for it, and one decoder for all tests."""

import numpy as np
import pytest
import rasterio

from c2seg.challenge import Decoder, TileSet
from c2seg.legend import c2seg13
from helpers.submission_makers import tiff

SIZES = {0: (32, 32), 1: (32, 32), 2: (20, 32)}


@pytest.fixture
def tile_set():
    return TileSet(SIZES, c2seg13().ids)


@pytest.fixture
def tiles():
    rng = np.random.default_rng(0)
    return {n: rng.integers(0, 14, size, dtype=np.uint8) for n, size in SIZES.items()}


@pytest.fixture
def files(tiles):
    return {f"{n}_prediction.tif": tiff(pixels) for n, pixels in tiles.items()}


@pytest.fixture(scope="session")
def decoder():
    with Decoder() as shared:
        yield shared


@pytest.fixture
def write_map(tmp_path):
    """Return a function that writes class ids [H, W] as a georeferenced raster."""

    def write(name, array):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with rasterio.open(
            path, "w", driver="GTiff", height=array.shape[0], width=array.shape[1], count=1, dtype=array.dtype,
            crs="EPSG:32633", transform=rasterio.Affine(10, 0, 4e5, 0, -10, 5.8e6),
        ) as dataset:  # fmt: skip
            dataset.write(array, 1)
        return path

    return write
