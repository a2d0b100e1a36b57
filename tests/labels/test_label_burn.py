from __future__ import annotations

import numpy as np
import pytest
import shapely
from affine import Affine

from c2seg.labels import burn
from c2seg.labels.burn import OUTSIDE, SAMPLES, UNMAPPED, Burner
from c2seg.types import Grid

EVERYWHERE = shapely.box(-1e4, -1e4, 1e4, 1e4)


def _burner(polygons, height=70, width=90, covered=EVERYWHERE):
    grid = Grid(height, width, Affine(10, 0, 0, 0, -10, 0))
    return Burner(grid, np.array(polygons, object), np.arange(len(polygons)).astype(np.uint8), covered)


def _stars(seed, number, height, width):
    rng = np.random.default_rng(seed)
    polygons = []
    while len(polygons) < number:
        angles = np.sort(rng.uniform(0, 2 * np.pi, 15))
        radii = rng.uniform(3, 40, 15)[:, None]
        points = rng.uniform((0, 0), (width, height)) + radii * np.column_stack([np.cos(angles), np.sin(angles)])
        star = shapely.Polygon(points)
        if star.is_valid:
            polygons.append(shapely.difference(star, shapely.Point(points.mean(axis=0)).buffer(2)))
    return polygons


def _groups(number):
    groups = np.zeros(256, np.uint8)
    groups[:number] = np.arange(number) + 1
    return groups


def test_samples_share_no_row_and_no_column():
    assert len(set(np.round(burn._DX, 6))) == SAMPLES
    assert len(set(np.round(burn._DY, 6))) == SAMPLES
    assert burn._DX.mean() == pytest.approx(0.5)
    assert burn._DY.mean() == pytest.approx(0.5)
    nearest = np.hypot(burn._DX[:, None] - burn._DX, burn._DY[:, None] - burn._DY)[~np.eye(SAMPLES, dtype=bool)].min()
    assert nearest == pytest.approx(0.2)  # as far apart as an upright 5 x 5 grid


def test_every_sample_agrees_with_point_in_polygon():
    height, width, number = 70, 90, 12
    polygons = _stars(0, number, height, width)
    covered = shapely.box(-5, 10.31, 200, 200)
    counts, by_code = _burner(polygons, height, width, covered).count(0, height, _groups(number), number + 1)
    row, col = np.divmod(np.arange(height * width), width)
    expected = np.full((SAMPLES, height * width), UNMAPPED)
    for m in range(SAMPLES):
        x, y = col + burn._DX[m], row + burn._DY[m]
        for code, polygon in enumerate(polygons):
            expected[m][shapely.contains_xy(polygon, x, y)] = code
        expected[m][y < 10.31] = OUTSIDE
    assert np.array_equal(by_code, np.bincount(expected.ravel(), minlength=256))
    for code in range(number):
        assert np.array_equal(counts[code + 1].ravel(), (expected == code).sum(axis=0))
    assert np.all(counts.sum(axis=0, dtype=int) == SAMPLES)


@pytest.mark.parametrize("block", [16, 37, 64])
def test_blocks_and_strips_do_not_change_the_result(monkeypatch, block):
    polygons = _stars(1, 10, 70, 90)
    burner = _burner(polygons)
    whole, codes = burner.count(0, 70, _groups(10), 11)
    monkeypatch.setattr(burn, "_BLOCK_PX", block)
    parts = [burner.count(first, last, _groups(10), 11) for first, last in ((0, 13), (13, 50), (50, 70))]
    assert np.array_equal(np.concatenate([p[0] for p in parts], axis=1), whole)
    assert np.array_equal(sum(p[1] for p in parts), codes)


def test_later_polygons_lie_on_top():
    burner = _burner([shapely.box(0, 0, 20, 20), shapely.box(10, 10, 30, 30)])
    counts, _ = burner.count(0, 70, _groups(2), 3)
    assert counts[2, 15, 15] == SAMPLES
    assert counts[1, 15, 15] == 0
    assert counts[1].sum() == 300 * SAMPLES


@pytest.mark.parametrize("angle", [0, 3, 20, 45, 71])
@pytest.mark.parametrize("size", [(20, 13.3), (33.37, 27.71), (61, 13.1)])
def test_area_within_two_per_mille(angle, size):
    rng = np.random.default_rng(angle)
    for _ in range(5):
        rectangle = shapely.affinity.rotate(shapely.box(0, 0, *size), angle)
        x, y = rng.uniform(0, 1, 2)
        moved = shapely.affinity.translate(rectangle, 40 + x - size[0] / 2, 33 + y - size[1] / 2)
        counts, _ = _burner([moved], 80, 90).count(0, 80, _groups(1), 2)
        assert counts[1].sum(dtype=int) / SAMPLES == pytest.approx(size[0] * size[1], rel=2e-3)


def test_nothing_to_burn():
    counts, by_code = _burner([]).count(0, 70, _groups(0), 3)
    assert counts[0].min() == SAMPLES
    assert by_code[UNMAPPED] == 70 * 90 * SAMPLES
