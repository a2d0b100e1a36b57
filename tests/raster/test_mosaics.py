"""Mosaics of class maps: every pixel in its place, gaps without data, one mosaic for each grid."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
from affine import Affine

from c2seg.errors import GridError
from c2seg.raster.mosaics import mosaic_groups, mosaic_text


def write(path, ids, west, north, crs="EPSG:32632", pixel=10.0):
    path.parent.mkdir(exist_ok=True)
    with rasterio.open(
        path, "w", driver="GTiff", count=1, height=ids.shape[0], width=ids.shape[1], dtype="uint8", nodata=0, crs=crs,
        transform=Affine(pixel, 0, west, 0, -pixel, north),
    ) as dataset:  # fmt: skip
        dataset.write(ids[None])
    return path


@pytest.fixture
def maps(tmp_path):
    rng = np.random.default_rng(0)
    a, b = (rng.integers(1, 14, shape).astype(np.uint8) for shape in ((20, 30), (25, 15)))
    b[:5] = 0
    return (a, write(tmp_path / "maps" / "a.tif", a, 600000, 5300000)), (
        b, write(tmp_path / "maps" / "b.tif", b, 599900, 5299900)
    )  # fmt: skip


def test_every_pixel_is_in_its_place(maps, tmp_path):
    (a, first), (b, second) = maps
    index = tmp_path / "index.vrt"
    index.write_text(mosaic_text([first, second], tmp_path))
    expected = np.zeros((35, 40), np.uint8)
    expected[:20, 10:] = a
    np.copyto(expected[10:, :15], b, where=b != 0)
    with rasterio.open(index) as dataset:
        assert (dataset.read(1) == expected).all()
        assert dataset.nodata == 0
        assert dataset.bounds.left == 599900
        assert dataset.bounds.top == 5300000
        assert dataset.crs == "EPSG:32632"
    (tmp_path / "maps").rename(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").rename(tmp_path / "maps")
    assert str(tmp_path) not in index.read_text()


def test_one_group_for_each_grid(maps, tmp_path):
    (_, first), (_, second) = maps
    ids = np.ones((4, 4), np.uint8)
    shifted = write(tmp_path / "maps" / "shifted.tif", ids, 600004, 5300000)
    coarse = write(tmp_path / "maps" / "coarse.tif", ids, 600000, 5300000, pixel=20)
    zone = write(tmp_path / "maps" / "zone.tif", ids, 600000, 5300000, crs="EPSG:32633")
    files = [first, zone, shifted, second, coarse]
    assert mosaic_groups(files) == [[first, second], [zone], [shifted], [coarse]]
    with pytest.raises(GridError, match="not on the grid of"):
        mosaic_text(files, tmp_path)
