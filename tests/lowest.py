"""What must hold with the lowest versions of the core's dependencies; run by make test-lowest, not by make test."""

from __future__ import annotations

import json

import numpy as np
import pytest
import rasterio

import c2seg
from c2seg.cli import COMMANDS, run


def test_a_map_is_made_and_scored_with_a_forest(make_city, tmp_path, capsys):
    source, target = make_city("source", seed=1), make_city("target", seed=2)
    arguments = ["--set", "model.trees=5", "--set", "validation.folds=2"]
    assert (
        run(
            [
                "fit",
                "forest",
                "--source",
                str(source),
                "--target",
                str(target),
                "--out",
                str(tmp_path / "run"),
                *arguments,
            ]
        )
        == 0
    )
    layers = ["--confidence", str(tmp_path / "sure.tif"), "--preview", str(tmp_path / "map.png")]
    model, out = str(tmp_path / "run/model.safetensors"), str(tmp_path / "map.tif")
    assert run(["predict", model, str(target), "--out", out, *layers]) == 0
    capsys.readouterr()
    assert run(["score", out, str(target / "label.tif"), "--json", "-q"]) == 0
    assert json.loads(capsys.readouterr().out)["miou"] > 0.3
    with rasterio.open(out) as dataset:
        assert set(np.unique(dataset.read(1))) <= {0, 1, 3, 10}


def test_a_folder_is_described_and_inspected(make_city, tmp_path, capsys):
    city = make_city("ulm", seed=3)
    assert run(["init", str(city)]) == 0
    assert run(["inspect", str(city)]) == 0
    assert "no problems found" in capsys.readouterr().out


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "serve"])
def test_help_is_shown(name, capsys):
    assert run([name, "--help"]) == 0
    assert "Usage" in capsys.readouterr().out


def test_a_recipe_is_read_and_a_mistake_told():
    assert c2seg.load_recipe("crosscity", "tiny").stages
    with pytest.raises(c2seg.RecipeError, match=r"Did you mean model\.trees=5"):
        c2seg.load_recipe("forest", None, ["trees=5"])
