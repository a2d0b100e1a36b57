"""The preset ``demo``: every system of the tables, small enough to see each command work."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
import torch

import c2seg
from c2seg.methods import METHODS, Batch, MethodContext
from c2seg.models import build_model
from c2seg.recipes import load_recipe, presets

BANDS = {"msi": 4, "sar": 2, "hsi": 12}
SYSTEMS = (
    *("unet", "segnet", "deeplabv3plus", "mrsn", "mrsn-1b", "mrsn-2b", "mrsn-3b", "mmglots", "mmglots@paper"),
    *("hrnet", "mmuda", "mmuda-ensemble", "highdan", "crosscity", "forest"),
)


@pytest.mark.parametrize("name", SYSTEMS)
def test_every_system_of_the_tables_has_it(name):
    assert "demo" in presets(name.partition("@")[0])
    demo, tiny = (load_recipe(name, preset) for preset in ("demo", "tiny"))
    assert list(demo.stages) == list(tiny.stages)
    assert demo.normalization == tiny.normalization
    assert demo.validation.folds == 0
    assert name == "forest" or demo.prediction.window_px <= 128
    for small, large in zip(demo.trainings, tiny.trainings, strict=True):
        assert small.method.name == large.method.name
        assert small.sampling.patch_px <= large.sampling.patch_px


def test_table_iii_trains_alike():
    trainings = [load_recipe(name, "demo").training for name in ("mrsn", "mrsn-1b", "mrsn-2b", "mrsn-3b")]
    assert all(training == trainings[0] for training in trainings)


@pytest.mark.parametrize("name", [name for name in SYSTEMS if name not in ("unet", "crosscity", "forest")])
def test_its_networks_train_and_map(name):
    recipe = load_recipe(name, "demo")
    modalities = tuple(BANDS) if recipe.inputs == "all" else recipe.inputs
    for stage in recipe.stages:
        for network in recipe.stage_networks(stage, modalities):
            settings = network.training.model_copy(update={"precision": "32"})
            bands = {modality: BANDS[modality] for modality in network.inputs}
            torch.manual_seed(0)
            model = build_model(network.model, bands, 14).train()
            context = MethodContext(model, settings, 14, None, torch.device("cpu"), background=True)
            method = METHODS[settings.method.name](context)
            side = round(settings.sampling.patch_px * settings.augment.enlarge)
            for _ in range(2):
                losses = method.step(batch(bands, side, labeled=True), batch(bands, side, labeled=False))
                assert losses["loss"].isfinite()
            window = recipe.prediction.window_px
            with torch.inference_mode():
                logits = model.eval()(batch(bands, window, labeled=False).patch)["logits"]
            assert logits.shape == (2, 14, window, window)


def batch(bands, side, *, labeled):
    patch = {modality: torch.randn(2, count, side, side) for modality, count in bands.items()}
    targets = torch.randint(13, (2, side, side)) if labeled else None
    return Batch(patch, torch.ones(2, side, side, dtype=torch.bool), targets)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in SYSTEMS if name not in ("unet", "crosscity", "forest")])
def test_it_trains_and_maps(name, make_city, tmp_path):
    source, target = make_city("s", seed=1, height=96, width=96), make_city("t", seed=2, height=96, width=96)
    c2seg.fit(
        name, source=source, preset="demo", target=target, out=tmp_path / "run", overrides=["training.iterations=4"]
    )
    c2seg.load_model(tmp_path / "run").predict(target, tmp_path / "map.tif")
    with rasterio.open(tmp_path / "map.tif") as dataset:
        ids = dataset.read(1)
    assert ids.shape == (96, 96)
    assert set(np.unique(ids)) <= set(range(1, 14))
