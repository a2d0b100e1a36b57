"""Standardisation in which every class counts alike."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio

from c2seg.api import fit, predict
from c2seg.api.class_balance import balance_classes
from c2seg.cli import run as run_cli
from c2seg.data import city_statistics, open_city
from c2seg.data.layouts import open_labelled_city
from c2seg.errors import DataError, InputError, RecipeError
from c2seg.inference import MapOptions
from c2seg.modelfile import load_model
from c2seg.progress import no_progress
from c2seg.recipes import load_recipe
from rasters import write_raster

SETTINGS = ["model.trees=20", "validation.folds=0", "prediction.window_px=32"]
LEVELS = {1: -1.0, 3: 0.0, 10: 1.0}
SIDE = 120


def read(path):
    with rasterio.open(path) as dataset:
        return dataset.read(1)


def make(folder, columns, *, seed, gain=1.0, offset=0.0, unlabelled=0):
    """A city of three stripes of classes, so many columns wide each; the first rows may be without label."""
    rng = np.random.default_rng(seed)
    truth = np.repeat(np.array(list(LEVELS), np.uint8), columns)[None].repeat(SIDE, axis=0)
    signal = np.vectorize(LEVELS.get)(truth)
    sign = np.array([1, -1, 1])[:, None, None]
    bands = sign * signal + 0.2 * rng.standard_normal((3, *truth.shape))
    write_raster(folder / "msi.tif", (gain * 100 * bands + 1000 + offset).astype(np.float32))
    truth[:unlabelled] = 0
    write_raster(folder / "label.tif", truth[None])
    return folder


@pytest.fixture
def cities(tmp_path):
    source = make(tmp_path / "source", (60, 40, 30), seed=1, unlabelled=20)
    return source, make(tmp_path / "target", (30, 40, 60), seed=2, gain=1.5, offset=300)


def balanced(source, target):
    source, target = open_labelled_city(source, None), open_city(target)
    each, own = (city_statistics(city, ("msi",)) for city in (source.images, target))
    return balance_classes([source], [each], target, own, no_progress), each, own


def test_shares_of_classes_move_neither_mean_nor_deviation(cities):
    ((found,), last), each, own = balanced(*cities)
    # Means -1, 0, 1 counted once: mean 0, variance 2/3, and the noise's of 0.04.
    deviation = np.sqrt(2 / 3 + 0.04)
    for statistics, gain, offset, taken in ((found, 100, 1000, each), (last, 150, 1300, own)):
        np.testing.assert_allclose((statistics["msi"].mean - offset) / gain, 0, atol=0.03)
        np.testing.assert_allclose(statistics["msi"].std / gain, deviation, rtol=0.02)
        assert np.abs((taken["msi"].mean - offset) / gain).min() > 0.2
        assert statistics["msi"].count == taken["msi"].count


def test_a_class_of_few_pixels_counts_in_no_city(cities):
    with rasterio.open(cities[0] / "label.tif", "r+") as dataset:
        label = dataset.read(1)
        label[30:37, 63:70] = 8  # 49 pixels of class 3
        dataset.write(label, 1)
    ((found,), last), _, _ = balanced(*cities)
    np.testing.assert_allclose((found["msi"].mean - 1000) / 100, 0, atol=0.03)
    np.testing.assert_allclose((last["msi"].mean - 1300) / 150, 0, atol=0.05)


def test_one_class_is_too_few(cities, tmp_path):
    lonely = make(tmp_path / "lonely", (130, 0, 0), seed=3)
    with rasterio.open(cities[0] / "label.tif", "r+") as dataset:
        label = dataset.read(1)
        label[label == 10] = 0
        label[(label == 3) & (np.arange(SIDE)[:, None] > 20)] = 0
        dataset.write(label, 1)
    with pytest.raises(DataError, match=r"class_balanced: no class has 50 pixels in every city.*'lonely'"):
        balanced(cities[0], lonely)


def test_cities_of_the_run_can_be_mapped_and_no_other(cities, tmp_path, capsys):
    recipe = load_recipe("forest", "tiny", [*SETTINGS, "normalisation=class_balanced"])
    fit(recipe, [cities[0]], tmp_path / "run", target=cities[1])
    model = tmp_path / "run/model.safetensors"
    header = load_model(model).header
    assert header.cities.keys() == {open_city(city).fingerprint() for city in cities}
    for city in cities:
        predict(model, city, MapOptions(tmp_path / f"{city.name}.tif"))
        label = read(city / "label.tif")
        assert (read(tmp_path / f"{city.name}.tif") == label)[label > 0].mean() > 0.98
    other = make(tmp_path / "other", (40, 40, 40), seed=4)
    assert run_cli(["predict", str(model), str(other), "--out", str(tmp_path / "other.tif")]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert "maps only the cities that it was learnt with, not 'other'" in lines[0]
    assert not (tmp_path / "other.tif").exists()


def test_what_it_needs_is_said(cities, tmp_path):
    with pytest.raises(InputError, match="give --target"):
        fit(load_recipe("forest", "tiny", [*SETTINGS, "normalisation=class_balanced"]), [cities[0]], tmp_path / "run")
    for more in (["validation.folds=2"], ["validation.folds=0", "gate={}"]):
        with pytest.raises(RecipeError, match="looks at all labels of the sources"):
            load_recipe("unet", "tiny", ["normalisation=class_balanced", *more])
