from __future__ import annotations

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import ndtr, ndtri
from scipy.stats import kstest

from c2seg.data import BandStatistics, LabeledCity, Normalizer, SceneReader, city_statistics, principal_components
from c2seg.data.quantiles import PixelSample, normal_knots, to_normal
from c2seg.raster import ArrayRaster
from c2seg.sampling import BandUnits

SCORES = np.linspace(-3, 3, 256)
NAMES = ("msi", "sar", "hsi")


def mapped(values: np.ndarray) -> np.ndarray:
    """Return values [N] through the knots of their own quantiles."""
    sample = PixelSample()
    sample.add(values[None], np.ones(len(values), np.int64))
    return to_normal(values[None, None], normal_knots(sample.quantiles()))[0, 0]


@pytest.mark.parametrize("shape", ["normal", "exponential", "two peaks", "outlier"])
def test_every_distribution_becomes_a_standard_normal_in_the_same_order(shape: str) -> None:
    rng = np.random.default_rng(0)
    values = {
        "normal": rng.normal(1e4, 300, 20_000),
        "exponential": rng.exponential(3.0, 20_000),
        "two peaks": np.concatenate([rng.normal(-5, 0.1, 5000), rng.normal(80, 7, 15_000)]),
        "outlier": np.append(rng.normal(0, 1, 20_000), 1e9),
    }[shape].astype(np.float32)
    found = mapped(values)
    assert found.dtype == np.float32
    assert (np.diff(found[np.argsort(values)]) >= 0).all()
    inside = np.abs(found) < 3
    assert inside.mean() == pytest.approx(ndtr(3) - ndtr(-3), abs=5e-4)
    assert kstest(found, "norm").statistic < 0.01
    assert kstest(values, "norm", (values.mean(), values.std())).statistic > 0.02 or shape == "normal"


def test_equal_values_get_the_score_of_the_middle_of_their_levels() -> None:
    values = np.repeat(np.float32([7, 8, 250]), [3000, 1000, 6000])
    found = mapped(values)
    assert [len(np.unique(found[values == v])) for v in (7, 8, 250)] == [1, 1, 1]
    # Between the lowest and highest level of each value: levels end at the normal's share beyond 3.
    np.testing.assert_allclose(np.unique(found), ndtri([0.15, 0.35, 0.7]), atol=0.02)
    assert (mapped(np.full(50, 7.5, np.float32)) == 0).all()


def test_whole_weights_count_pixels() -> None:
    rng = np.random.default_rng(1)
    values, weights = rng.exponential(1, (2, 5000)), rng.integers(0, 10, 5000)
    sample = PixelSample()
    sample.add(values, weights)
    pixels = np.sort(np.repeat(values, weights, axis=1), axis=1)
    for row, found in zip(pixels, sample.quantiles(), strict=True):
        np.testing.assert_allclose(np.searchsorted(row, found) / len(row), ndtr(SCORES), atol=5e-4)


def test_a_sample_is_bounded_even_and_the_same_again() -> None:
    def taken() -> PixelSample:
        sample = PixelSample(1000)
        for block in range(50):  # the value tells where in the stream a pixel lies
            sample.add(np.arange(block * 400, (block + 1) * 400, dtype=np.float32)[None], np.ones(400, np.int64))
            assert len(sample._keys) <= 2000
        return sample

    first, second = taken(), taken()
    np.testing.assert_array_equal(first.quantiles(), second.quantiles())
    places = first._together()[0][0]
    assert 1000 <= len(np.unique(places)) == len(places) <= 2000
    assert kstest(places, "uniform", (0, 20_000)).pvalue > 0.01


def test_memory_stays_bounded_on_a_wide_city() -> None:
    block, weights = np.zeros((60, 130_000), np.float32), np.ones(130_000, np.int64)
    sample = PixelSample()
    tracemalloc.start()
    for _ in range(8):
        sample.add(block, weights)
    sample.quantiles()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * 60 * (130_000 + 3 * 2**16) + 2e7  # one block and the sample, not the 250 MB of all


@pytest.mark.parametrize("bends", [False, True])
def test_patches_of_a_city_are_standard_normal_and_0_where_not_valid(toy: LabeledCity, *, bends: bool) -> None:
    """The same city through any rising curve gives the same patches: what quantile matching is for."""
    scene = toy.images.scenes[0]
    if bends:
        array = scene.modality("sar").source.read(scene.grid.window)
        curved = np.exp((array + 18) * 2).astype(np.float32)
        curved[:, 103, 4] = np.nan
        sar = replace(scene.modality("sar"), source=ArrayRaster(curved))
        scene = replace(scene, modalities={**scene.modalities, "sar": sar})
    city = replace(toy.images, scenes=(scene,))
    normalizer = Normalizer.fit("quantile", city_statistics(city, NAMES, quantiles=True))
    patch, valid = SceneReader(scene, NAMES, normalizer)(scene.grid.window.expand(5))
    plain, all_valid = SceneReader(toy.images.scenes[0], NAMES, standard(toy))(scene.grid.window.expand(5))
    assert valid.sum() == 150 * 130 - 20 * 31 - bends
    for name in NAMES:
        assert patch[name].dtype == np.float32
        assert (patch[name][:, ~valid] == 0).all()
        for band in patch[name][:3, valid]:  # the fourth of msi has one value over all water
            assert kstest(band, "norm").statistic < 0.006
        np.testing.assert_allclose(patch[name][:, valid & all_valid], plain[name][:, valid & all_valid], atol=0.06)


def standard(city: LabeledCity) -> Normalizer:
    return Normalizer.fit("quantile", city_statistics(city.images, NAMES, quantiles=True))


def test_components_are_of_the_mapped_bands(toy: LabeledCity) -> None:
    scene, plain = toy.images.scenes[0], standard(toy)
    parts = principal_components([(scene, plain)], "hsi", 2)
    mixed = replace(plain, projection={"hsi": parts.axes / parts.std[:, None]})
    window = scene.grid.window
    patch, valid = SceneReader(scene, ("hsi",), mixed)(window)
    bands, _ = SceneReader(scene, ("hsi",), plain)(window)
    expected = np.einsum("mc,chw->mhw", mixed.projection["hsi"], bands["hsi"])
    np.testing.assert_allclose(patch["hsi"], expected, atol=1e-4)
    assert (patch["hsi"][:, ~valid] == 0).all()
    np.testing.assert_allclose(patch["hsi"][:, valid].std(axis=1), 1, atol=0.05)


def test_augmentation_is_in_units_of_the_normal(toy: LabeledCity) -> None:
    statistics = city_statistics(toy.images, NAMES, quantiles=True)
    units = BandUnits.of(Normalizer.fit("quantile", statistics), statistics)
    for name in NAMES:
        np.testing.assert_allclose(units.mean[name], 0, atol=1e-3)
        np.testing.assert_allclose(units.std[name], 1, atol=1e-3)


def test_quantiles_are_not_stored_and_must_be_asked_for(toy: LabeledCity) -> None:
    found = city_statistics(toy.images, ["sar"], quantiles=True)["sar"]
    plain = city_statistics(toy.images, ["sar"])["sar"]
    assert found.quantiles is not None
    assert found.quantiles.shape == (2, 256)
    assert found.as_dict() == plain.as_dict()
    assert BandStatistics.from_dict(found.as_dict()).quantiles is None
    with pytest.raises(ValueError, match="statistics of sar have no quantiles"):
        Normalizer.fit("quantile", {"sar": plain})
