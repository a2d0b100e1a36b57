from __future__ import annotations

import math

import numpy as np
import pytest

from c2seg.artifacts import RunRecord
from c2seg.errors import DataError, InputError
from c2seg.pipeline import fit
from c2seg.pipeline.scoring import score_maps
from c2seg.predict import MapOptions
from c2seg.predict.city import predict
from c2seg.recipes import load_recipe
from c2seg.report import ReportOptions, make_report
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
    assert found.record.seed == 7
    assert found.validation.kind == "4 folds"
    # The last row was cut short by a kill.
    assert found.curves.steps == tuple(float(k) for k in range(0, 400, 10))
    assert found.curves.columns["loss"][0] == 2.0


def test_a_map_elsewhere_joins_the_run_that_trained_its_model(tmp_path):
    place = make.grid()
    run = make.make_run(tmp_path / "run")
    mine = make.make_map(tmp_path / "out" / "a.tif", make.labels(place), place, trained=make.trained_by())
    other = make.make_map(tmp_path / "out" / "b.tif", make.labels(place), place, trained=make.trained_by(seed=8))
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
    place = make.grid()
    reference = make.write_raster(tmp_path / "label.tif", make.labels(place)[None], place)
    scored = score_maps(make.make_map(tmp_path / "town.tif", make.labels(place), place), reference)
    scored.write(run / "scores.json")
    (found,) = open_runs([run])
    assert found.scores == (scored,)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("record.json", "{", "record.json is damaged"),
        ("curves.csv", "a,b\n1,2\n", "no column `step`"),
        ("scores.json", '{"confusion": {"ids": [1]}, "prediction": "x"}', "does not fit .scores."),
        ("validation.json", '{"ids": [1, 2], "counts": [[1]]}', "does not fit .validation."),
    ],
)
def test_damaged_files_are_named(tmp_path, name, text, said):
    run = make.make_run(tmp_path / "run")
    (run / name).write_text(text)
    with pytest.raises(DataError, match=said):
        open_runs([run])


def test_a_map_elsewhere_joins_its_run(cities, tmp_path):
    """The producers' own files: a map of the run, and one of another seed that is otherwise alike."""
    source, target = cities
    recipe = load_recipe("forest", None, ["model.trees=2", "validation.folds=0", "prediction.window_px=64"])
    for seed in (0, 1):
        fit(recipe, [source], tmp_path / f"run{seed}", target=target, seed=seed)
        predict(tmp_path / f"run{seed}" / "model.safetensors", target, MapOptions(tmp_path / f"elsewhere{seed}.tif"))
    first, second = open_runs([tmp_path / "run0", tmp_path / "elsewhere0.tif", tmp_path / "elsewhere1.tif"])
    assert [entry.path.name for entry in first.maps] == ["elsewhere0.tif"]
    assert (second.folder, second.provenance.seed, second.recipe_name) == (None, 1, "forest")
    page = render(tmp_path / "page.html", [tmp_path / "run0"])
    assert "uses the unlabeled images of the predicted city" in page  # per_city, the forest's normalization
    assert "uses the unlabeled images of the target city" not in page
    adapting = RunRecord.read(tmp_path / "run0" / "record.json")
    used = adapting.uses_target_images.model_copy(update={"normalization": False, "training": True})
    adapting.model_copy(update={"uses_target_images": used}).write(tmp_path / "run0" / "record.json")
    page = render(tmp_path / "page.html", [tmp_path / "run0"])
    assert "uses the unlabeled images of the predicted city" not in page
    assert "uses the unlabeled images of the target city" in page


def render(page, runs):
    make_report(runs, ReportOptions(page, overwrite=True))
    return page.read_text()


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
