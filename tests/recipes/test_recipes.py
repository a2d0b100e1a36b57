from __future__ import annotations

import pytest
import yaml

from c2seg.errors import RecipeError
from c2seg.recipes import load_recipe, presets, recipe_from_dict, recipe_names, variants
from c2seg.recipes.upgrade import stored_recipe


@pytest.mark.parametrize(("name", "preset"), [(n, p) for n in recipe_names() for p in presets(n)])
def test_every_shipped_recipe_and_preset_is_valid(name, preset):
    recipe = load_recipe(name, preset)
    assert recipe.name == name
    assert recipe.description
    assert recipe_from_dict(recipe.model_dump(mode="json"), name) == recipe


@pytest.mark.parametrize("name", [f"{n}@{v}" for n in recipe_names() for v in variants(n)])
def test_every_shipped_variant_is_valid_and_another_recipe(name):
    plain, recipe = load_recipe(name.partition("@")[0]), load_recipe(name)
    assert recipe.name == name
    assert recipe.model_copy(update={"name": plain.name}) != plain


def test_variants_for_noisy_labels_reach_every_phase_of_our_method():
    losses = [training.loss for training in load_recipe("crosscity@robust-loss").trainings]
    assert [(loss.cross_entropy, loss.gce, loss.gce_q) for loss in losses] == [(0, 1, 0.7)] * 2  # teacher and student
    assert {t.loss.gce for t in load_recipe("crosscity").trainings} == {0}


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_has_the_common_presets(name):
    assert set(presets(name)) >= {"tiny", "small", "paper-ab", "paper-bw"}


def test_a_preset_keeps_the_structure():
    for name in recipe_names():
        models = {load_recipe(name, preset).model.name for preset in presets(name)}
        methods = {load_recipe(name, preset).training.method.name for preset in presets(name)}
        assert len(models) == len(methods) == 1


def test_overrides_lie_over_presets():
    recipe = load_recipe("unet", "tiny", ["training.optimizer.lr=0.5", "model.widths=[4, 8]"])
    assert recipe.training.optimizer.lr == 0.5
    assert recipe.model.widths == (4, 8)
    assert recipe.training.iterations == 600


def test_naming_another_model_starts_from_its_defaults():
    assert load_recipe("forest", "tiny", ["model.name=unet"]).model.widths == (64, 128, 256, 512, 1024)


@pytest.mark.parametrize(
    ("name", "preset", "override", "words"),
    [
        ("forst", None, (), ["unknown recipe 'forst'", "Did you mean 'forest'", "unet"]),
        ("forest", "huge", (), ["unknown preset 'huge'", "paper-ab, paper-bw, small, tiny"]),
        ("unet", None, ["training.optimzer.lr=1"], ["unknown key 'optimzer'", "optimizer"]),
        ("unet", None, ["model.width=1"], ["unknown key 'width'", "widths"]),
        ("unet", None, ["model.name=vit"], ["model", "forest", "unet"]),
        ("unet", None, ["training.iterations=-1"], ["training.iterations", "greater than or equal to 1"]),
        ("unet", None, ["training.loss.cross_entropy=0"], ["at least one of"]),
        ("unet", None, ["training.loss={gce: 1, gce_q: 0}"], ["gce_q", "greater than 0"]),
        (
            "unet",
            None,
            ["training.loss={gce: 1, gce_q: 2}"],
            ["gce_q", "less than or equal to 1"],
        ),
        ("forest", None, ["model.mean_px=[4]"], ["must be odd"]),
        ("forest", None, ["validation.folds=1"], ["at least 2"]),
        ("forest", None, ["nonsense"], ["key.path=value"]),
        ("forest", None, ["a.b=[1"], ["not valid YAML"]),
        ("unet", None, ["training.augment.fda={beta: 0.6}"], ["fda.beta", "less than or equal to 0.5"]),
        ("unet", None, ["training.adabn=both"], ["training.adabn", "boolean"]),
        ("missing.yaml", None, (), ["cannot read the recipe missing.yaml"]),
    ],
)
def test_mistakes_are_named(name, preset, override, words):
    with pytest.raises(RecipeError) as caught:
        load_recipe(name, preset, override)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_a_recipe_from_a_file(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("name: mine\nmodel: {name: forest, trees: 3}\n")
    assert load_recipe(str(path)).model.trees == 3
    path.write_text("[1, 2]")
    with pytest.raises(RecipeError, match="must be a mapping"):
        load_recipe(str(path))


def test_a_variant_is_laid_over_the_preset_and_a_base_lies_under_a_recipe(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(
        "base: unet\nname: mine\nmodel: {dropout: 0.5}\n"
        "variants:\n  wide: {model: {widths: [8, 16]}}\n  argmax: {prediction: {decision: argmax}}\n"
    )
    base, wide = load_recipe(str(path), "tiny"), load_recipe(f"{path}@wide", "tiny")
    assert (base.name, wide.name) == ("mine", f"{path}@wide")
    assert base.model.widths == load_recipe("unet", "tiny").model.widths
    assert wide.model.widths == (8, 16)
    assert wide.model.dropout == base.model.dropout == 0.5
    assert variants(str(path)) == ("control", "wide", "argmax")
    with pytest.raises(RecipeError, match=r"unknown variant 'narrow'\. Valid: argmax, control, wide"):
        load_recipe(f"{path}@narrow")


@pytest.mark.parametrize(
    ("key", "valid"),
    [
        ("training.sampling.ignore_edge_px=1", "cat_max_ratio"),
        ("training.loss.focal=1", "gce"),
    ],
)
def test_a_key_that_is_gone_is_unknown_and_the_valid_ones_are_listed(key, valid):
    with pytest.raises(RecipeError, match=rf"unknown key '{key.split('=')[0].split('.')[-1]}'.*Valid: .*{valid}"):
        load_recipe("unet", "tiny", [key])


def test_recipes_that_0_1_0_stored_are_read_without_keys_that_are_gone():
    plain = load_recipe("crosscity", "tiny").model_dump(mode="json")
    stored = load_recipe("crosscity", "tiny").model_dump(mode="json")
    for part in (stored, *stored["stages"].values()):
        part["training"]["loss"] |= {"focal": 0.0, "focal_gamma": 2.0}
        part["training"]["sampling"]["ignore_edge_px"] = 0
    stored["phases"] = stored.pop("stages")
    stored["phases"]["students"]["training"]["method"]["agree"] = False
    assert stored_recipe(stored) == plain


def test_a_recipe_file_of_0_1_0_may_hold_keys_that_are_gone_where_they_changed_nothing(tmp_path):
    stored = load_recipe("unet", "tiny").model_dump(mode="json")
    path = tmp_path / "recipe.yaml"
    stored["training"]["loss"] |= {"focal": 0.0, "focal_gamma": 2.0}
    stored["training"]["sampling"]["ignore_edge_px"] = 0
    path.write_text(yaml.safe_dump(stored))
    assert load_recipe(str(path)).training == load_recipe("unet", "tiny").training
    stored["training"]["sampling"]["ignore_edge_px"] = 1
    path.write_text(yaml.safe_dump(stored))
    with pytest.raises(RecipeError, match="unknown key 'ignore_edge_px'"):
        load_recipe(str(path))


def test_a_network_trained_by_options_that_are_gone_is_read():
    stored = load_recipe("unet", "tiny").model_dump(mode="json")
    stored["training"]["loss"] |= {"cross_entropy": 0.0, "focal": 1.0, "class_weights": "inverse_sqrt"}
    stored["training"]["sampling"]["ignore_edge_px"] = 1
    assert recipe_from_dict(stored_recipe(stored), "stored").training.loss.class_weights == "inverse"
