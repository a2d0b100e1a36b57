"""Any raster as a product: COG, VRT, a zip with one image, masks, control points, RPCs, bands without names."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest
import rasterio
from rasterio.control import GroundControlPoint
from rasterio.rpc import RPC

from c2seg.errors import DataError, InputError
from c2seg.products import ProductOptions, open_product, rasterfile
from c2seg.testing import check_product_reader
from c2seg.types import Window
from helpers.prepare_make import grid_of, pattern, write_raster

GRID = grid_of(300, 10, 400_000, 5_800_000, 32633)


@pytest.fixture
def raster(tmp_path):
    return write_raster(
        tmp_path / "scene.tif", pattern(300), GRID, names=("blue", "green", "red", "nir"), scale=1e-4, nodata=0
    )


def test_the_contract_of_readers(raster):
    check_product_reader(rasterfile, raster)


def test_a_zip_and_a_vrt_are_their_raster(raster, tmp_path):
    expected = open_product(raster, kind="msi").warp(GRID, GRID.window)
    with zipfile.ZipFile(tmp_path / "scene.zip", "w") as archive:
        archive.write(raster, "folder/scene.tif")
        archive.writestr("folder/readme.txt", "hello")
    from rasterio.shutil import copy

    copy(raster, tmp_path / "scene.vrt", driver="VRT")
    for name in ("scene.zip", "scene.vrt"):
        product = open_product(tmp_path / name, kind="msi")
        assert np.array_equal(product.warp(GRID, GRID.window).values, expected.values)
        assert [band.role for band in product.bands] == ["blue", "green", "red", "nir"]
    assert raster in open_product(tmp_path / "scene.vrt", kind="msi").facts.files
    with zipfile.ZipFile(tmp_path / "two.zip", "w") as archive:
        archive.write(raster, "a.tif")
        archive.write(raster, "b.tif")
    with pytest.raises(DataError, match=r"2 images|no product"):
        open_product(tmp_path / "two.zip", kind="msi")


def test_bands_are_chosen_by_name_or_number(raster):
    product = open_product(raster, ProductOptions(bands=("red", "1")), kind="msi")
    assert [band.name for band in product.bands] == ["red", "blue"]
    with pytest.raises(InputError, match=r"`bands`: .* has no band 'swir'; it has blue, green"):
        open_product(raster, ProductOptions(bands=("swir",)), kind="msi")


def test_names_of_bands_tell_their_sensor(tmp_path):
    path = write_raster(tmp_path / "stack.tif", pattern(300), GRID, names=("B02", "B04", "B8A", "B12"), scale=1e-4)
    product = open_product(path, kind="msi")
    assert product.facts.sensor == "Sentinel-2"
    assert [band.role for band in product.bands] == ["blue", "red", "nir", None]
    assert product.bands[3].wavelength_nm == pytest.approx(2202, abs=1)
    assert product.bands[2].fwhm_nm == 21


def test_a_mask_of_the_file_holds(tmp_path):
    path = tmp_path / "masked.tif"
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        write_raster(path, pattern(300, 2), GRID)
        with rasterio.open(path, "r+") as file:
            mask = np.full((300, 300), 255, np.uint8)
            mask[20:60, 30:90] = 0
            file.write_mask(mask)
    valid = open_product(path, kind="msi").warp(GRID, GRID.window).valid
    assert np.array_equal(valid, mask > 0)


def test_control_points_place_a_raster(tmp_path):
    values, path = pattern(300, 1), tmp_path / "points.tif"
    corners = [(r, c) for r in (0, 150, 300) for c in (0, 150, 300)]
    points = [GroundControlPoint(r, c, *(GRID.transform @ (c, r)), 0) for r, c in corners]
    with rasterio.open(
        path, "w", driver="GTiff", height=300, width=300, count=1, dtype="uint16", gcps=points, crs=GRID.crs
    ) as file:
        file.write(values)
    product = open_product(path, kind="msi")
    assert any("control points alone" in note for note in product.facts.notes)
    assert product.crs is None
    assert product.resolution_m == pytest.approx(10, rel=0.03)
    inner = Window(20, 30, 200, 210)
    difference = np.abs(product.warp(GRID, inner).values[0] - values[0][inner.slices])
    assert difference.max() < 1
    check_product_reader(rasterfile, path)


def test_rpcs_place_a_raster(tmp_path):
    """Polynomials of a plain plate of degrees: line and sample are linear in latitude and longitude."""
    values, path = pattern(300, 1, seed=4), tmp_path / "rpc.tif"
    linear = lambda number: [1.0 if k == number else 0.0 for k in range(20)]  # noqa: E731
    rpc = RPC(
        height_off=50, height_scale=500, lat_off=52.3, lat_scale=0.0135, long_off=13.5, long_scale=0.0221, line_off=149.5,
        line_scale=-150, samp_off=149.5, samp_scale=150, line_num_coeff=linear(2), line_den_coeff=linear(0),
        samp_num_coeff=linear(1), samp_den_coeff=linear(0),
    )  # fmt: skip
    with rasterio.open(path, "w", driver="GTiff", height=300, width=300, count=1, dtype="uint16", rpcs=rpc) as file:
        file.write(values)
    product = open_product(path, kind="msi")
    assert any("RPCs at one height" in note for note in product.facts.notes)
    west, south, east, north = product.bounds_lonlat
    assert (west, east) == pytest.approx((13.4779, 13.5221), abs=2e-4)
    assert (south, north) == pytest.approx((52.2865, 52.3135), abs=2e-4)
    plate = rasterio.Affine((0.0442) / 300, 0, 13.4779, 0, -0.027 / 300, 52.3135)
    grid = type(GRID)(300, 300, plate, rasterio.CRS.from_epsg(4326).to_wkt())
    inner = Window(20, 20, 250, 250)
    warped = product.warp(grid, inner)
    assert warped.valid.all()
    assert np.abs(warped.values[0] - values[0][inner.slices]).max() < 40
    check_product_reader(rasterfile, path)


def test_radar_says_its_unit_or_is_told(tmp_path):
    power = np.random.default_rng(0).gamma(4, 0.02, (2, 300, 300)).astype(np.float32)
    path = write_raster(tmp_path / "radar.tif", power, GRID)
    raw = rasterfile.open_as(path, ProductOptions(), "sar")
    assert raw.facts.unit == "raw"
    assert any("`sar_unit`" in note for note in raw.facts.notes)
    expected = 10 * np.log10(power)
    stored = {"power": power, "dB": expected, "amplitude": np.sqrt(power)}
    for unit, values in stored.items():
        path = write_raster(tmp_path / f"{unit}.tif", values.astype(np.float32), GRID)
        product = rasterfile.open_as(path, ProductOptions(sar_unit=unit), "sar")
        assert product.facts.unit == "dB"
        assert np.abs(product.warp(GRID, GRID.window).values - expected).max() < 1e-3


def test_what_nothing_places_is_told(tmp_path):
    path = tmp_path / "nowhere.tif"
    with pytest.warns(rasterio.errors.NotGeoreferencedWarning):
        rasterio.open(path, "w", driver="GTiff", height=9, width=9, count=1, dtype="uint8").close()
    with pytest.raises(DataError, match="nobody knows where it lies"):
        open_product(path, kind="msi")


EMPTY = {"all-nodata.tif", "alpha.tif", "inverted_lat.tif"}
"""Nothing is valid in their middle."""
NOWHERE = {"float_nan.tif", "rotated.tif"}


def test_real_rasters_of_all_kinds_are_warped_or_told(real_data):
    opened = 0
    for path in sorted((real_data / "products" / "odd").rglob("*.tif")):
        if path.name in NOWHERE:
            with pytest.raises(DataError, match="nobody knows where it lies"):
                rasterfile.open(path, ProductOptions())
        elif path.name not in EMPTY:
            check_product_reader(rasterfile, path)
            opened += 1
    assert opened >= 6
