"""Trainings that runs have in common: equal ones are run once, all others are not taken for equal."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from c2seg.artifacts import RunRecord
from c2seg.pipeline import fit
from c2seg.pipeline.prepare import Storage
from helpers.tensors import tensors

BASE = {
    "name": "one",
    "model": {"name": "unet", "widths": [4, 8]},
    "training": {
        "iterations": 12,
        "optimizer": {"lr": 0.01},
        "sampling": {"patch_px": 16, "batch_size": 4},
        "checkpoint_every": 5,
    },
    "prediction": {"window_px": 64},
}
SECOND = {"training": {"optimizer": {"lr": 0.001}}, "fraction": 0.5}


@pytest.fixture
def train(write_recipe, cities, tmp_path):
    """Return what trains a recipe into a folder, with the trainings of the others at hand, and returns its record."""

    def run(name, *, seed=0, **keys):
        recipe = write_recipe(BASE | {"name": name} | keys)
        out = tmp_path / name
        storage = Storage(trainings=tmp_path / "trainings")
        fit(recipe, [cities[0]], out, target=cities[1], seed=seed, resume=True, device="cpu", storage=storage)
        return RunRecord.read(out / "record.json")

    return run


def reused(record):
    return [one.reused for one in record.shared_trainings.values()]


def test_an_equal_training_is_run_once_whatever_the_recipe_s_name(train, tmp_path, write_recipe, cities):
    first = train("one")
    assert reused(first) == [False]
    assert first.shared_trainings.keys() == {path.name for path in (tmp_path / "trainings").iterdir()}
    staged = {"stages": {"start": {}, "end": SECOND}}
    second = train("two", **staged)
    assert sorted(reused(second)) == [False, True]
    (key,) = first.shared_trainings
    assert second.shared_trainings[key].seconds == first.shared_trainings[key].seconds > 0
    assert second.step_seconds > first.step_seconds  # the cost of both stages, whoever ran them
    # nothing but the work is saved: the result is that of a run by itself
    fit(
        write_recipe(BASE | {"name": "alone"} | staged), [cities[0]], tmp_path / "alone", target=cities[1], device="cpu"
    )
    shared, alone = tensors(tmp_path / "two"), tensors(tmp_path / "alone")
    assert shared.keys() == alone.keys()
    for name, value in alone.items():
        np.testing.assert_array_equal(shared[name], value)
    steps = [(tmp_path / name / "curves.csv").read_text().count("\n") for name in ("two", "alone")]
    assert steps[0] == steps[1]
    assert RunRecord.read(tmp_path / "alone/record.json").shared_trainings == {}


@pytest.mark.parametrize(
    "keys",
    [
        {"seed": 1},
        {"inputs": ["msi"]},
        {"normalization": "source"},
        {"training": {**BASE["training"], "optimizer": {"lr": 0.02}}},
    ],
)
def test_what_differs_is_trained_by_itself(train, keys):
    train("one")
    assert reused(train("two", **keys)) == [False]


def test_folds_are_the_run_s_own(train):
    train("one")
    assert reused(train("two", validation={"folds": 2, "final": False})) == []


@pytest.mark.parametrize("damage", ["state", "costs"])
def test_a_damaged_training_is_run_again(train, tmp_path, damage, caplog):
    train("one")
    (place,) = (tmp_path / "trainings").iterdir()
    shutil.rmtree(tmp_path / "one")  # its state is the same file
    if damage == "state":
        content = bytearray((place / "state.safetensors").read_bytes())
        content[-3] ^= 1
        (place / "state.safetensors").write_bytes(content)
    else:
        costs = json.loads((place / "costs.json").read_text())
        (place / "costs.json").write_text(json.dumps(costs | {"step_seconds": 1e-9}))
    assert reused(train("two")) == [False]
    assert "is damaged" in caplog.text
