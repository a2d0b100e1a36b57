from __future__ import annotations

import numpy as np
import osmium
import pytest
import rasterio
import shapely
from affine import Affine
from rasterio.crs import CRS

from c2seg.errors import DataError, GridError, InputError
from c2seg.labels import grid_from_bounds, grid_like, load_rules, make_labels, write_labels
from c2seg.labels.extract import read_coverage, read_extract
from c2seg.labels.grids import DEGREES, geographic_box, metric_crs, project
from c2seg.legend import c2seg13
from c2seg.types import Grid
from helpers.label_maps import UTM, degrees_box, utm_bounds

BLOB = [(310, 205), (690, 240), (815, 480), (700, 733), (505, 611), (333, 755), (214, 451)]
FRAME = (0, 0, 1000, 1000)


def _utm_grid(resolution=10.0, frame=FRAME):
    return grid_from_bounds(utm_bounds(*frame), resolution, UTM)


def _labels(osm, path, grid=None, **choices):
    return make_labels(osm.write(path / "map.osm"), load_rules(choices=choices), grid or _utm_grid())


def _label(osm, path, grid=None, **choices):
    labels = _labels(osm, path, grid, **choices)
    return labels.rows(0, labels.grid.height)


def _areas_m2(labels, grid):
    """Summed area fractions per class id, in square meters of the grid."""
    shares, _ = labels.shares(0, grid.height)
    return dict(
        zip(labels.table.legend.ids, shares.sum(axis=(1, 2), dtype=float) / 25 * grid.pixel_area_m2(), strict=True)
    )


def _at(label, x, y):
    """Label at meters east and north of the origin on the default grid."""
    return label[label.shape[0] - 1 - int(y // 10), int(x // 10)]


def test_fractions_sum_to_the_area_of_a_polygon_with_a_hole(osm, tmp_path):
    osm.bounds = FRAME
    hole = [(450, 400), (560, 410), (540, 520), (440, 500)]
    outer, inner = osm.area(BLOB), osm.area(hole, landuse="meadow")
    osm.relation([(outer, "outer"), (inner, "inner")], landuse="forest")
    labels = _labels(osm, tmp_path)
    areas = _areas_m2(labels, labels.grid)
    assert areas[10] == pytest.approx(shapely.Polygon(BLOB, [hole]).area, rel=2e-3)
    assert areas[9] == pytest.approx(shapely.Polygon(hole).area, rel=1e-2)
    assert areas[10] + areas[9] == pytest.approx(shapely.Polygon(BLOB).area, rel=2e-3)
    assert labels.extract.skipped == []


def test_any_grid_gives_the_same_ground_area(osm, tmp_path):
    """Rotated, geographic, Web Mercator and feet: the area of a polygon and the width of a street are ground meters."""
    osm.bounds = FRAME
    osm.area(BLOB, natural="water")
    osm.way([(50, 100), (50, 900)], highway="motorway")
    west, south, east, north = degrees_box(*FRAME)
    mercator = project(np.array([shapely.box(west, south, east, north)]), DEGREES, "EPSG:3857")[0].bounds
    origin = Affine.translation(*utm_bounds(-700, 0, 0, 1100)[0:4:3])
    wkt = {code: CRS.from_epsg(code).to_wkt() for code in (32632, 4326, 3857)}
    grids = [
        _utm_grid(),
        Grid(190, 190, origin @ Affine.rotation(20) @ Affine.scale(10, -10), wkt[32632]),
        Grid(120, 120, Affine((east - west) / 120, 0, west, 0, (south - north) / 120, north), wkt[4326]),
        Grid(
            150, 150,
            Affine((mercator[2] - mercator[0]) / 150, 0, mercator[0], 0, (mercator[1] - mercator[3]) / 150, mercator[3]),
            wkt[3857],
        ),
    ]  # fmt: skip
    path = osm.write(tmp_path / "map.osm")
    for grid in grids:
        areas = _areas_m2(make_labels(path, load_rules(), grid), grid)
        assert areas[1] == pytest.approx(shapely.Polygon(BLOB).area, rel=4e-3), grid
        assert areas[2] == pytest.approx(800 * 16 + np.pi * 64, rel=2e-2), grid


def test_metric_crs_is_the_grids_own_only_if_its_meters_are_true():
    utm = _utm_grid()
    assert CRS.from_wkt(metric_crs(utm)).to_epsg() == 32632
    mercator = Grid(10, 10, Affine(10, 0, 1_060_000, 0, -10, 5_960_000), CRS.from_epsg(3857).to_wkt())
    assert metric_crs(mercator) == "EPSG:32632"


def test_street_wins_from_three_tenths_and_stays_connected(osm, tmp_path):
    from scipy import ndimage

    osm.bounds = FRAME
    osm.box(0, 0, 1000, 1000, landuse="residential")
    osm.way([(20, 30), (400, 480), (980, 700)], highway="tertiary", bridge="yes")
    osm.way([(20, 900), (980, 900)], highway="primary", tunnel="yes")
    labels = _labels(osm, tmp_path)
    label = labels.rows(0, 100)
    shares, _ = labels.shares(0, 100)
    assert np.array_equal(label == 2, shares[1] >= 0.3 * 25)
    assert ndimage.label(label == 2, np.ones((3, 3)))[1] == 1
    assert _at(label, 400, 480) == 2
    assert not (label[:20] == 2).any()  # the tunnel
    assert (label == 2).sum() < 3 * (589 + 620) / 10
    assert labels.decide(np.where(np.arange(13)[:, None, None] == 1, 7, 0).astype(np.uint8))[0, 0] == 0  # 7 / 25 < 0.3


def test_largest_share_decides_and_unmapped_can_win(osm, tmp_path):
    osm.bounds = FRAME
    osm.box(0, 0, 506, 1000, natural="wood")
    osm.box(506, 0, 1000, 500, landuse="farmland")
    label = _label(osm, tmp_path)
    assert _at(label, 503, 100) == 10
    assert _at(label, 503, 700) == 10
    osm.box(0, 0, 1, 1, natural="scrub")
    osm.ways[0] = (osm.ways[0][0], osm.ways[0][1], {})  # no wood any more
    label = _label(osm, tmp_path)
    assert _at(label, 503, 100) == 0  # 40 % arable, 60 % unmapped
    assert _at(label, 513, 100) == 7


def test_outside_of_the_extract_is_background(osm, tmp_path):
    osm.box(-500, -500, 1500, 1500, natural="wood")
    osm.bounds = (0, 300, 1000, 1000)
    labels = _labels(osm, tmp_path)
    label = labels.rows(0, 100)
    assert _at(label, 500, 700) == 10
    assert _at(label, 500, 200) == 0
    report = write_labels(labels, tmp_path / "out.tif")
    assert report.coverage.covered_share == pytest.approx(0.7, abs=0.02)
    assert report.coverage.mapped_share == pytest.approx(1, abs=1e-6)
    assert report.extract.bounds_from == "header"


def test_without_a_header_box_the_nodes_say_what_is_covered(osm, tmp_path):
    osm.box(200, 200, 800, 800, natural="wood")
    path = osm.write(tmp_path / "map.osm")
    coverage = read_coverage(path)
    assert coverage.source == "nodes"
    west, south, east, north = degrees_box(200, 200, 800, 800)
    assert coverage.box == pytest.approx((west, south, east, north), abs=1e-4)


def test_smaller_polygon_wins_within_a_priority_whatever_the_order(osm, tmp_path):
    osm.bounds = FRAME
    osm.box(400, 400, 600, 600, leisure="park")
    osm.box(100, 100, 900, 900, natural="wood")
    osm.box(450, 450, 500, 500, natural="wood")
    label = _label(osm, tmp_path)
    assert [_at(label, *p) for p in ((200, 200), (550, 550), (475, 475))] == [10, 6, 10]


def test_closed_ways_area_tags_and_lines(osm, tmp_path):
    osm.bounds = FRAME
    osm.area([(100, 100), (300, 100), (300, 300), (100, 300)], highway="primary", junction="roundabout")
    osm.area([(500, 100), (700, 100), (700, 300), (500, 300)], highway="primary", area="yes")
    osm.area([(100, 500), (300, 500), (300, 700), (100, 700)], natural="wood", area="no")
    osm.way([(500, 500), (900, 500)], waterway="river")
    label = _label(osm, tmp_path)
    assert (_at(label, 200, 200), _at(label, 100, 200), _at(label, 600, 200)) == (0, 2, 2)
    assert _at(label, 200, 600) == 0
    assert _at(label, 700, 502) == 1


def test_switch_moves_a_contested_tag_and_the_report_says_how_much(osm, tmp_path):
    osm.bounds = FRAME
    osm.box(100, 100, 500, 500, landuse="allotments")
    osm.way([(0, 800), (1000, 800)], highway="residential")
    assert _at(_label(osm, tmp_path), 300, 300) == 6
    assert _at(_label(osm, tmp_path, allotments="permanent_crops"), 300, 300) == 8
    labels = _labels(osm, tmp_path, allotments="unmapped", minor_streets="street")
    report = write_labels(labels, tmp_path / "out.tif")
    switches = {s.name: s for s in report.switches}
    assert switches["allotments"].km2 == 0
    assert switches["allotments"].geometry_km2 == pytest.approx(0.16, rel=1e-3)
    assert switches["minor_streets"].km2 == pytest.approx(0.01, rel=0.02)


def test_broken_and_incomplete_areas_are_named_and_skipped(osm, tmp_path):
    osm.bounds = FRAME
    whole, gone = osm.area(BLOB), osm.way([(0, 0), (10, 10)])
    osm.ways = [w for w in osm.ways if w[0] != gone]
    incomplete = osm.relation([(whole, "outer"), (gone, "outer")], natural="wood")
    nowhere = osm.relation([(gone, "outer")], natural="heath")
    loose = osm.way([(10, 10), (90, 20), (50, 90)])
    broken = osm.relation([(loose, "outer")], landuse="quarry")
    cut = osm.box(100, 800, 200, 900, landuse="meadow")
    osm.drop_node((200, 900))
    crossing = osm.area([(300, 800), (400, 900), (400, 800), (300, 900)], landuse="orchard")
    osm.relation([(whole, "outer")], building="yes")
    osm.area([(9000, 800), (9100, 900), (9100, 800), (9000, 900)], landuse="orchard")  # broken, but elsewhere
    labels = _labels(osm, tmp_path)
    found = {s.osm_id: (s.rule, s.reason.split(":")[0]) for s in labels.extract.skipped}
    assert found == {
        f"relation {broken}": ("quarry and landfill", "rings cross or do not close"),
        f"way {cut}": ("pastures", "incomplete"),
        f"way {crossing}": ("permanent crops", "rings cross or do not close"),
    }
    assert [(c.osm_id, c.told_by) for c in labels.extract.closed] == [(f"relation {incomplete}", "whole rings")]
    assert f"relation {nowhere}" not in found  # nothing of it is here


def test_unmatched_tags_are_reported_by_area(osm, tmp_path):
    osm.bounds = FRAME
    osm.box(100, 100, 500, 500, landuse="unheard_of")
    osm.box(600, 600, 700, 700, leisure="nature_reserve")
    report = write_labels(_labels(osm, tmp_path), tmp_path / "out.tif")
    assert [(u.tag, u.features) for u in report.unmatched] == [
        ("landuse=unheard_of", 1), ("leisure=nature_reserve", 1),
    ]  # fmt: skip
    assert report.unmatched[0].km2 == pytest.approx(0.16, rel=0.01)


def test_sea_from_the_coastline_with_a_pier_and_an_island(osm, tmp_path):
    osm.bounds = FRAME
    osm.way([(400, -200), (400, 500), (450, 1200)], natural="coastline")
    osm.area([(700, 700), (800, 700), (800, 800), (700, 800)], natural="coastline")  # counter-clockwise: an island
    osm.box(300, 300, 600, 600, landuse="industrial")
    osm.way([(400, 900), (560, 900)], man_made="pier")
    osm.box(600, 100, 700, 200, natural="beach")
    labels = _labels(osm, tmp_path)
    label = labels.rows(0, 100)
    assert labels.sea.state == "closed"
    points = ((200, 800), (600, 800), (750, 750), (350, 450), (550, 450), (650, 150))
    assert [_at(label, *p) for p in points] == [0, 1, 0, 4, 1, 12]


def test_raster_in_open_sea_is_told_by_the_coast_elsewhere(osm, tmp_path):
    osm.bounds = (0, 0, 4000, 1000)
    osm.way([(400, -200), (400, 1200)], natural="coastline")
    at_sea = _label(osm, tmp_path, _utm_grid(frame=(3000, 200, 3500, 700)))
    on_land = _label(osm, tmp_path, _utm_grid(frame=(50, 200, 250, 700)))
    assert (at_sea == 1).all()
    assert (on_land == 0).all()


def test_written_rasters_carry_names_colors_and_attribution(osm, tmp_path):
    osm.bounds = FRAME
    osm.area(BLOB, natural="water")
    labels = _labels(osm, tmp_path)
    seen = []
    write_labels(
        labels, tmp_path / "l.tif", fractions=tmp_path / "f.tif", progress=lambda d, t, text="": seen.append(d / t)
    )
    with rasterio.open(tmp_path / "l.tif") as dataset:
        label, tags = dataset.read(1), dataset.tags()
        assert dataset.dtypes == ("uint8",)
        assert dataset.nodata == 0
        assert dataset.tags(1)["CLASS_10"] == "Forests"
        assert dataset.colormap(1)[1][:3] == c2seg13().colors()[1]
    assert "OpenStreetMap contributors" in tags["ATTRIBUTION"]
    assert "ODbL" in tags["LICENSE"]
    with rasterio.open(tmp_path / "f.tif") as dataset:
        fractions = dataset.read()
        assert dataset.descriptions[0] == "Surface water"
        assert "ODbL" in dataset.tags()["LICENSE"]
    assert fractions.shape == (13, 100, 100)
    assert fractions.sum() * 100 == pytest.approx(shapely.Polygon(BLOB).area, rel=2e-3)
    assert np.array_equal(label == 1, fractions[0] > 0.5)
    assert seen == sorted(seen)
    assert seen[-1] == 1


def test_same_input_gives_same_bytes(osm, tmp_path):
    osm.bounds = FRAME
    osm.area(BLOB, natural="water")
    for name in ("a.tif", "b.tif"):
        write_labels(_labels(osm, tmp_path), tmp_path / name)
    assert (tmp_path / "a.tif").read_bytes() == (tmp_path / "b.tif").read_bytes()


def test_extract_elsewhere_is_refused(osm, tmp_path):
    osm.bounds = FRAME
    osm.box(0, 0, 1000, 1000, natural="wood")
    with pytest.raises(DataError, match="do not overlap"):
        _labels(osm, tmp_path, _utm_grid(frame=(50_000, 0, 51_000, 1000)))


def test_file_without_ways_or_nodes_is_refused(osm, tmp_path):
    with pytest.raises(DataError, match="no nodes"):
        read_coverage(osm.write(tmp_path / "empty.osm"))
    osm.bounds = FRAME
    osm.box(0, 0, 1, 1)
    osm.ways = []
    with pytest.raises(DataError, match="no ways"):
        read_extract(osm.write(tmp_path / "nodes.osm"), load_rules(), (9, 47, 10, 48))


def test_every_format_reads_the_same_and_a_cut_one_is_refused(osm, tmp_path):
    osm.bounds = FRAME
    osm.area(BLOB, natural="water")
    plain = osm.write(tmp_path / "map.osm")
    paths = [plain]
    for name in ("map.osm.pbf", "map.osm.gz"):
        paths.append(tmp_path / name)
        header = osmium.io.Header()
        header.add_box(osmium.io.Reader(str(plain)).header().box())
        with osmium.SimpleWriter(str(paths[-1]), header=header) as writer:
            for feature in osmium.FileProcessor(str(plain)):
                writer.add(feature)
    labels = [make_labels(path, load_rules(), _utm_grid()).rows(0, 100) for path in paths]
    assert (labels[0] == 1).any()
    assert all(np.array_equal(label, labels[0]) for label in labels)
    for path in paths:
        path.write_bytes(path.read_bytes()[:-20])
        with pytest.raises(DataError, match="truncated"):
            make_labels(path, load_rules(), _utm_grid())


@pytest.mark.parametrize("content", [b"", b"no map", b"\x00\x00\x00\x0d\n\tOSMHeader"])
@pytest.mark.parametrize("name", ["x.osm.pbf", "x.osm", "x.osm.gz", "x.txt"])
def test_damaged_files_are_one_clear_error(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"{name}"):
        read_coverage(path)


def test_grid_from_degrees_is_utm_snapped_and_covers_the_bounds():
    grid = grid_from_bounds((9.5, 47.0, 9.6, 47.1), 10)
    assert CRS.from_wkt(grid.crs).to_epsg() == 32632
    assert grid.transform.c % 10 == 0
    assert grid.transform.f % 10 == 0
    west, south, east, north = geographic_box(grid, 0)
    assert west <= 9.5 < 9.6 <= east
    assert south <= 47.0 < 47.1 <= north
    assert CRS.from_wkt(grid_from_bounds((-70.7, -33.5, -70.6, -33.4), 10).crs).to_epsg() == 32719


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((10, 47, 9, 48), 10), "west < east"),
        (((9, 47, float("nan"), 48), 10), "west < east"),
        (((9, 47, 10, 48), 0), "not a positive number"),
        (((500000, 47, 600000, 48), 10), "need `crs`"),
        (((9, 47, 10, 48), 10, "EPSG:4326"), "not projected"),
        (((9, 47, 10, 48), 10, "EPSG:x"), "is not a CRS"),
        (((9, 47, 10, 48), 0.001), "at most 200000 a side"),
    ],
)
def test_wrong_grids(arguments, message):
    with pytest.raises(InputError, match=message):
        grid_from_bounds(*arguments)


def test_raster_without_crs_is_refused(tmp_path):
    path = tmp_path / "r.tif"
    with rasterio.open(
        path, "w", driver="GTiff", height=2, width=2, count=1, dtype="uint8", transform=Affine(1, 0, 5, 0, -1, 5)
    ) as dataset:
        dataset.write(np.ones((1, 2, 2), np.uint8))
    with pytest.raises(GridError, match="has no CRS"):
        grid_like(path)
