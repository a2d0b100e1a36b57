"""Masked pretraining as a phase: what the next phase starts from, with a target and without, stopped and in processes."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import rasterio

from c2seg.data import BlockFolds, Normalizer, PreparedCity, city_statistics
from c2seg.data.layouts import open_labeled_city
from c2seg.errors import RecipeError
from c2seg.pipeline import fit
from c2seg.predict import MapOptions
from c2seg.predict.city import predict
from c2seg.recipes import load_recipe, presets
from c2seg.sampling import training_scenes
from helpers.rasters import write_raster
from helpers.tensors import saved_weights, tensors

MASKED = {"training": {"method": {"name": "masked", "block_px": 4}}}
STILL = {"training": {"optimizer": {"lr": 1e-12, "weight_decay": 0}, "iterations": 1}}
BASE = {
    "name": "pretrained",
    "model": {"name": "unet", "widths": [4, 8], "norm": "group"},
    "training": {
        "iterations": 12,
        "optimizer": {"lr": 0.01},
        "sampling": {"patch_px": 16, "batch_size": 4},
        "checkpoint_every": 5,
    },
    "prediction": {"window_px": 64},
}


@pytest.fixture
def write(write_recipe):
    return lambda **keys: write_recipe(BASE | keys)


def learnt(run, phase):
    return saved_weights(run / "stages" / phase / "0")


def record(run):
    return json.loads((run / "record.json").read_text())


def test_the_next_phase_starts_from_the_weights_but_for_the_classifier(write, cities, tmp_path):
    recipe = write(stages={"first": MASKED, "teachers": {"networks": 2, **STILL}}, ensemble="probabilities")
    fit(recipe, [cities[0]], tmp_path / "run", target=cities[1])
    fit(write(stages={"teachers": {"networks": 2, **STILL}}), [cities[0]], tmp_path / "fresh")
    pretrained, run, fresh = learnt(tmp_path / "run", "first"), tensors(tmp_path / "run"), tensors(tmp_path / "fresh")
    assert pretrained["head.weight"].shape == (4 + 2 + 6, 4, 1, 1)
    for k in (0, 1):
        own = f"networks.teachers.{k}."
        for name, value in pretrained.items():
            if name.startswith("head"):  # drawn by each teacher's own seed, as without pretraining
                np.testing.assert_allclose(run[own + name], fresh[own + name], atol=1e-6)
            else:
                np.testing.assert_allclose(run[own + name], value, atol=1e-6, err_msg=name)
        key = own + "encoder.0.0.weight"
        assert np.abs(run[key] - fresh[key]).max() > 0.01
    assert np.abs(run["networks.teachers.0.head.weight"] - run["networks.teachers.1.head.weight"]).max() > 0.01
    rows = (tmp_path / "run" / "curves.csv").read_text().splitlines()
    assert len(rows) == 1 + 2 + 1 + 1


def test_a_restoring_layer_of_the_very_shape_of_the_classifier_is_not_taken(write, make_city, tmp_path):
    """13 bands and 13 classes."""
    city = make_city("source", seed=1, modalities=("msi",))
    bands = np.random.default_rng(0).normal(size=(13, 70, 91)).astype(np.float32)
    write_raster(city / "msi.tif", bands)
    fit(write(stages={"first": MASKED, "second": STILL}), [city], tmp_path / "run")
    fit(write(stages={"second": STILL}), [city], tmp_path / "fresh")
    restoring = learnt(tmp_path / "run", "first")["head.weight"]
    found, fresh = (tensors(tmp_path / name)["head.weight"] for name in ("run", "fresh"))
    assert restoring.shape == found.shape == (13, 4, 1, 1)
    np.testing.assert_allclose(found, fresh, atol=1e-6)
    assert np.abs(found - restoring).max() > 0.01


def test_both_cities_are_learnt_from_and_the_record_tells(write, cities, make_city, tmp_path):
    recipe = write(stages={"first": MASKED, "second": STILL})
    assert recipe.uses_target
    assert not recipe.needs_target
    other = make_city("other", seed=5, label=False)
    for name, target in {"target": cities[1], "other": other, "alone": None}.items():
        fit(recipe, [cities[0]], tmp_path / name, target=target)
    weights = {name: tensors(tmp_path / name)["encoder.0.0.weight"] for name in ("target", "other", "alone")}
    assert np.abs(weights["target"] - weights["other"]).max() > 1e-4
    assert np.abs(weights["target"] - weights["alone"]).max() > 1e-4
    assert record(tmp_path / "target")["uses_target_images"]["training"] is True
    assert record(tmp_path / "alone")["uses_target_images"]["training"] is False


@pytest.mark.slow
def test_a_pretrained_recipe_learns_and_maps(write, make_city, tmp_path):
    source, target = make_city("source", seed=1), make_city("target", seed=2, gain=1.5)
    students = {"init_from": {"": "first"}, "training": {"method": {"name": "pseudo_labels", "keep": 0.6}}}
    phases = {"first": MASKED, "teachers": {"fraction": 15.0}, "students": {"fraction": 15.0, **students}}
    fit(write(stages=phases, model={"name": "unet", "widths": [4, 8]}), [source], tmp_path / "run", target=target)
    predict(tmp_path / "run" / "model.safetensors", target, MapOptions(tmp_path / "map.tif"))
    with rasterio.open(tmp_path / "map.tif") as mapped, rasterio.open(target / "label.tif") as reference:
        assert (mapped.read(1) == reference.read(1)).mean() > 0.8


def test_a_run_stopped_while_pretraining_goes_on_with_the_same_bits(write, cities, tmp_path):
    recipe = write(stages={"first": MASKED, "second": {}})

    def stopping(label):
        def show(done, total, text=""):
            if label == "first" and done == 10:
                raise KeyboardInterrupt

        return show

    with pytest.raises(KeyboardInterrupt):
        fit(recipe, [cities[0]], tmp_path / "stopped", target=cities[1], bars=stopping)
    fit(recipe, [cities[0]], tmp_path / "stopped", target=cities[1], resume=True)
    fit(recipe, [cities[0]], tmp_path / "whole", target=cities[1])
    whole, stopped = tensors(tmp_path / "whole"), tensors(tmp_path / "stopped")
    for name, value in whole.items():
        np.testing.assert_array_equal(stopped[name], value, err_msg=name)


def test_held_out_blocks_are_not_restored(make_city):
    """Without labels the targets of a fold say where images may be learnt from; without folds there are none."""
    city = open_labeled_city(make_city("source", seed=1, modalities=("msi",)), None)
    statistics = city_statistics(city.images, ("msi",))
    normalizer = Normalizer.fit("per_city", statistics)
    folds = BlockFolds(2, 16, 3)
    city = replace(city, folds=(folds,))
    [scene] = training_scenes(PreparedCity(city.holding_out(1), statistics, normalizer), ("msi",), use_labels=False)
    np.testing.assert_array_equal(
        scene.targets == 0, scene.valid & folds.training(city.images.scenes[0].grid.window, 1)
    )
    assert set(np.unique(scene.targets)) == {0, 255}
    whole = PreparedCity(city, statistics, normalizer)
    assert training_scenes(whole, ("msi",), use_labels=False)[0].targets is None


def test_folds_are_scored_with_a_pretraining_phase(write, cities, tmp_path):
    folds = {"folds": 2, "block_px": 24, "final": False}
    result = fit(write(stages={"first": MASKED, "second": {}}, validation=folds), [cities[0]], tmp_path / "run")
    assert result.validation.scores.pixels == 70 * 91


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"training": BASE["training"] | MASKED["training"]}, "let another stage follow it"),
        ({"stages": {"a": {}, "b": MASKED}}, "let another stage follow it"),
        ({"stages": {"a": {"networks": {"b": MASKED}}}}, "the method belongs to the stage"),
        ({"stages": {"a": {"keep_in_ensemble": True, **MASKED}, "b": {}}}, "its network cannot predict"),
        (
            {"stages": {"a": MASKED, "b": {"training": {"method": {"name": "pseudo_labels"}}}}},
            "pseudo-labels need a stage before that makes them",
        ),
        (
            {"training": BASE["training"] | {"sampling": {"batch_size": 1}}, "stages": {"a": MASKED, "b": {}}},
            "batch_size must be at least 2",
        ),
    ],
)
def test_what_masked_learning_cannot_do_is_said(write, keys, words):
    with pytest.raises(RecipeError, match=words):
        write(**keys)


def test_null_leaves_a_phase_out_and_a_variant_brings_it_in(write):
    assert list(write(stages={"first": None, "second": {}}).stages) == ["second"]
    for preset in presets("crosscity"):
        plain, pretrained = (load_recipe(name, preset) for name in ("crosscity", "crosscity@pretraining"))
        assert list(plain.stages) == ["teachers", "students"]
        assert list(pretrained.stages) == ["pretraining", "teachers", "students"]
        assert pretrained.stages["pretraining"].training.method.name == "masked"
        assert pretrained.without_target().stages.keys() == {"pretraining", "teachers"}
        assert [n.path for n in pretrained.ensemble_networks(("msi",))] == [
            n.path for n in plain.ensemble_networks(("msi",))
        ]
