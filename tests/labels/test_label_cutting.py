from __future__ import annotations

import numpy as np
import pytest
import shapely
from affine import Affine
from rasterio.crs import CRS

from c2seg.labels import load_rules, make_labels, write_labels
from c2seg.labels.cutting import WAY_OUT
from c2seg.raster import RasterFile
from c2seg.types import Grid, Window
from helpers.label_maps import UTM, utm_bounds

BOX = (0.0, 0.0, 2000.0, 1000.0)  # meters: what the extract covers


@pytest.fixture
def cut(osm):
    """An extract of BOX: relations keep members that are not in the file."""
    osm.bounds = BOX
    return osm


def _bank(osm, y, *, first=-300, last=2300):
    """A bank of a river from west to east, as the extract holds it: whole, beyond its box."""
    return osm.way([(first, y), (600, y + 20), (1400, y - 20), (last, y)])


def _absent(osm):
    """A way that the extract lacks."""
    number = osm.way([(-9000, 0), (-9000, 10)])
    osm.ways.pop()
    return number


def _river(osm):
    return osm.relation([(way, "outer") for way in (_bank(osm, 400), _bank(osm, 600), _absent(osm))], natural="water")


def _made(osm, tmp_path):
    west, _, _, north = utm_bounds(100, 100, 1900, 900)
    grid = Grid(80, 180, Affine(10, 0, west, 0, -10, north), CRS.from_string(UTM).to_wkt())
    return make_labels(osm.write(tmp_path / "cut.osm"), load_rules(), grid)


def test_a_river_is_closed_along_the_edge_where_its_line_runs(cut, tmp_path):
    river = _river(cut)
    cut.way([(-200, 500), (1000, 505), (2200, 500)], waterway="river")
    labels = _made(cut, tmp_path)
    ids = labels.rows(0, 80)
    assert (ids[32:48] == 1).all()  # y from 420 to 580
    assert (ids[:28] == 0).all()
    assert (ids[52:] == 0).all()
    assert [(c.osm_id, c.rule, c.told_by) for c in labels.extract.closed] == [
        (f"relation {river}", "inland water", "lines of its class")
    ]
    assert labels.extract.skipped == []


def test_a_river_between_mapped_banks_needs_no_line(cut, tmp_path):
    _river(cut)
    cut.box(-50, -50, 2050, 370, landuse="farmland")
    cut.box(-50, 630, 2050, 1050, landuse="residential")
    labels = _made(cut, tmp_path)
    assert labels.extract.closed[0].told_by == "polygons of other classes"
    assert (labels.rows(0, 80)[32:48] == 1).all()


def test_islands_tell_the_side_and_stay_land(cut, tmp_path):
    island = cut.area([(900, 480), (1100, 480), (1100, 540), (900, 540)])
    cut.relation(
        [(_bank(cut, 400), "outer"), (_bank(cut, 600), "outer"), (_absent(cut), "outer"), (island, "inner")],
        natural="water",
    )
    labels = _made(cut, tmp_path)
    ids = labels.rows(0, 80)
    assert labels.extract.closed[0].told_by == "whole rings"
    assert (ids[32:48, :75] == 1).all()
    assert (ids[37:41, 82:98] == 0).all()
    assert (ids[:28] == 0).all()


def test_a_wood_around_the_whole_extract(cut, tmp_path):
    clearing = cut.area([(800, 300), (1200, 300), (1200, 700), (800, 700)])
    cut.relation([(_absent(cut), "outer"), (clearing, "inner")], natural="wood")
    ids = _made(cut, tmp_path).rows(0, 80)
    assert (ids[25:55, 75:105] == 0).all()
    assert (ids[:, :60] == 10).all()


def test_without_evidence_nothing_is_guessed(cut, tmp_path):
    river = _river(cut)
    labels = _made(cut, tmp_path)
    assert (labels.rows(0, 80) == 0).all()
    (skipped,) = labels.extract.skipped
    assert skipped.osm_id == f"relation {river}"
    assert skipped.reason == f"incomplete: nothing in the extract tells on which side of its rings it lies; {WAY_OUT}"


def test_evidence_that_contradicts_is_none(cut, tmp_path):
    _river(cut)
    cut.way([(-200, 500), (2200, 500)], waterway="river")
    cut.way([(-200, 800), (2200, 800)], waterway="river")
    assert "nothing in the extract tells" in _made(cut, tmp_path).extract.skipped[0].reason


def test_rings_that_end_inside_are_named(cut, tmp_path):
    bank = cut.way([(-300, 400), (1000, 400)])
    cut.relation([(bank, "outer"), (_bank(cut, 600), "outer"), (_absent(cut), "outer")], natural="water")
    cut.way([(-200, 500), (2200, 500)], waterway="river")
    (skipped,) = _made(cut, tmp_path).extract.skipped
    assert skipped.reason.startswith("incomplete: its rings end inside the extract")


def test_a_field_that_is_cut_at_nodes_is_closed(cut, tmp_path):
    field = cut.box(1500, 300, 2600, 700, landuse="farmland")
    cut.drop_node((2600, 300))
    cut.drop_node((2600, 700))
    cut.box(-50, -50, 1400, 1050, natural="wood")
    labels = _made(cut, tmp_path)
    assert [s.osm_id for s in labels.extract.skipped] == [
        f"way {field}"
    ]  # one edge is there: its end lies 500 m inside
    cut.dropped.clear()
    assert _made(cut, tmp_path).extract.skipped == []


def test_ends_before_the_edge_are_led_to_it(cut, tmp_path):
    cut.relation(
        [(_bank(cut, y, first=40, last=1960), "outer") for y in (400, 600)] + [(_absent(cut), "outer")], natural="water"
    )
    cut.way([(40, 500), (1960, 500)], waterway="river")
    labels = _made(cut, tmp_path)
    assert (labels.rows(0, 80)[32:48] == 1).all()
    assert len(labels.extract.closed) == 1


def test_closed_areas_are_in_the_report(cut, tmp_path):
    river = _river(cut)
    cut.way([(-200, 500), (1000, 505), (2200, 500)], waterway="river")
    report = write_labels(_made(cut, tmp_path), tmp_path / "label.tif")
    assert [(c.id, c.told_by) for c in report.closed] == [(f"relation {river}", "lines of its class")]
    water = next(c for c in report.classes if c.id == 1)
    assert water.km2 == pytest.approx(1.8 * 0.2, rel=0.02)
    label = RasterFile(tmp_path / "label.tif").read(Window(0, 0, 80, 180))[0]
    assert (label[40] == 1).all()


def test_the_closed_area_is_that_of_the_whole_map(cut, osm, tmp_path):
    rng = np.random.default_rng(0)
    x = np.linspace(-500, 2500, 61)
    south, north = (y + rng.normal(scale=15, size=x.size).cumsum() * 0.5 for y in (380, 620))
    ways = [cut.way(list(zip(x, bank, strict=True))) for bank in (south, north)]
    cut.relation([(way, "outer") for way in (*ways, _absent(cut))], natural="water")
    cut.way([(-200, 500), (2200, 500)], waterway="river")
    labels = _made(cut, tmp_path)
    truth = shapely.Polygon([*zip(x, south, strict=True), *zip(x[::-1], north[::-1], strict=True)])
    inside = shapely.clip_by_rect(truth, 100, 100, 1900, 900).area
    assert (labels.rows(0, 80) == 1).sum() * 100 == pytest.approx(inside, rel=0.01)
