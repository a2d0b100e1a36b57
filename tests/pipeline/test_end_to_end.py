"""Fit on one city, map another: what a user relies on, for a forest and a network."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import rasterio

from c2seg.pipeline import fit
from c2seg.predict import MapOptions
from c2seg.predict.city import predict
from c2seg.recipes import load_recipe

FOREST = load_recipe("forest", "tiny", ["model.trees=20", "validation.folds=2", "prediction.window_px=32"])
UNET = load_recipe(
    "unet",
    "tiny",
    [
        "model.widths=[8, 16]", "training.iterations=100", "training.sampling={patch_px: 16, batch_size: 8}",
        "prediction={window_px: 32, tta: true}", "training.optimizer.lr=0.01", "training.ema_decay=0.9",
    ],
)  # fmt: skip


def read(path: Path) -> np.ndarray:
    with rasterio.open(path) as dataset:
        return dataset.read(1)


@pytest.mark.parametrize("recipe", [FOREST, UNET], ids=["forest", "unet"])
@pytest.mark.parametrize("ratio", [1, 3])
def test_a_city_without_labels_is_mapped(make_city, tmp_path, recipe, ratio):
    source = make_city("source", seed=1, hsi_ratio=ratio)
    target = make_city("target", seed=2, hsi_ratio=ratio, gain=1.7, valid=True, height=83, width=66)
    fit(recipe, [source], tmp_path / "run", target=target)
    predict(tmp_path / "run/model.safetensors", target, MapOptions(tmp_path / "map.tif"))
    found, reference, valid = (read(p) for p in (tmp_path / "map.tif", target / "label.tif", target / "valid.tif"))
    assert (found[valid == 0] == 0).all()
    assert (found[valid != 0] != 0).all()
    assert (found == reference)[valid != 0].mean() > 0.9
    with rasterio.open(tmp_path / "map.tif") as a, rasterio.open(target / "msi.tif") as b:
        assert a.transform == b.transform
        assert a.crs == b.crs


@pytest.mark.parametrize("recipe", [FOREST, UNET], ids=["forest", "unet"])
def test_poisoned_target_labels_change_nothing(make_city, tmp_path, recipe):
    short = recipe.model_copy(update={"training": recipe.training.model_copy(update={"iterations": 10})})
    source, clean = make_city("source", seed=1), make_city("target", seed=2, label=False)
    poisoned = tmp_path / "poisoned" / "target"
    shutil.copytree(clean, poisoned)
    shutil.copy(source / "label.tif", poisoned / "label.tif")
    with rasterio.open(poisoned / "label.tif", "r+") as dataset:
        dataset.write(np.full((1, 70, 91), 77, np.uint8))  # not even a class
    results = []
    for name, target in (("a", clean), ("b", poisoned)):
        fit(short, [source], tmp_path / name, target=target)
        predict(tmp_path / name / "model.safetensors", target, MapOptions(tmp_path / f"{name}.tif"))
        results.append([(tmp_path / name / "model.safetensors").read_bytes(), (tmp_path / f"{name}.tif").read_bytes()])
    assert results[0] == results[1]


@pytest.mark.parametrize("recipe", [FOREST, UNET], ids=["forest", "unet"])
def test_equal_runs_give_equal_bytes(make_city, tmp_path, recipe):
    short = recipe.model_copy(update={"training": recipe.training.model_copy(update={"iterations": 10})})
    source = make_city("source", seed=1)
    for name in ("a", "b"):
        fit(short, [source], tmp_path / name, seed=3)
    assert (tmp_path / "a/model.safetensors").read_bytes() == (tmp_path / "b/model.safetensors").read_bytes()
    fit(short, [source], tmp_path / "c", seed=4)
    assert (tmp_path / "a/model.safetensors").read_bytes() != (tmp_path / "c/model.safetensors").read_bytes()


@pytest.mark.slow
def test_several_sources_and_normalizations(make_city, tmp_path):
    first, second = make_city("first", seed=1), make_city("second", seed=2, gain=1.3)
    target = make_city("target", seed=3)
    for kind in ("source", "per_city", "quantile", "minmax", "none"):
        recipe = FOREST.model_copy(update={"normalization": kind})
        fit(recipe, [first, second], tmp_path / kind, target=target)
        predict(tmp_path / kind / "model.safetensors", target, MapOptions(tmp_path / f"{kind}.tif"))
        assert (read(tmp_path / f"{kind}.tif") == read(target / "label.tif")).mean() > 0.8


def test_a_city_of_several_scenes_gives_a_folder_of_maps(make_city, tmp_path):
    source = make_city("source", seed=1)
    city = tmp_path / "town"
    city.mkdir()
    for name, seed in (("north", 2), ("south", 3)):
        make_city(name, seed=seed).rename(city / name)
    (city / "city.yaml").write_text("scenes: [north, south]\n")
    fit(FOREST, [source], tmp_path / "run")
    results = predict(tmp_path / "run/model.safetensors", city, MapOptions(tmp_path / "maps"))
    assert [r.path for r in results] == ["north.tif", "south.tif"]
    assert (read(tmp_path / "maps/north.tif") == read(city / "north/label.tif")).mean() > 0.9


@pytest.mark.slow
def test_sigkill_in_predict_leaves_no_map_and_the_next_run_gives_the_same_bytes(make_city, tmp_path):
    source = make_city("source", seed=1)
    target = make_city("target", seed=2, height=400, width=120)
    recipe = FOREST.model_copy(update={"prediction": FOREST.prediction.model_copy(update={"window_px": 24})})
    fit(recipe, [source], tmp_path / "run")
    model = tmp_path / "run/model.safetensors"
    predict(model, target, MapOptions(tmp_path / "whole.tif"))
    out = tmp_path / "map.tif"
    command = [sys.executable, "-m", "c2seg", "predict", str(model), str(target), "--out", str(out), "--quiet"]
    ledger = tmp_path / ".map.tif.scratch" / "ledger.jsonl"
    for strips in (1, 6):
        process = subprocess.Popen(command, stderr=subprocess.PIPE)
        while process.poll() is None and not (ledger.exists() and ledger.read_text().count('"strip"') >= strips):
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert not out.exists()
    assert ledger.exists()
    subprocess.run(command, check=True, capture_output=True)
    assert out.read_bytes() == (tmp_path / "whole.tif").read_bytes()
    assert not ledger.exists()


@pytest.mark.slow
def test_the_quicklooks(real_data, tmp_path):
    """The forest maps Berlin from Augsburg: valid inside valid.tif, nodata outside, a city-like mix of classes."""
    cities = real_data / "c2seg-ab-quicklook"
    recipe = load_recipe("forest", "tiny", ["model.trees=30", "validation.folds=0"])
    fit(recipe, [cities / "augsburg"], tmp_path / "run", target=cities / "berlin")
    (result,) = predict(tmp_path / "run/model.safetensors", cities / "berlin", MapOptions(tmp_path / "berlin.tif"))
    found, valid = read(tmp_path / "berlin.tif"), read(cities / "berlin/valid.tif")
    np.testing.assert_array_equal(found != 0, valid != 0)
    shares = np.bincount(found.ravel(), minlength=14) / result.pixels
    assert shares[3] > 0.15
    assert shares[7] > 0.05
    assert shares[10] > 0.05


def test_the_leaking_protocol_says_what_it_leaks(make_city, tmp_path):
    source = make_city("source", seed=1)
    recipe = load_recipe("forest", "tiny", ["model.trees=10", "validation={kind: random_tiles, tile_px: 16}"])
    result = fit(recipe, [source], tmp_path / "run")
    assert "validation tiles overlap training tiles" in result.validation.kind
    assert 0 < result.validation.scores.pixels < 70 * 91 / 2


def test_stopping_by_sigterm_exits_with_143(make_city, tmp_path):
    source = make_city("source", seed=1)
    command = [
        sys.executable, "-m", "c2seg", "fit", "unet", "--source", str(source), "--out", str(tmp_path / "run"),
        "--set", "model.widths=[4, 8]", "--set", "training.sampling.patch_px=16", "--set", "training.iterations=100000",
    ]  # fmt: skip
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    while process.poll() is None and not (tmp_path / "run/stages/training/0/curves.csv").exists():
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate()
    assert process.returncode == 143
    assert errors.splitlines()[-1].startswith("c2seg: stopped; resume with: c2seg fit ")
    assert (tmp_path / "run/stages/training/0/state.safetensors").exists()
