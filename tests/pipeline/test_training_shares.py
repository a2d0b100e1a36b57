"""Shares of the classes in what a model is trained on, and maps that are made for a purpose."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio

import c2seg
from c2seg.artifacts import read_model_file
from c2seg.data import open_labeled_city
from c2seg.errors import InputError
from c2seg.pipeline.prepare import prepare
from c2seg.pipeline.training_shares import training_shares
from c2seg.progress import no_progress
from c2seg.recipes import load_recipe

SMALL = ("model.trees=10", "model.pixels_per_class=200", "validation.folds=0")


def source_shares(city):
    counts = open_labeled_city(city).class_counts()
    ids = open_labeled_city(city).images.legend.ids
    return counts[list(ids)] / counts[list(ids)].sum()


def shares_of(city, *overrides, recipe="unet"):
    settings = load_recipe(recipe, "demo", overrides).without_target()
    settings, data = prepare(settings, [city], None, None, no_progress)
    return np.array(training_shares(settings, data, 0)), data.present


def test_uniform_patches_have_the_shares_of_the_source(make_city):
    city = make_city("city", height=120, width=150)
    shares, _ = shares_of(city, "training.sampling.class_balanced_fraction=0", "training.sampling.patch_px=16")
    np.testing.assert_allclose(shares, source_shares(city), atol=0.12)


def test_patches_centered_by_class_are_nearer_to_even_shares(make_city):
    city = make_city("city", height=120, width=150)
    even = {}
    for fraction in (0, 1):
        settings = (f"training.sampling.class_balanced_fraction={fraction}", "training.sampling.patch_px=8")
        shares, present = shares_of(city, *settings)
        even[fraction] = np.abs(shares[present] - 1 / sum(present)).sum()
    assert even[1] < even[0]


def test_a_forest_beside_the_networks_pulls_toward_even_shares(make_city):
    city = make_city("city")
    alone, present = shares_of(city, "forest=null", "normalization=per_city", recipe="crosscity")
    both, _ = shares_of(city, "normalization=per_city", recipe="crosscity")
    expected = 0.75 * alone + 0.25 * np.array(present) / sum(present)
    np.testing.assert_allclose(both, expected, atol=1e-3)


def test_a_model_tells_its_shares_and_maps_for_a_purpose(make_city, tmp_path):
    source, target = make_city("source", seed=1), make_city("target", seed=2)
    run = c2seg.fit("forest", source=source, out=tmp_path / "run", overrides=SMALL)
    header = read_model_file(run.model).header
    present = header.legend.among(header.trained_classes)
    np.testing.assert_allclose(header.training_shares, np.array(present) / sum(present), rtol=1e-3)
    model = c2seg.load_model(run.model)
    decided = {}
    for kind in ("argmax", "expected_iou", "expected_oa", "unbiased_area"):
        maps = model.predict(target, tmp_path / f"{kind}.tif", decision=kind).maps
        assert (maps[0].expected_pixels is None) == (kind == "argmax")
        with rasterio.open(tmp_path / f"{kind}.tif") as dataset:
            decided[kind] = dataset.read(1)
    np.testing.assert_array_equal(decided["argmax"] == 0, decided["unbiased_area"] == 0)
    assert set(np.unique(decided["unbiased_area"])) <= {0, *header.trained_classes}


def test_an_unknown_purpose_is_refused(make_city, tmp_path):
    source = make_city("source")
    run = c2seg.fit("forest", source=source, out=tmp_path / "run", overrides=SMALL)
    with pytest.raises(InputError, match="unbiased_area"):
        c2seg.load_model(run.model).predict(source, tmp_path / "map.tif", decision="best")
