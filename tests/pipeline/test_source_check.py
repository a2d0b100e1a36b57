"""The source check: what harms on held-out blocks of the source is left out, the rest stays, and the run says so."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import rasterio
import yaml
from scipy.special import softmax

from c2seg.artifacts import read_model_file
from c2seg.cli import run as run_cli
from c2seg.errors import RecipeError
from c2seg.legend import c2seg13
from c2seg.pipeline import fit, pseudo_labels, stages
from c2seg.pipeline.source_check import HeldOutPixels, adapting_stages, decide
from c2seg.predict import MapOptions
from c2seg.predict.backends.export import export
from c2seg.predict.city import predict
from c2seg.recipes import load_recipe

TINY = {
    "name": "checked",
    "model": {"name": "unet", "widths": [8, 16]},
    "training": {
        "iterations": 40,
        "optimizer": {"lr": 0.01},
        "sampling": {"patch_px": 16, "batch_size": 8},
        "ema_decay": 0.9,
    },
    "prediction": {"window_px": 64, "decision": "expected_iou"},
    "ensemble": "probabilities",
    "source_check": {"block_px": 16, "guard_px": 2, "margin": 0.05},
}
PHASES = {
    "teachers": {"networks": 2, "keep_in_ensemble": True},
    "students": {
        "networks": 2,
        "init_from": {},
        "training": {
            "method": {
                "name": "pseudo_labels",
                "keep_fraction": 1.0,
                "target_fraction": 0.9,
            }
        },
    },
}
FOREST = {"weight": 0.25, "model": {"trees": 10, "pixels_per_class": 300}}


@pytest.fixture
def write(write_recipe):
    return lambda **keys: write_recipe(TINY | keys)


def record(run):
    return json.loads((run / "record.json").read_text())["source_check"]


def header(run):
    return read_model_file(run / "model.safetensors").header


def read(path):
    with rasterio.open(path) as file:
        return file.read()


def drawn(harm, seed=0, pixels=20_000):
    """Return ids [N] of classes 1..5 and probabilities [13, N] that know them, the less the greater ``harm``."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 5, pixels)
    logits = rng.standard_normal((13, pixels))
    logits[label, np.arange(pixels)] += 3 - harm
    logits[5:] -= 20
    return (label + 1).astype(np.uint8), softmax(logits, axis=0).astype(np.float16)


def judged(recipe, networks, without=None, forest=None, reference=None):
    reference = drawn(0)[0] if reference is None else reference
    chances = {"networks": networks, "without": without, "forest": forest}
    held = HeldOutPixels(reference, **{k: None if harm is None else drawn(harm)[1] for k, harm in chances.items()})
    return decide(recipe, ("students",), held, [True] * 5 + [False] * 8, c2seg13())


def test_the_last_phases_that_look_at_the_target_can_be_left_out(write):
    adversarial = {"training": {"method": {"name": "adversarial", "discriminators": [{"widths": [4]}]}}}
    for phases, found in (
        ({"a": {}, "b": adversarial}, ("b",)),
        ({"a": {}, "b": adversarial, "c": {}}, ()),  # what follows would be learnt otherwise
        ({"a": adversarial, "b": adversarial}, ()),  # nothing would be left
        ({"a": {}, "b": {**adversarial, "inputs": ["sar"]}}, ()),  # is not learnt at all
        (PHASES | {"more": PHASES["students"]}, ("students", "more")),
        ({}, ()),
    ):
        assert adapting_stages(write(stages=phases), ("msi", "hsi")) == found


@pytest.mark.parametrize(("networks", "without", "kept"), [(1.0, 0.0, False), (0.0, 1.0, True), (0.02, 0.0, True)])
def test_adapting_stages_go_when_they_harm_by_more_than_the_margin(write, networks, without, kept):
    found = judged(write(stages=PHASES), networks, without)
    assert list(found.recipe.stages) == (["teachers", "students"] if kept else ["teachers"])
    miou = found.record.adaptation.miou
    assert set(miou["with"]) == {"argmax", "expected_iou"}
    assert (miou["with"]["expected_iou"] > miou["without"]["expected_iou"]) == (networks < without)
    assert ("students kept" if kept else "students left out") in found.record.notes[0]


@pytest.mark.parametrize(("networks", "forest", "weight"), [(0.0, 3.5, None), (2.5, 0.0, 0.5), (1.0, 1.0, 0.25)])
def test_the_forest_goes_stays_or_weighs_more(write, networks, forest, weight):
    # A forest that knows nothing spoils; one that knows more should weigh more.
    own, tried = (0.8, []) if weight is None else (0.25, [0.5])
    recipe = write(forest=FOREST | {"weight": own}, source_check=TINY["source_check"] | {"weights": tried})
    found = judged(recipe, networks, forest=forest)
    assert (found.recipe.forest.weight if found.recipe.forest else None) == weight
    assert set(found.record.forest.miou) == {"0", *(f"{w:g}" for w in (own, *tried))}
    assert "weight of the forest" in found.record.notes[0]


def test_without_a_held_out_label_nothing_changes(write):
    recipe = write(stages=PHASES)
    found = judged(recipe, 2.0, 0.0, reference=np.zeros(20_000, np.uint8))
    assert found.recipe == recipe
    assert found.temperature is None
    assert "nothing was measured" in found.record.notes[0]


@pytest.mark.slow
def test_harmful_students_are_left_out_and_the_run_says_so(write, cities, tmp_path, monkeypatch):
    source, target = cities
    recipe = write(stages=PHASES | {"teachers": {"networks": 2}})  # the students alone map
    fit(recipe, [source], tmp_path / "good", target=target)
    assert record(tmp_path / "good")["adaptation"]["kept"]
    assert list(header(tmp_path / "good").recipe.stages) == ["teachers", "students"]
    assert not (tmp_path / "good/source_check/stages/teachers/1").exists()  # one network a stage
    true = pseudo_labels.label_target

    def wrong(*args, **keys):
        swapped = np.arange(256, dtype=np.uint8)
        swapped[[0, 2, 9]] = 2, 9, 0
        return tuple(swapped[labels] for labels in true(*args, **keys))

    monkeypatch.setattr(stages, "label_target", wrong)
    result = fit(recipe, [source], tmp_path / "bad", target=target)
    facts = record(tmp_path / "bad")
    assert not facts["adaptation"]["kept"]
    assert any("students left out" in note for note in result.notes)
    assert list(header(tmp_path / "bad").recipe.stages) == ["teachers"]
    assert not (tmp_path / "bad/stages/students").exists()
    assert list(yaml.safe_load((tmp_path / "bad/recipe.yaml").read_text())["stages"]) == ["teachers", "students"]
    predict(tmp_path / "bad/model.safetensors", target, MapOptions(tmp_path / "map.tif"))  # the file is one that maps


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"forest": FOREST},
        {"stages": PHASES},
        {"stages": {"training": {"networks": {"a": {}, "b": {"inputs": ["msi"]}}}}, "forest": FOREST},
    ],
    ids=["network", "forest", "stages", "named networks"],
)
def test_every_kind_of_recipe_passes_without_a_target(write, cities, tmp_path, keys):
    result = fit(write(**keys), [cities[0]], tmp_path / "run")
    facts = record(tmp_path / "run")
    assert facts["adaptation"] is None
    assert (facts["forest"] is not None) == ("forest" in keys)
    assert facts["calibration"]["log_loss"]["after"] <= facts["calibration"]["log_loss"]["before"]
    assert header(tmp_path / "run").confidence_temperature == facts["calibration"]["temperature"]
    assert any("temperature of the confidence" in note for note in result.notes)


def test_the_source_check_leaves_the_networks_alone_that_it_keeps(write, cities, tmp_path):
    fit(write(), [cities[0]], tmp_path / "checked")
    fit(write(source_check=None), [cities[0]], tmp_path / "plain")
    checked, plain = (read_model_file(tmp_path / name / "model.safetensors").tensors for name in ("checked", "plain"))
    for name, value in plain.items():
        np.testing.assert_array_equal(checked[name], value)
    assert json.loads((tmp_path / "plain/record.json").read_text())["source_check"] is None


def test_a_source_check_is_for_networks():
    with pytest.raises(RecipeError, match="source_check are for networks"):
        load_recipe("forest", "tiny", ["source_check={}"])


def test_poisoned_target_labels_change_nothing(write, cities, tmp_path):
    source, clean = cities
    poisoned = tmp_path / "poisoned" / "target"
    shutil.copytree(clean, poisoned)
    shutil.copy(source / "label.tif", poisoned / "label.tif")
    recipe = write(stages=PHASES | {"teachers": {}}, training=TINY["training"] | {"iterations": 15})
    found = []
    for name, target in (("a", clean), ("b", poisoned)):
        fit(recipe, [source], tmp_path / name, target=target)
        facts = {k: v for k, v in record(tmp_path / name).items() if "seconds" not in k}
        found.append(((tmp_path / name / "model.safetensors").read_bytes(), facts))
    assert found[0] == found[1]


def test_a_stopped_run_goes_on_inside_the_source_check_and_after_it(write, cities, tmp_path, monkeypatch):
    source, target = cities
    kept = TINY["source_check"] | {"margin": 1.0}  # students stay, whatever they do in so few steps
    recipe = write(stages=PHASES | {"teachers": {}}, training=TINY["training"] | {"iterations": 15}, source_check=kept)
    fit(recipe, [source], tmp_path / "whole", target=target)
    train = stages.train
    for limit in (1, 4):  # in the source check's students; in the real training
        calls = []

        def counted(job, *, calls=calls, limit=limit, **options):
            calls.append(job.folder)
            if len(calls) > limit:
                raise KeyboardInterrupt
            return train(job, **options)

        monkeypatch.setattr(stages, "train", counted)
        with pytest.raises(KeyboardInterrupt):
            fit(recipe, [source], tmp_path / "run", target=target, resume=limit > 1)
        assert ("source_check" in calls[-1].parts) == (limit == 1)
    monkeypatch.setattr(stages, "train", train)
    fit(recipe, [source], tmp_path / "run", target=target, resume=True)
    assert (tmp_path / "run/model.safetensors").read_bytes() == (tmp_path / "whole/model.safetensors").read_bytes()


@pytest.mark.slow
def test_the_temperature_reaches_the_layers_of_a_map_also_through_onnx(write, cities, tmp_path, capsys):
    source, target = cities
    path = tmp_path / "checked.yaml"
    write(forest=FOREST)
    quiet = ["fit", str(path), "--source", str(source), "--out", str(tmp_path / "run")]
    assert run_cli([*quiet, "--quiet"]) == 0
    assert capsys.readouterr().err == ""
    assert run_cli([*quiet, "--overwrite"]) == 0
    assert "source check: temperature of the confidence" in capsys.readouterr().err
    model = read_model_file(tmp_path / "run/model.safetensors")
    temperature = model.header.confidence_temperature
    assert temperature is not None
    assert abs(np.log(temperature)) > 0.05  # else the rest shows nothing
    export(model, tmp_path / "model.onnx")
    assert read_model_file(tmp_path / "model.onnx").header.confidence_temperature == temperature
    plain = tmp_path / "plain.safetensors"
    from c2seg.artifacts import write_model_file

    write_model_file(plain, model.header.model_copy(update={"confidence_temperature": None}), model.tensors)
    maps = {}
    for name, file in (
        ("run", tmp_path / "run/model.safetensors"),
        ("onnx", tmp_path / "model.onnx"),
        ("plain", plain),
    ):
        layers = {key: tmp_path / f"{name}-{key}.tif" for key in ("confidence", "probabilities")}
        [result] = predict(file, target, MapOptions(tmp_path / f"{name}.tif", **layers))
        maps[name] = {key: read(place) for key, place in (layers | {"map": tmp_path / f"{name}.tif"}).items()}
        assert result.run.confidence_temperature == (None if name == "plain" else temperature)
        area = result.expected_area_km2[c2seg13().names[0]]
        share = maps[name]["probabilities"][0].astype(float)
        assert area == pytest.approx(share.sum() / 200 * 1e-4, rel=0.02, abs=2e-3)  # pixels of 10 m
    np.testing.assert_array_equal(maps["run"]["map"], maps["plain"]["map"])
    assert (maps["run"]["confidence"] != maps["plain"]["confidence"]).any()
    for key in ("confidence", "probabilities"):
        assert np.abs(maps["run"][key].astype(int) - maps["onnx"][key]).max() <= 1
