"""Hyperspectral deliveries become cities with spectra, wavelengths and widths, and one sensor's city serves another's model."""

from __future__ import annotations

import numpy as np
import pytest

from c2seg import prepare_city
from c2seg.data import open_city
from c2seg.data.spectral import match_bands
from c2seg.raster import RasterFile
from c2seg.types import Window
from products.make_enmap import NAME, EnMap, half_and_half, spectrum, zipped
from products.make_prisma import NAME as PRISMA_NAME
from products.make_prisma import Prisma

SHAPE = (30, 36)


@pytest.fixture(scope="module")
def cities(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hyper")
    enmap = zipped(EnMap(half_and_half(SHAPE)).write(folder / NAME), folder / f"{NAME}.zip")
    prisma = Prisma(lambda nm: half_and_half(SHAPE, nm), shape=SHAPE).write(folder / PRISMA_NAME)
    bands = {"enmap": [f"EnMAP {k}" for k in range(20, 46)], "prisma": [f"PRISMA VNIR {k}" for k in range(60, 25, -1)]}
    for name, path in (("enmap", enmap), ("prisma", prisma)):
        prepare_city(folder / name, hsi=path, bands=tuple(bands[name]))
    return {name: folder / name for name in ("enmap", "prisma")}


@pytest.mark.parametrize("name", ["enmap", "prisma"])
def test_spectra_wavelengths_and_widths_come_back(cities, name):
    scene = open_city(cities[name]).scenes[0]
    bands = scene.modality("hsi").bands
    nm = np.array([band.wavelength_nm for band in bands])
    assert (np.diff(nm) > 0).all()
    assert all(band.fwhm_nm > 5 for band in bands)
    for col, kind in ((6, "vegetation"), (28, "soil")):
        values, valid = scene.read("hsi", Window(12, col, 1, 1))
        assert valid.all()
        np.testing.assert_allclose(values[:, 0, 0], spectrum(nm, kind), atol=1.1e-4)
    stored = RasterFile(cities[name] / "hsi.tif").file_bands  # the file tells it without city.yaml
    assert [(band.name, band.wavelength_nm, band.fwhm_nm) for band in stored] == [
        (band.name, pytest.approx(band.wavelength_nm, abs=6e-3), pytest.approx(band.fwhm_nm, abs=6e-3))
        for band in bands
    ]


def test_one_sensor_serves_another(cities):
    enmap, prisma = (open_city(cities[name]) for name in ("enmap", "prisma"))
    needed = enmap.scenes[0].modality("hsi").bands
    matched, notes = match_bands(prisma, {"hsi": needed})
    assert notes == (f"hsi of prisma: 35 bands matched to {len(needed)} by band responses",)
    values, _ = matched.scenes[0].read("hsi", Window(12, 6, 1, 1))
    np.testing.assert_allclose(values[:, 0, 0], spectrum([band.wavelength_nm for band in needed]), atol=4e-3)
