"""DESIS deliveries give back the spectra that were planted."""

from __future__ import annotations

import numpy as np
import pytest

from c2seg.errors import DataError
from c2seg.products import ProductOptions, desis
from c2seg.types import Grid
from products.make_desis import CENTERS, NAME, write_desis
from products.make_enmap import TRANSFORM, half_and_half, spectrum, zipped

SHAPE = (16, 18)
CUBE = half_and_half(SHAPE, CENTERS)


def opened(path, options=None):
    assert desis.recognize(path)
    return desis.open(path, options or ProductOptions())


def native(product):
    grid = Grid(*SHAPE, TRANSFORM, product.crs)
    return product.warp(grid, grid.window)


@pytest.mark.parametrize("packed", [False, True])
def test_spectra_come_back_with_gain_and_offset_of_every_band(tmp_path, packed):
    gains, offsets = np.linspace(5e-5, 2e-4, 60), np.linspace(-0.05, 0.05, 60)
    folder = write_desis(tmp_path / NAME, CUBE, gains=gains, offsets=offsets)
    product = opened(zipped(folder, tmp_path / f"{NAME}.zip") if packed else folder)
    assert (product.facts.sensor, product.facts.unit, product.facts.product) == ("DESIS", "reflectance", NAME)
    assert product.facts.acquired.isoformat() == "2022-04-04T19:32:59+00:00"
    np.testing.assert_allclose([band.wavelength_nm for band in product.bands], CENTERS, atol=1e-4)
    assert {band.fwhm_nm for band in product.bands} == {3.5}
    values, valid = native(product)
    assert valid.all()
    for col, kind in ((2, "vegetation"), (15, "soil")):
        np.testing.assert_allclose(values[:, 7, col], spectrum(CENTERS, kind), atol=1.1e-4)


def test_shadow_and_clouds_are_invalid_and_snow_is_not(tmp_path):
    quality = np.zeros((10, *SHAPE))
    quality[[0, 5, 6, 2], [1, 3, 5, 7], [2, 4, 6, 8]] = 1
    invalid = np.zeros(SHAPE, bool)
    invalid[0] = True
    folder = write_desis(tmp_path / NAME, CUBE, quality=quality, invalid=invalid)
    bad = invalid.copy()
    bad[[1, 3, 5], [2, 4, 6]] = True
    np.testing.assert_array_equal(native(opened(folder)).valid, ~bad)
    np.testing.assert_array_equal(native(opened(folder, ProductOptions(mask_clouds=False))).valid, ~invalid)


def test_other_levels_and_incomplete_products_are_said(tmp_path):
    assert opened(write_desis(tmp_path / "c", CUBE, level="L1C")).facts.unit == "raw"
    with pytest.raises(DataError, match=r"is DESIS L1B, in the sensor's geometry; download L2A$"):
        opened(write_desis(tmp_path / "b", CUBE, level="L1B"))
    folder = write_desis(tmp_path / NAME, CUBE)
    metadata = folder / f"{NAME}-METADATA.xml"
    text = metadata.read_text()
    metadata.write_text(text.replace("<band><bandNumber>7<", "<other><bandNumber>7<").replace("</band>", "</other>", 0))
    with pytest.raises(DataError, match=r"is damaged"):
        opened(folder)
    metadata.write_text(text.replace("bandCharacterisation", "bands"))
    with pytest.raises(DataError, match=r"describes no bands; download the product again$"):
        opened(folder)
    metadata.unlink()
    with pytest.raises(DataError, match=r"lacks METADATA\.xml"):
        opened(folder)
