"""Table I: pairs from a folder of downloads, ranks, published rows, scores over tiles, costs before the start."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import rasterio

from c2seg.artifacts import MapRecord
from c2seg.artifacts.benchmark import BenchmarkTable
from c2seg.benchmark import run_benchmark
from c2seg.benchmark.pairs import Pair
from c2seg.benchmark.plan import Benchmark, parse_pairs, plan
from c2seg.benchmark.published_pairs import pairs_under
from c2seg.benchmark.table_one import TABLE_ONE, ranking, ranking_html, ranking_notes, ranking_text
from c2seg.benchmark.tables import rows
from c2seg.cli import run
from c2seg.data import open_city, open_labeled_city
from c2seg.errors import DataError, InputError
from c2seg.metrics.published import published_scores
from helpers.benchmark_runs import FakeRunner, result
from helpers.releases import write_release


@dataclass
class LabelRunner(FakeRunner):
    """Maps are the labels of ``there``, wrong in every n-th row; works for every layout of the target."""

    city: Path = Path()

    def predict(self, task):
        grid = open_city(task.city).scenes[0].grid
        ids = open_labeled_city(self.city, "challenge").read_label(0, grid.window)
        ids = np.where(ids == 255, 0, ids)
        if every := self.wrong.get(task.model.parent.parent.name):
            ids[::every] = np.where(ids[::every] == 1, 3, 1)
        task.out.parent.mkdir(parents=True, exist_ok=True)
        profile = {
            "count": 1,
            "height": grid.height,
            "width": grid.width,
            "dtype": "uint8",
            "transform": grid.transform,
        }
        with rasterio.open(task.out, "w", driver="GTiff", crs=grid.crs, **profile) as file:
            file.write(ids[None])
        record = MapRecord(
            path=task.out.name, pixels=ids.size, nodata_pixels=0, area_km2={"Surface water": 1.0}, seconds=1.0
        )
        record.write(task.out.with_suffix(".json"))
        return 1.0


@pytest.fixture
def folders(tmp_path):
    """One city in three layouts, each in a folder of its own."""
    for layout in ("tiles", "mat", "folder"):
        write_release(tmp_path / layout, layout)
    write_release(tmp_path / "tiles" / "whole", "mat")  # tiles of the target have no labels
    return tmp_path


@pytest.fixture
def no_page(monkeypatch):
    """Benchmarks make no page and no figure, which take most of the time of a test."""
    monkeypatch.setattr("c2seg.benchmark.compose.make_report", lambda *_, **__: None)


def scored(folder, layout):
    """Run a benchmark of the data under a folder."""
    runner = LabelRunner(wrong={"unet": 2}, city=folder / "folder" / "there")
    out = folder / f"bench-{layout}"
    return run_benchmark(data=folder / layout, recipes="unet", table="I", seeds=1, out=out, runner=runner)


def test_folder_tiles_and_mat_of_a_city_give_the_same_scores(folders, no_page):
    (row, *_), *others = (scored(folders, layout).ranking for layout in ("folder", "tiles", "mat"))
    assert [other[0].datasets for other in others] == [row.datasets] * 2
    values = row.datasets["AB"]
    assert values.miou != values.mosaic_miou  # half of the rows are wrong, and the last tiles overlap
    assert (row.rank, row.label, row.method) == (1, "unet", "U-Net")


def test_pairs_are_named_by_their_dataset_and_know_their_tiles(folders):
    (pair,) = pairs_under(folders / "tiles")
    assert (pair.name, pair.dataset) == ("AB", "AB")
    (planned,) = {run.pair for run in plan(Benchmark((pair,), ("forest",), folders / "b"))}
    assert planned.tile_px == 128  # the challenge's, whatever the files' are
    assert not planned.is_published
    given = parse_pairs([f"{folders / 'mat/here_multimodal.mat'}:{folders / 'mat/there_multimodal.mat'}"])
    (planned,) = {run.pair for run in plan(Benchmark(given, ("forest",), folders / "b"))}
    assert (planned.name, planned.dataset) == ("here_multimodal.mat-there_multimodal.mat", "AB")
    turned = parse_pairs([f"{folders / 'mat/there_multimodal.mat'}:{folders / 'mat/here_multimodal.mat'}"])
    (planned,) = {run.pair for run in plan(Benchmark(turned, ("forest",), folders / "b"))}
    assert (planned.dataset, planned.tile_px) == (None, None)


def test_table_one_runs_every_system_of_the_paper():
    published = {row.recipe: row.method for row in published_scores() if row.source == "challenge"}
    assert list(published) == ["unet", "segnet", "deeplabv3plus", "mrsn", "second-place", "mmglots"]
    assert TABLE_ONE[:6] == tuple(published)
    assert TABLE_ONE[6:] == ("crosscity", "forest")


RESULTS = [
    result(pair, label, seed, miou)
    for pair, base in (("AB", 0.1), ("BW", 0.2))
    for label, more in (("unet", 0.0), ("mmglots", 0.1), ("crosscity", 0.05))
    for seed, miou in ((0, base + more), (1, base + more + 0.02))
]
PAIRS = [Pair(f"{name}s", f"{name}t", f"{name}r", given_name=name, dataset=name) for name in ("AB", "BW")]


def test_rows_are_ranked_beside_the_published_ones():
    table = ranking(rows(RESULTS), PAIRS)
    assert [(row.rank, row.label, row.method) for row in table] == [
        (1, "mmglots", "MMGLOTS (winner)"), (2, "crosscity", None), (3, "unet", "U-Net")
    ]  # fmt: skip
    first, _, last = table
    assert first.average.mosaic_miou == pytest.approx((0.26, 0.02 / 2**0.5))
    assert first.average.published_miou == 0.1988
    assert first.datasets["AB"].published_miou is None  # published for the mean alone
    assert (last.datasets["AB"].published_miou, last.datasets["BW"].published_oa) == (0.0965, 0.3353)
    text = ranking_text(table, ranking_notes(PAIRS))
    head, line = text.splitlines()[:2]
    assert [cell for cell in ("AB mIoU", "BW mIoU", "average mIoU", "published") if cell not in head] == []
    assert line.split()[:2] == ["1", "mmglots"]
    assert "0.199" in line
    assert "published scores are of Berlin (AB) and Wuhan (BW)" in text
    assert ranking_html(table).count("<table>") == 3


def test_one_dataset_alone_is_ranked_by_itself():
    table = ranking(rows([one for one in RESULTS if one.pair == "BW"]), PAIRS[1:])
    assert [row.label for row in table] == ["mmglots", "crosscity", "unet"]
    assert table[0].average is None


def test_the_command_writes_the_table_and_resumes(folders, capsys, monkeypatch):
    runner = LabelRunner(wrong={"unet": 2}, city=folders / "folder" / "there")
    monkeypatch.setattr("c2seg.benchmark.compose.SpawningRunner", lambda jobs: runner)
    monkeypatch.setattr("c2seg.benchmark.jobs.SpawningRunner", lambda jobs, lease: runner)
    out = folders / "b"
    arguments = [
        "benchmark",
        "--table",
        "I",
        "--data",
        str(folders / "mat"),
        "--recipes",
        "forest,unet",
        "--seeds",
        "1",
    ]
    arguments += ["--out", str(out)]
    assert run([*arguments, "--dry-run"]) == 0
    text = capsys.readouterr().out
    assert "unknown ones of forest, unet" in text
    assert not out.exists()
    assert run(arguments) == 0
    text, said = capsys.readouterr()
    assert text.splitlines()[1].split()[:2] == ["1", "forest"]
    assert "U-Net" in text
    assert "forest against the others" in text
    assert "2 runs, 2 of them to do: about" in said
    assert "MiB of main memory a run" in said
    assert "C2Seg-BW is not under" in said
    table = BenchmarkTable.read(out / "benchmark.json")
    first, second = table.ranking
    assert second.behind_first == pytest.approx(1 - second.datasets["AB"].mosaic_miou[0])
    assert (first.datasets["AB"].miou, first.behind_first) == ((1.0, None), None)
    assert [row.label for row in table.ranking] == ["forest", "unet"]
    assert '<h2 id="table0-h">Table I</h2>' in (out / "benchmark.html").read_text()
    lines = list(csv.DictReader((out / "table1.csv").read_text().splitlines()))
    assert [(line["rank"], line["label"], line["dataset"]) for line in lines] == [
        ("1", "forest", "AB"),
        ("2", "unet", "AB"),
    ]
    assert float(lines[1]["p_value"]) <= 1
    trained = len(runner.fitted)
    monkeypatch.setattr("c2seg.benchmark.compose.make_report", lambda *_, **__: None)
    assert run([*arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["ranking"] == [row.as_json() for row in table.ranking]
    assert run([*arguments, "--json", "--baseline", "unet"]) == 0
    ranked = json.loads(capsys.readouterr().out)["ranking"]
    assert [row["behind_first"] for row in ranked] == [None, None]  # differences are those of the U-Net
    assert len(runner.fitted) == trained


def test_broken_and_missing_data_are_told_before_any_run(folders, tmp_path):
    arguments = {"table": "I", "recipes": "forest", "out": tmp_path / "b", "runner": FakeRunner()}
    (folders / "empty").mkdir()
    with pytest.raises(InputError, match="holds no pair of C2Seg; missing: C2Seg-AB: source Augsburg"):
        run_benchmark(data=folders / "empty", **arguments)
    with pytest.raises(InputError, match="give `pairs` or `data`"):
        run_benchmark(**arguments)
    with pytest.raises(InputError, match="give `pairs` or `data`"):
        run_benchmark([("a", "b")], data=folders / "mat", **arguments)
    with pytest.raises(InputError, match="unknown table 'IV'"):
        run_benchmark(data=folders / "mat", **(arguments | {"table": "IV"}))
    with pytest.raises(DataError, match="is not a folder"):
        run_benchmark(data=folders / "none", **arguments)
    (folders / "mat/C2Seg_BW.zip").write_text("<!DOCTYPE html>")
    with pytest.raises(InputError, match=r"C2Seg-BW under .* cannot be used: .*C2Seg_BW.zip is a web page"):
        run_benchmark(data=folders / "mat", **arguments)
    (folders / "tiles/C2Seg_AB/train/msi/3.tiff").unlink()
    (folders / "tiles/whole/here_multimodal.mat").unlink()
    with pytest.raises(InputError, match=r"C2Seg-AB under .* cannot be used: here: .* msi tiles are missing: 3"):
        run_benchmark(data=folders / "tiles", **arguments)
    assert not (tmp_path / "b").exists()
