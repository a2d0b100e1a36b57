"""ENVI cubes give back the spectra that were planted."""

from __future__ import annotations

import math

import numpy as np
import pytest
from affine import Affine

from c2seg.errors import DataError
from c2seg.products import ProductOptions, envi
from c2seg.types import Grid
from products.make_enmap import TRANSFORM, half_and_half, spectrum, write

SHAPE = (14, 16)
NM = np.linspace(400, 2400, 50)
CUBE = half_and_half(SHAPE, NM)


def listed(values):
    return "{" + ",\n ".join(f"{value:.10g}" for value in values) + "}"


def make(folder, header="", *, stored=None, suffix=".img"):
    folder.mkdir(exist_ok=True)
    path = folder / f"cube{suffix}"
    write(path, np.round(CUBE * 1e4).astype(np.int16) if stored is None else stored, "ENVI")
    place = folder / "cube.hdr"
    place.write_text(place.read_text() + header)
    return path


NANOMETERS = f"wavelength units = Nanometers\nwavelength = {listed(NM)}\nfwhm = {listed(NM * 0 + 10)}\n"
MICROMETERS = f"wavelength units = Micrometers\nwavelength = {listed(NM / 1e3)}\nfwhm = {listed(NM * 0 + 0.01)}\n"


def opened(path, kind=None, **options):
    assert envi.recognize(path)
    return envi.open_as(path, ProductOptions(**options), kind)


def native(product, transform=TRANSFORM):
    grid = Grid(*SHAPE, transform, product.crs)
    return product.warp(grid, grid.window)


@pytest.mark.parametrize("units", [NANOMETERS, MICROMETERS])
@pytest.mark.parametrize("suffix", [".img", ".bsq", ""])
def test_spectra_come_back(tmp_path, units, suffix):
    path = make(tmp_path, units + "reflectance scale factor = 10000\nsensor type = AVIRIS\n", suffix=suffix)
    for place in (path, tmp_path / "cube.hdr"):
        product = opened(place)
        assert (product.facts.kind, product.facts.unit, product.facts.sensor) == ("hsi", "reflectance", "AVIRIS")
        np.testing.assert_allclose([band.wavelength_nm for band in product.bands], NM, atol=1e-3)
        assert {band.fwhm_nm for band in product.bands} == {10.0}
        values, valid = native(product)
        assert valid.all()
        for col, kind in ((2, "vegetation"), (14, "soil")):
            np.testing.assert_allclose(values[:, 7, col], spectrum(NM, kind), atol=5.1e-5)
    assert {file.name for file in product.facts.files} >= {path.name, "cube.hdr"}


def test_bad_bands_gains_offsets_and_nodata_of_the_header_apply(tmp_path):
    gains, offsets = np.linspace(1e-4, 2e-4, 50), np.linspace(-0.1, 0.1, 50)
    stored = np.round((CUBE - offsets[:, None, None]) / gains[:, None, None]).astype(np.int16)
    stored[:, 3, 4] = -9999
    bad = np.ones(50)
    bad[[5, 6, 30]] = 0
    header = NANOMETERS + (
        f"data gain values = {listed(gains)}\ndata offset values = {listed(offsets)}\nbbl = {listed(bad)}\n"
        "data ignore value = -9999\n"
    )
    product = opened(make(tmp_path, header, stored=stored))
    assert len(product.bands) == 47
    assert any(
        "3 bands are not read: the header's bad-band list excludes them (6-7, 31)" in n for n in product.facts.notes
    )
    values, valid = native(product)
    assert [tuple(place) for place in np.argwhere(~valid)] == [(3, 4)]
    np.testing.assert_allclose(values[:, 7, 2], spectrum(NM)[bad == 1], atol=1.1e-4)


def test_a_rotated_cube_is_warped_as_its_header_says(tmp_path):
    path = make(tmp_path, NANOMETERS)
    header = tmp_path / "cube.hdr"
    text = header.read_text()
    line = next(row for row in text.splitlines() if row.startswith("map info"))
    header.write_text(text.replace(line, line.replace("}", ", rotation=30}")))
    product = opened(path)
    assert any("rotated" in note for note in product.facts.notes)
    assert abs(product.facts.processing["rotation"]) == pytest.approx(30)
    transform = product.grid.transform
    assert math.hypot(transform.a, transform.d) == pytest.approx(30)
    values, valid = native(product, transform)
    assert valid.all()
    np.testing.assert_allclose(values[:, 7, 2], np.round(spectrum(NM) * 1e4), atol=0.51)
    north_up = Grid(9, 9, Affine(20, 0, transform.c - 90, 0, -20, transform.f - 60), product.crs)
    assert 0 < product.warp(north_up, north_up.window).valid.sum() < 81


def test_a_kind_that_is_given_counts_and_numbers_without_scale_are_raw(tmp_path):
    product = opened(make(tmp_path, NANOMETERS), kind="msi")
    assert (product.facts.kind, product.facts.unit) == ("msi", "raw")
    assert any("states no scale" in note for note in product.facts.notes)


@pytest.mark.parametrize(("change", "match"), [
    (lambda text: text + "wavelength = {1, 2, 3}\n", "wavelength has 3 values, the cube 50 bands; correct the header$"),
    (lambda text: text + "bbl = {1, x}\n", "bbl has a value that is no number; correct the header$"),
    (lambda text: text.replace("lines   = 14", "lines   = 140"), r"its header says \d+; it is truncated, copy it again$"),
    (lambda text: text.replace("data type", "type"), "data type is missing or no number"),
    (lambda text: "\n".join(row for row in text.splitlines() if not row.startswith(("map info", "coordinate"))),
     "has no CRS or no transform"),
])  # fmt: skip
def test_headers_that_contradict_are_said_in_one_line(tmp_path, change, match):
    path = make(tmp_path)
    header = tmp_path / "cube.hdr"
    header.write_text(change(header.read_text()))
    with pytest.raises(DataError, match=match) as caught:
        native(opened(path))
    assert "\n" not in str(caught.value)


def test_what_has_no_envi_header_is_not_recognized(tmp_path):
    path = make(tmp_path)
    (tmp_path / "cube.hdr").write_text("byteorder I\nlayout bil\n")
    assert not envi.recognize(path)
    assert not envi.recognize(tmp_path / "cube.hdr")
    assert not envi.recognize(tmp_path)
