"""Stages that follow each other, networks of an ensemble, and the background as an output."""

from __future__ import annotations

import csv
from dataclasses import dataclass

import numpy as np
import pytest
import rasterio

from c2seg.artifacts import read_model_file
from c2seg.artifacts.runs import RunRecord
from c2seg.cli import run as run_cli
from c2seg.data import SceneReader, city_statistics, open_city
from c2seg.errors import DataError, InputError, RecipeError
from c2seg.pipeline import fit
from c2seg.predict import MapOptions, WindowPlan
from c2seg.predict.backends import BackendOptions, load_predictor
from c2seg.predict.city import predict
from c2seg.predict.pseudo_labels import pseudo_labels
from c2seg.train.state import load_state
from c2seg.types import Window
from helpers.tensors import tensors

BASE = {
    "name": "staged",
    "model": {"name": "unet", "widths": [4, 8]},
    "training": {
        "iterations": 12,
        "optimizer": {"lr": 0.01},
        "sampling": {"patch_px": 16, "batch_size": 4},
        "checkpoint_every": 5,
    },
    "prediction": {"window_px": 64},
}


@pytest.fixture
def write(write_recipe):
    return lambda **keys: write_recipe(BASE | keys)


def classes(path):
    with rasterio.open(path) as file:
        return set(np.unique(file.read(1)))


def columns(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_phase_starts_from_the_one_before_and_may_have_its_own_method(write, cities, tmp_path):
    method = {"name": "adversarial", "discriminators": [{"widths": [4]}]}
    adversarial = {"method": method, "optimizer": {"lr": 1e-9, "weight_decay": 0}}
    recipe = write(stages={"first": {}, "second": {"training": adversarial, "fraction": 0.5}})
    assert recipe.uses_target
    fit(recipe, [cities[0]], tmp_path / "run", target=cities[1])
    fit(write(), [cities[0]], tmp_path / "single", target=cities[1])
    staged, single = tensors(tmp_path / "run"), tensors(tmp_path / "single")
    for name, value in single.items():
        if "running" not in name and "num_batches" not in name:
            np.testing.assert_allclose(staged[name], value, atol=1e-6, err_msg=name)
    rows = columns(tmp_path / "run" / "curves.csv")
    assert [int(row["step"]) for row in rows] == [10, 12, 18]
    assert rows[0]["discriminators"] == ""
    assert float(rows[-1]["discriminators"]) > 0


def test_named_parts_of_earlier_phases_are_the_first_weights(write, cities, tmp_path):
    still = {"optimizer": {"lr": 1e-12, "weight_decay": 0}, "iterations": 1}
    recipe = write(
        stages={
            "wide": {},
            "other": {"init_from": {"encoder": "wide/encoder"}, "training": still},
            "fresh": {"init_from": {}, "training": still},
        }
    )
    fit(recipe, [cities[0]], tmp_path / "run")
    only_other = write(stages={name: recipe.stages[name].model_dump() for name in ("wide", "other")})
    fit(only_other, [cities[0]], tmp_path / "other")
    fit(write(), [cities[0]], tmp_path / "single")
    learnt, other, fresh = (tensors(tmp_path / name) for name in ("single", "other", "run"))
    key, head = "encoder.0.0.weight", "head.weight"
    np.testing.assert_allclose(other[key], learnt[key], atol=1e-6)
    assert np.abs(other[head] - learnt[head]).max() > 1e-3
    assert np.abs(fresh[key] - learnt[key]).max() > 1e-3


def test_a_phase_for_a_modality_that_is_missing_is_left_out(write, make_city, tmp_path):
    city = make_city("source", seed=1, modalities=("msi",))
    recipe = write(stages={"sar": {"inputs": ["sar"]}, "all": {"init_from": {"encoder": "sar/encoder"}}})
    fit(recipe, [city], tmp_path / "run")
    assert not (tmp_path / "run" / "stages" / "sar").exists()
    assert (tmp_path / "run" / "stages" / "all").exists()


def test_a_start_that_names_nothing_is_an_error(write, cities, tmp_path):
    with pytest.raises(RecipeError, match="stage 'nowhere'"):
        write(stages={"a": {}, "b": {"init_from": {"": "nowhere"}}})
    with pytest.raises(InputError, match="no tensor of the stage a is in its part 'trunk'"):
        fit(write(stages={"a": {}, "b": {"init_from": {"encoder": "a/trunk"}}}), [cities[0]], tmp_path / "run")
    with pytest.raises(InputError, match=r"cannot start from the tensor trunk\.0\.0\.weight"):
        fit(write(stages={"a": {}, "b": {"init_from": {"trunk": "a/encoder"}}}), [cities[0]], tmp_path / "b")


def named(networks):
    return {"training": {"networks": networks}}


def test_named_networks_have_seeds_of_their_own_and_predict_together(write, cities, tmp_path):
    shape = {"model": {"widths": [4, 4]}}
    recipe = write(stages=named({"a": {}, "b": {}, "msi": {**shape, "inputs": ["msi"]}}), ensemble="probabilities")
    fit(recipe, [cities[0]], tmp_path / "run")
    found = tensors(tmp_path / "run")
    assert np.abs(found["networks.training.a.head.weight"] - found["networks.training.b.head.weight"]).max() > 1e-3
    assert found["networks.training.msi.encoder.0.0.weight"].shape == (4, 4, 3, 3)
    chances = {}
    for name, inputs in {"a": None, "b": None, "msi": ["msi"]}.items():
        alone = write(stages=named({name: {"inputs": inputs, **(shape if inputs else {})}}), ensemble="probabilities")
        out = tmp_path / name
        fit(alone, [cities[0]], out)
        chances[name] = tensors(out)
    np.testing.assert_array_equal(found["networks.training.a.head.weight"], chances["a"]["head.weight"])
    out = tmp_path / "map.tif"
    predict(tmp_path / "run" / "model.safetensors", cities[1], MapOptions(out, probabilities=tmp_path / "p.tif"))
    assert classes(out) <= set(range(1, 14))


def test_the_background_is_an_output_that_maps_never_show(write, make_city, tmp_path):
    city = make_city("source", seed=1)
    with rasterio.open(city / "label.tif", "r+") as file:
        label = file.read(1)
        label[:30] = 0
        file.write(label, 1)
    bias = {}
    for kind in ("ignored", "trained"):
        out = tmp_path / kind
        fit(write(background=kind), [city], out)
        bias[kind] = tensors(out)["head.bias"]
        assert bias[kind].shape == (14,)
        predict(out / "model.safetensors", city, MapOptions(out / "map.tif"))
        assert classes(out / "map.tif") <= set(range(1, 14))
    assert bias["trained"][13] > bias["ignored"][13] + 0.01


def test_a_staged_run_goes_on_where_it_was_stopped(write, cities, tmp_path):
    recipe = write(stages={"first": {}, "second": {}})

    def stopping(label):
        def show(done, total, text=""):
            if label == "second" and done == 10:
                raise KeyboardInterrupt

        return show

    with pytest.raises(KeyboardInterrupt):
        fit(recipe, [cities[0]], tmp_path / "stopped", bars=stopping)
    fit(recipe, [cities[0]], tmp_path / "stopped", resume=True)
    fit(recipe, [cities[0]], tmp_path / "whole")
    whole, stopped = tensors(tmp_path / "whole"), tensors(tmp_path / "stopped")
    for name, value in whole.items():
        np.testing.assert_array_equal(stopped[name], value, err_msg=name)
    clocks = [load_state(file).content["clock"] for file in (tmp_path / "stopped" / "stages").rglob("state.*")]
    assert len(clocks) == 2
    record = RunRecord.read(tmp_path / "stopped" / "record.json")
    steps = recipe.training.iterations
    seconds = sum(clock["seconds"] / clock["steps"] * steps for clock in clocks)
    assert record.step_seconds * record.iterations == pytest.approx(seconds, rel=0.01), "the stage before the stop, too"


def test_a_model_taught_with_modality_dropout_maps_a_city_that_lacks_one(write, make_city, tmp_path):
    sources = [make_city("source", seed=1)]
    poor = make_city("poor", seed=2, modalities=("msi", "hsi"))
    training = BASE["training"] | {"iterations": 60}
    fit(write(training=training), sources, tmp_path / "plain")
    with pytest.raises(DataError, match="sar"):
        predict(tmp_path / "plain" / "model.safetensors", poor, MapOptions(tmp_path / "no.tif"))
    fit(write(training=training | {"augment": {"modality_dropout": 0.5}}), sources, tmp_path / "robust")
    model = tmp_path / "robust" / "model.safetensors"
    [result] = predict(model, poor, MapOptions(tmp_path / "map.tif"))
    assert result.run.absent == ("sar",)
    with rasterio.open(tmp_path / "map.tif") as found, rasterio.open(poor / "label.tif") as reference:
        assert (found.read(1) == reference.read(1)).mean() > 0.8


def test_networks_of_a_phase_teach_the_next_by_pseudo_labels(write, make_city, tmp_path):
    """The target is brighter and its class 10 is learnt on pixels that the teachers label; the model is both students."""
    sources, target = [make_city("source", seed=1)], make_city("target", seed=2, gain=1.5)
    training = BASE["training"] | {"iterations": 60}
    phases = {
        "teachers": {"networks": 2, "fraction": 0.5, "keep_in_ensemble": True},
        "students": {"networks": 2, "init_from": {}, "training": {"method": {"name": "pseudo_labels", "keep": 0.6}}},
    }
    prediction = BASE["prediction"] | {"decision": "expected_iou"}
    recipe = write(training=training, stages=phases, ensemble="probabilities", prediction=prediction)
    fit(recipe, sources, tmp_path / "run", target=target)
    found = tensors(tmp_path / "run")
    names = {key.split(".head")[0] for key in found if key.endswith("head.weight")}
    assert names == {f"networks.{stage}.{k}" for stage in ("teachers", "students") for k in (0, 1)}
    predict(tmp_path / "run" / "model.safetensors", target, MapOptions(tmp_path / "map.tif"))
    with rasterio.open(tmp_path / "map.tif") as mapped, rasterio.open(target / "label.tif") as reference:
        assert (mapped.read(1) == reference.read(1)).mean() > 0.8
    fit(recipe, sources, tmp_path / "again", target=target)
    for name, value in found.items():
        np.testing.assert_array_equal(tensors(tmp_path / "again")[name], value, err_msg=name)


def test_the_forest_labels_the_target_with_the_teachers(write, make_city, tmp_path, monkeypatch):
    """Teachers that see the radar alone and have learnt next to nothing: what is labeled right is the forest's doing."""
    source, target = make_city("source", seed=1), make_city("target", seed=2)
    with rasterio.open(target / "label.tif") as file:
        reference = file.read(1)
    found = []
    spy = lambda *args, **options: found.append(pseudo_labels(*args, **options)) or found[-1]  # noqa: E731
    monkeypatch.setattr("c2seg.pipeline.pseudo_labels.pseudo_labels", spy)
    for forest in (False, True):
        method = {"name": "pseudo_labels", "keep_fraction": 1.0, "forest": forest}
        phases = {
            "teachers": {"inputs": ["sar"], "training": {"iterations": 1}},
            "students": {"init_from": {}, "training": {"method": method, "iterations": 1}},
        }
        recipe = write(stages=phases, forest={"weight": 0.9, "model": {"trees": 10}})
        fit(recipe, [source], tmp_path / f"run{forest}", target=target)
    known = (reference > 0) & (reference < 255)
    without, mixed = ((labels[known] == reference[known] - 1).mean() for labels in found)
    assert without < 0.5
    assert mixed > 0.7


def test_pseudo_labels_need_a_phase_before_and_a_target(write, cities, tmp_path):
    method = {"training": {"method": {"name": "pseudo_labels"}}}
    with pytest.raises(RecipeError, match="need a stage before"):
        write(stages={"students": method})
    with pytest.raises(RecipeError, match="need a stage before"):
        write(training=BASE["training"] | method["training"])
    result = fit(write(stages={"teachers": {}, "students": method}), [cities[0]], tmp_path / "run")
    assert result.notes[0].startswith("no `target`: students left out")
    assert not (tmp_path / "run" / "stages" / "students").exists()


@dataclass(frozen=True)
class Fixed:
    """A predictor that always gives the same scores [K, H, W] for a scene of one window."""

    scores: np.ndarray
    num_classes: int = 2
    halo_px: int = 0

    def predict(self, patch, valid):
        return self.scores[None]


def test_the_surest_pixels_of_each_class_are_kept():
    sure = np.array([[0.9, 0.8, 0.7, 0.6, 0.2, 0.3, 0.1, 0.4]])
    other = sure.copy()
    other[0, 7] = 0.55  # names the other class there
    valid = np.ones((1, 8), bool)
    valid[0, 0] = False

    def reader(window):
        return {"msi": np.zeros((1, 1, 8), np.float32)}, valid

    plan = WindowPlan(1, 8, 8)
    pair = [Fixed(np.stack([a, 1 - a]).astype(np.float32)) for a in (sure, other)]
    keep_all = pseudo_labels(reader, pair, plan, keep_fraction=1.0)
    np.testing.assert_array_equal(keep_all, [[255, 0, 0, 0, 1, 1, 1, 1]])
    half = pseudo_labels(reader, pair, plan, keep_fraction=0.5)
    np.testing.assert_array_equal(half, [[255, 0, 0, 255, 1, 255, 1, 255]])


def test_a_forest_maps_with_the_network_and_travels_in_the_onnx_file(write, make_city, tmp_path):
    sources, target = [make_city("source", seed=1)], make_city("target", seed=2)
    training = BASE["training"] | {"augment": {"modality_dropout": 0.3}}
    forest = {"weight": 0.4, "model": {"trees": 10}}
    run = tmp_path / "run"
    recipe = write(training=training, forest=forest, validation={"folds": 2, "block_px": 24}, max_bands=4)
    result = fit(recipe, sources, run)
    assert result.validation.scores.oa > 0.5
    model = run / "model.safetensors"
    maps = {}
    plain = read_model_file(model)
    bands = plain.header.channels
    assert bands == {"hsi": 4, "msi": 4, "sar": 2}
    city = open_city(target)
    normalizer = plain.header.normalizer(city_statistics(city, tuple(bands)))
    whole = load_predictor(plain, "torch", BackendOptions("cpu"))
    patch, valid = SceneReader(city.scenes[0], tuple(bands), normalizer)(Window(0, 0, 32, 48).expand(whole.halo_px))
    batch = {name: values[None] for name, values in patch.items()}
    mixed = whole.predict(batch, valid[None])
    rim = whole.halo_px
    inner = {name: values[..., rim:-rim, rim:-rim] for name, values in batch.items()}
    network, forest = whole.predictors
    parts = network.predict(inner, valid[None, rim:-rim, rim:-rim]), forest.predict(batch, valid[None])
    np.testing.assert_allclose(mixed, 0.6 * parts[0] + 0.4 * parts[1], atol=1e-6)

    assert run_cli(["export", str(model), str(tmp_path / "model.onnx")]) == 0
    for path in (model, tmp_path / "model.onnx"):
        out = tmp_path / f"{path.suffix[1:]}.tif"
        predict(path, target, MapOptions(out))
        with rasterio.open(out) as file:
            maps[path.suffix] = file.read(1)
    assert (maps[".safetensors"] == maps[".onnx"]).mean() > 0.999
    poor = make_city("poor", seed=2, modalities=("msi", "sar"))
    [found] = predict(model, poor, MapOptions(tmp_path / "poor.tif"))
    assert found.run.absent == ("hsi",)


def test_wide_modalities_become_components_of_unit_deviation(write, make_city, tmp_path):
    """The components' deviations are 1 on the source, and a model with them maps as one that sees all bands does."""
    source, target = make_city("source", seed=1), make_city("target", seed=2)
    training = BASE["training"] | {"iterations": 200}
    fit(write(max_bands=3, training=training), [source], tmp_path / "run")
    header = read_model_file(tmp_path / "run" / "model.safetensors").header
    assert header.channels == {"hsi": 3, "msi": 3, "sar": 2}
    city = open_city(source)
    reader = SceneReader(city.scenes[0], ("hsi",), header.normalizer(city_statistics(city, ("hsi",))))
    patch, valid = reader(city.scenes[0].grid.window)
    np.testing.assert_allclose(patch["hsi"][:, valid].std(axis=1), 1, atol=0.01)
    np.testing.assert_allclose(np.corrcoef(patch["hsi"][:, valid]), np.eye(3), atol=0.02)
    predict(tmp_path / "run" / "model.safetensors", target, MapOptions(tmp_path / "map.tif"))
    with rasterio.open(tmp_path / "map.tif") as mapped, rasterio.open(target / "label.tif") as reference:
        assert (mapped.read(1) == reference.read(1)).mean() > 0.8
