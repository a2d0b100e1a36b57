"""Polygons of maps: they are the map, whatever the strips; neighbors share their borders; QGIS finds names and colors."""

from __future__ import annotations

import sqlite3

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from rasterio.features import rasterize

from c2seg.data.vectors import burn_labels
from c2seg.gis.geopackage import write_polygons
from c2seg.gis.polygons import strip_pieces
from c2seg.gis.seams import Seams
from c2seg.legend import c2seg13
from c2seg.raster import write_map
from c2seg.types import Grid
from helpers import report_make as make


def polygons(ids, rows, tolerance=0.0, **options):
    seams = Seams(ids.shape[1], simplified=tolerance > 0, **options)
    done = []
    for first in range(0, len(ids), rows):
        end = min(first + rows, len(ids))
        done.append(seams.add(strip_pieces(ids[first:end], first, tolerance), first, end, last=end == len(ids)))
    return np.concatenate([one.shapes for one in done]), np.concatenate([one.ids for one in done]), seams


def burned(shapes, ids, size):
    return (
        rasterize(zip(shapes, ids.tolist(), strict=True), size, dtype="uint8") if len(ids) else np.zeros(size, np.uint8)
    )


def patches(height, width, seed=0):
    """Areas with holes, diagonals and nodata."""
    rows, columns = np.mgrid[:height, :width]
    wave = np.sin(rows / 5 + seed) + np.cos(columns / 4) + np.sin((rows + columns) / 7)
    ids = np.digitize(wave, [-1.5, -0.5, 0.5, 1.5]).astype(np.uint8) + 1
    ids[rows + columns < height // 3] = 0
    return ids


@settings(max_examples=30, deadline=None)
@given(
    arrays.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.integers(0, 3)),
    st.integers(1, 9),
)
def test_polygons_are_the_map_whatever_the_strips(ids, rows):
    shapes, values, _ = polygons(ids, rows)
    assert (burned(shapes, values, ids.shape) == ids).all()
    whole, whole_values, _ = polygons(ids, len(ids))
    assert sorted(shapely.to_wkt(shapely.normalize(shapes))) == sorted(shapely.to_wkt(shapely.normalize(whole)))
    assert sorted(values) == sorted(whole_values)
    assert shapely.is_valid(shapes).all()


@pytest.mark.parametrize("rows", [5, 100])
def test_simplified_neighbors_leave_no_gap_and_do_not_overlap(rows):
    ids = patches(40, 36)
    plain, _, _ = polygons(ids, rows)
    shapes, values, _ = polygons(ids, rows, 1.5)
    assert shapely.get_num_coordinates(shapes).sum() < 0.7 * shapely.get_num_coordinates(plain).sum()
    assert shapely.is_valid(shapes).all()
    assert shapely.area(shapes).sum() == pytest.approx(shapely.area(shapely.union_all(shapes)), abs=1e-9)
    assert (burned(shapes, values, ids.shape) == ids).mean() > 0.9
    inner = np.pad(np.ones((24, 26), np.uint8), ((14, 2), (8, 2)))  # far from nodata, every place has a polygon
    assert (burned(shapes, np.ones_like(values), ids.shape) >= inner * (ids > 0)).mean() > 0.999


def test_a_very_large_polygon_ends_between_two_strips():
    ids = np.ones((30, 12), np.uint8)
    ids[::2, 1:-1:2] = 2
    shapes, values, seams = polygons(ids, 10, most_points=20)
    assert seams.cut == 2
    assert (burned(shapes, values, ids.shape) == ids).all()


def test_a_geopackage_has_classes_areas_and_a_style(tmp_path):
    import pyogrio

    ids, place = patches(33, 25), make.grid(33, 25)
    write_map(tmp_path / "m.tif", lambda a, b: ids[None, a:b], place, c2seg13(), overwrite=True)
    made = write_polygons(tmp_path / "m.gpkg", tmp_path / "m.tif", c2seg13(), strip_px=200)
    info = pyogrio.read_info(tmp_path / "m.gpkg", layer="land_cover")
    assert (info["features"], list(info["fields"]), info["crs"]) == (
        made.polygons, ["class", "class_id", "area_m2"], "EPSG:32633",
    )  # fmt: skip
    assert (burn_labels(tmp_path / "m.gpkg", place, c2seg13())[0] == ids).all()
    _, _, _, columns = pyogrio.raw.read(tmp_path / "m.gpkg", layer="land_cover")
    assert columns[2].sum() == pytest.approx((ids > 0).sum() * 100)
    with sqlite3.connect(tmp_path / "m.gpkg") as database:
        ((style,),) = database.execute("SELECT styleQML FROM layer_styles WHERE useAsDefault").fetchall()
    database.close()
    assert 'label="Surface water"' in style
    write_polygons(tmp_path / "again.gpkg", tmp_path / "m.tif", c2seg13(), strip_px=200)
    assert (tmp_path / "again.gpkg").read_bytes() == (tmp_path / "m.gpkg").read_bytes()


def test_maps_without_a_crs_and_without_a_class(tmp_path):
    import pyogrio

    ids = np.zeros((4, 4), np.uint8)
    place = Grid(4, 4, make.grid().transform, None)
    write_map(tmp_path / "m.tif", lambda a, b: ids[None, a:b], place, c2seg13(), overwrite=True)
    assert write_polygons(tmp_path / "m.gpkg", tmp_path / "m.tif", c2seg13(), simplify_m=2.0).polygons == 0
    assert list(pyogrio.read_info(tmp_path / "m.gpkg", layer="land_cover")["fields"]) == ["class", "class_id", "pixels"]
