"""The target's statistics, style and distributions: named options, off by default."""

from __future__ import annotations

import os
import signal

import numpy as np
import pytest
import rasterio
import torch
from torch import nn

from c2seg.artifacts import read_model_file
from c2seg.cli import run as run_cli
from c2seg.data import SceneReader, city_statistics, open_city
from c2seg.errors import InputError, RecipeError
from c2seg.models.unet import UNet
from c2seg.pipeline import fit
from c2seg.predict import MapOptions
from c2seg.predict.city import predict
from c2seg.recipes import load_recipe
from c2seg.train.statistics import renew_statistics
from helpers.tensors import tensors

SMALL = [
    "model.widths=[4, 8]", "training.iterations=24", "training.checkpoint_every=5", "training.optimizer.lr=0.01",
    "training.sampling={patch_px: 16, batch_size: 4}", "prediction.window_px=64", "training.augment.noise_std=0.1",
]  # fmt: skip
TARGET = "training.adabn=true"
FOURIER = "training.augment.fda={fraction: 0.5, beta: 0.1}"


def recipe(*more):
    return load_recipe("unet", "tiny", [*SMALL, *more])


def assert_same(first, second):
    a, b = tensors(first), tensors(second)
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


@pytest.fixture
def cities(make_city):
    return make_city("source", seed=1), make_city("target", seed=2, gain=2.0, label=False)


def network(dropout=0.0):
    torch.manual_seed(0)
    model = UNet({"msi": 3}, 4, [4, 8], dropout)
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.fill_(7.0)
            layer.running_var.fill_(9.0)
    return model


def some_batches():
    generator = torch.Generator().manual_seed(1)
    return [{"msi": 3 + 2 * torch.randn(2, 3, 8, 8, generator=generator)} for _ in range(5)]


def test_statistics_are_those_of_the_batches_in_every_layer():
    model = network()
    seen = {}
    layers = {name: layer for name, layer in model.named_modules() if isinstance(layer, nn.BatchNorm2d)}
    for name, layer in layers.items():
        layer.register_forward_pre_hook(
            lambda _, inputs, name=name: seen.setdefault(name, []).append(inputs[0].clone())
        )
    before = {name: value.clone() for name, value in model.named_parameters()}
    renew_statistics(model, some_batches())
    for name, layer in layers.items():
        means = torch.stack([maps.mean(dim=(0, 2, 3)) for maps in seen[name]])
        variances = torch.stack([maps.var(dim=(0, 2, 3)) for maps in seen[name]])
        torch.testing.assert_close(layer.running_mean, means.mean(dim=0))
        torch.testing.assert_close(layer.running_var, variances.mean(dim=0))
        assert layer.momentum == 0.1
    first = model.encoder[0][0](torch.cat([batch["msi"] for batch in some_batches()]))
    torch.testing.assert_close(layers["encoder.0.1"].running_mean, first.mean(dim=(0, 2, 3)), atol=1e-5, rtol=1e-5)
    assert not any(module.training for module in model.modules())
    for name, value in model.named_parameters():
        assert torch.equal(value, before[name])


def test_dropout_is_off_and_layers_that_nothing_passes_keep_theirs():
    plain, dropping = network(), network(0.5)
    dropping.unused = nn.BatchNorm2d(2)
    dropping.unused.running_mean.fill_(5.0)
    for model in (plain, dropping):
        renew_statistics(model, some_batches())
    for name, value in plain.state_dict().items():
        assert torch.equal(value, dropping.state_dict()[name]), name
    assert dropping.unused.running_mean.tolist() == [5.0, 5.0]


def test_only_statistics_change_and_they_are_the_targets(cities, tmp_path):
    """The first layer's are those of its convolution of windows of the target, whose values spread twice as far."""
    options = ["normalization=source", "training.ema_decay=0.9", "model.norm=batch"]
    fit(recipe(*options), [cities[0]], tmp_path / "source", target=cities[1])
    fit(recipe(*options, TARGET), [cities[0]], tmp_path / "target", target=cities[1])
    source, target = tensors(tmp_path / "source"), tensors(tmp_path / "target")
    for name, value in source.items():
        if "running" in name:
            assert not np.allclose(value, target[name], rtol=1e-3), name
        elif "num_batches" not in name:
            np.testing.assert_array_equal(value, target[name], err_msg=name)
    header = read_model_file(tmp_path / "target" / "model.safetensors").header
    city = open_city(cities[1])
    reader = SceneReader(city.scenes[0], tuple(header.inputs), header.normalizer({}))
    patch, _ = reader(city.scenes[0].grid.window)
    bands = np.concatenate([patch[name] for name in header.inputs])
    rng = np.random.default_rng(0)
    places = [[(rng.integers(55), rng.integers(76)) for _ in range(4)] for _ in range(200)]
    drawn = [torch.from_numpy(np.stack([bands[:, r : r + 16, c : c + 16] for r, c in batch])) for batch in places]
    weight = torch.from_numpy(target["encoder.0.0.weight"])
    drawn = [nn.functional.conv2d(batch, weight, padding=1).numpy() for batch in drawn]
    found = target["encoder.0.1.running_var"]
    np.testing.assert_allclose(found, np.mean([maps.var(axis=(0, 2, 3)) for maps in drawn], axis=0), rtol=0.15)
    means = np.mean([maps.mean(axis=(0, 2, 3)) for maps in drawn], axis=0)
    np.testing.assert_allclose(
        target["encoder.0.1.running_mean"] / found**0.5, means / found**0.5, atol=0.25
    )  # 3 errors
    assert np.median(found / source["encoder.0.1.running_var"]) > 3


@pytest.mark.parametrize("step", [10, 20])
def test_a_stop_and_resume_give_the_same_bits(cities, tmp_path, step):
    def bars(label):
        def show(done, total, text=""):
            if label == "training" and done == step:
                os.kill(os.getpid(), signal.SIGINT)

        return show

    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    wanted = recipe(TARGET, FOURIER, "normalization=quantile", "training.ema_decay=0.9")
    fit(wanted, [cities[0]], whole, target=cities[1])
    with pytest.raises(KeyboardInterrupt):
        fit(wanted, [cities[0]], stopped, target=cities[1], bars=bars)
    fit(wanted, [cities[0]], stopped, target=cities[1], resume=True)
    assert_same(whole, stopped)
    first = tensors(stopped)
    (stopped / "model.safetensors").unlink()  # killed between the last state and the end: statistics are made again
    fit(wanted, [cities[0]], stopped, target=cities[1], resume=True)
    for name, value in tensors(stopped).items():
        np.testing.assert_array_equal(value, first[name], err_msg=name)


def test_fourier_changes_the_training_and_needs_no_adapting_method(cities, tmp_path):
    fit(recipe(), [cities[0]], tmp_path / "plain", target=cities[1])
    fit(recipe(FOURIER), [cities[0]], tmp_path / "styled", target=cities[1])
    a, b = tensors(tmp_path / "plain"), tensors(tmp_path / "styled")
    assert np.abs(a["head.weight"] - b["head.weight"]).max() > 1e-4
    assert not recipe().uses_target
    assert recipe(FOURIER).uses_target


@pytest.mark.parametrize("option", [TARGET, FOURIER])
def test_the_targets_images_are_needed(cities, tmp_path, option):
    assert recipe(option).uses_target
    with pytest.raises(InputError, match="trains on the target's images too: give `target`"):
        fit(recipe(option), [cities[0]], tmp_path / "run")
    with pytest.raises(RecipeError, match="a forest draws no patches and has no batch normalization"):
        load_recipe("forest", "tiny", [option])


def test_a_network_without_batch_normalization_is_named(cities, tmp_path):
    with pytest.raises(InputError, match="adabn: the model UNet has no batch normalization; set it to false"):
        fit(recipe(TARGET, "model.norm=group"), [cities[0]], tmp_path / "run", target=cities[1])


def bend(city):
    """Put every image of a city through a rising curve."""
    for name in ("msi", "sar", "hsi"):
        with rasterio.open(city / f"{name}.tif", "r+") as file:
            values = file.read().astype(np.float64)
            unit = (values - values.min()) / np.ptp(values)
            file.write((1 + 5000 * unit**4 if name != "sar" else np.exp(6 * unit)).astype(file.dtypes[0]))


@pytest.mark.slow
def test_quantiles_follow_the_mapped_city_through_any_backend(make_city, tmp_path):
    """A target whose values are bent is mapped as before, by network and forest, from ONNX, by workers, without a modality."""
    source, target = make_city("source", seed=1, hsi_ratio=3), make_city("target", seed=2, hsi_ratio=3)
    options = [
        "training.iterations=300", "max_bands=4", "training.augment.modality_dropout=0.3",
        "forest={weight: 0.4, model: {trees: 10}}", "prediction.window_px=32",
    ]  # fmt: skip
    wanted = recipe("normalization=quantile", *options)
    assert wanted.follows_city
    fit(wanted, [source], tmp_path / "run")
    model = tmp_path / "run" / "model.safetensors"
    header = read_model_file(model).header
    assert header.statistics["msi"].quantiles is None
    assert header.channels == {"hsi": 4, "msi": 4, "sar": 2}

    def mapped(name, city=target, path=model, **more):
        predict(path, city, MapOptions(tmp_path / f"{name}.tif", **more))
        with rasterio.open(tmp_path / f"{name}.tif") as file:
            return file.read(1)

    with rasterio.open(target / "label.tif") as file:
        reference = file.read(1)
    before = mapped("before")
    assert (before == reference).mean() > 0.85
    bend(target)
    bent = mapped("bent")
    assert (bent == before).mean() > 0.98  # ties of rounded values apart
    assert (mapped("workers", workers=2) == bent).all()
    assert run_cli(["export", str(model), str(tmp_path / "model.onnx")]) == 0
    assert (mapped("onnx", path=tmp_path / "model.onnx") == bent).mean() > 0.999
    poor = make_city("poor", seed=2, hsi_ratio=3, modalities=("msi", "hsi"))
    assert (mapped("poor", poor) == reference).mean() > 0.5


def test_statistics_of_a_city_give_the_same_normalizer_at_fit_and_at_predict(cities):
    city = open_city(cities[1])
    first, second = (city_statistics(city, ("msi", "sar"), quantiles=True) for _ in range(2))
    np.testing.assert_array_equal(first["sar"].quantiles, second["sar"].quantiles)


@pytest.mark.parametrize("variant", ["quantile", "fda", "target-batch-statistics"])
def test_the_variants_of_our_method_run(cities, tmp_path, variant):
    sizes = [
        "model.widths=[4, 8]", "training.iterations=3", "training.sampling={patch_px: 16, batch_size: 4}",
        "forest.model.trees=4", "prediction.window_px=64",
    ]  # fmt: skip
    wanted = load_recipe(f"crosscity@{variant}", "demo", sizes)
    changes = {
        "quantile": wanted.normalization == "quantile",
        "fda": all(t.augment.fda for t in wanted.trainings),
        "target-batch-statistics": all(t.adabn for t in wanted.trainings),
    }
    assert changes[variant]
    plain = load_recipe("crosscity", "demo")
    assert plain.normalization == "auto"
    assert not any(t.aligns for t in plain.trainings)
    result = fit(wanted, [cities[0]], tmp_path / "run", target=cities[1])
    predict(result.model, cities[1], MapOptions(tmp_path / "map.tif"))
    with rasterio.open(tmp_path / "map.tif") as file:
        assert (file.read(1) != 0).all()
