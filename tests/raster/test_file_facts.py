"""What a file says: validity, bands, scale, place. One reader for all of it."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.crs import CRS
from rasterio.enums import ColorInterp

from c2seg.raster import RasterFile
from c2seg.raster.placement import horizontal_wkt
from c2seg.types import Window
from helpers.odd_rasters import NORTH_UP, ramp, write_odd, write_vrt

WHOLE = Window(0, 0, 20, 30)
HALF = np.arange(20)[:, None] * np.ones(30) >= 10


@pytest.mark.parametrize("internal", [True, False])
def test_masks_inside_the_file_and_beside_it(tmp_path, internal):
    raster = RasterFile(write_odd(tmp_path / "a.tif", ramp(), mask=HALF, internal=internal))
    assert (tmp_path / "a.tif.msk").exists() is not internal
    assert raster.nodata is None
    assert np.array_equal(raster.mask.read(WHOLE)[0] != 0, HALF)
    assert np.array_equal(raster.mask.read(Window(8, 3, 4, 5))[0] != 0, HALF[8:12, 3:8])


def test_alpha_is_a_mask_and_no_band(tmp_path):
    values = np.concatenate([ramp(3, dtype=np.uint8), np.where(HALF, 255, 0).astype(np.uint8)[None]])
    path = write_odd(tmp_path / "a.tif", values)  # the driver flags the fourth of four bytes as alpha
    raster = RasterFile(path)
    assert (raster.count, raster.total_count) == (3, 4)
    assert np.array_equal(raster.read(WHOLE), values[:3])
    assert np.array_equal(raster.mask.read(WHOLE)[0] != 0, HALF)
    assert "band 4 is alpha" in raster.notes[0]
    assert RasterFile(path, (0, 1, 2, 3)).mask is None


@pytest.mark.parametrize("how", ["values", "name"])
def test_a_fourth_band_that_holds_an_image_is_no_alpha(tmp_path, how):
    values = ramp(4, dtype=np.uint8) if how == "values" else np.full((4, 20, 30), 255, np.uint8)
    path = write_odd(tmp_path / "a.tif", values, names=("B2", "B3", "B4", "B8") if how == "name" else ())
    with rasterio.open(path) as dataset:
        assert dataset.colorinterp[3] == ColorInterp.alpha
    assert RasterFile(path).count == 4


def test_nodata_values_that_differ_by_band(tmp_path):
    values = ramp(2)
    path = write_vrt(tmp_path / "a.vrt", "b.tif", values.shape)
    write_odd(tmp_path / "b.tif", values)
    text = path.read_text().replace('band="1">', 'band="1"><NoDataValue>5</NoDataValue>')
    path.write_text(text.replace('band="2">', 'band="2"><NoDataValue>607</NoDataValue>'))
    raster = RasterFile(path)
    assert raster.nodata is None
    assert np.array_equal(raster.mask.read(WHOLE)[0] == 0, (values[0] == 5) | (values[1] == 607))
    assert RasterFile(path, (1,)).nodata == 607
    assert RasterFile(path, declared_nodata=9).nodata == 9
    assert RasterFile(path, declared_nodata=9).mask is None


def test_bands_of_different_types_are_read_in_one(tmp_path):
    values = ramp(2)
    write_odd(tmp_path / "b.tif", values)
    path = write_vrt(tmp_path / "a.vrt", "b.tif", values.shape)
    path.write_text(path.read_text().replace('dataType="UInt16" band="2"', 'dataType="Float32" band="2"'))
    raster = RasterFile(path)
    assert raster.read(WHOLE).dtype == raster.dtype == np.float32
    assert np.array_equal(raster.read(WHOLE), values)


def test_an_envi_header_tells_wavelengths_bad_bands_and_scale(tmp_path):
    path = write_odd(tmp_path / "h.dat", ramp(), driver="ENVI")
    header = tmp_path / "h.hdr"
    header.write_text(
        header.read_text() + "wavelength units = Micrometers\nwavelength = {0.42, 0.56, 0.68}\nbbl = {1, 0, 1}\n"
        "reflectance scale factor = 10000\n"
    )
    bands = RasterFile(path).file_bands
    assert [band.wavelength_nm for band in bands] == [420, 560, 680]
    assert [band.is_good for band in bands] == [True, False, True]
    assert [band.scale for band in bands] == [1e-4] * 3


@pytest.mark.parametrize(("name", "nm"), [
    ("418.240 nm", 418.24), ("Band 3 (0.4430 Micrometers)", 443.0), ("B2", None), ("band 12 mm", None), ("443 nm", 443.0),
])  # fmt: skip
def test_names_of_bands_tell_wavelengths_with_a_unit(tmp_path, name, nm):
    assert RasterFile(write_odd(tmp_path / "a.tif", ramp(1), names=[name])).file_bands[0].wavelength_nm == nm


@pytest.mark.parametrize(("tags", "nm"), [
    ({"wavelength": "0.49", "wavelength_units": "um"}, 490.0), ({"WAVELENGTH": "490"}, 490.0), ({"wavelength": "0.49"}, 490.0),
    ({"wavelength": "x"}, None), ({"wavelength": "-1"}, None), ({"wavelength": "nan"}, None),
])  # fmt: skip
def test_tags_of_bands_tell_wavelengths(tmp_path, tags, nm):
    path = write_odd(tmp_path / "a.tif", ramp(1))
    with rasterio.open(path, "r+") as dataset:
        dataset.update_tags(1, **tags)
    assert RasterFile(path).file_bands[0].wavelength_nm == nm


def test_scale_offset_and_colors(tmp_path):
    path = write_odd(tmp_path / "a.tif", ramp(3))
    with rasterio.open(path, "r+") as dataset:
        dataset.scales, dataset.offsets = (1e-4, 1e-4, 0), (-0.1, 0, np.nan)
        dataset.colorinterp = (ColorInterp.blue, ColorInterp.red, ColorInterp.undefined)
    bands = RasterFile(path).file_bands
    assert [(band.scale, band.offset) for band in bands] == [(1e-4, -0.1), (1e-4, 0), (1, 0)]
    assert [band.color for band in bands] == ["blue", "red", None]


@pytest.mark.parametrize(("rows", "cols"), [(True, False), (False, True), (True, True)])
def test_files_stored_in_reverse_are_read_north_up(tmp_path, rows, cols):
    values, mask = ramp(), HALF & (np.arange(30) > 4)
    stored = (slice(None), slice(None, None, -1 if rows else 1), slice(None, None, -1 if cols else 1))
    flipped = NORTH_UP @ Affine(-1, 0, 30, 0, 1, 0) if cols else NORTH_UP
    flipped = flipped @ Affine(1, 0, 0, 0, -1, 20) if rows else flipped
    path = write_odd(tmp_path / "a.tif", values[stored], transform=flipped, mask=mask[stored[1:]])
    raster = RasterFile(path)
    assert raster.grid.transform == NORTH_UP
    part = Window(3, 7, 5, 11)
    assert np.array_equal(raster.read(part), values[:, part.slices[0], part.slices[1]])
    assert np.array_equal(raster.mask.read(WHOLE)[0] != 0, mask)
    means = raster.read_means((0,), (0, 0, 20, 30), (10, 15))
    expected = values[0].reshape(10, 2, 15, 2).mean(axis=(1, 3))
    assert np.allclose(means[0][mask[::2, ::2]], expected[mask[::2, ::2]], atol=16)


def test_the_horizontal_part_of_a_compound_crs_counts(tmp_path):
    compound = CRS.from_string("EPSG:32632+5773")
    plain = CRS.from_epsg(32632)
    for wkt in (compound.to_wkt(), compound.to_wkt(version="WKT2_2019")):
        assert CRS.from_wkt(horizontal_wkt(wkt)) == plain
    assert horizontal_wkt(plain.to_wkt()) == plain.to_wkt()
    path = write_odd(tmp_path / "a.tif", ramp(), crs=compound)
    assert CRS.from_wkt(RasterFile(path).grid.crs) == plain
