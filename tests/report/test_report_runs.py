from __future__ import annotations

import json
import math

import numpy as np
import pytest

from c2seg.errors import DataError, InputError
from c2seg.legend import c2seg13
from c2seg.metrics import confusion_counts
from c2seg.report.runs import open_runs
from helpers import report_make as make


def test_run_folder_is_read_whole(tmp_path):
    place = make.grid()
    run = make.make_run(tmp_path / "run", curves=True, validation=True)
    make.make_map(run / "town.tif", make.labels(place), place, confidence=True)
    make.make_map(run / "maps" / "north.tif", make.labels(place), place, city="north")
    (found,) = open_runs([run])
    assert [m.city for m in found.maps] == ["north", "town"]
    assert [m.confidence is not None for m in found.maps] == [False, True]
    assert found.recipe_name == "forest"
    assert found.record["seed"] == 7
    assert found.validation["kind"] == "4 folds"
    # The last row was cut short by a kill.
    assert found.curves.steps == tuple(float(k) for k in range(0, 400, 10))
    assert found.curves.columns["loss"][0] == 2.0


def test_a_map_elsewhere_joins_the_run_that_learnt_it(tmp_path):
    place = make.grid()
    run = make.make_run(tmp_path / "run")
    mine = make.make_map(tmp_path / "out" / "a.tif", make.labels(place), place, learnt=make.record())
    other = make.make_map(tmp_path / "out" / "b.tif", make.labels(place), place, learnt=make.record(seed=8))
    first, second = open_runs([run, mine, other, mine])
    assert [m.path.name for m in first.maps] == ["a.tif"]
    assert (second.name, second.folder) == ("b", None)


def test_names_differ(tmp_path):
    folders = [make.make_run(tmp_path / parent / "run") for parent in ("x", "y")]
    assert [r.name for r in open_runs(folders)] == ["x", "y"]
    folders.append(make.make_run(tmp_path / "x" / "second"))
    assert [r.name for r in open_runs(folders)] == ["x/run", "y/run", "second"]
    same = [make.make_run(tmp_path / a / "same" / "run") for a in ("p", "q")]
    assert [r.name for r in open_runs(same)] == ["p/same", "q/same"]


def test_score_files_are_found(tmp_path):
    run = make.make_run(tmp_path / "run")
    counted = confusion_counts(np.array([3, 3], np.uint8), np.array([3, 7], np.uint8), c2seg13().ids)
    content = {"confusion": counted.as_dict(), "prediction": "town.tif", "classes": [{"id": 3, "name": "Urban"}]}
    (run / "scores.json").write_text(json.dumps(content))
    (found,) = open_runs([run])
    assert found.scores[0].confusion == counted
    assert found.scores[0].names == {3: "Urban"}


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("record.json", "{", "record.json is damaged"),
        ("curves.csv", "a,b\n1,2\n", "no column `step`"),
        ("scores.json", '{"confusion": {"ids": [1]}, "prediction": "x"}', "no scores"),
        ("validation.json", '{"ids": [1, 2], "counts": [[1]]}', "not confusion counts"),
    ],
)
def test_damaged_files_are_named(tmp_path, name, text, said):
    run = make.make_run(tmp_path / "run")
    (run / name).write_text(text)
    with pytest.raises(DataError, match=said):
        open_runs([run])


def test_empty_curves_are_no_curves(tmp_path):
    run = make.make_run(tmp_path / "run")
    (run / "curves.csv").write_text("step,loss\n")
    assert open_runs([run])[0].curves is None
    (run / "curves.csv").write_text("step,loss\n1,\n2,0.5\n")
    curves = open_runs([run])[0].curves
    assert math.isnan(curves.columns["loss"][0])


def test_what_is_no_run_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="not a run folder"):
        open_runs([tmp_path / "empty"])
    with pytest.raises(InputError, match="does not exist"):
        open_runs([tmp_path / "nothing"])
    with pytest.raises(InputError, match="at least one"):
        open_runs([])
    (tmp_path / "notes.txt").write_text("no raster")
    with pytest.raises(DataError, match="cannot open"):
        open_runs([tmp_path / "notes.txt"])


def test_areas_are_counted_in_a_map_without_notes(tmp_path):
    place = make.grid()
    path = make.make_map(tmp_path / "a.tif", make.labels(place), place)
    path.with_suffix(".json").unlink()
    counts = open_runs([path])[0].maps[0].count_ids()
    assert counts.tolist() == np.bincount(make.labels(place).ravel(), minlength=256).tolist()
