"""Probability samples: every pixel has the chance that the record states, whatever the order of windows."""

from __future__ import annotations

import json
import tracemalloc

import numpy as np
import pytest

from c2seg.api.sampling_maps import draw_sample
from c2seg.errors import DataError, InputError, OutputError
from c2seg.verify import classmap
from c2seg.verify.classmap import open_map
from c2seg.verify.design import DrawSettings, draw_random, draw_systematic, sorted_ranks
from c2seg.verify.strata import StrataRule, count_strata, strata_rule
from helpers import report_make, verify_make
from helpers.polygons import write_polygons


@pytest.fixture(scope="module")
def ids():
    return verify_make.patchy()


@pytest.fixture(scope="module")
def map_path(tmp_path_factory, ids):
    return verify_make.make_map(tmp_path_factory.mktemp("map"), ids, city=True)


def drawn(path, kinds=("class",), **settings):
    opened = open_map(path)
    rule = strata_rule(opened, kinds)
    return draw_random(opened, rule, count_strata(opened, rule), DrawSettings(**{"points": 100, **settings}))


def test_points_lie_in_their_strata_and_differ(map_path, ids):
    result = drawn(map_path, ("class", "confidence"), points=200)
    strata = {item.number: item for item in result.strata}
    assert len({(p.row, p.col) for p in result.points}) == 200 == len(result.points)
    assert sum(item.pixels for item in result.strata) == (ids > 0).sum()
    level = np.linspace(40, 200, ids.shape[1]).astype(np.uint8) / 200
    for point in result.points:
        stratum = strata[point.stratum]
        assert ids[point.row, point.col] == stratum.class_id
        assert stratum.confidence[0] <= level[point.col] + 1e-6
        assert level[point.col] < stratum.confidence[1] or stratum.confidence[1] == 1
    for item in result.strata:
        assert item.inclusion == item.points / item.pixels
        assert sum(p.stratum == item.number for p in result.points) == item.points


def test_windows_do_not_change_the_sample(map_path, monkeypatch):
    whole = drawn(map_path)
    monkeypatch.setattr(classmap, "_STRIP_PX", 700)
    monkeypatch.setattr(classmap.row_windows, "__defaults__", (700,))
    assert len(list(classmap.row_windows(open_map(map_path).grid))) > 20
    assert drawn(map_path) == whole


def test_the_seed_decides(map_path):
    assert drawn(map_path) == drawn(map_path)
    assert drawn(map_path, seed=1) != drawn(map_path)


def test_every_rank_has_the_same_chance():
    counts = np.zeros(2000)
    for seed in range(3000):
        counts[sorted_ranks(np.random.default_rng(seed), 2000, 20)] += 1
    assert counts.sum() == 60_000
    assert counts.std() == pytest.approx(np.sqrt(30 * (1 - 0.01)), rel=0.08)  # 30 expected, hypergeometric
    assert sorted_ranks(np.random.default_rng(0), 5, 5).tolist() == [0, 1, 2, 3, 4]


def test_systematic_points_have_the_same_chance(map_path, ids):
    opened = open_map(map_path)
    counted = count_strata(opened, StrataRule(opened.legend))
    hits, sizes = np.zeros(ids.shape), []
    for seed in range(400):
        result = draw_systematic(opened, counted, DrawSettings(100, seed))
        sizes.append(len(result.points))
        for point in result.points:
            hits[point.row, point.col] += 1
    chance = result.strata[0].inclusion
    assert chance == pytest.approx(100 / (ids > 0).sum())
    assert np.mean(sizes) == pytest.approx(100, abs=1.5)
    assert hits[ids == 0].sum() == 0
    assert hits[ids > 0].mean() == pytest.approx(400 * chance, rel=0.02)


def test_any_first_part_is_spread_over_the_strata(map_path):
    first = [p.stratum for p in drawn(map_path, points=400, allocation="equal").points[:100]]
    assert sorted(set(first)) == [1, 2, 3, 4, 5]
    assert min(np.bincount(first)[1:]) > 8


def test_memory_follows_points_not_pixels(tmp_path, monkeypatch):
    monkeypatch.setattr(classmap.row_windows, "__defaults__", (100_000,))
    peaks = []
    for side in (700, 2100):
        path = verify_make.make_map(tmp_path / str(side), verify_make.patchy(side, 700, block=20))
        drawn(path)
        tracemalloc.start()
        drawn(path)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]


def test_files_of_a_sample(map_path, tmp_path):
    sample = draw_sample(map_path, tmp_path / "sample.gpkg", n=60, page=False)
    again = draw_sample(map_path, tmp_path / "again.gpkg", n=60, page=False)
    assert sample.record.sample_id == again.record.sample_id
    assert (tmp_path / "sample.gpkg").read_bytes() == (tmp_path / "again.gpkg").read_bytes()
    assert (tmp_path / "sample.csv").read_bytes() == (tmp_path / "again.csv").read_bytes()
    assert "Urban fabric" not in (tmp_path / "sample.csv").read_text()
    assert "inclusion probability" in sample._repr_html_()
    assert "60 points, stratified, seed 0" in str(sample)
    with pytest.raises(OutputError, match="exists already"):
        draw_sample(map_path, tmp_path / "sample.gpkg", n=60, page=False)
    assert json.loads((tmp_path / "sample.json").read_text())["artifact"] == "sample"


def test_labels_are_never_replaced(map_path, tmp_path, ids):
    sample = draw_sample(map_path, tmp_path / "sample.gpkg", n=60, page=False)
    verify_make.write_labels(sample.csv, sample.csv, sample.record, ids)
    with pytest.raises(OutputError, match="holds labels of 60 points, which are never replaced"):
        draw_sample(map_path, tmp_path / "sample.gpkg", n=60, page=False, overwrite=True)


def test_size_is_planned(map_path, tmp_path):
    coarse = draw_sample(map_path, tmp_path / "a.gpkg", half_width=0.05, accuracy=0.8, design="random", page=False)
    fine = draw_sample(map_path, tmp_path / "b.gpkg", half_width=0.025, accuracy=0.8, design="random", page=False)
    assert len(coarse.record.points) == pytest.approx(1.96**2 * 0.16 / 0.05**2, abs=8)
    assert 3.5 < len(fine.record.points) / len(coarse.record.points) < 4
    assert "within 0.05 at 95 %" in coarse.record.planned
    assert coarse.record.strata[0].name == "map"


def test_zones_cross_with_classes(map_path, tmp_path, ids):
    west = [
        [[500_000, 5_790_000], [500_600, 5_790_000], [500_600, 5_810_000], [500_000, 5_810_000], [500_000, 5_790_000]]
    ]
    zones = write_polygons(
        tmp_path / "zones.geojson", field="district", value="west", crs="urn:ogc:def:crs:EPSG::32633",
        geometry={"type": "Polygon", "coordinates": west},
    )  # fmt: skip
    sample = draw_sample(
        map_path, tmp_path / "s.gpkg", n=100, strata=("class", "zone"), zones=zones, zone_field="district", page=False
    )
    assert {item.zone for item in sample.record.strata} == {"west", "outside all zones"}
    assert sample.record.strata_of == ("class", "zone of zones.geojson, field district")
    inside = {item.number for item in sample.record.strata if item.zone == "west"}
    assert all((point.col < 60) == (point.stratum in inside) for point in sample.record.points)
    with pytest.raises(InputError, match="unknown field 'name'"):
        draw_sample(map_path, tmp_path / "t.gpkg", strata=("zone",), zones=zones, page=False)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"design": "even"}, "unknown design 'even'"),
        ({"n": 10, "half_width": 0.1}, "`n` and `half_width` both say how many points"),
        ({"half_width": 3.0}, "`half_width` must lie between 0 and 1"),
        ({"n": 6, "min_per_class": 0}, "6 points are too few: 5 strata need at least 10"),
        ({"strata": ("colour",)}, "unknown kind of strata 'colour'"),
        ({"strata": ("class", "class")}, "strata are named twice"),
        ({"strata": ("confidence",), "bands": (0.8, 0.5)}, "`bands` must rise within 0..1"),
        ({"strata": ("zone",)}, "strata of zones need a vector file"),
        ({"design": "random", "n": 10**6}, "1000000 points are more than the"),
        ({"design": "systematic", "n": 10**6}, "1000000 points are more than the"),
        ({"min_unit_px": 0}, "`min_unit_px` must be at least 1"),
    ],
)
def test_wrong_options(map_path, tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        draw_sample(map_path, tmp_path / "s.gpkg", page=False, **options)
    assert list(tmp_path.iterdir()) == []


def test_maps_that_cannot_be_sampled(tmp_path):
    place = report_make.grid(30, 30)
    empty = report_make.write_raster(tmp_path / "empty.tif", np.zeros((1, 30, 30), np.uint8), place)
    with pytest.raises(InputError, match="has no pixel of a class"):
        draw_sample(empty, tmp_path / "s.gpkg")
    odd = report_make.write_raster(tmp_path / "odd.tif", np.full((1, 30, 30), 77, np.uint8), place)
    with pytest.raises(DataError, match=r"has the values \[77\], which are not in legend"):
        draw_sample(odd, tmp_path / "s.gpkg")
    two = report_make.write_raster(tmp_path / "two.tif", np.ones((2, 30, 30), np.uint8), place)
    with pytest.raises(DataError, match="has 2 bands"):
        draw_sample(two, tmp_path / "s.gpkg")


def test_estimates_are_right_on_average(map_path, ids):
    opened = open_map(map_path)
    rule = strata_rule(opened, ("class",))
    counted = count_strata(opened, rule)
    right = np.random.default_rng(1).random(ids.shape) < np.linspace(0.5, 1, ids.shape[1])
    right &= ids != 10  # one class is always wrong
    share = counted.pixels / counted.pixels.sum()
    estimates = []
    for seed in range(80):
        points = draw_random(opened, rule, counted, DrawSettings(60, seed)).points
        rows, cols, strata = np.array([(p.row, p.col, p.stratum - 1) for p in points]).T
        estimates.append((share * np.bincount(strata, right[rows, cols]) / np.bincount(strata)).sum())
    error = np.std(estimates) / np.sqrt(80)
    assert np.mean(estimates) == pytest.approx(right[ids > 0].mean(), abs=3 * error)
    assert error < 0.01
