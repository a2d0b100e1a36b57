"""The scripts that compare recipes on development pairs: their cells, tables and city folders."""

from __future__ import annotations

import importlib
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from c2seg.benchmark.pairs import Pair
from c2seg.metrics import Confusion
from c2seg.recipes import load_recipe

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def script(monkeypatch):
    """Return a function that imports a script of ``benchmarks/``."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    before = set(sys.modules)
    yield importlib.import_module
    for name in set(sys.modules) - before:
        if name.startswith(("real_pairs", "parts", "places", "class_shares")):
            del sys.modules[name]


def blocks(right: int, wrong: int, count: int = 12) -> list[Confusion]:
    counts = np.array([[right, wrong, 0], [wrong, right, 0]], np.int64)
    return [Confusion((1, 2), counts + k) for k in range(count)]


def cell(script, row: str, pair: str = "a-b", seed: int = 0, right: int = 50, **more):
    results = script("real_pairs_results")
    parts = blocks(right, 10)
    values = {
        "key": f"{row} {pair} {seed}", "pair": pair, "row": row, "preset": "demo", "seed": seed, "equal_seconds": None,
        "commit": None, "oa": 0.8, "miou": 0.6, "processor_seconds": 12.0, "map_seconds": 1.0, "iterations": 10,
        "classes": ("Water", "Trees"), "ids": (1, 2), "blocks": results.packed(parts),
    } | more  # fmt: skip
    return results.Cell(**values)


def test_blocks_are_read_back(script):
    assert cell(script, "forest").confusions() == blocks(50, 10)


def test_a_cell_survives_the_file_and_others_stay(script, tmp_path):
    results, path = script("real_pairs_results"), tmp_path / "cells.json"
    first, second = cell(script, "forest"), cell(script, "unet")
    results.add_cell(path, first)
    results.add_cell(path, second)
    results.add_cell(path, first)
    assert results.read_cells(path) == {first.key: first, second.key: second}
    assert list(tmp_path.iterdir()) == [path]


def test_tables_show_pairs_means_classes_and_differences(script):
    results = script("real_pairs_results")
    cells = [
        cell(script, row, pair, right=right) for row, right in (("forest", 50), ("unet", 80)) for pair in ("a-b", "b-a")
    ]
    table = results.place_table(cells)
    assert table.splitlines()[0].split() == ["mIoU", "(OA)", "a-b", "b-a", "mean", "seeds", "processor", "s"]
    assert "0.600 (0.80)" in table
    assert "Water" in results.class_tables(cells)
    line = results.differences(cells, "forest").splitlines()[1]
    assert line.startswith("unet")
    assert 0.03 < float(line.split()[1]) < 0.15
    assert results.differences(cells, "other").startswith("no cell of other")


def test_verdicts_of_parts(script):
    parts = script("parts")
    assert parts.verdict(0.02, 0.01, 0.03) == "pays"
    assert parts.verdict(-0.02, -0.03, -0.01) == "harms"
    assert parts.verdict(0.005, -0.01, 0.02) == "to be confirmed"
    assert parts.verdict(0.03, -0.01, 0.07) == "open"
    cells = [cell(script, "crosscity", right=80), cell(script, "crosscity@no-forest", right=50)]
    assert parts.verdicts(cells).splitlines()[1].endswith("pays")


def test_every_row_of_the_parts_is_a_recipe(script):
    parts = script("parts")
    rows = parts.rows(adaptations=True)
    assert {f"crosscity@{name}" for name in parts.ADAPTATIONS} <= {row.recipe for row in rows}
    for name in (*(row.recipe for row in rows), parts.CONTROL):
        load_recipe(name, "demo")


def test_frozen_pairs_are_no_development_pairs(script):
    cities = script("real_pairs_cities")
    assert not set(cities.frozen()) & set(cities.chosen("development,styled,real,simulated,full"))
    seeds = {seed for of_kind in cities.FROZEN_SEEDS.values() for seed in of_kind}
    assert not seeds & {*cities.DEVELOPMENT_SEEDS, *cities.FULL_SEEDS}
    with pytest.raises(SystemExit, match="no pair or group nowhere"):
        cities.chosen("nowhere")


def test_a_frozen_pair_goes_both_ways_with_all_modalities(script, tmp_path):
    cities = script("real_pairs_cities")
    cities.SCALE["bw"] = 0.01
    folders = cities.Folders(tmp_path)
    there, back = (cities.chosen(name)[name](folders, name) for name in ("frozen-bw-3803", "frozen-bw-3803-back"))
    assert (there.source, there.target) == (back.target, back.source)
    assert back.reference == there.source / "reference.tif"
    for city in (there.source, there.target):
        assert {"hsi.tif", "msi.tif", "sar.tif"} <= {file.name for file in city.iterdir()}


def test_a_restyled_band_has_the_quantiles_of_the_other(script):
    cities = script("real_pairs_cities")
    rng = np.random.default_rng(0)
    values = rng.integers(0, 200, (1, 50, 60)).astype(np.uint8)
    wanted = np.sort(rng.normal(100, 10, (1, 5000)), axis=1)
    changed = cities.with_quantiles(values, wanted)
    assert np.median(changed) == pytest.approx(100, abs=2)
    order = np.argsort(values.ravel(), kind="stable")
    assert (np.diff(changed.ravel()[order].astype(int)) >= 0).all()


@pytest.fixture
def pair(make_city):
    """A source, another source, and a target whose label is the ground truth."""
    source, other, target = (make_city(name, seed=seed) for seed, name in enumerate(("first", "second", "third")))
    return Pair(source, target, target / "label.tif", given_name="one", further=(other,))


def test_a_key_follows_settings_seed_and_images_alone(script, pair, tmp_path):
    real = script("real_pairs")

    def keys(*overrides: str, folder: str = "work") -> list[str]:
        study = real.Study(
            (real.Row("forest", overrides),), (pair,), "demo", 2, None, tmp_path / "r.json", tmp_path / folder
        )
        return [real.cell_key(benchmark, run) for benchmark, runs in study.planned for run in runs]

    usual = keys()
    assert len(set(usual)) == 2, "a key for each seed"
    assert keys(folder="elsewhere") == usual
    assert keys("model.trees=100") == usual, "the preset's own value"
    assert not set(keys("model.trees=11")) & set(usual)


def test_a_row_of_no_recipe_is_one_line(script, pair, tmp_path):
    real = script("real_pairs")
    row = real.Row("forest", ("model.branches=5",))
    study = real.Study((row,), (pair,), "demo", 1, None, tmp_path / "r.json", tmp_path / "work")
    with pytest.raises(SystemExit, match=r"rows: .*branches"):
        study.cells()


def test_a_study_runs_what_is_missing(script, pair, tmp_path, capsys):
    real = script("real_pairs")
    row = real.Row("forest", ("model.trees=5", "model.pixels_per_class=50"))
    study = real.Study((row,), (pair,), "demo", 1, None, tmp_path / "r.json", tmp_path / "work")
    real.run_study(study)
    (made,) = study.cells()
    assert made.oa == round(made.scores().oa, 4)
    assert "mIoU" in capsys.readouterr().out
    real.run_study(study)
    assert capsys.readouterr().out == ""
    assert "IoU by class, one" in real.report(study, None)
    with_one = replace(study, pairs=(replace(pair, further=()),))
    assert not with_one.cells(), "a source fewer is another cell"
