"""The command line: exit codes, one clear line for a mistake, JSON alone on stdout."""

from __future__ import annotations

import json
import os
import shutil
import stat
import sys

import numpy as np
import pytest
import rasterio

from c2seg.cli import COMMANDS, run
from helpers.rasters import write_raster

SMALL = ["--set", "model.trees=5", "--set", "validation.folds=0"]


@pytest.fixture
def fail(capsys):
    """Run a command that must fail with exit code 2 and one line on stderr; return the line."""

    def call(*arguments) -> str:
        capsys.readouterr()
        code = run([str(a) for a in arguments])
        out, err = capsys.readouterr()
        lines = [line for line in err.splitlines() if not line.startswith(("statistics:", "forest:", "predict "))]
        assert code == 2, (code, err)
        assert out == ""
        assert len(lines) == 1, err
        return lines[0]

    return call


@pytest.fixture
def pair(make_city):
    return make_city("source", seed=1), make_city("target", seed=2, label=False)


@pytest.fixture
def model(pair, tmp_path):
    assert run(["fit", "forest", "--source", str(pair[0]), "--out", str(tmp_path / "run"), "--quiet", *SMALL]) == 0
    return tmp_path / "run/model.safetensors"


def test_validation_says_what_it_took_and_can_be_left_out(pair, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("c2seg.pipeline.forest._LONG_S", 0.0)
    fit = ["fit", "forest", "--source", str(pair[0]), "--set", "model.trees=3", "--set", "validation.folds=2"]
    assert run([*fit, "--out", str(tmp_path / "scored")]) == 0
    assert "s; --no-validation omits it" in capsys.readouterr().err
    assert (tmp_path / "scored/validation.json").is_file()
    assert run([*fit, "--out", str(tmp_path / "plain"), "--no-validation"]) == 0
    assert "omits" not in capsys.readouterr().err
    assert not (tmp_path / "plain/validation.json").exists()
    models = [(tmp_path / name / "model.safetensors").stat().st_size for name in ("scored", "plain")]
    assert abs(models[0] - models[1]) < 1000  # equal trees; the header differs


def test_the_demo_shows_the_forest_before_torch_is_there(tmp_path, capsys, monkeypatch):
    from c2seg.api.demo import DEMO_RECIPES, DemoResult

    asked = []

    def demo(out, *, recipes, **options):
        asked.append(recipes)
        return DemoResult(out, out, {}, out, {})

    monkeypatch.setattr("c2seg.api.demo.demo", demo)
    assert run(["demo", "--out", str(tmp_path / "demo")]) == 0
    assert "'.[train]'" not in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "torch", None)
    assert run(["demo", "--out", str(tmp_path / "demo")]) == 0
    assert "the forest alone: training the networks needs" in (shown := capsys.readouterr().err)
    assert "'.[train]'" in shown
    assert asked == [DEMO_RECIPES, ("forest",)]


def test_help_and_version(capsys):
    assert run(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in COMMANDS)
    assert run([]) == 0
    assert run(["--version"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("c2seg 0.")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name, capsys):
    assert run([name, "--help"]) == 0
    assert "Usage" in capsys.readouterr().out


def test_fit_predict_as_json(pair, tmp_path, capsys):
    arguments = ["fit", "forest", "--source", str(pair[0]), "--target", str(pair[1]), "--out", str(tmp_path / "run")]
    assert run([*arguments, "--json", "--set", "model.trees=5"]) == 0
    fitted = json.loads(capsys.readouterr().out)
    assert fitted["validation"]["scores"]["miou"] > 0.5
    assert any("no labeled pixel of 2 Street" in note for note in fitted["notes"])
    assert run(["predict", fitted["model"], str(pair[1]), "--out", str(tmp_path / "map.tif"), "--json"]) == 0
    mapped = json.loads(capsys.readouterr().out)
    assert mapped["maps"][0]["pixels"] == 70 * 91
    record = json.loads((tmp_path / "run/record.json").read_text())
    assert record["seed"] == 0
    assert record["target"]["name"] == "target"


def test_recipes(capsys):
    assert run(["recipes"]) == 0
    assert "forest" in capsys.readouterr().out
    assert run(["recipes", "--json"]) == 0
    assert "tiny" in json.loads(capsys.readouterr().out)["unet"]["presets"]
    assert run(["recipes", "unet", "--preset", "tiny", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["training"]["iterations"] == 600
    assert run(["recipes", "unet"]) == 0
    assert capsys.readouterr().out.startswith("name: unet")


def test_unknown_names(fail, pair, tmp_path):
    assert "Did you mean 'predict'" in fail("predikt")
    common = ["--source", pair[0], "--out", tmp_path / "run"]
    assert "unknown recipe 'forrest'" in fail("fit", "forrest", *common)
    assert "unknown preset 'large'" in fail("fit", "forest", "--preset", "large", *common)
    assert "unknown key 'tres'" in fail("fit", "forest", "--set", "model.tres=1", *common)
    assert "--source" in fail("fit", "forest", "--out", tmp_path / "run")
    assert "No such option" in fail("fit", "forest", *common, "--nonsense")
    assert not (tmp_path / "run").exists()


def test_wrong_sources(fail, make_city, pair, tmp_path):
    out = ["--out", tmp_path / "run"]
    assert "does not exist" in fail("fit", "--source", tmp_path / "nowhere", *out)
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "is an empty folder" in fail("fit", "--source", empty, *out)
    assert "has no label" in fail("fit", "--source", pair[1], *out)
    assert "unknown modality 'lidar'" in fail("fit", "--source", pair[0], "--set", "inputs=[lidar]", *out)
    few = make_city("few", modalities=("sar",), label=False)
    assert "have no modality in common" not in fail(
        "fit", "--source", pair[0], "--target", few, "--set", "inputs=[msi]", *out
    )
    other = make_city("other", modalities=("msi",), label=False)
    assert "no modality in common" in fail("fit", "--source", few_labeled(make_city), "--target", other, *out)


def few_labeled(make_city):
    return make_city("few-labeled", modalities=("sar",))


def change(path, function):
    with rasterio.open(path) as dataset:
        profile, values = dataset.profile, dataset.read()
    with rasterio.open(path, "w", **profile) as dataset:
        dataset.write(function(values))


def test_wrong_rasters(fail, make_city, tmp_path):
    out = ["--out", tmp_path / "run", *SMALL]

    def fit(city):
        return fail("fit", "forest", "--source", city, *out)

    city = make_city("crs")
    write_raster(city / "sar.tif", np.zeros((2, 70, 91), np.float32), crs=32632)
    assert "have different CRS" in fit(city)
    city = make_city("apart")
    write_raster(city / "sar.tif", np.zeros((2, 70, 91), np.float32), origin=(9e5, 5e6))
    assert "do not overlap" in fit(city)
    city = make_city("mixed")
    write_raster(city / "sar.tif", np.zeros((2, 70, 91), np.float32), crs=None)
    assert "has no CRS while the other has" in fit(city)
    city = make_city("legend")
    change(city / "label.tif", lambda v: np.where(v == 3, 44, v))
    message = fit(city)
    assert "label values [44] are not in label mapping" in message
    assert "label.tif" in message
    city = make_city("background")
    change(city / "label.tif", np.zeros_like)
    assert "no pixel of any class" in fit(city)
    city = make_city("band")
    change(city / "sar.tif", lambda v: np.stack([v[0], np.full_like(v[1], np.nan)]))
    message = fit(city)
    assert "bands 2 have no valid value" in message
    assert "keep:" in message
    city = make_city("nothing", valid=True)
    change(city / "valid.tif", np.zeros_like)
    assert "no pixel of msi is valid" in fit(city)
    city = make_city("truncated")
    data = (city / "hsi.tif").read_bytes()
    (city / "hsi.tif").write_bytes(data[: len(data) // 2])
    assert "hsi.tif" in fit(city)
    city = make_city("text")
    (city / "msi.tif").write_text("not a raster")
    assert "cannot open" in fit(city)
    city = make_city("yaml")
    (city / "city.yaml").write_text("modalitys: {}\n")
    message = fit(city)
    assert "modalitys" in message
    assert "modalities" in message


def test_nan_pixels_are_handled(make_city, tmp_path):
    city = make_city("holes", seed=1)
    change(
        city / "sar.tif", lambda v: np.where(np.random.default_rng(0).random(v.shape) < 0.05, np.nan, v).astype("f4")
    )
    assert run(["fit", "forest", "--source", str(city), "--out", str(tmp_path / "run"), "--quiet", *SMALL]) == 0
    out = tmp_path / "map.tif"
    assert run(["predict", str(tmp_path / "run/model.safetensors"), str(city), "--out", str(out), "--quiet"]) == 0
    with rasterio.open(out) as a, rasterio.open(city / "sar.tif") as b:
        np.testing.assert_array_equal(a.read(1) == 0, np.isnan(b.read()).any(axis=0))


def test_wrong_models_and_outputs(fail, model, make_city, pair, tmp_path):
    out = ["--out", tmp_path / "map.tif"]
    assert "does not exist" in fail("predict", tmp_path / "no.safetensors", pair[1], *out)
    (tmp_path / "bad.safetensors").write_bytes(model.read_bytes()[:5000])
    assert "damaged" in fail("predict", tmp_path / "bad.safetensors", pair[1], *out)
    bands = make_city("bands", label=False)
    write_raster(bands / "msi.tif", np.ones((3, 70, 91), np.uint16))
    assert "takes 4 msi bands, city 'bands' has 3" in fail("predict", model, bands, *out)
    few = make_city("few", modalities=("msi",), label=False)
    assert "unknown modality 'sar'" in fail("predict", model, few, *out)
    assert "--tta changes nothing" in fail("predict", model, pair[1], *out, "--tta")
    assert "cannot run a forest" in fail("predict", model, pair[1], *out, "--backend", "torch")
    assert "unknown backend" in fail("predict", model, pair[1], *out, "--backend", "tensorflow")
    assert "unknown palette" in fail("predict", model, pair[1], *out, "--palette", "neon")
    assert not (tmp_path / "map.tif").exists()
    assert run(["predict", str(model), str(pair[1]), "--out", str(tmp_path / "map.tif"), "--quiet"]) == 0
    assert "exists already" in fail("predict", model, pair[1], *out)
    assert "holds a model already" in fail("fit", "--source", pair[0], "--out", model.parent)
    assert run(["predict", str(model), str(pair[1]), "--out", str(tmp_path / "map.tif"), "--overwrite", "-q"]) == 0


def test_places_that_cannot_be_written(fail, model, pair, tmp_path):
    (tmp_path / "file").write_text("")
    assert "cannot" in fail("predict", model, pair[1], "--out", tmp_path / "file" / "map.tif")
    assert "it is a file" in fail("fit", "--source", pair[0], "--out", tmp_path / "file")
    assert "it is a folder" in fail("predict", model, pair[1], "--out", tmp_path)
    locked = tmp_path / "locked"
    locked.mkdir()
    locked.chmod(stat.S_IRUSR | stat.S_IXUSR)
    if os.geteuid() != 0:  # root may write anywhere
        assert "no permission" in fail("predict", model, pair[1], "--out", locked / "map.tif")


def test_a_missing_extra_is_named(fail, pair, tmp_path, monkeypatch):
    import sys

    for name in [n for n in sys.modules if n.split(".")[0] == "torch"]:
        monkeypatch.delitem(sys.modules, name)
    for name in [
        n
        for n in sys.modules
        if n.startswith(("c2seg.models", "c2seg.train", "c2seg.methods", "c2seg.pipeline.", "c2seg.predict.backends."))
    ]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "c2seg.predict.backends.torch", raising=False)
    monkeypatch.delitem(sys.modules, "c2seg.losses", raising=False)
    monkeypatch.setitem(sys.modules, "torch", None)
    message = fail("fit", "unet", "--source", pair[0], "--out", tmp_path / "run")
    assert "pip install '.[train]'" in message


def test_a_label_beside_the_target_is_never_opened(pair, model, tmp_path):
    city = tmp_path / "poisoned"
    shutil.copytree(pair[1], city)
    (city / "label.tif").write_text("not even a raster")
    arguments = [
        "fit",
        "forest",
        "--source",
        str(pair[0]),
        "--target",
        str(city),
        "--out",
        str(tmp_path / "again"),
        "-q",
        *SMALL,
    ]
    assert run(arguments) == 0
    assert run(["predict", str(model), str(city), "--out", str(tmp_path / "map.tif"), "-q"]) == 0
