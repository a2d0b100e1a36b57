"""Cities are compared in physical units only where the sources' classes explain the target's pixels so."""

from __future__ import annotations

import numpy as np
import pytest

import c2seg
from c2seg.artifacts.runs import RunRecord
from c2seg.errors import RecipeError
from c2seg.pipeline.comparison import class_discrepancy
from c2seg.recipes import load_recipe
from c2seg.recipes.changes import comparing
from c2seg.recipes.training import LightChange

LEVELS = np.array([[0.0, 2.0, 0.0], [3.0, 0.0, 1.0], [-2.0, -2.0, 4.0]])


def pixels(shares, rng, count=600):
    """Pixels [N, 3] of three classes, and their classes [N]."""
    outputs = rng.choice(3, count, p=shares).astype(np.uint8)
    return LEVELS[outputs] + rng.normal(0, 0.5, (count, 3)), outputs


def test_other_shares_are_near_and_other_light_is_far():
    rng = np.random.default_rng(0)
    samples, outputs = pixels([1 / 3] * 3, rng)
    same, _ = pixels([1 / 3] * 3, rng)
    mixed, _ = pixels([0.05, 0.15, 0.8], rng)
    near, other = class_discrepancy(samples, outputs, same), class_discrepancy(samples, outputs, mixed)
    assert other < 2 * near
    assert class_discrepancy(samples, outputs, 1.5 * mixed + 1) > 5 * other
    assert class_discrepancy(samples, np.zeros_like(outputs), mixed) > 5 * other  # one class has no other shares


FOREST = {"name": "small", "normalization": "auto", "model": {"name": "forest", "trees": 5}}


@pytest.mark.parametrize(("gain", "normalization"), [(1.0, "midway"), (2.5, "per_city")])
def test_a_target_of_another_light_is_not_compared(make_city, write_recipe, tmp_path, gain, normalization):
    source, target = make_city("source"), make_city("target", seed=3, gain=gain, label=False)
    found = c2seg.fit(write_recipe(FOREST), source=source, target=target, out=tmp_path / "run")
    check = RunRecord.read(tmp_path / "run/record.json").normalization_check
    assert check.normalization == normalization
    assert (check.midway > 2 * check.per_city) == (normalization == "per_city")
    assert any("normalization: per_city: compared" in note for note in found.notes) == bool(check.notes)
    assert c2seg.load_model(tmp_path / "run").recipe.normalization == normalization


def test_the_limit_is_a_setting(make_city, write_recipe, tmp_path):
    source, target = make_city("source"), make_city("target", seed=3, gain=2.5, label=False)
    recipe = write_recipe(FOREST | {"comparison": {"limit": 1000.0}})
    c2seg.fit(recipe, source=source, target=target, out=tmp_path / "run")
    assert c2seg.load_model(tmp_path / "run").recipe.normalization == "midway"


@pytest.mark.parametrize("with_target", [True, False])
def test_values_of_unknown_units_and_sources_alone_are_not_compared(make_city, write_recipe, tmp_path, with_target):
    """Gray values have no unit; and without a target there is nothing to compare."""
    source = make_city("source", gain=1.0 if not with_target else 1000.0)
    target = make_city("target", seed=3, gain=1000.0, label=False) if with_target else None
    c2seg.fit(write_recipe(FOREST), source=source, target=target, out=tmp_path / "run")
    assert RunRecord.read(tmp_path / "run/record.json").normalization_check is None
    assert c2seg.load_model(tmp_path / "run").recipe.normalization == "per_city"


def test_augmentation_changes_everywhere_where_cities_are_compared_and_nowhere_else():
    recipe = load_recipe("crosscity", "tiny")
    there = comparing(recipe)
    for training in there.trainings:
        assert (training.augment.gain_std, training.augment.offset_std) == (0.05, 0.1)
        assert training.augment.light == LightChange()
        assert training.augment.modality_dropout == 0.1
    assert there.training.augment == there.trainings[0].augment
    assert all(training.augment.light is None for training in recipe.trainings)
    assert [t.iterations for t in there.trainings] == [t.iterations for t in recipe.trainings]


def test_a_wrong_change_of_augmentation_is_named():
    with pytest.raises(RecipeError, match="gain"):
        load_recipe("crosscity", None, ("comparison.changes.training.augment.gains=0.1",))


@pytest.mark.parametrize(
    ("override", "found"),
    [
        ("training.augment.gain_std=0.3", lambda recipe: recipe.training.augment.gain_std == 0.3),
        ("training.augment.light={sun_std: 0.4}", lambda recipe: recipe.training.augment.light.sun_std == 0.4),
        ("training.augment={light: null, noise_std: 0.01}", lambda recipe: recipe.training.augment.light is None),
        (
            "stages.teachers.training.augment.gain_std=0.3",
            lambda recipe: [t.augment.gain_std for t in recipe.trainings] == [0.3, 0.05],
        ),
        (
            "stages.students.networks={a: {training: {augment: {offset_std: 0.3}}}, b: {}}",
            lambda recipe: [t.augment.offset_std for t in recipe.trainings] == [0.1, 0.3, 0.1],
        ),
        ("stages.teachers.fraction=0.5", lambda recipe: recipe.stages["teachers"].fraction == 0.5),
        ("stages.teachers.model={name: unet, dropout: 0.1}", lambda recipe: recipe.stages["teachers"].model.name == "unet"),
        ("prediction.window_px=96", lambda recipe: recipe.prediction.window_px == 96),
    ],
)  # fmt: skip
def test_who_sets_a_key_sets_it_where_cities_are_compared_too(override, found):
    assert not found(comparing(load_recipe("crosscity", "tiny"), sentinel=True))
    assert found(comparing(load_recipe("crosscity", "tiny", (override,)), sentinel=True))


def test_a_recipe_over_crosscity_sets_its_keys_where_cities_are_compared_too(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("name: mine\nbase: crosscity\ntraining: {augment: {gain_std: 0.3}}\n", encoding="utf-8")
    augment = comparing(load_recipe(str(file))).training.augment
    assert (augment.gain_std, augment.offset_std) == (0.3, 0.1)
