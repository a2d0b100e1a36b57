"""Sources standardized as the challenge's first and third place did: by means over tiles."""

from __future__ import annotations

import numpy as np
import pytest

from c2seg.data import city_statistics
from c2seg.pipeline.prepare import prepare
from c2seg.progress import no_progress
from c2seg.recipes import load_recipe


def prepared(cities, *overrides):
    recipe = load_recipe("unet", "tiny", overrides)
    return prepare(recipe, [cities[0]], cities[1], None, no_progress)[1]


def test_tiles_give_the_deviations_of_the_sources_and_smaller_ones(cities):
    options = ("normalization=source", "training.sampling.patch_px=32")
    pooled = prepared(cities, *options)
    tiled = prepared(cities, *options, "statistics=tiles")
    images = pooled.sources[0].images
    expected = city_statistics(images, tiled.modalities, kind="tiles", tile_px=32)
    assert tiled.statistics == expected
    for name in tiled.modalities:
        assert (tiled.statistics[name].std <= pooled.statistics[name].std).all()
        assert (tiled.statistics[name].std < 0.99 * pooled.statistics[name].std).any()
        for data in (tiled.sources[0], tiled.target):
            np.testing.assert_allclose(data.normalizer.factor[name], 1 / expected[name].std, rtol=1e-5)
    assert tiled.sources[0].statistics == pooled.sources[0].statistics  # of the city itself: of all pixels


def test_other_normalizations_take_all_pixels(cities):
    plain, tiled = prepared(cities), prepared(cities, "statistics=tiles")
    assert tiled.statistics == plain.statistics
    changed = prepared(cities, "normalization=source", "statistics=tiles").normalized("per_city", None)
    for name in plain.modalities:
        for a, b in zip((changed.sources[0], changed.target), (plain.sources[0], plain.target), strict=True):
            np.testing.assert_array_equal(a.normalizer.factor[name], b.normalizer.factor[name])


@pytest.mark.parametrize("preset", ["paper-ab", "paper-bw"])
def test_the_first_and_third_place_use_them(preset):
    names = ("unet", "mmglots", "mmuda", "mrsn", "highdan")
    assert {n for n in names if load_recipe(n, preset).statistics == "tiles"} == {"mmglots", "mrsn"}
