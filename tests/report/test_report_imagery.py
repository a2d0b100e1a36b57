from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st

from c2seg.data import Band, Modality, open_city
from c2seg.data.composites import Composite, composites
from c2seg.raster import ArrayRaster, RasterFile
from c2seg.report.imagery import Sampling, encode_picture, picture, sample, sample_ids
from c2seg.types import Grid
from helpers import report_make as make


def modality(count: int, bands: tuple[Band, ...] = (), name: str = "msi") -> Modality:
    return Modality(ArrayRaster(np.zeros((count, 2, 2))), name=name, bands=bands)


def test_known_roles_make_true_and_false_color():
    bands = tuple(Band(role=role) for role in ("blue", "green", "red", "nir"))
    true, false = composites(modality(4, bands))
    assert (true.bands, false.bands) == ((2, 1, 0), (3, 2, 1))
    assert "true color" in true.title
    assert "false color" in false.title


def test_known_wavelengths_make_true_and_false_color():
    bands = tuple(Band(wavelength_nm=nm) for nm in np.arange(400.0, 2400.0, 10.0))
    true, false = composites(modality(200, bands, "hsi"))
    assert true.bands == (26, 16, 9)
    assert false.bands == (46, 125, 26)
    assert "660 nm" in true.title


@pytest.mark.parametrize(
    ("count", "name", "bands", "difference"),
    [
        (1, "dem", (0,), False),
        (2, "sar", (0, 1), True),
        (3, "msi", (0, 1, 2), False),
        (242, "hsi", (145, 84, 29), False),
    ],
)
def test_unknown_bands_are_shown_as_they_are(count, name, bands, difference):
    (only,) = composites(modality(count, name=name))
    assert (only.bands, only.difference) == (bands, difference)


def test_four_unknown_msi_bands_follow_the_challenge():
    assert [c.bands for c in composites(modality(4))] == [(2, 1, 0), (3, 2, 1)]
    assert [c.bands for c in composites(modality(4, name="radar"))] == [(0, 1, 2)]


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 4000))
def test_samples_are_the_pixels_under_the_centers(height, width, pixels):
    place = make.grid(height, width)
    sampling = Sampling.within(place, pixels)
    assert sampling.height <= height
    assert sampling.width <= width
    array = np.arange(height * width, dtype=np.int32).reshape(1, height, width)
    values, inside = sample(ArrayRaster(array), sampling.axes(place), (0,))
    rows = ((np.arange(sampling.height) + 0.5) * height / sampling.height).astype(int)
    cols = ((np.arange(sampling.width) + 0.5) * width / sampling.width).astype(int)
    assert inside.all()
    np.testing.assert_array_equal(values[0], array[0][np.ix_(rows, cols)])
    if pixels >= height * width:
        np.testing.assert_array_equal(values[0], array[0])


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 5), st.integers(-7, 7), st.integers(-7, 7), st.integers(20, 900))
def test_other_grids_are_sampled_by_place(ratio, down, right, pixels):
    fine = make.grid(30, 20)
    other = Grid(9, 8, fine.transform @ Affine.translation(right, down) @ Affine.scale(ratio), fine.crs)
    array = np.arange(72, dtype=np.int16).reshape(1, 9, 8)
    sampling = Sampling.within(fine, pixels)
    values, inside = sample(ArrayRaster(array), sampling.axes(other), (0,))
    for i in range(sampling.height):
        for j in range(sampling.width):
            row = int((i + 0.5) * 30 / sampling.height) - down
            col = int((j + 0.5) * 20 / sampling.width) - right
            reached = 0 <= row // ratio < 9 and 0 <= col // ratio < 8
            assert inside[i, j] == reached
            assert values[0, i, j] == (array[0, row // ratio, col // ratio] if reached else 0)


def test_large_reads_go_by_strips(monkeypatch):
    monkeypatch.setattr("c2seg.report.imagery._STRIP_BYTES", 1000)
    array = np.random.default_rng(0).integers(0, 200, (3, 70, 50)).astype(np.uint8)
    windows = []

    class Watched(ArrayRaster):
        def read(self, window):
            windows.append(window.height * window.width * 3)
            return super().read(window)

    sampling = Sampling.within(make.grid(70, 50), 900)
    values, _ = sample(Watched(array), sampling.axes(make.grid(70, 50)), (2, 0))
    whole, _ = sample(ArrayRaster(array), sampling.axes(make.grid(70, 50)), (2, 0))
    np.testing.assert_array_equal(values, whole)
    assert len(windows) > 5
    assert max(windows) <= 1000


def test_ids_that_are_none_become_255(tmp_path):
    place = make.grid(4, 4)
    values = np.array([[-1, 0, 3, 300]] * 4, np.int16)
    path = make.write_raster(tmp_path / "a.tif", values[None], place)
    assert sample_ids(RasterFile(path), Sampling(place, 4, 4))[0].tolist() == [255, 0, 3, 255]


def test_picture_is_a_mean_over_the_display_pixel(tmp_path):
    place = make.grid(40, 40)
    ramp = np.arange(1600, dtype=np.float32).reshape(40, 40)
    make.write_raster(tmp_path / "msi.tif", ramp[None], place)
    scene = open_city(tmp_path).scenes[0]
    shown = picture(scene, Composite("msi", "", (0,)), Sampling(place, 8, 8))
    means = ramp.reshape(8, 5, 8, 5).mean(axis=(1, 3))
    low, high = np.percentile(means, (2, 98))
    expected = np.clip((means - low) * 255 / (high - low), 0, 255)
    assert np.abs(shown[..., 0] - expected).max() <= 1
    assert (shown[..., 3] == 255).all()
    assert (shown[..., 0] == shown[..., 2]).all()


def test_a_coarse_overhanging_modality_lies_where_it_belongs(tmp_path):
    fine = make.grid(36, 36)
    coarse = Grid(10, 10, fine.transform @ Affine.translation(-4, -4) @ Affine.scale(4), fine.crs)
    make.write_raster(tmp_path / "msi.tif", np.ones((1, 36, 36), np.float32), fine)
    values = np.arange(100, dtype=np.float32).reshape(1, 10, 10)
    make.write_raster(tmp_path / "hsi.tif", values, coarse)
    scene = open_city(tmp_path).scenes[0]
    full = picture(scene, Composite("hsi", "", (0,)), Sampling(fine, 36, 36))
    reduced = picture(scene, Composite("hsi", "", (0,)), Sampling(fine, 9, 9))
    inner = values[0, 1:, 1:]
    order = np.argsort(np.argsort(inner.ravel()))
    for shown in (full[::4, ::4, 0], reduced[..., 0]):
        ranks = np.argsort(np.argsort(shown.ravel(), kind="stable"))
        clipped = (shown.ravel() > 0) & (shown.ravel() < 255)
        assert clipped.sum() > 70
        np.testing.assert_array_equal(ranks[clipped], order[clipped])


def test_invalid_pixels_are_transparent_and_constant_bands_gray(tmp_path):
    place = make.grid(6, 6)
    values = np.full((2, 6, 6), 5.0, np.float32)
    values[0, 0, 0] = np.nan
    values[1, 1, 1] = -9999
    make.write_raster(tmp_path / "sar.tif", values, place, nodata=-9999)
    scene = open_city(tmp_path).scenes[0]
    shown = picture(scene, composites(scene.modality("sar"))[0], Sampling(place, 6, 6))
    assert (shown[..., 3] == 0).sum() == 2
    assert shown[0, 0, 3] == shown[1, 1, 3] == 0
    assert shown[3, 3].tolist() == [128, 128, 128, 255]


def test_pictures_survive_the_encoding():
    from PIL import Image

    rgba = np.random.default_rng(0).integers(0, 255, (20, 30, 4)).astype(np.uint8)
    head, _, body = encode_picture(rgba).partition(",")
    assert head == "data:image/png;base64"
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(base64.b64decode(body)))), rgba)


def test_large_pictures_become_webp():
    rgba = np.random.default_rng(0).integers(0, 255, (600, 600, 4)).astype(np.uint8)
    assert encode_picture(rgba).startswith("data:image/webp;base64,")
