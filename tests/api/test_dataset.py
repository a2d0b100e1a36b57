"""A city as a torch data set: what a sample holds, that it is drawn as our training draws, any number of loader workers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from torch.utils.data import DataLoader

from c2seg.api.dataset import CityDataset
from c2seg.data import Normalizer, PreparedCity, city_statistics, open_city, open_labeled_city
from c2seg.errors import DataError, InputError
from c2seg.recipes.training import Augmentation, Sampling
from c2seg.sampling import PatchSampler, training_scenes
from c2seg.train.loader import batches

GUIDE = Path(__file__).parents[2] / "docs/dataset.md"
AUGMENT = Augmentation(gain_std=0.1, noise_std=0.1, cutmix=0.5, zoom=(0.8, 1.2))


@pytest.fixture
def city(make_city):
    return make_city("source", seed=1, hsi_ratio=3, valid=True)


def patches(city, **options):
    options = {"labels": True, "size_px": 32, "batch_size": 4, "length": 8, "seed": 3, "augment": AUGMENT} | options
    return CityDataset(city, **options)


def assert_same(first, second):
    assert first.keys() == second.keys()
    for key, value in first.items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(value, second[key]), key
        else:
            assert value == second[key], key


def test_a_sample_of_a_source(city):
    data = patches(city)
    sample = data[0]
    assert set(sample) == {"msi", "sar", "hsi", "mask", "valid", "bounds", "crs", "scene", "window"}
    for name, bands in {"msi": 4, "sar": 2, "hsi": 6}.items():
        assert sample[name].shape == (bands, 32, 32)
        assert sample[name].dtype == torch.float32
        assert not sample[name][:, ~sample["valid"]].any()
    assert (sample["mask"].dtype, sample["mask"].shape) == (torch.int64, (32, 32))
    assert (sample["valid"].dtype, sample["bounds"].dtype) == (torch.bool, torch.float64)
    assert data.band_counts == {"msi": 4, "sar": 2, "hsi": 6}
    assert [data.class_ids[i] for i in (0, 2, 9)] == [1, 3, 10]
    assert {int(v) for s in data for v in s["mask"].unique()} <= {0, 2, 9, 255}
    with pytest.raises(IndexError):
        data[8]
    assert_same(data[-1], data[7])


def test_a_target_has_no_mask_and_its_labels_are_never_opened(city):
    (city / "label.tif").write_text("not even a raster")
    for target in (city, str(city), open_city(city)):
        data = CityDataset(target, size_px=32, length=2)
        assert "mask" not in data[0]
    with pytest.raises(InputError, match="has no labels"):
        CityDataset(open_city(city), labels=True)
    with pytest.raises(DataError):
        CityDataset(city, labels=True)


def test_samples_are_those_of_our_training(city):
    data = patches(city)
    labeled = open_labeled_city(city)
    names = ("msi", "sar", "hsi")
    statistics = city_statistics(labeled.images, names)
    normalizer = Normalizer.fit("per_city", statistics)
    scenes = training_scenes(PreparedCity(labeled, statistics, normalizer), names)
    sampler = PatchSampler(scenes, Sampling(patch_px=32, batch_size=4), AUGMENT, 3, 13)
    for step, batch in enumerate(batches(sampler, 0, 4)):
        data.set_epoch(step // 2)
        samples = [data[step % 2 * 4 + slot] for slot in range(4)]
        for name in names:
            np.testing.assert_array_equal(np.stack([s[name].numpy() for s in samples]), batch.patch[name])
        np.testing.assert_array_equal(np.stack([s["mask"].numpy() for s in samples]), batch.targets)
        np.testing.assert_array_equal(np.stack([s["valid"].numpy() for s in samples]), batch.valid)


class Noise:
    def __call__(self, sample):
        return sample | {"msi": sample["msi"] + torch.randn(())}


@pytest.mark.parametrize("start", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_any_number_of_workers_gives_the_same_samples(city, start, tmp_path):
    data = patches(city, transforms=Noise(), cache=tmp_path / "cache" if start == "spawn" else None)
    wanted = []
    for epoch in range(2):
        data.set_epoch(epoch)
        wanted.append(list(DataLoader(data, batch_size=3)))  # and this process holds open files
    assert not torch.equal(wanted[0][0]["msi"], wanted[1][0]["msi"])
    loader = DataLoader(
        data,
        batch_size=3,
        num_workers=2 if start == "fork" else 1,
        multiprocessing_context=start,
        persistent_workers=True,
    )
    for epoch in range(2):
        data.set_epoch(epoch)
        for first, second in zip(wanted[epoch], loader, strict=True):
            assert_same(first, second)


def test_windows_cover_the_city_in_a_grid(city):
    data = CityDataset(city, labels=True, kind="windows", size_px=48)
    assert len(data) == 4
    labeled = open_labeled_city(city)
    reference = labeled.read_label(0, labeled.images.scenes[0].grid.window)
    seen = np.zeros(reference.shape, np.uint8)
    with rasterio.open(city / "msi.tif") as dataset:
        for sample in data:
            row, col, height, width = sample["window"].tolist()
            part = slice(row, row + height), slice(col, col + width)
            west, south, east, north = sample["bounds"].tolist()
            assert dataset.window(west, south, east, north).round_offsets().toslices() == part
            assert rasterio.crs.CRS.from_wkt(sample["crs"]) == dataset.crs
            mask = sample["mask"].numpy()
            ids = np.array([*data.class_ids])[np.where(mask == 255, 0, mask)]
            np.testing.assert_array_equal(ids[mask != 255], reference[part][mask != 255])
            np.testing.assert_array_equal(mask != 255, sample["valid"].numpy())
            seen[part] += 1
    assert (seen > 0).all()
    assert len(CityDataset(city, kind="windows", size_px=48, overlap_px=40)) > 4


def test_windows_larger_than_the_city_reach_beyond_it(city):
    (sample,) = CityDataset(city, labels=True, kind="windows", size_px=128)
    assert sample["msi"].shape == (4, 128, 128)
    assert not sample["valid"][70:].any()
    assert not sample["valid"][:, 91:].any()
    assert (sample["mask"][~sample["valid"]] == 255).all()


def test_normalization(city, make_city):
    source = CityDataset(city, kind="windows", size_px=128, modalities=("sar", "msi"))
    (sample,) = source
    assert list(sample)[:2] == ["sar", "msi"]
    assert "hsi" not in sample
    inside = sample["msi"][:, sample["valid"]]
    torch.testing.assert_close(inside.mean(dim=1), torch.zeros(4), atol=0.02, rtol=0)
    other = make_city("target", seed=2, gain=2.0)
    (raw,) = CityDataset(other, kind="windows", size_px=128, normalization="none")
    with rasterio.open(other / "msi.tif") as dataset:
        np.testing.assert_array_equal(raw["msi"][:, :70, :91].numpy(), dataset.read().astype(np.float32))
    options = {"kind": "windows", "size_px": 128, "modalities": ("sar", "msi")}
    with pytest.raises(InputError, match="statistics="):
        CityDataset(other, normalization="source", **options)
    (target,) = CityDataset(other, normalization="source", statistics=source.statistics, **options)
    mean, std = source.statistics["msi"].mean[:, None, None], source.statistics["msi"].std[:, None, None]
    wanted = (raw["msi"].numpy() - mean) / std * raw["valid"].numpy()
    np.testing.assert_allclose(target["msi"].numpy(), wanted, atol=1e-4)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"kind": "tiles"}, "kind: unknown value 'tiles'"),
        ({"normalization": "zscore"}, "normalization: unknown value 'zscore'"),
        ({"modalities": ("lidar",)}, "unknown modality 'lidar'"),
        ({"kind": "windows", "augment": AUGMENT}, "not augmented"),
        ({"kind": "windows", "length": 3}, "of patches only"),
        ({"augment": Augmentation(fda={})}, "style of another city"),
        ({"length": 0}, "at least 1"),
    ],
)
def test_mistakes_are_named(city, options, words):
    with pytest.raises((InputError, DataError), match=words):
        CityDataset(city, size_px=32, **options)


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning", "ignore::FutureWarning")
def test_the_lightning_script_of_the_guide_trains_and_predicts(make_city, tmp_path, monkeypatch):
    pytest.importorskip("lightning")
    make_city("augsburg", seed=1, hsi_ratio=3)
    make_city("berlin", seed=2)
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    names: dict[str, Any] = {"__name__": "guide"}
    exec(compile(code, str(GUIDE), "exec"), names)
    assert names["trainer"].global_step == 2
    assert np.isfinite(names["trainer"].callback_metrics.get("loss", 0.0))
    classes, scenes, windows = names["predicted"][0]
    assert classes.shape == (4, 64, 64)
    assert scenes.tolist() == [0] * 4
    assert windows[-1].tolist() == [6, 27, 64, 64]
