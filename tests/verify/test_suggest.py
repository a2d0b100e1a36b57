"""What to label next: uncertain, different from each other and from earlier rounds, rare classes too."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from c2seg.api.suggesting import suggest_points
from c2seg.cli import run as c2seg
from c2seg.errors import DataError, InputError, OutputError
from c2seg.verify import classmap, open_map, read_sample
from c2seg.verify.suggest import Pool, Uncertainty, draw_pool, pick_points, pixel_features
from c2seg.verify.suggestions import SuggestionRecord
from helpers import report_make, verify_make

IDS = verify_make.patchy()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("suggest")
    verify_make.make_map(place, IDS, city=True)
    return place


def suggest(folder, name, **options):
    return suggest_points(
        folder / "map.tif", folder / name, city=folder / "city", **{"n": 10, "page": False, **options}
    )


def test_uncertain_pixels_of_all_classes_apart_from_each_other(folder):
    result = suggest(folder, "first.gpkg")
    points = result.record.points
    rows, cols = np.array([(p.row, p.col) for p in points]).T
    assert len(points) == 10
    assert set(IDS[rows, cols].tolist()) == set(verify_make.CLASSES)  # the rarest has 3 % of the map
    apart = np.maximum(abs(rows[:, None] - rows), abs(cols[:, None] - cols))
    assert apart[~np.eye(10, dtype=bool)].min() > 10
    level = np.linspace(40, 200, IDS.shape[1]).astype(np.uint8) / 200
    assert level[cols].mean() < level.mean() - 0.1
    assert [p.uncertainty for p in points] == pytest.approx((1 - level[cols]).tolist(), abs=0.001)
    assert points[0].distance is None
    assert result.record.features == ("msi", "sar")
    assert "10 points to label, round 1, by uncertainty (confidence)" in str(result)
    assert "<table>" in result._repr_html_()
    assert suggest(folder, "again.gpkg").record.points == points


def test_rounds_stay_apart(folder, tmp_path):
    first = suggest(folder, "one.gpkg")
    second = suggest(folder, "two.gpkg", exclude=first.path)
    third = suggest(folder, "three.gpkg", exclude=[first.path, second.csv])
    assert [item.record.round for item in (first, second, third)] == [1, 2, 3]
    places = np.array([(p.row, p.col) for item in (first, second, third) for p in item.record.points])
    apart = abs(places[:, None] - places).max(axis=2)
    assert apart[~np.eye(30, dtype=bool)].min() > 10
    assert third.record.exclude == ("one.gpkg", "two.csv")
    assert first.record.sample_id != second.record.sample_id


def test_nothing_is_estimated_from_them(folder, tmp_path):
    result = suggest(folder, "refused.gpkg")
    for path in (result.path, result.csv):
        with pytest.raises(DataError, match="have no inclusion probability: nothing can be estimated from them"):
            read_sample(path, open_map(folder / "map.tif"))
    alone = tmp_path / "exported.csv"
    alone.write_bytes(result.csv.read_bytes())
    with pytest.raises(DataError, match="have no inclusion probability"):
        read_sample(alone)
    with pytest.raises(DataError, match="have no inclusion probability"):
        read_sample(folder / "refused.json")


def test_margins_tell_more(folder, tmp_path):
    layer = np.full((2, *IDS.shape), 200, np.uint8)
    layer[1, 40:60, 40:100] = 0
    path = report_make.write_raster(tmp_path / "runner_up.tif", layer, report_make.grid(*IDS.shape))
    points = suggest(folder, "margin.gpkg", runner_up=path, n=6, apart_px=3).record.points
    inside = [40 <= p.row < 60 and 40 <= p.col < 100 for p in points]
    assert sum(inside) >= 4
    with pytest.raises(DataError, match="is no runner-up layer of"):
        suggest(folder, "wrong.gpkg", runner_up=folder / "map_confidence.tif")


def test_farthest_features_first():
    pool = Pool(
        np.arange(0, 100, 20),
        np.zeros(5, np.int64),
        np.array([1, 1, 1, 1, 1], np.uint8),
        np.array([1, 0.9, 0.9, 0.9, 0.9]),
    )
    features = np.array([[0.0], [0.1], [0.2], [5.0], [-3.0]])
    chosen, distances = pick_points(pool, features, 3, 1)
    assert chosen.tolist() == [0, 3, 4]
    assert distances.tolist() == [np.inf, 5.0, 3.0]
    seen, _ = pick_points(pool, np.vstack([features, [[5.0]]]), 1, 1, [1])
    assert seen.tolist() == [4]


def test_classes_with_points_give_way():
    pool = Pool(np.array([0, 50]), np.zeros(2, np.int64), np.array([1, 2], np.uint8), np.array([1.0, 0.8]))
    features = np.array([[1.0], [-1.0], [0.0]])
    assert pick_points(pool, features, 1, 1, [2])[0].tolist() == [0]
    assert pick_points(pool, features, 1, 1, [1])[0].tolist() == [1]


def test_memory_follows_the_points(tmp_path, monkeypatch):
    monkeypatch.setattr(classmap.row_windows, "__defaults__", (100_000,))
    peaks = []
    for height in (400, 1600):
        opened = open_map(verify_make.make_map(tmp_path / str(height), verify_make.patchy(height, 700, block=20)))
        tracemalloc.start()
        pool = draw_pool(opened, Uncertainty("none"), 20, np.empty((0, 2), np.int64), 10, 0)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert len(pool.row) <= 2000 + 13
    assert peaks[1] < 1.2 * peaks[0]


def test_features_weigh_modalities_equally(folder):
    from c2seg.data import open_city

    rows, cols = np.nonzero(IDS[:, :100])
    values = pixel_features(open_city(folder / "city").scenes[0], rows, cols)
    assert values.shape == (len(rows), 6)
    assert (values[:, :4] ** 2).sum(1).mean() == pytest.approx(1, rel=0.01)
    assert (values[:, 4:] ** 2).sum(1).mean() == pytest.approx(1, rel=0.01)


def test_wrong_input(folder, tmp_path):
    with pytest.raises(InputError, match="`n` must be at least 1"):
        suggest(folder, "a.gpkg", n=0)
    result = suggest(folder, "b.gpkg")
    with pytest.raises(OutputError, match="exists already"):
        suggest(folder, "b.gpkg")
    with pytest.raises(InputError, match=r"every pixel of .* lies within 1000 pixels of a point of `exclude`"):
        suggest(folder, "c.gpkg", exclude=result.path, apart_px=1000)
    other = verify_make.make_map(tmp_path, IDS[:40])
    with pytest.raises(DataError, match="lies outside"):
        suggest_points(other, tmp_path / "d.gpkg", exclude=result.path, page=False)


def test_the_command_and_its_page(folder, capsys):
    out = folder / "command.gpkg"
    assert c2seg(["suggest", str(folder / "map.tif"), str(out), "--n", "5", "--city", str(folder / "city"), "-q"]) == 0
    assert "5 points to label, round 1" in capsys.readouterr().out
    assert SuggestionRecord.read(out.with_suffix(".json")).sample_id in out.with_suffix(".html").read_text()
