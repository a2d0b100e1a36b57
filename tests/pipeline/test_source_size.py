"""Networks and the forest's weight follow from what the sources have."""

from __future__ import annotations

import json

import numpy as np
import pytest
from affine import Affine

from c2seg.artifacts import read_model_file
from c2seg.artifacts.runs import RunRecord
from c2seg.data.city import City, Label, LabeledCity, Modality, Scene
from c2seg.errors import RecipeError
from c2seg.legend import c2seg13
from c2seg.pipeline import fit
from c2seg.pipeline.source_check import HeldOutPixels, decide
from c2seg.pipeline.source_size import independent_cells, source_size
from c2seg.raster import ArrayRaster
from c2seg.recipes import load_recipe
from c2seg.recipes.changes import resized
from c2seg.recipes.schema import SmallSource
from c2seg.types import Grid

SMALL = {
    "name": "small",
    "model": {"name": "unet", "widths": [32, 64]},
    "training": {"iterations": 40, "sampling": {"patch_px": 16, "batch_size": 4}, "ema_decay": 0.9},
    "prediction": {"window_px": 64},
}
FOREST = {"weight": 0.25, "choose_weight": True, "model": {"trees": 10, "pixels_per_class": 300}}


def labeled(ids):
    """A city of 20 x 600 pixels with these ids."""
    grid = Grid(*ids.shape, Affine(10, 0, 0, 0, -10, 0), None)
    scene = Scene("toy", grid, {"msi": Modality(ArrayRaster(np.ones((1, *ids.shape), np.uint8)), name="msi")})
    return LabeledCity(City("toy", c2seg13(), (scene,)), (Label(ArrayRaster(ids[None])),))


def test_neighbors_of_a_class_count_once():
    ids = np.zeros((20, 600), np.uint8)
    ids[:8, :8] = 3  # one cell
    ids[10, 510:515] = 3  # from one cell into the next, across two blocks
    ids[17, 599] = 5  # in a cell at the edge
    ids[3, 3] = 7  # another class in the first cell
    ids[19, 0] = 255
    assert independent_cells(labeled(ids), c2seg13()) == 5


def test_small_sources_make_networks_shorter_and_narrower():
    settings = SmallSource(cells=2000, power=0.5, least=0.25)
    sizes = {cells: source_size(cells, 9 * cells, settings) for cells in (20, 500, 1999, 8000)}
    assert [size.length for size in sizes.values()] == [0.25, 0.5, 1.0, 1.0]
    assert [size.width for size in sizes.values()] == [0.25, 0.5, 1.0, 1.0]
    assert "4500 labeled pixels of the sources are in 500 cells" in sizes[500].notes[0]
    assert "0.5 times as long" in sizes[500].notes[0]
    assert sizes[8000].notes == ()
    [larger] = source_size(2500, 22500, SmallSource(cells=10_000)).notes  # no change without a word, however large
    assert "train 0.5 times as long, are 0.5 times as wide" in larger
    length = source_size(500, 4500, SmallSource(cells=2000, changes=("length",)))
    assert (length.length, length.width) == (0.5, 1.0)
    weak = source_size(500, 4500, None)
    assert (weak.length, weak.width) == (1.0, 1.0)
    assert "few for networks" in weak.notes[0]


def test_every_network_of_a_recipe_is_resized():
    recipe = load_recipe("crosscity", "tiny")
    small = resized(recipe, length=0.5, width=0.3)
    assert small.training.iterations == recipe.training.iterations // 2
    for name, stage in small.stages.items():
        for network in small.stage_networks(name, ("msi",)):
            assert network.model.widths == (8, 16, 40, 40)
        assert stage.fraction == recipe.stages[name].fraction
    assert [n.training.iterations for n in small.stage_networks("students", ("msi",))] == [500]
    assert small.forest == recipe.forest
    assert resized(recipe) is recipe
    assert resized(small, length=1.0, width=0.01).model.widths == (8, 8, 8, 8)


def test_a_fit_records_what_it_changed(cities, write_recipe, tmp_path):
    recipe = write_recipe(SMALL | {"small_source": {"cells": 1000, "power": 1.0}})
    result = fit(recipe, [cities[0]], tmp_path / "run", device="cpu")
    size = json.loads((tmp_path / "run" / "record.json").read_text())["source_size"]
    assert size["labeled_pixels"] == 70 * 91
    assert 108 <= size["cells"] < 200
    assert any("cells of 8 x 8 pixels" in note for note in result.notes)
    trained = read_model_file(tmp_path / "run" / "model.safetensors").header.recipe
    assert trained.training.iterations == max(10, round(size["cells"] / 1000 * 40))
    assert trained.model.widths == (8, 16)
    assert "iterations: 40" in (tmp_path / "run" / "recipe.yaml").read_text()


def test_the_forest_s_weight_is_chosen_by_a_short_trial(cities, write_recipe, tmp_path):
    recipe = write_recipe(SMALL | {"forest": FOREST})
    fit(recipe, [cities[0]], tmp_path / "run", device="cpu")
    check = json.loads((tmp_path / "run" / "record.json").read_text())["source_check"]
    assert check["settings"]["fraction"] == 0.25
    assert set(check["forest"]["miou"]) == {"0", "0.1", "0.25", "0.5", "0.75", "0.9"}
    assert check["calibration"] is None
    header = read_model_file(tmp_path / "run" / "model.safetensors").header
    tried = {float(weight): miou["argmax"] for weight, miou in check["forest"]["miou"].items()}
    best = max(tried, key=tried.get)
    chosen = best if tried[best] - tried[0.25] > 0.02 else 0.25
    assert check["forest"]["weight"] == chosen
    assert (header.recipe.forest.weight if header.recipe.forest else 0) == chosen
    assert header.confidence_temperature is None
    assert header.recipe.source_check is None


def test_a_forest_counts_more_beside_networks_of_a_small_source(cities, write_recipe, tmp_path):
    forest = FOREST | {"choose_weight": False}
    recipe = write_recipe(
        SMALL | {"forest": forest, "small_source": {"cells": 300, "power": 1.0, "changes": ["forest"]}}
    )
    result = fit(recipe, [cities[0]], tmp_path / "run", device="cpu")
    size = RunRecord.read(tmp_path / "run/record.json").source_size
    trained = read_model_file(tmp_path / "run" / "model.safetensors").header.recipe
    assert size.beside_forest == round(size.cells / 300, 3)
    assert trained.forest.weight == pytest.approx(1 - 0.75 * size.beside_forest, abs=1e-3)
    assert (trained.training.iterations, trained.model.widths) == (recipe.training.iterations, recipe.model.widths)
    assert any(f"weigh {size.beside_forest:g} times as much beside a forest" in note for note in result.notes)


def test_weak_networks_give_their_weight_to_the_forest(write_recipe):
    recipe = write_recipe(SMALL | {"forest": FOREST})
    recipe = recipe.model_copy(update={"source_check": recipe.checks})
    rng = np.random.default_rng(0)
    reference = rng.integers(1, 4, 900).astype(np.uint8)
    right = np.eye(13, dtype=np.float32)[reference - 1].T
    noise = np.zeros_like(right)
    noise[:3] = rng.dirichlet(np.ones(3), 900).T
    weights = {}
    for name, networks, forest in (("weak", noise, 0.6 * right + 0.4 * noise[:, ::-1]), ("strong", right, noise)):
        held = HeldOutPixels(reference, networks, forest=forest)
        decided = decide(recipe, (), held, [True] * 3 + [False] * 10, c2seg13())
        weights[name] = decided.recipe.forest.weight
    assert weights["weak"] >= 0.75
    assert weights["strong"] == 0.25


def test_a_forest_has_no_networks_to_resize(write_recipe):
    with pytest.raises(RecipeError, match="small_source and source_check are for networks"):
        write_recipe({"name": "wrong", "model": {"name": "forest"}, "small_source": {}})
