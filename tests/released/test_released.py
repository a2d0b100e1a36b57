"""What released versions wrote stays of use: models map as they did, what was stopped goes on, reports open runs.

The files and the commands that made them: the README.md in each version's folder. Those commands, with the names of options
and keys as they were then, are run again here where a run is to go on.
"""

from __future__ import annotations

import csv
import json
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch

from c2seg.artifacts import read_model_file
from c2seg.cli import run
from released.make import machine

FOLDER = Path(__file__).parent / "0.1.0"
MADE_ON = json.loads((FOLDER / "machine.json").read_text(encoding="utf-8"))
HERE = machine()


@pytest.fixture
def released(tmp_path, monkeypatch):
    """Return a copy to work in, as the folder in which commands are given."""
    shutil.copytree(FOLDER, tmp_path / "released")
    monkeypatch.chdir(tmp_path / "released")
    return tmp_path / "released"


@pytest.fixture
def one_thread():
    """Train with as many threads as when the files were made."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def pixels(path):
    with rasterio.open(path) as file:
        return file.read()


@pytest.mark.parametrize("name", ["forest", "unet", "crosscity", "members"])
def test_models_map_as_they_did(released, name):
    options = ["--no-tta"] if name == "members" else []
    assert run(["predict", f"{name}/model.safetensors", "target", "--out", "new.tif", "--quiet", *options]) == 0
    with rasterio.open("new.tif") as new, rasterio.open(f"{name}/maps/target.tif") as old:
        assert (new.transform, new.crs, new.nodata, new.dtypes) == (old.transform, old.crs, old.nodata, old.dtypes)
    same = pixels("new.tif") == pixels(f"{name}/maps/target.tif")
    if name == "forest" or HERE == MADE_ON:
        assert same.all()
    else:  # other processors round otherwise
        assert same.mean() > 0.99


def test_an_exported_network_maps_as_it_did(released):
    assert run(["predict", "unet/model.onnx", "target", "--out", "new.tif", "--quiet", "--tta"]) == 0
    assert (pixels("new.tif") == pixels("unet/maps/target.tif")).mean() > 0.99


_CROSSCITY = (
    "normalization=per_city", "small_source=null", "training.augment.cutmix=0.5", "training.loss.label_smoothing=0.05",
    "prediction.tta=true",
)  # fmt: skip
AS_THEN = {"crosscity": [word for setting in _CROSSCITY for word in ("--set", setting)]}
"""Settings of a recipe whose defaults are other ones now (CHANGELOG.md)."""


@pytest.mark.skipif(HERE["gdal"] != MADE_ON["gdal"], reason="GDAL's text of a CRS is part of a city's fingerprint")
@pytest.mark.parametrize(("stopped", "whole"), [("unet-stopped", "unet"), ("crosscity-stopped", "crosscity-whole")])
def test_a_stopped_training_ends_as_it_would_have(released, one_thread, stopped, whole):
    for path in (released / stopped).rglob("state.pt"):
        resumable_here(path)
    before = max(map(clocked, (released / stopped).rglob("curves.csv")), key=len)
    record = json.loads((released / whole / "record.json").read_text(encoding="utf-8"))
    words = shlex.split(record["command"])[1:]
    words[words.index("--out") + 1] = stopped
    words += AS_THEN.get(words[1], [])
    assert run([*words, "--resume"]) == 0
    assert clocked(released / stopped / "curves.csv")[: len(before)] == before  # it has gone on, not begun again
    new, old = (read_model_file(released / name / "model.safetensors").tensors for name in (stopped, whole))
    assert sorted(array.shape for array in new.values()) == sorted(array.shape for array in old.values())
    assert new.keys() == old.keys()
    for name, value in old.items():
        if HERE == MADE_ON:
            np.testing.assert_array_equal(new[name], value, err_msg=name)
        else:
            np.testing.assert_allclose(new[name], value, rtol=1e-2, atol=1e-2, err_msg=name)


def clocked(path):
    """Return what two trainings never have in common."""
    with path.open(newline="", encoding="utf-8") as file:
        return [(row["step"], row["seconds"], row["patches_per_second"]) for row in csv.DictReader(file)]


def resumable_here(path):
    """Say of a state that it was made with this torch: another one is refused, as it may not give the same bits."""
    state = torch.load(path, map_location="cpu", weights_only=True)
    assert state["step"] > 0
    state["identity"]["torch"] = str(torch.__version__)
    torch.save(state, path)


def test_a_stopped_map_is_finished(released):
    """Its rows have no checksums, so that they are computed again."""
    assert run(["predict", "forest/model.safetensors", "target", "--out", "stopped-map/target.tif", "--quiet"]) == 0
    np.testing.assert_array_equal(pixels("stopped-map/target.tif"), pixels("forest/maps/target.tif"))
    assert json.loads((released / "stopped-map/target.json").read_text(encoding="utf-8"))["resumed_strips"] == 0


def test_a_map_is_scored_as_it_was(released, capsys):
    assert run(["score", "forest/maps/target.tif", "truth.tif", "--json", "--quiet"]) == 0
    new = json.loads(capsys.readouterr().out)
    old = json.loads((released / "forest/scores.json").read_text(encoding="utf-8"))
    for key in ("oa", "kappa", "mf1", "miou", "iou", "confusion"):
        assert new[key] == old[key]


def test_the_report_opens_the_runs(released, capsys):
    runs = ["forest", "unet", "crosscity", "members", "unet-stopped"]
    assert run(["report", *runs, "--out", "page.html", "--city", "target", "--truth", "truth.tif", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["scores"]
    assert len(found) == 5  # the forest's validation and four maps
    old = json.loads((released / "forest/scores.json").read_text(encoding="utf-8"))
    assert old["miou"] in [entry["scores"]["miou"] for entry in found]


def test_a_leaderboard_opens(released):
    assert run(["challenge", "rank", "challenge/board.sqlite", "--csv", "new.csv"]) == 0
    new, old = (
        list(csv.DictReader((released / name).read_text().splitlines())) for name in ("new.csv", "challenge/rank.csv")
    )
    assert [{name: row[name] for name in old[0]} for row in new] == [
        {name: _rounded(cell) for name, cell in row.items()} for row in old
    ]
    assert {row[name] for row in new for name in row if "mosaic" in name} == {""}  # places of tiles were not stored
    archive = "again.zip"
    assert run(["submit", "pack", "forest/maps/target.tif", "--tile-px", "32", "--out", archive, "-q"]) == 0
    assert run(["challenge", "add", "challenge/board.sqlite", "--submission", f"small={archive}", "--team", "new"]) == 0


def _rounded(cell):
    """Return a cell of 0.1.0 as it is now: scores have four digits."""
    return f"{float(cell):.4f}".rstrip("0").rstrip(".") if re.fullmatch(r"0\.\d{5,}", cell) else cell
