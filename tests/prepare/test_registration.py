from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from rasterio.crs import CRS
from scipy.ndimage import fourier_shift, gaussian_filter

from c2seg.prepare.registration import measure_shift
from c2seg.prepare.shifts import find_shift, structure
from c2seg.products.base import ProductBand, ProductFacts, Warped
from c2seg.types import Grid, Window

pytest.importorskip("skimage")

UTM = CRS.from_epsg(32633).to_wkt()
FINE = 4  # samples of the ground along a pixel


def _ground(seed: int, side: int) -> np.ndarray:
    """Fields, roofs and their shading: rectangles of all sizes on slow and fast noise, four samples a pixel."""
    rng = np.random.default_rng(seed)
    ground = gaussian_filter(rng.normal(size=(side * FINE, side * FINE)), 12) * 8
    for _ in range(side * 3):
        row, col = rng.integers(0, side * FINE, 2)
        height, width = rng.integers(4, 80, 2)
        ground[row : row + height, col : col + width] = rng.normal()
    return ground + rng.normal(size=ground.shape) * 0.2


def _imaged(ground: np.ndarray, rows: float, cols: float) -> np.ndarray:
    """The ground as a sensor samples it whose content lies ``rows`` down and ``cols`` right, in pixels."""
    moved = np.fft.ifft2(fourier_shift(np.fft.fft2(ground), (rows * FINE, cols * FINE))).real
    side = len(ground) // FINE
    return moved.reshape(side, FINE, side, FINE).mean(axis=(1, 3))


def _gaps(shape: tuple[int, int]) -> np.ndarray:
    valid = np.ones(shape, bool)
    valid[20:60, 30:90] = valid[:, -25:] = valid[100:103] = False
    return valid


@pytest.mark.parametrize("shift", [0.3, 0.5, 1.4, 2.7, 5.0])
@pytest.mark.parametrize("with_gaps", [False, True])
def test_planted_shifts_come_back_within_a_tenth_of_a_pixel(shift, with_gaps):
    ground, rng = _ground(3, 160), np.random.default_rng(1)
    still, moved = _imaged(ground, 0, 0), 0.3 * _imaged(ground, shift, -0.6 * shift) + 1200
    still, moved = still + rng.normal(size=still.shape) * 0.1, moved + rng.normal(size=moved.shape) * 0.03
    valid = _gaps(still.shape) if with_gaps else np.ones(still.shape, bool)
    found = find_shift(np.where(valid, still, 0), np.where(valid, moved, -9999), valid, valid)
    assert (found.rows, found.cols) == pytest.approx((shift, -0.6 * shift), abs=0.1)
    assert found.disagreement_px < 0.1
    assert found.correlation > 0.8


def test_what_cannot_be_measured_is_said():
    flat, valid = np.full((128, 128), 7.0), np.ones((128, 128), bool)
    texture = _imaged(_ground(0, 128), 0, 0)
    assert find_shift(flat, texture, valid, valid) == "no texture"
    assert find_shift(texture[:20], texture[:20], valid[:20], valid[:20]) == "fewer than 32 pixels on a side"
    few = valid & (np.arange(128) < 30)
    assert "valid in both" in find_shift(texture, texture, few, few)


def test_noise_has_no_confident_shift():
    noise, valid = np.random.default_rng(0).normal(size=(2, 128, 128)), np.ones((128, 128), bool)
    found = find_shift(*noise, valid, valid)
    assert isinstance(found, str) or found.correlation < 0.2 or found.disagreement_px > 0.2


def test_gradients_see_the_same_structure_with_opposite_contrast():
    ground, valid = _ground(5, 160), np.ones((160, 160), bool)
    still, moved = _imaged(ground, 0, 0), 3 - _imaged(ground, 1.5, -2.25)
    found = find_shift(structure(still, valid), structure(moved, valid), valid, valid)
    assert (found.rows, found.cols) == pytest.approx((1.5, -2.25), abs=0.1)


@dataclass
class _Picture:
    """A product that shows an image whose content is displaced, in pixels of 10 m."""

    image: np.ndarray
    kind: str = "msi"
    bands: tuple[ProductBand, ...] = (ProductBand("B04", "red", 665.0),)
    resolution_m: float = 10.0
    crs: str | None = UTM
    bounds_lonlat: tuple[float, float, float, float] = (0, 0, 1, 1)
    windows: list[Window] = field(default_factory=list)

    @property
    def facts(self) -> ProductFacts:
        return ProductFacts(self.kind, "test", "picture", "reflectance")

    def warp(self, grid: Grid, window: Window) -> Warped:
        self.windows.append(window)
        ratio = round(grid.transform.a / 10)
        side_h, side_w = (length // ratio * ratio for length in self.image.shape)
        cells = self.image[:side_h, :side_w].reshape(side_h // ratio, ratio, side_w // ratio, ratio).mean(axis=(1, 3))
        values = cells[window.slices].astype(np.float32)[None].repeat(len(self.bands), axis=0)
        return Warped(values, np.ones(values.shape[1:], bool))


def _grid(side: int) -> Grid:
    return Grid(side, side, Affine(10, 0, 4e5, 0, -10, 5e6), UTM)


def test_report_says_where_the_content_lies():
    ground = _ground(7, 300)
    moving = _Picture(_imaged(ground, 2.3, -1.7), bands=(ProductBand("x"), ProductBand("b30", None, 668.0)), kind="hsi")
    report = measure_shift(_Picture(_imaged(ground, 0, 0)), moving, _grid(300))
    assert report.reliable
    assert not report.reason
    assert (report.rows_px, report.cols_px) == pytest.approx((2.3, -1.7), abs=0.1)
    assert (report.east_m, report.north_m) == pytest.approx((-17, -23), abs=1)
    assert (report.reference_band, report.band) == ("B04", "b30")
    assert report.confidence > 0.8
    assert report.as_json()["tiles"][0]["confidence"] > 0.8


def test_few_tiles_of_bounded_size_are_read():
    image = np.tile(_imaged(_ground(9, 256), 0, 0), (2, 2))
    reference = _Picture(image)
    report = measure_shift(reference, _Picture(image), _grid(512))
    assert len(report.tiles) == 4
    assert report.confident_tiles == 4
    assert {(w.height, w.width) for w in reference.windows} == {(256, 256)}
    assert (report.rows_px, report.cols_px, report.spread_px) == (0, 0, 0)


def test_coarse_products_are_compared_on_their_grid():
    ground = _ground(11, 384)
    moving = _Picture(_imaged(ground, 4.5, -3.0), kind="hsi", resolution_m=30.0)
    report = measure_shift(_Picture(_imaged(ground, 0, 0)), moving, _grid(384))
    assert report.ratio == 3
    assert (report.rows_px, report.cols_px) == pytest.approx((4.5, -3.0), abs=0.3)  # a tenth of its own pixels


def test_different_ground_is_not_measurable():
    reference, moving = (_Picture(_imaged(_ground(seed, 200), 0, 0)) for seed in (1, 2))
    report = measure_shift(reference, moving, _grid(200))
    assert not report.reliable
    assert report.rows_px is None
    assert "not measurable" in report.reason


def test_tiny_area_is_not_measurable():
    image = _imaged(_ground(1, 24), 0, 0)
    report = measure_shift(_Picture(image), _Picture(image), _grid(24))
    assert report.reason == "not measurable: fewer than 32 pixels on a side"


@pytest.mark.parametrize("place", ["chile", "denmark"])
def test_real_sentinel_2(place):
    folder = os.environ.get("C2SEG_REAL_DATA")
    if not folder or not Path(folder, "s2s1-places").is_dir():
        pytest.skip("C2SEG_REAL_DATA names no folder with s2s1-places")
    import rasterio

    with rasterio.open(Path(folder, "s2s1-places", place, "msi.tif")) as dataset:
        blue, green = dataset.read([2, 3]).astype(np.float64)
    valid = np.ones(blue.shape, bool)
    moved = np.fft.ifft2(fourier_shift(np.fft.fft2(np.pad(green, 32, mode="reflect")), (0.3, 3.7))).real[32:-32, 32:-32]
    still, shifted = find_shift(blue, green, valid, valid), find_shift(blue, moved, valid, valid)
    assert (shifted.rows - still.rows, shifted.cols - still.cols) == pytest.approx((0.3, 3.7), abs=0.1)
    assert abs(still.rows) < 0.3
    assert abs(still.cols) < 0.3
