"""The one grid: zones, whole multiples, the date line, what contradicts itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from rasterio.crs import CRS

from c2seg.errors import DataError, GridError, InputError
from c2seg.prepare import Area
from c2seg.prepare.area import coarser, overlaps
from c2seg.prepare.area import grid_of as grid_for
from c2seg.products import ProductFacts
from c2seg.raster import relate_grids
from c2seg.types import Grid
from helpers.prepare_make import grid_of, write_raster

FACTS = ProductFacts("msi", "a sensor", "a product", "reflectance")


@dataclass(frozen=True)
class Place:
    """What is asked of a product before its pixels are."""

    bounds_lonlat: tuple[float, float, float, float]
    resolution_m: float = 10.0
    crs: str | None = None
    grid: Grid | None = None
    facts: ProductFacts = FACTS


BERLIN = Place((13.0, 52.2, 13.9, 52.8))


def test_bounds_are_covered_by_whole_multiples_in_their_zone():
    grid = grid_for(Area(bounds=(13.1, 52.3, 13.8, 52.7)), {"msi": [BERLIN]})
    assert CRS.from_wkt(grid.crs).to_epsg() == 32633
    assert grid.transform.c % 10 == grid.transform.f % 10 == 0
    assert (grid.transform.a, grid.transform.e) == (10, -10)
    assert overlaps(BERLIN, grid)
    assert not overlaps(Place((14.5, 52.2, 15.0, 52.8)), grid)


def test_the_zone_of_the_products_comes_before_that_of_the_center():
    zone = Place(BERLIN.bounds_lonlat, crs=CRS.from_epsg(32632).to_wkt())
    area = Area(bounds=(13.1, 52.3, 13.8, 52.7), resolution_m=20)
    assert CRS.from_wkt(grid_for(area, {"msi": [zone]}).crs).to_epsg() == 32632
    assert CRS.from_wkt(grid_for(area, {"msi": [zone, BERLIN]}).crs).to_epsg() == 32633
    southern = grid_for(Area(bounds=(13.1, -8.9, 13.4, -8.7)), {"sar": [BERLIN]})
    assert CRS.from_wkt(southern.crs).to_epsg() == 32733


def test_pixels_that_lie_on_half_multiples_are_kept():
    scene = grid_of(300, 30, 452_475, 5_808_645, 32633)
    product = Place((14.2, 52.2, 14.6, 52.6), 30.0, scene.crs, scene)
    assert grid_for(Area(), {"msi": [product]}) == scene
    part = grid_for(Area(bounds=(14.32, 52.36, 14.38, 52.4)), {"msi": [product]})
    assert relate_grids(scene, part, "scene", "part").ratio == 1
    for area in (Area(resolution_m=10), Area(resolution_m=60), Area(crs="EPSG:32632")):
        other = grid_for(area, {"msi": [product]})
        assert abs(other.transform.c / other.transform.a % 1) < 1e-9


def test_without_bounds_the_native_grid_is_the_area():
    native = grid_of(1098, 10, 399_960, 5_800_020, 32633)
    product = Place((13.5, 52.2, 13.8, 52.4), crs=native.crs, grid=native)
    assert grid_for(Area(), {"msi": [product]}) == native
    half = grid_for(Area(resolution_m=20), {"msi": [product]})
    assert relate_grids(native, half, "fine", "half").ratio == 2
    with_radar = grid_for(Area(), {"msi": [product], "sar": [Place((13.6, 52.25, 13.7, 52.3))]})
    assert with_radar.height < 700
    assert overlaps(product, with_radar)


def test_products_apart_are_told():
    with pytest.raises(DataError, match=r"do not overlap \(a product, a product\)"):
        grid_for(Area(), {"msi": [BERLIN], "sar": [Place((20.0, 52.2, 20.9, 52.8))]})


def test_the_date_line_is_no_border():
    product = Place((179.2, -17.0, -179.6, -16.0))
    grid = grid_for(Area(), {"msi": [product]})
    assert CRS.from_wkt(grid.crs).to_epsg() == 32760
    assert 11_000 < grid.width < 13_500
    assert overlaps(product, grid)
    assert overlaps(Place((-179.9, -16.6, -179.7, -16.5)), grid)
    assert not overlaps(Place((-178.9, -16.6, -178.7, -16.5)), grid)


def test_like_gives_the_grid(tmp_path):
    grid = grid_of(64, 30, 400_000, 5_800_000, 32633)
    path = write_raster(tmp_path / "like.tif", np.zeros((1, 64, 64), np.uint8), grid)
    assert grid_for(Area(like=path), {"msi": [BERLIN]}).transform == grid.transform
    with pytest.raises(InputError, match="`like` gives the grid"):
        grid_for(Area(like=path, resolution_m=10), {"msi": [BERLIN]})


def test_coarser_grids_cover_the_fine_one():
    fine = grid_of(100, 10, 400_000, 5_800_000, 32633)
    coarse = coarser(fine, 29.7)
    relation = relate_grids(fine, coarse, "fine", "coarse")
    assert (relation.ratio, relation.row_offset, relation.col_offset) == (3, 0, 0)
    assert (coarse.height, coarse.width) == (34, 34)
    assert coarser(fine, 6.0) == fine


@pytest.mark.parametrize(
    ("area", "words"),
    [
        (Area(bounds=(13.1, 52.7, 13.8, 52.3)), "not west, south, east, north"),
        (Area(bounds=(13.1, 52.3, 13.8, 89.0)), "not west, south, east, north"),
        (Area(resolution_m=-1), "not a positive number"),
        (Area(resolution_m=1e-3), "at most 200000 a side"),
        (Area(crs="EPSG:4326"), "not projected"),
        (Area(crs="nowhere"), "not a CRS"),
    ],
)
def test_what_makes_no_sense_is_told(area, words):
    with pytest.raises((InputError, GridError), match=words):
        grid_for(area, {"msi": [BERLIN]})
