"""Widths of bands are read from headers and tags, in the unit of the wavelengths."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio

from c2seg.raster import RasterFile
from helpers.odd_rasters import write_odd


def test_an_envi_header_tells_widths(tmp_path):
    path = write_odd(tmp_path / "h.dat", np.ones((2, 4, 4), np.uint16), driver="ENVI")
    header = tmp_path / "h.hdr"
    text = header.read_text()
    header.write_text(text + "wavelength units = Micrometers\nwavelength = {0.42, 2.2}\nfwhm = {0.0065, 0.011}\n")
    assert [band.fwhm_nm for band in RasterFile(path).file_bands] == [6.5, 11.0]
    header.write_text(text + "wavelength = {420, 2200}\nfwhm = {6.5, 11}\n")
    assert [band.fwhm_nm for band in RasterFile(path).file_bands] == [6.5, 11.0]


@pytest.mark.parametrize(("tags", "nm"), [
    ({"wavelength": "0.49", "wavelength_units": "um", "fwhm": "0.065"}, 65.0), ({"wavelength": "0.49", "fwhm": "0.065"}, 65.0),
    ({"wavelength": "490", "FWHM": "65"}, 65.0), ({"wavelength": "0.49", "fwhm_nm": "65"}, 65.0), ({"bandwidth": "65"}, 65.0),
    ({"wavelength": "490"}, None), ({"fwhm": "-1"}, None), ({"fwhm": "wide"}, None),
])  # fmt: skip
def test_tags_of_bands_tell_widths(tmp_path, tags, nm):
    path = write_odd(tmp_path / "a.tif", np.ones((1, 4, 4), np.uint16))
    with rasterio.open(path, "r+") as dataset:
        dataset.update_tags(1, **tags)
    assert RasterFile(path).file_bands[0].fwhm_nm == nm
