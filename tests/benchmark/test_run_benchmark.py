"""The whole: tables, page, what is printed; and once with real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from c2seg.artifacts.benchmark import BenchmarkTable
from c2seg.benchmark import run_benchmark
from c2seg.cli import run
from c2seg.data import write_folder
from c2seg.data.city import Band
from c2seg.errors import C2SegError, InputError
from c2seg.raster import ArrayRaster
from c2seg.recipes import load_recipe, variants
from helpers.benchmark_runs import FakeRunner
from helpers.toy_cities import make_city as toy_city


@pytest.fixture
def pair(make_city):
    return make_city("s", seed=1), make_city("t", seed=2, width=130)  # two blocks of 100 pixels


@pytest.fixture
def fake(monkeypatch):
    """Commands meet this runner."""
    runner = FakeRunner()
    monkeypatch.setattr("c2seg.benchmark.compose.SpawningRunner", lambda jobs: runner)
    monkeypatch.setattr("c2seg.benchmark.jobs.SpawningRunner", lambda jobs, lease: runner)
    return runner


def test_tables_differences_and_page(pair, tmp_path, caplog):
    caplog.set_level("INFO", "c2seg")
    runner = FakeRunner(wrong={"unet": 2, "segnet": 3})
    summary = run_benchmark([pair], ["forest", "unet", "segnet"], out=tmp_path / "b", seeds=2, runner=runner)
    miou = {row.label: row.miou[0] for row in summary.rows}
    assert miou["unet"] < miou["segnet"] < miou["forest"] == 1
    assert summary.baseline == "forest"
    assert [item.other for item in summary.differences] == ["unet", "segnet"]
    assert summary.differences[0].difference.value == pytest.approx(1 - miou["unet"])
    assert summary.differences[0].by_pair == {"s-t": pytest.approx(1 - miou["unet"])}
    assert not summary.failures
    text = summary.text()
    for part in ("vs forest", "forest against the others", "IoU by class, s-t"):
        assert part in text
    assert "<td>segnet</td>" in summary._repr_html_()
    assert "6 runs, 6 of them to do" in caplog.text
    folder = tmp_path / "b"
    assert BenchmarkTable.read(folder / "benchmark.json") == summary.table()
    assert len((folder / "benchmark.csv").read_text().splitlines()) == 4
    assert "</html>" in (folder / "benchmark.html").read_text()
    assert (folder / "benchmark.png").stat().st_size > 1000


def test_a_table_without_the_runs_that_failed(pair, tmp_path, fake, capsys):
    """The others are shown, and the command fails."""
    fake.failing["unet"] = "no room left"
    arguments = ["benchmark", "--pair", ":".join(map(str, pair)), "--seeds", "1", "--out", str(tmp_path / "b"), "-q"]
    assert run(arguments) == 2
    out, errors = capsys.readouterr()
    assert "1.000" in out
    assert "1 of 2 runs failed" in errors
    assert "s-t unet seed 0: no room left" in errors
    table = BenchmarkTable.read(tmp_path / "b/benchmark.json")
    assert table.failed == {"s-t unet seed 0": "no room left"}
    assert [row.label for row in table.rows] == ["forest"]
    with pytest.raises(C2SegError, match="no room left"):
        run_benchmark([pair], "unet", out=tmp_path / "b", seeds=1, runner=fake)


def test_table_three_compares_mrsn_and_its_reductions(pair, tmp_path, fake, capsys):
    arguments = ["benchmark", "--pair", ":".join(map(str, pair)), "--seeds", "1", "--out", str(tmp_path / "b")]
    assert run([*arguments, "--table", "III"]) == 0
    trained = {(task.out.parent.parent.name, task.recipe.name) for task in fake.fitted if task.out.name == "offline"}
    assert trained == {(name, name) for name in ("mrsn-1b", "mrsn-2b", "mrsn-3b", "mrsn")}
    text, errors = capsys.readouterr()
    for published in ("UperNet AB", "MRSN-2B AB", "MRSN-3B AB", "MRSN AB"):
        assert published in text
    assert "vs mrsn-1b" in text  # the first recipe, as the forest is not run
    assert "4 runs, 4 of them to do: about" in errors
    assert run([*arguments, "--table", "III", "--baseline", "mrsm"]) == 2
    assert "unknown baseline 'mrsm'. Did you mean 'mrsn'?" in capsys.readouterr().err
    assert run([*arguments, "--table", "IV"]) == 2
    assert "unknown table 'IV'" in capsys.readouterr().err


def test_table_three_trains_all_four_alike(pair, tmp_path, fake):
    """Iterations, batch and patches are equal; the paper's are 2000 of 12. Other presets: ``test_offline``."""
    for preset, expected in (
        ("paper", (2000, 12, 128)),
        ("tiny", None),
    ):
        fake.fitted.clear()
        out = tmp_path / preset
        arguments = ["--table", "III", "--preset", preset, "--seeds", "1", "--out", str(out)]
        assert run(["benchmark", "--pair", ":".join(map(str, pair)), *arguments]) == 0
        trainings = [task.recipe.training for task in fake.fitted if task.out.is_relative_to(out / "runs")]
        assert len(trainings) == 8  # in the offline protocol, and across cities
        sizes = {(t.iterations, t.sampling.batch_size, t.sampling.patch_px, str(t.schedule)) for t in trainings}
        assert len({task.recipe.name for task in fake.fitted}) == 4
        assert len(sizes) == 1
        assert expected is None or sizes.pop()[:3] == expected


@pytest.mark.parametrize(("bands", "preset"), [(242, "paper-ab"), (116, "paper-bw"), (6, None)])
def test_the_preset_paper_is_that_of_the_dataset(tmp_path, fake, bands, preset):
    places = [tmp_path / name for name in ("one", "two")]
    for place in places:
        city = toy_city(60, 48)
        scene = city.images.scenes[0]
        cube = np.ones((bands, 20, 16), np.uint16)
        hsi = replace(scene.modalities["hsi"], source=ArrayRaster(cube), bands=(Band(),) * bands)
        scene = replace(scene, modalities={**scene.modalities, "hsi": hsi})
        write_folder(replace(city, images=replace(city.images, scenes=(scene,))), place)
    if preset is None:
        with pytest.raises(InputError, match="name paper-ab or paper-bw"):
            run_benchmark([tuple(places)], "unet", preset="paper", out=tmp_path / "b", seeds=1, runner=fake)
        return
    run_benchmark([tuple(places)], "unet", preset="paper", out=tmp_path / "b", seeds=1, runner=fake)
    assert fake.fitted[-1].recipe == load_recipe("unet", preset, ["validation.folds=0"])


def test_variants_are_run_with_ablations(pair, tmp_path):
    runner = FakeRunner()
    summary = run_benchmark([pair], "advent", out=tmp_path / "b", seeds=1, ablations=True, runner=runner)
    names = ["advent", *(f"advent@{variant}" for variant in variants("advent"))]
    assert [row.label for row in summary.rows] == names
    assert len(names) > 1
    assert summary.baseline == "advent"
    assert [task.command[2] for task in runner.fitted[-len(names) :]] == names


def test_a_forest_benchmark_runs_and_resumes(pair, tmp_path, capsys):
    """With real processes."""
    arguments = [
        "benchmark", "--pair", ":".join(map(str, pair)), "--recipes", "forest", "--seeds", "1", "--jobs", "2", "--json",
        "--out", str(tmp_path / "b"), "--set", "model.trees=10", "--set", "prediction.window_px=64",
    ]  # fmt: skip
    assert run(arguments) == 0
    first = json.loads(capsys.readouterr().out)
    (row,) = first["rows"]
    assert row["miou"][0] > 0.5
    assert row["seeds"] == 1
    assert row["peak_memory_mib"] > 10
    assert "</html>" in (tmp_path / "b/benchmark.html").read_text()
    result_file = next((tmp_path / "b/runs").rglob("result.json"))
    before = result_file.stat().st_mtime_ns
    assert run(arguments) == 0
    assert json.loads(capsys.readouterr().out) == first
    assert result_file.stat().st_mtime_ns == before


@pytest.mark.slow
def test_a_stopped_benchmark_stops_its_runs(pair, tmp_path):
    sets = ["training.iterations=100000", "training.sampling.patch_px=32", "model.widths=[8,8]", "validation.folds=0"]
    options = [part for text in sets for part in ("--set", text)]
    command = [
        sys.executable, "-m", "c2seg", "benchmark", "--pair", ":".join(map(str, pair)), "--recipes", "unet", "--seeds", "2",
        "--jobs", "2", "--out", str(tmp_path / "b"), *options,
    ]  # fmt: skip
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        folders = [tmp_path / f"b/runs/s-t/unet/seed{seed}" for seed in (0, 1)]
        while not all(any(folder.rglob("curves.csv")) for folder in folders):
            assert process.poll() is None
            time.sleep(0.2)
        children = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True).stdout.split()
        assert len(children) == 2
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 143
    for child in children:
        with pytest.raises(ProcessLookupError):
            os.kill(int(child), 0)
    assert all(any(folder.rglob("state.safetensors")) for folder in folders)


@pytest.mark.slow
def test_the_offline_protocol_runs_on_mrsn(pair, tmp_path, capsys):
    sets = [
        "model={encoder: convnext_atto, channels: 8}", "training={iterations: 2, sampling: {patch_px: 16, batch_size: 2}}",
        "validation.tile_px=32", "prediction={window_px: 32, tta: false}",
    ]  # fmt: skip
    options = [part for text in sets for part in ("--set", text)]
    arguments = ["--table", "III", "--recipes", "mrsn-1b", "--seeds", "1", "--out", str(tmp_path / "b"), "-q", *options]
    assert run(["benchmark", "--pair", ":".join(map(str, pair)), *arguments]) == 0
    assert "UperNet AB" in capsys.readouterr().out
    table = BenchmarkTable.read(tmp_path / "b" / "benchmark.json")
    assert table.rows[0].offline_miou[0] is not None
    assert [row.weights for row in table.offline] == ["last", "best"]
    assert all(row.background and row.across_miou[0] is not None for row in table.offline)


@pytest.mark.slow
def test_folds_inside_one_city(make_city, tmp_path):
    """Nothing but folds is trained, and adapting recipes see the images of that city."""
    sets = [
        "validation.folds=2", "training.iterations=20", "training.sampling.patch_px=32", "prediction.window_px=64",
        "model.widths=[8,8]",
    ]  # fmt: skip
    city = str(make_city("s", seed=1))
    summary = run_benchmark(city, "forest", out=tmp_path / "f", seeds=1, equal_seconds=1, overrides=sets[:1])
    assert summary.rows[0].pair == "s"
    assert summary.rows[0].miou[0] > 0.5
    assert summary.page is None
    summary = run_benchmark(city, "advent", out=tmp_path / "n", seeds=1, equal_seconds=1, overrides=sets)
    assert summary.rows[0].uses_target == "*+"
    assert 0 <= summary.rows[0].miou[0] <= 1
    assert summary.rows[0].iterations >= 20
    folder = tmp_path / "n/runs/s/advent/seed0"
    assert not (folder / "model.safetensors").exists()
    assert (folder / "folds/1/curves.csv").exists()


def test_a_call_from_a_notebook_s_thread_works(pair, tmp_path):
    """Nothing depends on the main thread."""
    summaries = []

    def call():
        summaries.append(run_benchmark([pair], "forest", out=tmp_path / "b", seeds=1, runner=FakeRunner()))

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    assert summaries[0].rows[0].miou[0] == 1
