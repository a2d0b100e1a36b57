"""PRISMA files give back the spectra that were planted."""

from __future__ import annotations

import pickle

import h5py
import numpy as np
import pytest
from affine import Affine
from rasterio.crs import CRS

from c2seg.errors import DataError
from c2seg.products import ProductOptions, prisma
from c2seg.types import Grid, Window
from products.make_enmap import half_and_half, spectrum
from products.make_prisma import NAME, NORTH, WEST, Prisma, centers

SHAPE = (18, 22)
TRANSFORM = Affine(30, 0, WEST, 0, -30, NORTH)
GRID = Grid(*SHAPE, TRANSFORM, CRS.from_epsg(32632).to_wkt())


def planted(nm):
    return half_and_half(SHAPE, nm)


def opened(path, options=None):
    assert prisma.recognize(path)
    return prisma.open(path, options or ProductOptions())


@pytest.mark.parametrize("corners", ["centers", "edges"])
def test_spectra_come_back_by_rising_wavelength(tmp_path, corners):
    product = pickle.loads(pickle.dumps(opened(Prisma(planted, corners=corners).write(tmp_path / NAME))))
    assert (product.facts.sensor, product.facts.level, product.facts.unit) == ("PRISMA", "L2D", "reflectance")
    assert product.facts.acquired.isoformat() == "2020-12-14T06:07:13+00:00"
    assert product.grid.transform == TRANSFORM
    nm = np.array([band.wavelength_nm for band in product.bands])
    assert (np.diff(nm) > 0).all()
    acquired = centers("Vnir")
    assert len(nm) == 171 + ((acquired > 0) & (acquired < 943)).sum()
    assert product.bands[0].name == "PRISMA VNIR 66"
    assert product.bands[0].fwhm_nm == pytest.approx(10 + 407 / 500)
    values, valid = product.warp(GRID, GRID.window)
    assert valid.all()
    for col, kind in ((2, "vegetation"), (20, "soil")):
        np.testing.assert_allclose(values[:, 5, col], spectrum(nm, kind), atol=1e-5)
    np.testing.assert_array_equal(product.warp(GRID, Window(3, 4, 5, 6)).values, values[:, 3:8, 4:10])


@pytest.mark.parametrize("angles", [True, False])
def test_padding_is_invalid_and_does_not_bleed_into_neighbors(tmp_path, angles):
    outside = np.tri(*SHAPE, -5, bool)
    product = opened(Prisma(planted, outside=outside, angles=angles).write(tmp_path / NAME))
    np.testing.assert_array_equal(product.warp(GRID, GRID.window).valid, ~outside)
    half = Grid(*SHAPE, TRANSFORM @ Affine.translation(0.4, 0.4), GRID.crs)
    values, valid = product.warp(half, half.window)
    assert valid[10].any()
    vegetation = valid.copy()
    vegetation[:, 10:] = False
    np.testing.assert_allclose(values[20][vegetation], spectrum([product.bands[20].wavelength_nm])[0], atol=1e-4)


def test_a_reflectance_of_zero_is_a_value(tmp_path):
    product = opened(Prisma(lambda nm: np.where(nm[:, None, None] > 2000, 0.01, planted(nm))).write(tmp_path / NAME))
    values, valid = product.warp(GRID, GRID.window)
    assert valid.all()
    np.testing.assert_allclose(values[-1], 0.01, atol=1e-6)


def test_pixels_that_are_invalid_in_many_bands_are_invalid_and_clipped_ones_are_not(tmp_path):
    flags = np.zeros(SHAPE, np.uint8)
    flags[3, 4], flags[5, 6], flags[7, 8] = 1, 2, 3
    path = Prisma(planted, flags=flags).write(tmp_path / NAME)
    with h5py.File(path, "r+") as file:
        file["HDFEOS/SWATHS/PRS_L2D_HCO/Data Fields/SWIR_PIXEL_L2_ERR_MATRIX"][9, :5, 10] = 1
    valid = opened(path).warp(GRID, GRID.window).valid
    assert not valid[3, 4]
    assert (~valid).sum() == 1


@pytest.mark.parametrize("level", ["L1", "L2B", "L2C"])
def test_other_levels_are_refused_in_one_line(tmp_path, level):
    path = tmp_path / NAME.replace("L2D", level)
    path.write_bytes(b"")
    with pytest.raises(DataError, match=f"is PRISMA {level}, in the sensor's geometry; download L2D"):
        opened(path)


@pytest.mark.parametrize(("spoil", "match"), [
    (lambda file: file.attrs.__delitem__("List_Cw_Vnir"), "lacks .*wavelengths"),
    (lambda file: file.attrs.__setitem__("List_Cw_Swir", np.ones(10)), "has 173 SWIR bands, but List_Cw_Swir describes 10"),
    (lambda file: file.attrs.__setitem__("Product_LRcorner_easting", WEST), "do not fit 22 x 18 pixels of 30 m$"),
    (lambda file: file.attrs.__setitem__("L2ScaleVnirMax", 0.0), r"L2ScaleVnirMin \(0\) is not below"),
    (lambda file: file.attrs.__setitem__("Epsg_Code", 99), "Epsg_Code 99 is no CRS"),
    (lambda file: file.__delitem__("HDFEOS"), "lacks what a product has"),
])  # fmt: skip
def test_what_is_missing_or_contradicts_is_said(tmp_path, spoil, match):
    path = Prisma(planted).write(tmp_path / NAME)
    with h5py.File(path, "r+") as file:
        spoil(file)
    with pytest.raises(DataError, match=match) as caught:
        opened(path)
    assert "\n" not in str(caught.value)


def test_a_truncated_file_and_links_to_other_files_are_refused(tmp_path):
    path = Prisma(planted).write(tmp_path / NAME)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match="truncated"):
        opened(path)
    path.write_bytes(content)
    with h5py.File(path, "r+") as file:
        file["x"] = h5py.ExternalLink("other.h5", "/y")
    with pytest.raises(DataError, match="is a link to another file"):
        opened(path)
    packed = tmp_path / NAME.replace(".he5", ".zip")
    packed.write_bytes(b"PK")
    with pytest.raises(DataError, match=r"unpack it and give the \.he5"):
        opened(packed)
