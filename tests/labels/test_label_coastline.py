from __future__ import annotations

import numpy as np
import pytest
import shapely

from c2seg.labels.coastline import sea_polygons

BOX = (10.0, 50.0, 10.02, 50.02)
CX, CY = 10.01, 50.01


def _line(*points):
    return np.array(points, float)


def _share(sea):
    return sum(p.area for p in sea.polygons) / shapely.box(*BOX).area


def _ring(radius, *, clockwise, center=(CX, CY), points=24):
    angle = np.linspace(0, 2 * np.pi, points, endpoint=False) * (-1 if clockwise else 1)
    ring = np.column_stack([center[0] + radius * np.cos(angle), center[1] + radius * np.sin(angle)])
    return np.vstack([ring, ring[:1]])


def test_land_is_on_the_left():
    northward = sea_polygons([_line((CX, 49.9), (CX, 50.1))], BOX)
    assert northward.state == "closed"
    assert _share(northward) == pytest.approx(0.5)
    assert northward.polygons[0].bounds[0] == pytest.approx(CX)
    southward = sea_polygons([_line((CX, 50.1), (CX, 49.9))], BOX)
    assert southward.polygons[0].bounds[2] == pytest.approx(CX)


def test_pieces_are_joined_and_islands_are_holes():
    coast = [_line((10.005, 50.008), (10.005, 50.1)), _line((10.005, 49.9), (10.005, 50.008))]
    island = _ring(0.002, clockwise=False, center=(10.012, 50.01))
    sea = sea_polygons([*coast, island], BOX)
    assert sea.state == "closed"
    assert len(sea.polygons) == 1
    assert not sea.polygons[0].contains(shapely.Point(10.012, 50.01))
    assert sea.polygons[0].contains(shapely.Point(10.018, 50.01))
    assert _share(sea) == pytest.approx(0.75 - shapely.Polygon(island).area / shapely.box(*BOX).area, abs=1e-6)


def test_island_alone_and_lagoon_alone():
    island = sea_polygons([_ring(0.004, clockwise=False)], BOX)
    assert _share(island) == pytest.approx(1 - shapely.Polygon(_ring(0.004, clockwise=False)).area / 0.0004, abs=1e-6)
    lagoon = sea_polygons([_ring(0.004, clockwise=True)], BOX)
    assert _share(lagoon) == pytest.approx(shapely.Polygon(_ring(0.004, clockwise=False)).area / 0.0004, abs=1e-6)


def test_coast_crossing_the_box_twice():
    coast = _line(
        (10.005, 49.9), (10.005, 50.1), (10.015, 50.1), (10.015, 49.9)
    )  # land west and east, a strait between
    sea = sea_polygons([coast], BOX)
    assert _share(sea) == pytest.approx(0.5, abs=1e-6)
    assert sea.polygons[0].contains(shapely.Point(CX, CY))


def test_no_coast_is_no_sea():
    assert sea_polygons([], BOX).state == "none"
    assert sea_polygons([_line((11, 50), (11, 51))], BOX).state == "none"


def test_coast_that_does_not_close_is_unknown_not_guessed():
    sea = sea_polygons([_line((CX, 49.9), (CX, 50.01))], BOX)
    assert sea.state == "unclosed"
    assert sea.polygons == ()
    assert sea.unknown_m2 == pytest.approx(shapely.box(*BOX).area * 111195**2 * np.cos(np.radians(CY)), rel=1e-3)
    # An island in it must not flood the land.
    with_island = sea_polygons(
        [_line((CX, 49.9), (CX, 50.01)), _ring(0.001, clockwise=False, center=(10.015, 50.01))], BOX
    )
    assert with_island.polygons == ()


def test_only_the_contradicted_face_is_unknown():
    closed = _line((10.005, 49.9), (10.005, 50.1))
    loose = _line((10.015, 49.9), (10.015, 50.01))
    sea = sea_polygons([closed, loose], BOX)
    assert sea.state == "unclosed"
    assert sea.polygons == ()  # the face east of 10.005 has a loose coast in it
    assert 0 < sea.unknown_m2 < shapely.box(*BOX).area * 111195**2


def test_ends_just_short_of_the_box_are_led_to_it():
    sea = sea_polygons([_line((CX, 50.0004), (CX, 50.0195))], BOX)
    assert (sea.state, sea.led_to_edge) == ("closed", 2)
    assert _share(sea) == pytest.approx(0.5, abs=1e-6)


def test_short_spur_does_not_spoil_a_face():
    coast = [_line((CX, 49.9), (CX, 50.01)), _line((CX, 50.01), (CX, 50.1)), _line((CX, 50.01), (10.0104, 50.0103))]
    sea = sea_polygons(coast, BOX)
    assert sea.state == "closed"
    assert _share(sea) == pytest.approx(0.5, abs=1e-6)
