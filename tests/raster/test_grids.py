from __future__ import annotations

import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from rasterio.crs import CRS

from c2seg.errors import GridError
from c2seg.raster import GridRelation, relate_grids
from c2seg.types import Grid, Window

UTM = CRS.from_epsg(32632).to_wkt()
FINE = Grid(90, 120, Affine(10, 0, 500_000, 0, -10, 5_000_000), UTM)


def coarse(ratio: int, row: int, col: int, height: int = 40, width: int = 50) -> Grid:
    corner = FINE.transform @ Affine.translation(col, row)
    return Grid(height, width, corner @ Affine.scale(ratio), UTM)


@given(st.integers(1, 7), st.integers(-30, 30), st.integers(-30, 30))
def test_relation_of_aligned_grids(ratio: int, row: int, col: int) -> None:
    assert relate_grids(FINE, coarse(ratio, row, col), "fine", "coarse") == GridRelation(ratio, row, col)


@given(st.integers(1, 7), st.integers(-9, 9), st.integers(-9, 9), st.integers(-20, 80), st.integers(1, 40))
def test_coarse_window_covers_the_fine_one_and_no_cell_more(r: int, row: int, col: int, start: int, size: int) -> None:
    relation = GridRelation(r, row, col)
    window = Window(start, start + 3, size, size + 2)
    covered = relation.to_fine(relation.to_coarse(window))
    assert covered.intersect(window) == window
    assert window.row - covered.row < r
    assert covered.row_end - window.row_end < r
    assert window.col - covered.col < r
    assert covered.col_end - window.col_end < r


def test_coordinates_with_rounding_errors_are_the_same_grid() -> None:
    jitter = Grid(90, 120, Affine(10.00001, 0, 500_000.01, 0, -10.00001, 4_999_999.99), UTM)
    assert relate_grids(FINE, jitter, "a", "b") == GridRelation(1, 0, 0)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (Grid(90, 120, FINE.transform, CRS.from_epsg(32633).to_wkt()), "different CRS"),
        (Grid(90, 120, FINE.transform, None), "b has no CRS while the other has"),
        (Grid(90, 120, Affine(10, 0, 500_005, 0, -10, 5_000_000), UTM), r"shifted by \+0\.50 columns"),
        (Grid(90, 120, Affine(25, 0, 500_000, 0, -25, 5_000_000), UTM), "integer multiple"),
        (Grid(90, 120, Affine(5, 0, 500_000, 0, -5, 5_000_000), UTM), "b is 2 times finer"),
        (Grid(90, 120, Affine(0, 10, 500_000, 10, 0, 5_000_000), UTM), "axes of the grids are not parallel"),
        (Grid(90, 120, Affine(10, 0, 500_000, 0, 10, 4_999_100), UTM), "upside down or mirrored"),
        (Grid(90, 120, Affine(10, 0, 900_000, 0, -10, 5_000_000), UTM), "do not overlap"),
    ],
)
def test_grids_that_do_not_fit_are_refused_with_the_reason(other: Grid, message: str) -> None:
    with pytest.raises(GridError, match=message):
        relate_grids(FINE, other, "a", "b")


def test_without_crs_grids_must_be_equal() -> None:
    plain = Grid(90, 120, Affine(10, 0, 0, 0, -10, 0))
    assert relate_grids(plain, plain, "a", "b") == GridRelation()
    with pytest.raises(GridError, match="without CRS must match exactly"):
        relate_grids(plain, Grid(44, 60, Affine(20, 0, 0, 0, -20, 0)), "a", "b")
    with pytest.raises(GridError, match="without CRS must match exactly"):
        relate_grids(plain, Grid(45, 60, Affine(20, 0, 10, 0, -20, 0)), "a", "b")
    assert relate_grids(plain, Grid(23, 30, Affine(40, 0, 0, 0, -40, 0)), "a", "b") == GridRelation(4)


def test_pixel_areas() -> None:
    assert FINE.pixel_area_m2() == 100
    mercator = Grid(2, 2, Affine(10, 0, 1.29e7, 0, -10, 4.865e6), CRS.from_epsg(3857).to_wkt())  # Beijing, 39.98 N
    assert mercator.pixel_area_m2() == pytest.approx(100 * 0.5873, rel=2e-3)
    feet = Grid(2, 2, Affine(100, 0, 0, 0, -100, 0), CRS.from_epsg(2263).to_wkt())  # New York, US survey feet
    assert feet.pixel_area_m2() == pytest.approx((100 * 1200 / 3937) ** 2, rel=1e-9)
    degrees = Grid(2, 2, Affine(0.001, 0, 10, 0, -0.001, 60.001), CRS.from_epsg(4326).to_wkt())
    assert degrees.pixel_area_m2() == pytest.approx(111.195**2 * 0.5, rel=1e-3)
