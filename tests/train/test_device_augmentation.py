"""Augmentation on the device gives the loader's values; CUDA's way of copying is walked through with streams of the test."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch

from c2seg.artifacts import read_model_file
from c2seg.data import Normalizer, PreparedCity, city_statistics
from c2seg.data.layouts import open_labeled_city
from c2seg.data.quantiles import normal_knots, to_normal
from c2seg.pipeline import fit
from c2seg.recipes import load_recipe
from c2seg.recipes.training import FDA, Augmentation, LightChange, Sampling
from c2seg.sampling import PatchSampler, training_scenes
from c2seg.train import augmentation
from c2seg.train.loader import Feed
from c2seg.train.transfer import HostTransfer, PinnedTransfer

NAMES = ("msi", "sar", "hsi")
ROLES = ("blue", "green", "red", "nir")
CPU = torch.device("cpu")
PLAIN = {"flips": False, "rotations": False}
AUGMENTATIONS = {
    "none": PLAIN,
    "flips": {"flips": True, "rotations": False},
    "rotations": {"flips": False, "rotations": True},
    "gain": PLAIN | {"gain_std": 0.3},
    "offset": PLAIN | {"offset_std": 0.3},
    "noise": PLAIN | {"noise_std": 0.2},
    "modality dropout": PLAIN | {"modality_dropout": 0.8},
    "cutmix": PLAIN | {"cutmix": 0.9},
    "zoom": PLAIN | {"zoom": (0.5, 2.0)},
    "enlarge": PLAIN | {"enlarge": 2.5, "gain_std": 0.2, "noise_std": 0.1},
    "enlarge and zoom": PLAIN | {"enlarge": 2.0, "zoom": (0.5, 2.0), "cutmix": 0.5},
    "fda": PLAIN | {"fda": FDA(fraction=0.8, beta=0.1)},
    "light": PLAIN | {"light": LightChange(offset=0.1)},
    "light and fda": {"light": LightChange(), "fda": FDA(fraction=0.8, beta=0.1), "gain_std": 0.1, "cutmix": 0.5},
    "all": {
        "zoom": (0.5, 2.0), "gain_std": 0.2, "offset_std": 0.2, "noise_std": 0.1, "modality_dropout": 0.5, "cutmix": 0.6,
        "light": LightChange(), "fda": FDA(fraction=0.7, beta=0.1),
    },
}  # fmt: skip


def with_roles(labeled):
    """The city with the roles of its MSI's bands, so that its light can change."""
    (scene,) = labeled.images.scenes
    bands = tuple(replace(band, role=role) for band, role in zip(scene.modality("msi").bands, ROLES, strict=True))
    msi = replace(scene.modality("msi"), bands=bands)
    images = replace(labeled.images, scenes=(replace(scene, modalities={**scene.modalities, "msi": msi}),))
    return replace(labeled, images=images)


def prepared(path, kind="per_city", change=lambda normalizer, statistics: normalizer):
    labeled = with_roles(open_labeled_city(path))
    statistics = city_statistics(labeled.images, NAMES, quantiles=kind == "quantile")
    return PreparedCity(labeled, statistics, change(Normalizer.fit(kind, statistics), statistics))


def sampler_of(city, augment, *, target=None, batch=6):
    settings, augment = Sampling(patch_px=16, batch_size=batch), Augmentation(**augment)
    other = None if target is None else PatchSampler(training_scenes(target, NAMES), settings, augment, 5, 13, 1)
    return PatchSampler(training_scenes(city, NAMES), settings, augment, 5, 13, fda_target=other)


def assert_alike(sampler, steps=3, **options):
    seen = 0.0
    device = Feed(sampler, CPU, augments=True, **options).batches(0, steps)
    for found, expected in zip(device, Feed(sampler, CPU).batches(0, steps), strict=True):
        assert torch.equal(found.valid, expected.valid)
        assert torch.equal(found.targets, expected.targets)
        assert list(found.patch) == list(expected.patch)
        for name, values in expected.patch.items():
            assert found.patch[name].dtype == values.dtype == torch.float32
            assert found.patch[name].is_contiguous(memory_format=torch.channels_last)
            np.testing.assert_allclose(found.patch[name], values, atol=1e-5, rtol=0, err_msg=name)
            seen = max(seen, float(values.abs().max()))
    assert seen > 0.5  # there is something to see


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_every_augmentation_gives_the_loaders_values(make_city, name):
    source = prepared(make_city(hsi_ratio=3, valid=True))
    target = prepared(make_city("target", hsi_ratio=3, seed=3, gain=1.7))
    sampler = sampler_of(source, AUGMENTATIONS[name], target=target)
    drawn = sampler.light(sampler.draw(0)[0])
    assert ("light" in AUGMENTATIONS[name]) == (drawn is not None and list(drawn[0]) == ["msi"])
    assert_alike(sampler)


@pytest.mark.parametrize("kind", ["none", "minmax", "source", "quantile"])
def test_every_normalization_gives_the_loaders_values(make_city, kind):
    assert_alike(sampler_of(prepared(make_city(hsi_ratio=3), kind), {"offset_std": 0.0}))


def test_projected_scaled_and_unsigned_bands_give_the_loaders_values(make_city):
    def project(normalizer, statistics):
        axes = np.random.default_rng(0).standard_normal((2, len(statistics["hsi"].mean))).astype(np.float32)
        return replace(normalizer, projection={"hsi": axes})

    city = prepared(make_city(hsi_ratio=3), change=project)
    scene = city.images.scenes[0]
    msi = scene.modalities["msi"]
    assert msi.source.dtype == np.uint16  # its values travel as signed ones
    scaled = replace(msi, scale=(1.5, 2.0, 0.5, 1.0), offset=-3.0)
    images = replace(city.images, scenes=(replace(scene, modalities={**scene.modalities, "msi": scaled}),))
    assert_alike(sampler_of(replace(city, city=replace(city.city, images=images)), {"gain_std": 0.1}))


def test_large_unsigned_values_stay_what_they_are():
    for dtype in (np.uint16, np.uint32):
        cells = np.array([[[1, 40_000, np.iinfo(dtype).max]]], dtype)
        bands = augmentation.RawBands(cells, np.arange(1), np.arange(3))
        (signed,) = HostTransfer().receive([cells.view(augmentation._SIGNED[cells.dtype])])
        np.testing.assert_array_equal(augmentation._unsigned(signed, bands), cells.astype(np.int64))


def test_knots_with_equal_quantiles_transform_as_in_numpy():
    rng = np.random.default_rng(0)
    quantiles = np.sort(rng.integers(0, 40, (3, 256)).astype(np.float64), axis=1)
    quantiles[2] = 7.0
    values = np.concatenate([rng.uniform(-5, 45, (3, 9, 9)), rng.integers(0, 40, (3, 9, 9))], axis=1).astype(np.float32)
    knots = normal_knots(quantiles)
    found = augmentation.to_normal(torch.from_numpy(values), torch.from_numpy(knots))
    np.testing.assert_allclose(found, to_normal(values, knots), atol=1e-6)


def test_processes_share_a_step_whose_rectangles_come_from_each_other(make_city):
    sampler = sampler_of(prepared(make_city()), {"cutmix": 0.9, "noise_std": 0.1})
    (whole,) = Feed(sampler, CPU).batches(4, 5)
    for rank in range(2):
        (part,) = Feed(sampler, CPU, True, rank, 2).batches(4, 5)
        assert torch.equal(part.targets, whole.targets[rank::2])
        np.testing.assert_allclose(part.patch["msi"], whole.patch["msi"][rank::2], atol=1e-5)


class Recorded:
    """Streams that note what is done, in order."""

    def __init__(self):
        self.events = []

    @contextmanager
    def copying(self):
        self.events.append("copy")
        yield

    def mark(self):
        return len(self.events)

    def wait(self, mark, tensor):
        assert self.events[mark - 1] == "copy"
        self.events.append("wait")


@pytest.mark.parametrize("augments", [False, True])
def test_a_step_is_on_its_way_before_the_one_before_is_computed(make_city, augments):
    sampler = sampler_of(prepared(make_city(hsi_ratio=3)), AUGMENTATIONS["enlarge"] | {"zoom": (0.5, 2.0)})
    streams = Recorded()
    transfer = PinnedTransfer(CPU, streams, pin=False)
    expected = list(Feed(sampler, CPU, augments).batches(0, 3))
    found = Feed(sampler, CPU, augments, transfer=transfer).batches(0, 3)
    for step, (batch, other) in enumerate(zip(found, expected, strict=True)):
        assert streams.events.count("copy") == min(step + 2, 3)
        assert streams.events.count("wait") == step + 1
        for name, values in other.patch.items():
            assert torch.equal(batch.patch[name], values)
        assert torch.equal(batch.targets, other.targets)


def test_a_run_that_augments_on_the_device_ends_near_one_that_does_not(cities, tmp_path):
    small = [
        "model.widths=[4, 8]", "training.iterations=6", "model.dropout=0", "training.precision=32", "validation.folds=0",
        "training.sampling={patch_px: 16, batch_size: 4}", "training.augment.noise_std=0.1", "training.optimizer.name=sgd",
    ]  # fmt: skip
    weights = {}
    for place in ("loader", "device"):
        fit(load_recipe("unet", "tiny", [*small, f"training.augment_on={place}"]), [cities[0]], tmp_path / place)
        weights[place] = dict(read_model_file(tmp_path / place / "model.safetensors").tensors)
    for name, values in weights["loader"].items():
        np.testing.assert_allclose(weights["device"][name], values, atol=1e-4, rtol=1e-3, err_msg=name)
