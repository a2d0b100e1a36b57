"""Native pixels on a grid: values, validity, masks, and windows that do not depend on each other."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from affine import Affine
from rasterio.crs import CRS
from rasterio.warp import transform

from c2seg.errors import DataError
from c2seg.products import warp_bands
from c2seg.products.native import ControlPoints, GdalFile, NativeBand, NativeMask
from c2seg.types import Grid, Window
from helpers.prepare_make import grid_of, pattern, write_raster

SIDE = 300
NATIVE = grid_of(SIDE, 20, 500_000, 5_000_000, 32633)
FINE = grid_of(2 * SIDE, 10, 500_000, 5_000_000, 32633)
# Across the border of a zone: rows and columns are turned against the native ones.
OTHER = grid_of(700, 10, 29_000, 5_015_000, 32634)


def ramp(rows, cols):
    """A plane, of which every linear kernel gives exact values."""
    return 1000 + 3 * cols + 2 * rows


@pytest.fixture(scope="module")
def plane(tmp_path_factory):
    values = ramp(*np.mgrid[:SIDE, :SIDE])[None].astype(np.uint16)
    path = write_raster(tmp_path_factory.mktemp("plane") / "plane.tif", values, NATIVE)
    return NativeBand(GdalFile(path), NATIVE, scale=1e-4, offset=-0.1, nodata=(0,))


def native_pixels(grid, rows, cols):
    """Return native rows and columns of the centers of pixels of a grid."""
    x, y = grid.transform @ (cols + 0.5, rows + 0.5)
    xs, ys = transform(CRS.from_wkt(grid.crs), CRS.from_wkt(NATIVE.crs), x.ravel(), y.ravel())
    col, row = ~NATIVE.transform @ (np.array(xs), np.array(ys))
    return row.reshape(rows.shape) - 0.5, col.reshape(rows.shape) - 0.5


@pytest.mark.parametrize("kernel", ["bilinear", "cubic"])
@pytest.mark.parametrize("grid", [FINE, OTHER], ids=["same zone", "other zone"])
def test_a_plane_stays_a_plane(plane, grid, kernel):
    warped = warp_bands([plane], grid, grid.window, kernel)
    row, col = native_pixels(grid, *np.mgrid[: grid.height, : grid.width])
    inside = (row > 2) & (row < SIDE - 3) & (col > 2) & (col < SIDE - 3)
    assert inside.mean() > 0.3
    assert warped.valid[inside].all()
    expected = ramp(row, col) * 1e-4 - 0.1
    assert np.abs(warped.values[0] - expected)[inside].max() < 1e-5
    beyond = (row < -1) | (row > SIDE) | (col < -1) | (col > SIDE)
    assert not warped.valid[beyond].any()
    assert not warped.values[0][~warped.valid].any()


def test_pixels_that_coincide_are_copied(tmp_path):
    values = pattern(200, 3)
    native = grid_of(200, 10, 400_000, 5_000_000, 32633)
    file = GdalFile(write_raster(tmp_path / "x.tif", values, native))
    bands = [NativeBand(file, native, number) for number in (3, 1)]
    grid = grid_of(150, 10, 400_320, 4_999_870, 32633)
    warped = warp_bands(bands, grid, Window(-5, 3, 100, 80))
    assert np.array_equal(warped.values[:, 5:], values[[2, 0], 13:108, 35:115])
    assert warped.valid.all()
    over = warp_bands(bands, grid, Window(180, 100, 20, 90))
    assert np.array_equal(over.valid, np.broadcast_to((np.arange(90) < 68) & (np.arange(20) < 7)[:, None], (20, 90)))


def test_coarser_pixels_are_averages_of_valid_ones(tmp_path):
    values = pattern(240, 1)
    values[0, :4, :12] = 0  # three blocks of 4 x 4, of which the last keeps nothing
    values[0, 0, 0] = 4000
    values[0, :2, 4:8] = 900
    native = grid_of(240, 10, 400_000, 5_000_000, 32633)
    file = GdalFile(write_raster(tmp_path / "x.tif", values, native))
    grid = grid_of(60, 40, 400_000, 5_000_000, 32633)
    warped = warp_bands([NativeBand(file, native, nodata=(0,))], grid, grid.window)
    expected = values[0].astype(float).reshape(60, 4, 60, 4).mean((1, 3))
    assert np.abs(warped.values[0] - expected)[1:].max() < 1e-3
    assert warped.valid[0, :4].tolist() == [False, True, False, True]  # 1 of 16, 8 of 16, none, all
    assert warped.values[0, 0, 1] == pytest.approx(900)


@pytest.mark.parametrize(
    "grid", [FINE, OTHER, grid_of(90, 70, 499_000, 5_001_000, 32633)], ids=["fine", "turned", "coarse"]
)
def test_windows_do_not_depend_on_each_other(tmp_path, grid):
    values = pattern(SIDE, 2)
    values[:, 100:140, 90:200] = 0
    file = GdalFile(write_raster(tmp_path / "x.tif", values, NATIVE))
    bands = [NativeBand(file, NATIVE, number, nodata=(0,)) for number in (1, 2)]
    mask = NativeMask(file, NATIVE, 2, exclude=tuple(range(500, 2400)), margin_m=45)
    whole = warp_bands(bands, grid, grid.window, "cubic", [mask])
    assert 0.05 < whole.valid.mean() < 0.95
    rng = np.random.default_rng(1)
    for _ in range(8):
        row, col = (int(rng.integers(0, side - 1)) for side in (grid.height, grid.width))
        window = Window(row, col, int(rng.integers(1, grid.height - row)), int(rng.integers(1, grid.width - col)))
        part = warp_bands(bands, grid, window, "cubic", [mask])
        assert np.array_equal(part.values, whole.values[:, *window.slices])
        assert np.array_equal(part.valid, whole.valid[window.slices])


def test_masks_grow_by_meters_in_native_pixels(plane, tmp_path):
    codes = np.zeros((1, SIDE, SIDE), np.uint8)
    codes[0, 150, 150], codes[0, 50, 60], codes[0, 250, 20] = 9, 3, 64
    file = GdalFile(write_raster(tmp_path / "codes.tif", codes, NATIVE))
    mask = NativeMask(file, NATIVE, exclude=(3, 9), bits=64, dilate=(9,), margin_m=60)
    excluded = ~warp_bands([plane], NATIVE, NATIVE.window, masks=[mask]).valid
    row, col = np.mgrid[:SIDE, :SIDE]
    disk = lambda r, c: np.hypot(row - r, col - c) <= 3  # noqa: E731
    expected = disk(150, 150) | disk(250, 20)
    expected[50, 60] = True
    assert np.array_equal(excluded, expected)
    fine = ~warp_bands([plane], FINE, FINE.window, masks=[mask]).valid
    assert np.array_equal(fine, expected.repeat(2, 0).repeat(2, 1))


def test_bands_of_several_resolutions(plane, tmp_path):
    fine = pattern(2 * SIDE, 1)
    band = NativeBand(GdalFile(write_raster(tmp_path / "fine.tif", fine, FINE)), FINE, scale=1e-4)
    warped = warp_bands([band, plane], FINE, FINE.window)
    assert np.array_equal(warped.values[0], fine[0].astype(np.float32) * np.float32(1e-4))
    assert np.array_equal(warped.values[1], warp_bands([plane], FINE, FINE.window).values[0])


def test_decibels_are_averaged_as_power(tmp_path):
    power = np.random.default_rng(0).gamma(3.0, 0.02, (1, 120, 120))
    native, grid = grid_of(120, 10, 400_000, 5_000_000, 32633), grid_of(30, 40, 400_000, 5_000_000, 32633)
    expected = power[0].reshape(30, 4, 30, 4).mean((1, 3))
    stored = {"linear": power, "dB": 10 * np.log10(power), "amplitude": np.sqrt(power)}
    for how, values in stored.items():
        file = GdalFile(write_raster(tmp_path / f"{how}.tif", values.astype(np.float32), native))
        warped = warp_bands([NativeBand(file, native, stored_as=how, no_power=True)], grid, grid.window)
        assert np.allclose(warped.values[0], expected, rtol=1e-5)


def test_control_points_place_pixels(plane):
    points = tuple((r, c, *(NATIVE.transform @ (c, r)), 0.0) for r in (0.0, 150.0, 300.0) for c in (0.0, 150.0, 300.0))
    placed = NativeBand(plane.source, ControlPoints(SIDE, SIDE, points, NATIVE.crs), scale=1e-4, offset=-0.1)
    warped = warp_bands([placed], FINE, Window(100, 200, 300, 250))
    expected = warp_bands([plane], FINE, Window(100, 200, 300, 250))
    assert np.abs(warped.values - expected.values).max() < 1e-5
    assert warped.valid.all()


def test_a_shifted_grid_shows_what_lies_there(plane):
    shifted = Grid(FINE.height, FINE.width, Affine.translation(6, -4) @ FINE.transform, FINE.crs)
    inner = Window(50, 50, 200, 200)
    difference = warp_bands([plane], shifted, inner).values - warp_bands([plane], FINE, inner).values
    assert np.allclose(difference, (3 * 6 + 2 * 4) / 20 * 1e-4, atol=1e-6)


def test_a_truncated_file_is_named(tmp_path):
    path = write_raster(tmp_path / "cut.tif", pattern(SIDE, 1), NATIVE, compress="deflate")
    band = NativeBand(GdalFile(path), NATIVE)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DataError, match=r"cannot read .*cut\.tif at rows .*truncated or damaged") as caught:
        warp_bands([band], FINE, FINE.window)
    assert "\n" not in str(caught.value)


def test_bands_are_pickled_without_handles(plane):
    warp_bands([plane], FINE, Window(0, 0, 10, 10))
    again = pickle.loads(pickle.dumps(plane))
    assert again == plane
    assert np.array_equal(*(warp_bands([band], FINE, Window(3, 4, 9, 8)).values for band in (plane, again)))
