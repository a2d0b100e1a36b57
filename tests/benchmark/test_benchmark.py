from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from c2seg.benchmark.runner import Benchmark, estimate_seconds, parse_pairs, plan, run_all
from c2seg.benchmark.tables import as_csv, as_text, modality_text, offline_text, rows
from c2seg.cli import run
from c2seg.errors import C2SegError, InputError
from helpers.rasters import write_raster


def result(pair, label, seed, miou, *, iou=(0.5, 0.1), support=(5000, 10), **more):
    scores = {"oa": 0.5, "kappa": 0.4, "mf1": 0.3, "miou": miou, "iou": list(iou), "support": list(support)}
    return {
        "pair": pair, "label": label, "seed": seed, "scores": scores, "fit_seconds": 10.0, "map_seconds": 1.0,
        "peak_memory_mib": 100.0, "parameters": 1000, "gflops_128": 1.0, "iterations": 5,
        "uses_target_images": {"training": False, "normalization": True}, "offline": None, **more,
    }  # fmt: skip


def test_means_spreads_and_paired_differences():
    results = [
        result("a", "forest", 0, 0.2), result("a", "forest", 1, 0.3),
        result("a", "unet", 0, 0.25), result("a", "unet", 1, 0.33),
        result("b", "forest", 0, 0.4), result("b", "forest", 1, 0.4),
        result("b", "unet", 0, 0.5), result("b", "unet", 1, 0.7),
    ]  # fmt: skip
    table = {(r["pair"], r["label"]): r for r in rows(results)}
    assert table["a", "unet"]["miou"] == pytest.approx((0.29, 0.08 / 2**0.5))
    assert table["a", "unet"]["difference"] == pytest.approx((0.04, 0.02 / 2**0.5))
    assert table["a", "unet"]["miou_common"][0] == 0.5  # the class of 10 pixels is left out
    # The challenge's score: the mean over the datasets, for each seed.
    assert table["mean", "unet"]["miou"] == pytest.approx((0.445, (0.515 - 0.375) / 2**0.5))
    text = as_text(list(table.values()))
    assert "+0.040 +-0.014" in text
    assert as_csv(list(table.values())).splitlines()[0].startswith("pair,label,seeds")


def test_pairs_are_parsed(tmp_path, make_city):
    with pytest.raises(InputError, match="SOURCE:TARGET"):
        parse_pairs(["one:"])
    with pytest.raises(InputError, match="one city twice"):
        parse_pairs(["one:one"])
    assert parse_pairs(["one"])[0].inside
    target = make_city("target")
    assert parse_pairs([f"{tmp_path}:{target}"])[0].reference == target / "label.tif"
    assert parse_pairs([f"{tmp_path}:{target}:x.tif"])[0].reference.name == "x.tif"
    same = parse_pairs([f"{tmp_path}/{k}/a:{tmp_path}/{k}/b" for k in (1, 2, 3)])
    assert [pair.name for pair in same] == ["a-b", "a-b-2", "a-b-3"]


def test_what_is_wrong_is_told_before_any_run(make_city, tmp_path, capsys):
    """A ground truth that is missing or elsewhere would show only after the training."""
    source, target = make_city("s"), make_city("t")
    write_raster(tmp_path / "other.tif", np.ones((1, 5, 5), np.uint8), crs=32650)
    write_raster(tmp_path / "bands.tif", np.ones((2, 5, 5), np.uint8))
    (tmp_path / "file").write_text("")
    pair = f"{source}:{target}"
    assert plan(
        Benchmark(parse_pairs([f"{pair}:{target}"]), ("forest",), tmp_path / "b")
    )  # a city folder is a ground truth too
    for reference, out, said in (
        (":none.tif", "b", "none.tif does not exist"),
        (f":{tmp_path / 'other.tif'}", "b", "other.tif"),
        (f":{tmp_path / 'bands.tif'}", "b", "bands.tif has 2 bands"),
        ("", "file", "it is a file"),
        ("", "file/b", "cannot write in the folder"),
    ):
        arguments = ["benchmark", "--pair", pair + reference, "--recipes", "forest", "--out", str(tmp_path / out)]
        assert run(arguments) == 2
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1
        assert said in lines[0]
    assert not (tmp_path / "b").exists()


def test_single_modalities_are_planned(make_city, tmp_path):
    pairs = parse_pairs([f"{make_city('s')}:{make_city('t')}"])
    runs = plan(Benchmark(pairs, ("forest", "unet"), tmp_path / "b", seeds=2, single_modalities=True))
    assert len(runs) == 2 * 4 * 2
    assert {r.label for r in runs} >= {"forest", "forest (msi)", "unet (hsi)"}


def test_classes_stand_in_columns_beside_many_recipes():
    classes = [{"id": 3, "name": "water"}, {"id": 9, "name": "street"}]
    results = [result("a", f"recipe{k}", 0, 0.2, iou=(0.5, k / 10)) for k in range(7)]
    for content in results:
        content["scores"]["classes"] = classes
    assert modality_text(results[:2]).splitlines()[1:] == [
        "class     recipe0  recipe1", "3 water   0.500    0.500", "9 street  0.000    0.100"
    ]  # fmt: skip
    lines = modality_text(results).splitlines()
    assert lines[0] == "IoU by class (3 water; 9 street), a"
    assert lines[1].split() == ["recipe", "3", "9"]
    assert lines[-1].split() == ["recipe6", "0.500", "0.600"]


def test_table_three_shows_the_published_reductions_beside_ours():
    offline = {"offline": {"scores": {"miou": 0.71}}}
    results = [result("a", name, 0, 0.2, **offline) for name in ("mrsn-1b", "mrsn")] + [result("a", "unet", 0, 0.2)]
    lines = [line.split("  ") for line in offline_text(rows(results), "III").splitlines()]
    cells = [[cell.strip() for cell in line if cell] for line in lines]
    assert cells[1:] == [
        ["a", "mrsn-1b", "0.00", "0.710", "UperNet AB 0.761", "0.200"],
        ["a", "mrsn", "0.00", "0.710", "MRSN AB 0.820", "0.200"],
    ]
    assert "MRSN AB 0.866, MRSN BW 0.855" in offline_text(rows(results), "II")


def test_table_three_compares_mrsn_and_its_reductions(make_city, tmp_path, capsys, monkeypatch):
    """The command without the training: what is planned, and what is printed of the results."""
    pair = f"{make_city('s', seed=1)}:{make_city('t', seed=2)}"
    planned = []

    def run_all(benchmark, runs, progress):
        planned.extend((r.recipe, r.seed, benchmark.offline) for r in runs)
        found = [result("s-t", r.label, r.seed, 0.2, offline={"scores": {"miou": 0.71}}) for r in runs]
        for content in found:
            content["scores"]["classes"] = [{"id": 1, "name": "water"}, {"id": 2, "name": "street"}]
        return found, {}

    monkeypatch.setattr("c2seg.benchmark.runner.run_all", run_all)
    monkeypatch.setattr("c2seg.benchmark.runner.finished", lambda *_: True)
    monkeypatch.setattr("c2seg.benchmark.runner.estimate_seconds", lambda *_: 1.0)
    monkeypatch.setattr("c2seg.benchmark.comparison.compare_recipes", lambda *_, **__: [])
    monkeypatch.setattr("c2seg.report.make_report", lambda *_, **__: None)
    arguments = ["benchmark", "--pair", pair, "--seeds", "1", "--out", str(tmp_path / "b"), "-q"]
    assert run([*arguments, "--table", "III"]) == 0
    assert planned == [(name, 0, True) for name in ("mrsn-1b", "mrsn-2b", "mrsn-3b", "mrsn")]
    text = capsys.readouterr().out
    for published in ("UperNet AB 0.761", "MRSN-2B AB 0.792", "MRSN-3B AB 0.809", "MRSN AB 0.820"):
        assert published in text
    assert "vs mrsn-1b" in text  # the first recipe, as the forest is not run
    assert run([*arguments, "--table", "III", "--baseline", "mrsm"]) == 2
    assert "unknown baseline 'mrsm'. Did you mean 'mrsn'?" in capsys.readouterr().err
    assert run([*arguments, "--table", "IV"]) == 2
    assert "unknown table 'IV'" in capsys.readouterr().err


def test_runs_go_train_in_parallel_and_one_that_fails_stops_no_other(make_city, tmp_path, monkeypatch):
    together = threading.Barrier(2, timeout=20)

    def one(benchmark, found, stop):
        together.wait()
        if found.recipe == "unet":
            raise C2SegError("no room left")
        return result("s-t", found.label, found.seed, 0.2)

    monkeypatch.setattr("c2seg.benchmark.runner._one", one)
    pairs = parse_pairs([f"{make_city('s')}:{make_city('t')}"])
    benchmark = Benchmark(pairs, ("forest", "unet"), tmp_path / "b", seeds=2, jobs=2)
    results, failed = run_all(benchmark, plan(benchmark))
    assert [(r["label"], r["seed"]) for r in results] == [("forest", 0), ("forest", 1)]
    assert failed == {"s-t unet seed 0": "no room left", "s-t unet seed 1": "no room left"}


@pytest.mark.parametrize(("forest", "expected"), [("null", 200 * 0.25), ("{weight: 0.25}", 160 * 0.25 + 15)])
def test_equal_time_counts_the_forest_beside_the_networks(make_city, tmp_path, monkeypatch, forest, expected):
    def fit(benchmark, found, folder, overrides, stop=None):
        folder.mkdir(parents=True)
        costs = {"step_seconds": 0.25, "step_processor_seconds": 0.5}
        if forest != "null":
            costs |= {"forest_seconds": 15, "forest_processor_seconds": 20}
        (folder / "record.json").write_text(json.dumps(costs))

    monkeypatch.setattr("c2seg.benchmark.runner._fit", fit)
    pairs = parse_pairs([f"{make_city('s')}:{make_city('t')}:{make_city('t') / 'label.tif'}"])
    overrides = (f"forest={forest}",)
    benchmark = Benchmark(pairs, ("unet",), tmp_path / "b", seeds=1, equal_seconds=100, overrides=overrides)
    assert estimate_seconds(benchmark, plan(benchmark)) == pytest.approx(expected)


def test_a_table_without_the_runs_that_failed(make_city, tmp_path, capsys, monkeypatch):
    """The others are shown, and the command fails."""
    pair = f"{make_city('s', seed=1)}:{make_city('t', seed=2)}"
    found = result("s-t", "forest", 0, 0.2)
    found["scores"]["classes"] = [{"id": 1, "name": "water"}, {"id": 2, "name": "street"}]
    failed = {"s-t unet seed 0": "no room left"}
    monkeypatch.setattr("c2seg.benchmark.runner.run_all", lambda *_: ([found], failed))
    monkeypatch.setattr("c2seg.benchmark.runner.finished", lambda _, run: run.recipe == "forest")
    monkeypatch.setattr("c2seg.benchmark.runner.estimate_seconds", lambda *_: 1.0)
    monkeypatch.setattr("c2seg.benchmark.comparison.compare_recipes", lambda *_, **__: [])
    monkeypatch.setattr("c2seg.report.make_report", lambda *_, **__: None)
    assert run(["benchmark", "--pair", pair, "--seeds", "1", "--out", str(tmp_path / "b"), "-q"]) == 2
    out, errors = capsys.readouterr()
    assert "0.200" in out
    assert "1 of 2 runs failed" in errors
    assert "s-t unet seed 0: no room left" in errors
    assert json.loads((tmp_path / "b/benchmark.json").read_text())["failed"] == failed


def test_a_stopped_benchmark_stops_its_runs(make_city, tmp_path):
    sets = ["training.iterations=100000", "training.sampling.patch_px=32", "model.widths=[8,8]", "validation.folds=0"]
    options = [part for text in sets for part in ("--set", text)]
    pair = f"{make_city('s', seed=1)}:{make_city('t', seed=2)}"
    command = [
        sys.executable, "-m", "c2seg", "benchmark", "--pair", pair, "--recipes", "unet", "--seeds", "2", "--jobs", "2",
        "--out", str(tmp_path / "b"), *options,
    ]  # fmt: skip
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        folders = [tmp_path / f"b/runs/s-t/unet/seed{seed}" for seed in (0, 1)]
        end = time.monotonic() + 120
        while not all((folder / "curves.csv").exists() for folder in folders):
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.2)
        children = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True).stdout.split()
        assert len(children) == 2
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 143
    for child in children:
        with pytest.raises(ProcessLookupError):
            os.kill(int(child), 0)
    assert all((folder / "state.pt").exists() for folder in folders)


@pytest.mark.slow
def test_the_offline_protocol_runs_on_mrsn(make_city, tmp_path, capsys):
    pair = f"{make_city('s', seed=1)}:{make_city('t', seed=2)}"
    sets = [
        "model={encoder: convnext_atto, channels: 8}", "training={iterations: 2, sampling: {patch_px: 16, batch_size: 2}}",
        "validation.tile_px=32", "prediction={window_px: 32, tta: false}",
    ]  # fmt: skip
    options = [part for text in sets for part in ("--set", text)]
    arguments = ["--table", "III", "--recipes", "mrsn-1b", "--seeds", "1", "--out", str(tmp_path / "b"), "-q", *options]
    assert run(["benchmark", "--pair", pair, *arguments]) == 0
    assert "UperNet AB 0.761" in capsys.readouterr().out
    (row,) = json.loads((tmp_path / "b" / "benchmark.json").read_text())["rows"]
    assert row["offline_miou"][0] is not None


@pytest.mark.slow
def test_a_benchmark_runs_resumes_and_reports(make_city, tmp_path, capsys):
    pair = f"{make_city('s', seed=1)}:{make_city('t', seed=2)}"
    arguments = [
        "benchmark", "--pair", pair, "--recipes", "forest", "--seeds", "2", "--out", str(tmp_path / "b"), "--json",
        "--set", "model.trees=10", "--set", "prediction.window_px=64",
    ]  # fmt: skip
    assert run(arguments) == 0
    first = json.loads(capsys.readouterr().out)
    (row,) = first["rows"]
    assert row["miou"][0] > 0.5
    assert row["seeds"] == 2
    assert (tmp_path / "b/benchmark.csv").exists()
    assert "</html>" in (tmp_path / "b/benchmark.html").read_text()
    result_file = next((tmp_path / "b/runs").rglob("result.json"))
    before = result_file.stat().st_mtime_ns
    assert run(arguments) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == first["rows"]
    assert result_file.stat().st_mtime_ns == before


def test_folds_inside_one_city(make_city, tmp_path, capsys):
    """Nothing but folds is learnt, and adapting recipes see the images of that city."""
    arguments = ["benchmark", "--pair", str(make_city("s", seed=1)), "--seeds", "1", "--equal-time", "1", "--json"]
    sets = [
        "validation.folds=2", "training.iterations=20", "training.sampling.patch_px=32", "prediction.window_px=64",
        "model.widths=[8,8]",
    ]  # fmt: skip
    options = [part for text in sets for part in ("--set", text)]
    assert run([*arguments, "--recipes", "forest", "--out", str(tmp_path / "f"), *options[:2]]) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert row["pair"] == "s"
    assert row["miou"][0] > 0.5
    assert run([*arguments, "--recipes", "advent", "--out", str(tmp_path / "n"), *options]) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert row["uses_target"] == "*+"
    assert 0 <= row["miou"][0] <= 1
    folder = tmp_path / "n/runs/s/advent/seed0"
    assert not (folder / "model.safetensors").exists()
    assert (folder / "folds/1/curves.csv").exists()
    record = json.loads((folder / "record.json").read_text())
    assert record["iterations"] >= 20
    assert record["step_processor_seconds"] > 0
