from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from c2seg.data import BandStatistics, LabeledCity, Normalizer, SceneReader, city_statistics, principal_components
from c2seg.data.city import City, Modality
from c2seg.data.tiling import TileGrid
from c2seg.errors import DataError
from c2seg.raster import ArrayRaster
from c2seg.types import Window


def fine_pixels(city: City, modality: str) -> np.ndarray:
    """Return the valid pixels [C, N] of a modality on the fine grid, the slow way."""
    scene = city.scenes[0]
    values, valid = scene.read(modality, scene.grid.window)
    return values[:, valid].astype(np.float64)


@pytest.mark.parametrize("modality", ["msi", "sar", "hsi"])
def test_pooled_statistics_equal_numpy_on_the_valid_fine_pixels(toy: LabeledCity, modality: str) -> None:
    found = city_statistics(toy.images, [modality])[modality]
    pixels = fine_pixels(toy.images, modality)
    assert found.count == pixels.shape[1] == 150 * 130 - 20 * 31
    np.testing.assert_allclose(found.mean, pixels.mean(axis=1), rtol=1e-12)
    np.testing.assert_allclose(found.std, pixels.std(axis=1), rtol=1e-10)
    assert np.array_equal(found.minimum, pixels.min(axis=1))
    assert np.array_equal(found.maximum, pixels.max(axis=1))


def test_nan_pixels_are_left_out(toy: LabeledCity) -> None:
    array = toy.images.scenes[0].modality("sar").source.read(Window(0, 0, 150, 130)).copy()
    array[1, 100, 80] = np.nan
    array[0, 101, 80] = np.inf
    city = with_source(toy.images, "sar", array)
    found = city_statistics(city, ["sar"])["sar"]
    assert found.count == 150 * 130 - 20 * 31 - 2
    assert np.isfinite(found.mean).all()
    np.testing.assert_allclose(found.mean, fine_pixels(city, "sar").mean(axis=1), rtol=1e-12)


def with_source(city: City, modality: str, array: np.ndarray, nodata: float | None = None) -> City:
    scene = city.scenes[0]
    stack: Modality = replace(scene.modality(modality), source=ArrayRaster(array, nodata))
    return replace(city, scenes=(replace(scene, modalities={**scene.modalities, modality: stack}),))


@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 2**32))
def test_merging_equals_taking_all_together(first: int, second: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.normal(1e4, 3, (3, first + second))
    ones = np.ones(first + second, np.int64)
    whole = BandStatistics.of(values, ones)
    merged = BandStatistics.of(values[:, :first], ones[:first]).merge(
        BandStatistics.of(values[:, first:], ones[first:])
    )
    assert merged.count == whole.count
    if whole.count:
        np.testing.assert_allclose(merged.mean, whole.mean, rtol=1e-12)
        np.testing.assert_allclose(merged.std, whole.std, rtol=1e-6, atol=1e-9)
        assert np.array_equal(merged.minimum, whole.minimum)
        assert np.array_equal(merged.maximum, whole.maximum)


def test_json_round_trip_is_exact(toy: LabeledCity) -> None:
    found = city_statistics(toy.images, ["sar"])["sar"]
    again = BandStatistics.from_dict(found.as_dict())
    assert again.count == found.count
    assert np.array_equal(again.mean, found.mean)
    assert np.array_equal(again.std, found.std)


def test_tile_averages_equal_numpy_and_have_the_smaller_deviation(toy: LabeledCity) -> None:
    tiles = TileGrid(150, 130, 64, 32)
    scene = replace(toy.images.scenes[0], tiles=tiles)
    city = replace(toy.images, scenes=(scene,))
    found = city_statistics(city, ["msi"], kind="tiles")["msi"]
    means, stds = [], []
    for window in tiles.windows():
        values, valid = scene.read("msi", window)
        means.append(values[:, valid].astype(np.float64).mean(axis=1))
        stds.append(values[:, valid].astype(np.float64).std(axis=1))
    np.testing.assert_allclose(found.mean, np.mean(means, axis=0), rtol=1e-12)
    np.testing.assert_allclose(found.std, np.mean(stds, axis=0), rtol=1e-10)
    assert (found.std < city_statistics(city, ["msi"])["msi"].std).all()


def test_scenes_without_tiles_take_half_overlapping_ones(toy: LabeledCity) -> None:
    tiles = TileGrid(150, 130, 64, 32)
    tiled = replace(toy.images, scenes=(replace(toy.images.scenes[0], tiles=tiles),))
    expected = city_statistics(tiled, ["msi", "hsi"], kind="tiles")
    assert city_statistics(toy.images, ["msi", "hsi"], kind="tiles", tile_px=64) == expected
    assert city_statistics(tiled, ["msi", "hsi"], kind="tiles", tile_px=16) == expected  # those of the release
    assert city_statistics(toy.images, ["msi"], kind="tiles", tile_px=512)["msi"].count  # larger than the scene


def test_tile_averages_without_tiles_are_refused(toy: LabeledCity) -> None:
    with pytest.raises(DataError, match="not distributed in tiles"):
        city_statistics(toy.images, ["msi"], kind="tiles")


def test_an_empty_band_is_named(toy: LabeledCity) -> None:
    array = np.ones((5, 150, 130), np.float32)
    array[[1, 2, 4]] = np.nan
    with pytest.raises(DataError, match="bands 2-3, 5 have no valid value"):
        city_statistics(with_source(toy.images, "sar", array), ["sar"])


def test_a_band_of_nodata_inside_the_valid_raster_is_named(toy: LabeledCity) -> None:
    array = np.ones((3, 150, 130), np.int16) * np.arange(150, dtype=np.int16)[None, :, None]
    array[1] = -9999
    with pytest.raises(DataError, match=r"bands 2 have no valid value .* although valid\.tif marks"):
        city_statistics(with_source(toy.images, "sar", array, -9999), ["sar"])


def test_progress_ends_at_the_total(toy: LabeledCity) -> None:
    calls: list[tuple[float, float]] = []
    city_statistics(toy.images, ["msi", "hsi"], lambda done, total, text="": calls.append((done, total)))
    assert calls[-1][0] == calls[-1][1] == 2 * 150 * 130
    assert all(a[0] <= b[0] for a, b in pairwise(calls))


@pytest.mark.parametrize("kind", ["source", "per_city", "minmax", "none"])
def test_normalized_patches(toy: LabeledCity, kind: str) -> None:
    names = ("msi", "hsi")
    normalizer = Normalizer.fit(kind, city_statistics(toy.images, names))  # type: ignore[arg-type]
    scene = toy.images.scenes[0]
    patch, valid = SceneReader(scene, names, normalizer)(scene.grid.window.expand(5))
    assert valid.sum() == 150 * 130 - 20 * 31
    for name in names:
        assert patch[name].dtype == np.float32
        assert (patch[name][:, ~valid] == 0).all()
        pixels = patch[name][:, valid].astype(np.float64)
        if kind in {"source", "per_city"}:
            np.testing.assert_allclose(pixels.mean(axis=1), 0, atol=1e-4)
            np.testing.assert_allclose(pixels.std(axis=1), 1, atol=1e-4)
        elif kind == "minmax":
            np.testing.assert_allclose(pixels.min(axis=1), 0, atol=1e-6)
            np.testing.assert_allclose(pixels.max(axis=1), 1, atol=1e-6)
        else:
            assert np.array_equal(pixels, fine_pixels(toy.images, name))


def test_a_constant_band_becomes_zero() -> None:
    statistics = BandStatistics.of(np.full((1, 9), 7.5), np.ones(9, np.int64))
    for kind in ("source", "minmax"):
        normalizer = Normalizer.fit(kind, {"msi": statistics})  # type: ignore[arg-type]
        out = normalizer.apply("msi", np.full((1, 2, 2), 7.5, np.float32), np.ones((2, 2), bool))
        assert (out == 0).all()


def test_principal_components_are_those_of_the_covariance(toy: LabeledCity) -> None:
    statistics = city_statistics(toy.images, ["hsi"])
    normalizer = Normalizer.fit("minmax", statistics)  # not centered: the mean must not become a component
    found = principal_components([(toy.images.scenes[0], normalizer)], "hsi", 3)
    axes = found.axes
    pixels = fine_pixels(toy.images, "hsi")
    scaled = (pixels - statistics["hsi"].minimum[:, None]) / np.ptp(pixels, axis=1)[:, None]
    _, vectors = np.linalg.eigh(np.cov(scaled))
    expected = vectors[:, ::-1][:, :3].T
    np.testing.assert_allclose(np.abs((axes * expected).sum(axis=1)), 1, atol=1e-5)
    assert (axes[np.arange(3), np.abs(axes).argmax(axis=1)] > 0).all()
    components = axes @ (scaled - found.mean[:, None])
    np.testing.assert_allclose(components.mean(axis=1), 0, atol=1e-5)
    np.testing.assert_allclose(components.std(axis=1), found.std, rtol=1e-4)


def test_principal_components_pool_the_sources(toy: LabeledCity) -> None:
    none = Normalizer.fit("none", city_statistics(toy.images, ["hsi"]))
    scene = (toy.images.scenes[0], none)
    once = principal_components([scene], "hsi", 2)
    twice = principal_components([scene, scene], "hsi", 2)
    np.testing.assert_allclose(once.axes, twice.axes, atol=1e-5)
