"""``c2seg predict`` as a command: all outputs, several processes, and what a stop leaves behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import rasterio
from matplotlib.image import imread

from c2seg.cli import run
from c2seg.pipeline import fit
from c2seg.recipes import load_recipe


@pytest.fixture
def forest(make_city, tmp_path):
    settings = ["model.trees=10", "validation.folds=0", "prediction.window_px=24"]
    fit(load_recipe("forest", "tiny", settings), [make_city("source", seed=1)], tmp_path / "run")
    return tmp_path / "run" / "model.safetensors"


def test_all_outputs_and_the_record(forest, make_city, tmp_path, capsys):
    city = make_city("target", seed=2, valid=True)
    files = {name: tmp_path / f"{name}.tif" for name in ("probabilities", "confidence", "runner_up")}
    options = [text for name, path in files.items() for text in (f"--{name.replace('_', '-')}", str(path))]
    out, preview = tmp_path / "map.tif", tmp_path / "map.png"
    capsys.readouterr()
    arguments = ["predict", str(forest), str(city), "--out", str(out), "--preview", str(preview), *options]
    assert run([*arguments, "--json"]) == 0
    (result,) = json.loads(capsys.readouterr().out)["maps"]
    assert result == json.loads((tmp_path / "map.json").read_text())
    assert result["pixels"] + result["nodata_pixels"] == 70 * 91
    assert result["peak_memory_mib"] > 10
    assert all(path.exists() for path in files.values())
    assert min(imread(preview).shape[:2]) >= 91  # the map with title, legend and scale bar
    files["runner_up"].unlink()
    assert run(arguments) == 2  # each existing output is refused, before anything is computed
    assert "--overwrite" in capsys.readouterr().err
    assert not files["runner_up"].exists()
    assert run([*arguments, "--overwrite", "--workers", "0"]) == 2


def test_side_files_and_the_package_come_with_the_map(forest, make_city, tmp_path, capsys):
    city = make_city("target", seed=2, valid=True)
    sides = {"vector": "v.gpkg", "legend-image": "l.png", "areas": "a.csv", "stac": "s.stac.json", "package": "pack"}
    options = [text for name, path in sides.items() for text in (f"--{name}", str(tmp_path / "sides" / path))]
    out, sure = tmp_path / "map.tif", tmp_path / "other/map.tif"  # two files of one name in one package
    arguments = [
        "predict",
        str(forest),
        str(city),
        "--out",
        str(out),
        "--confidence",
        str(sure),
        "--simplify",
        "20",
        *options,
    ]
    assert run([*arguments, "-q"]) == 0
    assert all((tmp_path / "sides" / name).exists() for name in sides.values())
    assert (tmp_path / "map.tif.aux.xml").is_file()
    assert sure.with_suffix(".qml").is_file()
    pack = tmp_path / "sides/pack"
    assert (pack / "map.tif").read_bytes() == out.read_bytes()
    assert (pack / "map_confidence.tif").read_bytes() == sure.read_bytes()
    assert json.loads((pack / "map.json").read_text())["confidence"] == "map_confidence.tif"
    item = json.loads((pack / "map.stac.json").read_text())
    assert item["properties"]["mlm:architecture"] == "forest"
    assert (pack / item["assets"]["model"]["href"]).resolve() == forest.resolve()
    with rasterio.open(sure) as dataset:
        assert (dataset.scales, dataset.units) == ((0.005,), ("1",))
    capsys.readouterr()
    assert run([*arguments, "-q"]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert run(["predict", str(forest), str(city), "--out", str(tmp_path / "b.tif"), "--simplify", "2", "-q"]) == 2
    assert "--vector" in capsys.readouterr().err


@pytest.mark.parametrize("stop", [signal.SIGTERM, pytest.param(signal.SIGKILL, marks=pytest.mark.slow)])
def test_a_stop_takes_the_workers_along_and_the_next_run_goes_on(forest, make_city, tmp_path, stop):
    city = make_city("target", seed=2, height=700, width=160)
    command = [sys.executable, "-m", "c2seg", "predict", str(forest), str(city), "--quiet", "--out"]
    subprocess.run([*command, str(tmp_path / "whole.tif")], check=True)
    out = tmp_path / "map.tif"
    ledger = tmp_path / ".map.tif.scratch" / "ledger.jsonl"
    process = subprocess.Popen([*command, str(out), "--workers", "2"], stderr=subprocess.PIPE)
    while process.poll() is None and not (ledger.exists() and ledger.read_text().count('"strip"') >= 3):
        time.sleep(0.001)
    children = _children(process.pid)
    assert len(children) >= 2
    process.send_signal(stop)
    process.communicate()
    assert not out.exists()
    while any(_alive(child) for child in children):  # they end by themselves
        time.sleep(0.01)
    subprocess.run([*command, str(out)], check=True)
    assert out.read_bytes() == (tmp_path / "whole.tif").read_bytes()
    assert json.loads((tmp_path / "map.json").read_text())["resumed_strips"] >= 3


def _children(pid):
    listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True).stdout.split()
    return [int(child) for child in listed]


def _alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{pid}/stat") as stat:
        return stat.read().split(")")[1].split()[0] != "Z"


@pytest.mark.slow
def test_a_cluster_of_this_machine_gives_the_same_bytes(forest, make_city, tmp_path):
    pytest.importorskip("distributed")
    city = make_city("target", seed=2, height=300)
    command = [sys.executable, "-m", "c2seg", "predict", str(forest), str(city), "--quiet", "--out"]
    subprocess.run([*command, str(tmp_path / "whole.tif")], check=True)
    subprocess.run([*command, "map.tif", "--cluster", "local:4"], check=True, cwd=tmp_path)
    assert (tmp_path / "map.tif").read_bytes() == (tmp_path / "whole.tif").read_bytes()
