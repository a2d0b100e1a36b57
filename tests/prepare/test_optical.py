"""Sentinel-2, Landsat and single-band files become cities whose reflectance is that of numpy."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio

from c2seg import DataError, prepare_city
from c2seg.data import open_city
from c2seg.products.sentinel2_bands import DEFAULT_BANDS
from c2seg.types import Window
from helpers.prepare_make import grid_of, write_raster
from products.make_landsat import SIDE as LANDSAT_SIDE
from products.make_landsat import Landsat
from products.make_landsat import numbers as landsat_numbers
from products.make_sentinel2 import NATIVE, SIDE, Safe, numbers, zipped


def stored(city):
    """Return reflectance and validity of a prepared multispectral image."""
    with rasterio.open(city / "msi.tif") as file:
        values = file.read()
        return values * file.scales[0] + file.offsets[0], values[0] != file.nodata


def expected(bands, offset=-1000):
    """Return reflectance of the default bands on pixels of 10 m, by repeating coarser pixels."""
    layers = [np.kron(bands[name], np.ones((NATIVE[name] // 10,) * 2)) for name in DEFAULT_BANDS]
    return (np.stack(layers) + offset) / 10000


@pytest.mark.parametrize(("level", "baseline", "offset"), [("L2A", "05.09", -1000), ("L1C", "02.12", None)])
def test_a_city_of_a_sentinel_2_product(tmp_path, level, baseline, offset):
    bands = numbers()
    bands["B04"][:20, :20] = 0
    scl = np.full((SIDE // 2, SIDE // 2), 4, np.uint8)
    scl[30:40, 30:40] = 9
    safe = Safe(level, baseline, offset, bands=bands, scl=scl if level == "L2A" else None)
    path = zipped(safe.write(tmp_path), tmp_path / "s2.zip")
    prepare_city(tmp_path / "city", msi=path, kernel="nearest")
    values, valid = stored(tmp_path / "city")
    truth = np.ones((SIDE, SIDE), bool)
    truth[:20, :20] = False
    if level == "L2A":
        truth[60:80, 60:80] = False
    np.testing.assert_array_equal(valid, truth)
    np.testing.assert_allclose(values[:, valid], expected(bands, offset or 0)[:, valid], atol=1e-4)
    scene = open_city(tmp_path / "city").scenes[0]
    described = {band.name: band for band in scene.modality("msi").bands}
    assert tuple(described) == DEFAULT_BANDS
    assert (described["B08"].role, described["B08"].wavelength_nm, described["B08"].fwhm_nm) == ("nir", 640, 10)
    part = scene.read("msi", Window(75, 5, 1, 1))[0][:, 0, 0]
    np.testing.assert_allclose(part, expected(bands, offset or 0)[:, 75, 5], atol=1e-4)


def test_the_date_with_fewer_clouds_comes_first_in_best(tmp_path):
    first, second = numbers(1), numbers(2)
    scl = np.full((SIDE // 2, SIDE // 2), 4, np.uint8)
    scl[10:20, 10:20] = 8
    paths = [
        Safe(bands=first, cloud_percent=80).write(tmp_path),
        Safe(bands=second, scl=scl, cloud_percent=5, date="20220503").write(tmp_path),
    ]
    prepare_city(tmp_path / "city", msi=paths, composite="best", kernel="nearest")
    values, valid = stored(tmp_path / "city")
    assert valid.all()
    truth = expected(second)
    truth[:, 20:40, 20:40] = expected(first)[:, 20:40, 20:40]
    np.testing.assert_allclose(values, truth, atol=1e-4)


def test_clouds_over_everything_are_one_line(tmp_path):
    safe = Safe(scl=np.full((SIDE // 2, SIDE // 2), 9, np.uint8), bands={"B02": numbers()["B02"]})
    with pytest.raises(DataError, match="clouds or fill cover it"):
        prepare_city(tmp_path / "city", msi=safe.write(tmp_path), bands=("B02",))
    assert not list(tmp_path.glob("city/*"))


def test_a_city_of_a_landsat_product(tmp_path):
    bands = landsat_numbers()
    qa = np.zeros((LANDSAT_SIDE, LANDSAT_SIDE), np.uint16)
    qa[5:9, 5:9] = 1 << 3
    prepare_city(tmp_path / "city", msi=Landsat(bands=bands, qa_pixel=qa).write(tmp_path))
    values, valid = stored(tmp_path / "city")
    np.testing.assert_array_equal(valid, qa == 0)
    truth = np.stack(list(bands.values())) * 2.75e-5 - 0.2
    np.testing.assert_allclose(values[:, valid], truth[:, valid], atol=1e-4)


def test_a_city_of_single_band_files(tmp_path):
    folder = tmp_path / "files"
    folder.mkdir()
    grid = grid_of(SIDE, 10, 399960, 5800020, 32633)
    layers = {name: numbers(seed)["B02"] for seed, name in enumerate(("blue", "green", "red", "nir"))}
    for name, layer in layers.items():
        write_raster(folder / f"{name}.tif", layer[None], grid, scale=1e-4, offset=-0.1)
    prepare_city(tmp_path / "city", msi=folder)
    np.testing.assert_allclose(stored(tmp_path / "city")[0], np.stack(list(layers.values())) * 1e-4 - 0.1, atol=1e-4)
    bands = open_city(tmp_path / "city").scenes[0].modality("msi").bands
    assert [band.name for band in bands] == ["B02", "B03", "B04", "B08"]
