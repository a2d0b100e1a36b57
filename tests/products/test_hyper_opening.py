"""Each delivery is opened by its own reader, and its bands go by their responses to another sensor's."""

from __future__ import annotations

import numpy as np
import pytest

from c2seg.data import Band
from c2seg.data.spectral import band_weights
from c2seg.errors import InputError
from c2seg.products import ProductOptions, open_product
from c2seg.types import Grid
from products.make_desis import CENTERS as DESIS_CENTERS
from products.make_desis import NAME as DESIS_NAME
from products.make_desis import write_desis
from products.make_enmap import NAME, TRANSFORM, EnMap, half_and_half, spectrum, write, zipped
from products.make_gaofen import AHSI, RADAR, write_ahsi, write_radar
from products.make_prisma import NAME as PRISMA_NAME
from products.make_prisma import Prisma

SENTINEL2 = [
    Band("B2", "blue", 492, 66),
    Band("B4", "red", 665, 31),
    Band("B8A", "nir", 865, 21),
    Band("B11", None, 1614, 91),
]


@pytest.fixture(scope="module")
def deliveries(tmp_path_factory):
    folder = tmp_path_factory.mktemp("deliveries")
    flat = np.ones((150, 8, 9)), np.ones((180, 8, 9))
    write(folder / "cube.img", np.ones((50, 8, 9), np.int16), "ENVI")
    return {
        "EnMAP": zipped(EnMap(half_and_half()).write(folder / NAME), folder / f"{NAME}.zip"),
        "PRISMA": Prisma(lambda nm: half_and_half((18, 22), nm)).write(folder / PRISMA_NAME),
        "DESIS": write_desis(folder / DESIS_NAME, half_and_half((8, 9), DESIS_CENTERS)),
        "GF5B AHSI": write_ahsi(folder / AHSI, *flat),
        "GF3 MYN": write_radar(folder / RADAR, {"HH": np.ones((6, 7))}),
        "unknown": folder / "cube.img",
    }


@pytest.mark.parametrize("sensor", ["EnMAP", "PRISMA", "DESIS", "GF5B AHSI", "GF3 MYN", "unknown"])
def test_the_right_reader_opens_a_delivery(deliveries, sensor):
    assert open_product(deliveries[sensor]).facts.sensor == sensor


def test_a_delivery_of_another_kind_is_refused_in_one_line(deliveries):
    with pytest.raises(InputError, match=r"is a product of EnMAP; give it as `hsi`$"):
        open_product(deliveries["EnMAP"], ProductOptions(), "msi")


@pytest.mark.parametrize("sensor", ["EnMAP", "PRISMA"])
def test_bands_of_sentinel2_are_computed_from_a_delivery(deliveries, sensor):
    product = open_product(deliveries[sensor])
    grid = Grid(product.grid.height, product.grid.width, product.grid.transform, product.crs)
    assert grid.transform.a == TRANSFORM.a
    values, _ = product.warp(grid, grid.window)
    available = [Band(band.name, band.role, band.wavelength_nm, band.fwhm_nm) for band in product.bands]
    weights, how = band_weights(
        [Band(band.name, None, band.wavelength_nm, band.fwhm_nm) for band in SENTINEL2], available
    )
    assert how == "by band responses"
    nm = np.arange(400.0, 2450.0)
    for band, value in zip(SENTINEL2, weights @ values[:, 5, 3], strict=True):
        response = np.exp(-4 * np.log(2) * ((nm - band.wavelength_nm) / band.fwhm_nm) ** 2)
        assert value == pytest.approx(spectrum(nm) @ response / response.sum(), abs=1.5e-3)
