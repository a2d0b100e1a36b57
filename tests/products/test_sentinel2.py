"""Sentinel-2 products give reflectance, validity and facts of every baseline, level and way of delivery."""

from __future__ import annotations

import pickle
import shutil

import numpy as np
import pytest

from c2seg.errors import DataError, InputError
from c2seg.products import ProductOptions, open_product, sentinel2
from c2seg.products.sentinel2_bands import DEFAULT_BANDS, msi_name
from c2seg.types import Window
from products.make_sentinel2 import NATIVE, SIDE, Safe, cloud_gml, grid_at, numbers, write_jp2, zipped

OPEN = ProductOptions()
BLUE = ProductOptions(bands=("B02",))
GRID = grid_at()


def repeated(values, resolution):
    return np.kron(values, np.ones((resolution // 10,) * 2, values.dtype))


def at_native(product, band):
    """Reflectance of one band on its own native grid."""
    grid = grid_at(NATIVE[band])
    return product.warp(grid, grid.window)


@pytest.mark.parametrize(
    ("level", "baseline", "offset", "pack"),
    [
        ("L2A", "05.09", -1000, "folder"),
        ("L2A", "03.01", None, "folder"),
        ("L1C", "04.00", -1000, "zip"),
        ("L1C", "02.12", None, "folder"),
        ("L2A", "99.99", None, "folder"),
    ],
)
def test_reflectance_is_that_of_numpy_for_every_level_and_baseline(tmp_path, level, baseline, offset, pack):
    bands = numbers()
    path = Safe(level, baseline, offset, bands=bands).write(tmp_path)
    if pack == "zip":
        path = zipped(path, tmp_path / "product.zip")
    for band, values in bands.items():
        if band == "B10" and level == "L2A":
            continue
        product = pickle.loads(pickle.dumps(open_product(path, ProductOptions(bands=(band,)))))
        warped = at_native(product, band)
        assert warped.valid.all()
        np.testing.assert_allclose(warped.values[0], (values.astype(float) + (offset or 0)) / 10000, atol=1e-6)
    assert (product.facts.level, product.facts.sensor, product.facts.unit) == (level, "Sentinel-2B", "reflectance")
    assert product.facts.acquired.isoformat() == "2022-04-13T10:15:59+00:00"
    assert product.facts.processing["baseline"] == baseline
    assert product.facts.processing["cloud_percent"] == 12.5


def test_offsets_count_by_band_and_the_quantification_is_read(tmp_path):
    bands = numbers(1)
    offsets = {"B02": -500.0, "B8A": -1000.0}
    path = Safe(offset=offsets, quantification=20000, bands=bands).write(tmp_path)
    for band in ("B02", "B8A", "B04"):
        values = at_native(open_product(path, ProductOptions(bands=(band,))), band).values[0]
        np.testing.assert_allclose(values, (bands[band].astype(float) + offsets.get(band, 0)) / 20000, atol=1e-6)


def test_bands_of_10_and_20_m_share_one_grid_by_default(tmp_path):
    bands = numbers(2)
    product = open_product(Safe(bands=bands).write(tmp_path), ProductOptions(kernel="nearest"))
    assert tuple(band.name for band in product.bands) == DEFAULT_BANDS
    assert [band.role for band in product.bands if band.role] == ["blue", "green", "red", "nir"]
    assert product.resolution_m == 10
    warped = product.warp(GRID, GRID.window)
    for layer, name in zip(warped.values, DEFAULT_BANDS, strict=True):
        expected = (repeated(bands[name], NATIVE[name]).astype(float) - 1000) / 10000
        np.testing.assert_allclose(layer, expected, atol=1e-6)
    part = Window(30, 17, 40, 55)
    np.testing.assert_array_equal(product.warp(GRID, part).values, warped.values[:, *part.slices])


def test_wavelengths_and_widths_come_from_the_metadata_else_from_the_table(tmp_path):
    two = {band: values for band, values in numbers().items() if band in ("B02", "B12")}
    chosen = ProductOptions(bands=("B02", "B12"))
    stated = open_product(Safe(bands=two).write(tmp_path / "a"), chosen).bands
    assert (stated[0].wavelength_nm, stated[0].fwhm_nm) == (520, 10)
    assert stated[-1].wavelength_nm == 500 + 20 * 12
    table = open_product(Safe(responses=False, bands=two).write(tmp_path / "b"), chosen).bands
    assert (table[0].wavelength_nm, table[0].fwhm_nm) == (492.3, 65)


def test_zero_is_nodata_and_65535_is_saturated(tmp_path):
    bands = {"B03": numbers()["B03"]}
    bands["B03"][3, 4], bands["B03"][5, 6] = 0, 65535
    warped = at_native(open_product(Safe(bands=bands).write(tmp_path), ProductOptions(bands=("B03",))), "B03")
    assert set(zip(*np.nonzero(~warped.valid), strict=True)) == {(3, 4), (5, 6)}
    assert not warped.values[:, ~warped.valid].any()


def test_scene_classification_masks_clouds_with_a_margin(tmp_path):
    one = ("B05",)
    scl = np.full((SIDE // 2, SIDE // 2), 4, np.uint8)
    scl[2, 2], scl[2, 10], scl[20, 20], scl[20, 40], scl[40, 10], scl[40, 30] = 3, 1, 9, 11, 6, 2
    path = Safe(scl=scl, bands={"B05": numbers()["B05"]}).write(tmp_path)
    plain = open_product(path, ProductOptions(bands=one)).warp(GRID, GRID.window).valid
    np.testing.assert_array_equal(plain, ~repeated(np.isin(scl, [0, 1, 3, 8, 9, 10]).astype(np.uint8), 20).astype(bool))
    wide = open_product(path, ProductOptions(cloud_margin_m=40, bands=one)).warp(GRID, GRID.window).valid
    row, col = np.ogrid[: SIDE // 2, : SIDE // 2]
    disks = np.hypot(row - 2, col - 2) <= 2
    disks |= np.hypot(row - 20, col - 20) <= 2
    disks[2, 10] = True
    np.testing.assert_array_equal(wide, ~repeated(disks.astype(np.uint8), 20).astype(bool))
    product = open_product(path, ProductOptions(mask_clouds=False, bands=one))
    assert product.warp(GRID, GRID.window).valid.all()
    assert any("not masked" in note for note in product.facts.notes)


def test_cloud_mask_rasters_of_l1c(tmp_path):
    classi = np.zeros((3, SIDE // 6, SIDE // 6), np.uint8)
    classi[0, 2, 3], classi[1, 8, 8], classi[2, 15, 15] = 1, 1, 1
    safe = Safe("L1C", "04.00", classi=classi, bands={"B02": numbers()["B02"]})
    product = open_product(safe.write(tmp_path), BLUE)
    valid = product.warp(GRID, GRID.window).valid
    np.testing.assert_array_equal(valid, ~repeated((classi[0] | classi[1]), 60).astype(bool))
    assert any("top-of-atmosphere" in note for note in product.facts.notes)


def test_cloud_polygons_of_old_l1c(tmp_path):
    def square(row, col, size):
        west, north = GRID.transform @ (col, row)
        east, south = GRID.transform @ (col + size, row + size)
        return [(west, north), (east, north), (east, south), (west, south), (west, north)]

    gml = cloud_gml(("OPAQUE", [square(10, 20, 30), square(15, 25, 10)]), ("CIRRUS", [square(80, 80, 5)]))
    one = {"B02": numbers()["B02"]}
    folder = Safe("L1C", "02.12", None, clouds_gml=gml, bands=one).write(tmp_path)
    product = pickle.loads(pickle.dumps(open_product(zipped(folder, tmp_path / "S2.zip", top=False), BLUE)))
    expected = np.ones((SIDE, SIDE), bool)
    expected[10:40, 20:50] = False
    expected[15:25, 25:35] = True
    expected[80:85, 80:85] = False
    np.testing.assert_array_equal(product.warp(GRID, GRID.window).valid, expected)
    empty = Safe("L1C", "02.12", None, clouds_gml=cloud_gml(), bands=one).write(tmp_path)
    assert open_product(empty, BLUE).warp(GRID, GRID.window).valid.all()


def test_the_native_resolution_is_read_where_there_are_several(tmp_path):
    bands = numbers()
    coarse = {"B02_20m": np.full((60, 60), 1, np.uint16), "B01_20m": np.full((60, 60), 1, np.uint16)}
    path = Safe(bands=bands, more=coarse).write(tmp_path)
    assert open_product(path, ProductOptions(bands=("B02", "B01"))).facts.processing["images"] == [
        "T33UUU_20220413T101559_B02_10m.jp2", "T33UUU_20220413T101559_B01_60m.jp2",
    ]  # fmt: skip
    only = Safe(bands={"B05": bands["B05"]}, more=coarse).write(tmp_path / "coarse")
    assert open_product(only, ProductOptions(bands=("B02", "B05"))).resolution_m == 20


def test_old_names_and_several_granules(tmp_path):
    bands = numbers()
    path = Safe("L1C", "02.04", None, bands=bands, old_names=True).write(tmp_path / "one")
    values = at_native(open_product(path, ProductOptions(bands=("b4",))), "B04").values[0]
    np.testing.assert_allclose(values, bands["B04"] / 10000, atol=1e-6)
    several = Safe("L1C", "02.04", None, bands=bands, old_names=True, granules=("A1", "A2")).write(tmp_path / "two")
    with pytest.raises(DataError, match=r"holds 2 tiles .*GRANULE/"):
        open_product(several, OPEN)
    granule = sorted((several / "GRANULE").iterdir())[1]
    assert open_product(granule, OPEN).facts.processing["granule"] == granule.name


def test_the_metadata_file_and_a_folder_around_the_product_are_products(tmp_path):
    path = Safe().write(tmp_path)
    assert open_product(path / "MTD_MSIL2A.xml", OPEN).facts.product == path.stem
    assert open_product(tmp_path, OPEN).facts.product == path.stem


def test_what_is_wrong_is_one_clear_line(tmp_path):
    path = Safe(bands={**numbers(), "B12": np.ones((60, 60), np.uint16)}).write(tmp_path)
    image = next(path.rglob("*B03_10m.jp2"))
    with pytest.raises(InputError, match=r"no band 'B10'; L2A has B01"):
        open_product(path, ProductOptions(bands=("B10",)))
    whole = image.read_bytes()
    image.write_bytes(whole[: len(whole) // 3])
    with pytest.raises(DataError, match=r"B03_10m\.jp2.*truncated or damaged"):
        open_product(path, OPEN).warp(GRID, GRID.window)
    image.unlink()
    with pytest.raises(DataError, match=r"lacks the image of band B03 \(there: B01"):
        open_product(path, OPEN)
    shutil.rmtree(path / "GRANULE")
    with pytest.raises(DataError, match="metadata alone"):
        open_product(path, OPEN)


def test_archives_and_metadata_that_are_none(tmp_path):
    page = tmp_path / "S2B_MSIL2A_20220413T101559_N0400_R065_T33UUU_20220414T082126.zip"
    page.write_text("<html>Please log in</html>")
    with pytest.raises(DataError, match=r"is a web page, not an archive"):
        open_product(page, OPEN)
    page.write_bytes(zipped(Safe().write(tmp_path), tmp_path / "good.zip").read_bytes()[:5000])
    with pytest.raises(DataError, match=r"no archive, or it is truncated"):
        open_product(page, OPEN)
    empty = tmp_path / "S2B_MSIL2A_20220413T101559_N0400_R065_T33UUU_20220414T082126.SAFE"
    empty.mkdir()
    with pytest.raises(DataError, match=r"lacks MTD_MSIL1C\.xml or MTD_MSIL2A\.xml"):
        open_product(empty, OPEN)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("QUANTIFICATION_VALUE", "NOTHING"), "lacks BOA_QUANTIFICATION_VALUE"),
        (lambda text: text.replace("BOA_ADD_OFFSET", "NOTHING"), r"baseline 05\.09 and lacks its BOA_ADD_OFFSET"),
        (lambda text: text.replace('">-1000<', '">none<', 1), "is no number"),
        (lambda text: text[:800], "is damaged"),
        (lambda text: text.replace("?>", '?><!DOCTYPE x [<!ENTITY a "b">]>', 1), "defines entities"),
        (lambda text: text.replace("2A_User", "1B_User").replace("Level-2A", "Level-1B"), "of no level that is read"),
    ],
)
def test_metadata_that_would_give_wrong_reflectance_are_refused(tmp_path, change, message):
    path = Safe(bands={"B02": np.ones((SIDE, SIDE), np.uint16)}).write(tmp_path)
    file = path / "MTD_MSIL2A.xml"
    file.write_text(change(file.read_text()))
    with pytest.raises(DataError, match=message):
        open_product(path, BLUE)


def test_damaged_cloud_polygons(tmp_path):
    gml = cloud_gml(("OPAQUE", [[(1, 2), (3, 4), (5, 6)]])).replace("3 4", "3 x")
    path = Safe("L1C", "02.12", None, clouds_gml=gml, bands={"B02": numbers()["B02"]}).write(tmp_path)
    with pytest.raises(DataError, match=r"MSK_CLOUDS_B00\.gml is damaged"):
        open_product(path, BLUE)


def test_other_files_are_not_recognized(tmp_path):
    write_jp2(tmp_path / "B02.jp2", np.ones((8, 8), np.uint16))
    (tmp_path / "a.xml").write_text("<a/>")
    assert not any(sentinel2.recognize(path) for path in (tmp_path, tmp_path / "B02.jp2", tmp_path / "a.xml"))
    assert [msi_name(text) for text in ("b2", "B8a", "B012", "B13", "B12")] == ["B02", "B8A", None, None, "B12"]
