"""No command replaces a file that it reads, whatever its options; paths of this machine stay out of what is passed on."""

from __future__ import annotations

import hashlib
import json
import os
import sys

import pytest

from c2seg.cli import run
from helpers import killing


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    before = os.getcwd()
    os.chdir(folder)
    assert killing._make_inputs(folder) == 0
    os.chdir(before)
    return folder


@pytest.fixture
def inside(base, monkeypatch):
    monkeypatch.chdir(base)
    return base


def digests(folder):
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


MODEL = "run/model.safetensors"


@pytest.mark.parametrize(
    "arguments",
    [
        ["predict", MODEL, "town", "--out", "town/msi.tif"],
        ["predict", MODEL, "town", "--out", "town/label.tif"],
        ["predict", MODEL, "town", "--out", "o/m.tif", "--confidence", "town/msi.tif"],
        ["predict", MODEL, "town", "--out", "o/m.tif", "--runner-up", "town/label.tif"],
        ["predict", MODEL, "town", "--out", "o/m.tif", "--probabilities", "./o/../o/m.tif"],
        ["predict", MODEL, "town", "--out", MODEL],
        ["predict", MODEL, "town", "--out", "o/m.png"],
        ["predict", MODEL, "town", "--out", "o/m.tif", "--preview", "o/m.jpg"],
        ["predict", MODEL, "town", "--out", "o/m.tif", "--palette", "none"],
        ["predict", MODEL, "town", "--out", f"o/{'m' * 252}.tif"],
        ["fuse", "a.tif", "b.tif", "--out", "b.tif"],
        ["fuse", "a.tif", "b.tif", "--out", "o/f.tif", "--probabilities", "a.tif"],
        ["fuse", "a.tif", "--hsi", "b.tif", "--out", "b.tif"],
        ["label", "a.tif", "--osm", "town.osm", "--like", "a.tif"],
        ["label", "o/l.tif", "--osm", "town.osm", "--like", "a.tif", "--fractions", "a.tif"],
        ["score", "a.tif", "b.tif", "--out", "b.tif"],
        ["score", "a.tif", "town", "--out", "run/record.csv"],
        ["report", "run", "a.tif", "--out", "a.tif"],
        ["report", "run", "a.tif", "--out", "o/p.html", "--figure", "a.tif"],
        ["submit", "pack", "a.tif", "--out", "a.tif", "--tile-px", "32"],
        ["challenge", "init", "b.tif", "--reference", "T=b.tif", "--tile-px", "32"],
        ["challenge", "init", "o/b.tif", "--reference", "T=b.tif", "--tile-px", "32"],
        ["challenge", "rank", "board.sqlite", "--csv", "board.sqlite"],
        ["simulate", "o/pair", "--scale", "0.004", "--target-layout", "a.tif", "--parameter", "sun=1"],
        ["export", MODEL, MODEL],
        ["fit", "forest", "--source", "town", "--out", "a.tif", *killing.FOREST],
        ["fit", "run/recipe.yaml", "--source", "town", "--out", "run", *killing.FOREST],
    ],
    ids=lambda arguments: " ".join(arguments)[:60],
)  # fmt: skip
def test_refused_before_anything_is_touched(inside, capsys, arguments):
    before = digests(inside)
    assert run([*arguments, "--overwrite"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert digests(inside) == before


def test_a_map_inside_its_city_may_be_made_again(inside):
    command = ["predict", MODEL, "town", "--out", "town/map.tif", "-q"]
    assert run(command) == 0
    assert run([*command, "--overwrite"]) == 0


def test_no_absolute_path_is_passed_on(inside, monkeypatch):
    """The model, the JSON beside a map and a page; the page still finds the city by the map."""
    out = inside / "o" / "mine"
    fitted = ["fit", "forest", f"--source={inside / 'town'}", "--out", str(out), *killing.FOREST, "-q"]
    monkeypatch.setattr(sys, "argv", ["c2seg", *fitted])
    assert run(fitted) == 0
    assert (
        run(["predict", str(out / "model.safetensors"), str(inside / "town"), "--out", str(out / "map.tif"), "-q"]) == 0
    )
    assert run(["report", str(out), "--out", str(out / "page.html"), "-q"]) == 0
    for name in ("model.safetensors", "map.json", "page.html"):
        assert str(inside).encode() not in (out / name).read_bytes(), name
    assert json.loads((out / "map.json").read_text())["city"]["path"] == "../../town"
    assert str(inside / "town") in json.loads((out / "record.json").read_text())["command"]
    assert b"No images" not in (out / "page.html").read_bytes()


def test_a_run_folder_may_have_the_name_of_its_recipe(make_city, tmp_path, monkeypatch):
    city = make_city("source", modalities=("msi",))
    monkeypatch.chdir(tmp_path)
    words = ["fit", "forest", "--source", str(city), "--out", "forest", "--quiet", "--set", "model.trees=2"]
    for more in ([], ["--resume"], ["--overwrite"]):
        assert run([*words, "--set", "validation.folds=0", *more]) == 0
