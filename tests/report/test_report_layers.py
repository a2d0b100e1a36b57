from __future__ import annotations

import base64
import zlib

import numpy as np
import pytest

from c2seg.artifacts import MapRecord
from c2seg.report.assess import assess_view, findings
from c2seg.report.charts import curve_groups, reliability_chart
from c2seg.report.layers import draw_views
from c2seg.report.runs import open_runs
from c2seg.report.views import make_views
from helpers import report_make as make


def unpack(layer, drawn):
    shape = (drawn.sampling.height, drawn.sampling.width)
    return np.frombuffer(zlib.decompress(base64.b64decode(layer["data"])), np.uint8).reshape(shape)


@pytest.fixture
def scored(tmp_path):
    place = make.grid()
    city = make.make_city(tmp_path / "town", place, label=True)
    paths = [make.make_run(tmp_path / name) for name in ("good", "bad")]
    make.make_map(paths[0] / "town.tif", make.labels(place), place, confidence=True)
    make.make_map(paths[1] / "town.tif", make.wrong_in_one_stripe(place), place)
    runs = open_runs(paths)
    return runs, make_views(runs, [city], [city], None)


def test_layers_hold_what_the_files_hold(scored):
    runs, views = scored
    (drawn,) = draw_views(views, runs, 10**7)
    titles = [layer["title"] for layer in drawn.layers]
    assert titles[-6:] == [
        "Map: good", "Confidence: good", "Map: bad", "Errors: good", "Errors: bad", "Difference: good / bad"
    ]  # fmt: skip
    layers = {layer["title"]: layer for layer in drawn.layers}
    reference = make.labels(make.grid())
    np.testing.assert_array_equal(unpack(layers["Reference"], drawn), reference)
    np.testing.assert_array_equal(unpack(layers["Map: bad"], drawn), make.wrong_in_one_stripe(make.grid()))
    level = unpack(layers["Confidence: good"], drawn)
    expected = np.arange(reference.size).reshape(reference.shape) % 201 / 4
    assert (level[0] == 255).all()
    assert np.abs(level[1:] - expected[1:]).max() <= 0.5
    assert layers["Errors: bad"]["of"] == [layers["Reference"]["key"], layers["Map: bad"]["key"]]
    # 47 of 47 mapped rows, two of three stripes
    assert drawn.agreement == pytest.approx(2 / 3)


def test_layers_shrink_to_the_budget(scored):
    runs, views = scored
    whole = draw_views(views, runs, 10**7)[0]
    small = draw_views(views, runs, whole.size // 2)[0]
    assert small.size <= whole.size // 2
    assert 1 <= small.sampling.height < whole.sampling.height
    reference = next(layer for layer in small.layers if layer.get("role") == "reference")
    rows = ((np.arange(small.sampling.height) + 0.5) * small.sampling.step).astype(int)
    cols = ((np.arange(small.sampling.width) + 0.5) * 36 / small.sampling.width).astype(int)
    np.testing.assert_array_equal(unpack(reference, small), make.labels(make.grid())[np.ix_(rows, cols)])


def test_reliability_is_counted_by_tenths(scored):
    runs, views = scored
    reliability = draw_views(views, runs, 10**7)[0].reliability[0]
    assert sum(reliability.labeled) == 47 * 36
    assert reliability.right == reliability.labeled  # a perfect map
    chart = reliability_chart({0: reliability}, ["good"])
    expected = sum(n * (1 - c) for n, c in zip(reliability.labeled, reliability.mean_confidence, strict=True))
    assert f"good {expected / (47 * 36):.3f}" in chart.text
    assert str(chart.svg).startswith("<svg")


def test_scores_and_findings(scored):
    views = scored[1]
    good, bad = assess_view(views[0])
    assert good.scores.miou == 1.0
    assert bad.scores.oa == pytest.approx(2 / 3)
    assert bad.scores.iou[2] == pytest.approx(0.5)  # class 3 takes as many wrong pixels as it has
    said = findings(bad, {c.id: c.name for c in views[0].legend.classes})
    assert said[0] == "67% of the 1,692 labeled pixels are right."
    assert "Rarely detected (recall below 0.01): Arable land (564 pixels)." in said
    assert said[-1] == "100% of Arable land is misclassified as Urban fabric (564 pixels)."


def test_intervals_need_enough_blocks(tmp_path):
    place = make.grid(400, 300, pixel_m=50.0)
    path = make.make_map(tmp_path / "a.tif", make.wrong_in_one_stripe(place), place)
    other = make.make_map(tmp_path / "b.tif", make.labels(place), place)
    reference = make.write_raster(tmp_path / "label.tif", make.labels(place)[None], place)
    runs = open_runs([path, other])
    bad, good = assess_view(make_views(runs, [], [reference], None)[0])
    assert bad.intervals["oa"].low < bad.scores.oa < bad.intervals["oa"].high
    assert good.against_best is None
    assert bad.against_best["miou"].difference.value == pytest.approx(good.scores.miou - bad.scores.miou)


def test_curves_are_drawn_together(tmp_path):
    runs = open_runs([make.make_run(tmp_path / name, curves=name != "c") for name in ("a", "b", "c")])
    (group,) = curve_groups(runs)
    charts = group.charts
    assert (group.title, group.keys) == ("", ((0, "a"), (1, "b")))
    assert [c.title for c in charts] == ["loss", "cross entropy", "learning rate", "patches per second"]
    assert str(charts[0].svg).count('class="line') == 2
    assert "a ends at" in charts[0].text
    assert curve_groups(runs[2:]) == []


def test_stages_of_a_run_are_curves_with_their_names(tmp_path):
    from c2seg.train.curves import join_curves

    for name, end in (("teacher", 30), ("student", 20)):
        rows = "".join(f"{k},{k},{1 / k}\n" for k in range(10, end + 1, 10))
        (tmp_path / f"{name}.csv").write_text(f"step,seconds,loss\n{rows}")
    run = make.make_run(tmp_path / "run")
    parts, names = [tmp_path / "teacher.csv", tmp_path / "student.csv"], ["teacher", "student/0"]
    (run / "curves.csv").write_text(join_curves(parts, names))
    assert "stage" not in join_curves(parts[:1], names[:1])
    opened = open_runs([run, make.make_run(tmp_path / "plain", curves=True)])
    assert opened[0].curves.by_stage()["student/0"].steps == (10.0, 20.0)
    plain, stages = curve_groups(opened)
    assert (plain.title, plain.keys) == ("", ((1, "plain"),))
    assert (stages.title, stages.keys) == ("run", ((0, "teacher"), (1, "student/0")))
    assert [chart.title for chart in stages.charts] == ["loss"]
    assert str(stages.charts[0].svg).count('class="line') == 2


def test_the_runner_up_is_shown_as_uncertainty(tmp_path):
    place = make.grid()
    run = make.make_run(tmp_path / "run")
    path = make.make_map(run / "town.tif", make.labels(place), place)
    margin = np.full((2, 48, 36), 50, np.uint8)  # a quarter
    margin[:, 0] = 255
    make.write_raster(run / "second.tif", margin, place, nodata=255)
    beside = path.with_suffix(".json")
    beside.write_text(MapRecord.read(beside).model_copy(update={"runner_up": "second.tif"}).as_text())
    runs = open_runs([run])
    (drawn,) = draw_views(make_views(runs, [], [], None), runs, 10**6)
    layer = next(layer for layer in drawn.layers if layer["title"].startswith("Uncertainty"))
    values = unpack(layer, drawn)
    assert set(values[0]) == {255}
    assert set(values[1:].ravel()) == {37}  # 74 %: steps of 2 %


def test_a_loss_of_one_term_is_drawn_once(tmp_path):
    run = make.make_run(tmp_path / "run")
    (run / "curves.csv").write_text("step,loss,dice\n1,0.5,0.5\n2,0.25,0.25\n")
    assert [c.title for group in curve_groups(open_runs([run])) for c in group.charts] == ["loss"]


def test_a_long_curve_is_subsampled(tmp_path):
    run = make.make_run(tmp_path / "run")
    rows = "\n".join(f"{k},{1 / (k + 1)}" for k in range(20_000))
    (run / "curves.csv").write_text(f"step,loss\n{rows}\n")
    ((chart,),) = (group.charts for group in curve_groups(open_runs([run])))
    assert len(str(chart.svg)) < 8000
