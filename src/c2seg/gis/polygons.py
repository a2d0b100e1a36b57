"""Polygons of the classes of a strip of rows, in pixels; simplified so that neighbors share their borders.

Coordinates are (column, row) of pixel corners. Simplification removes corners (Visvalingam and Whyatt 1993) from borders that
two polygons share, once for both (GEOS coverage simplification). The outline of a strip stays as it is, so that strips fit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from affine import Affine

__all__ = ["Pieces", "strip_pieces"]


@dataclass(frozen=True)
class Pieces:
    """Polygons (objects [N]) with their ids (uint8 [N])."""

    shapes: np.ndarray
    ids: np.ndarray

    def at_row(self, row: int, width: int) -> np.ndarray:
        """Return int64 [width]: the number of the polygon with an edge along the line above ``row``, by column; -1: none."""
        import shapely

        numbers = np.full(width, -1, np.int64)
        coordinates, rings, owners = _ragged(shapely.to_ragged_array(self.shapes))
        last = np.zeros(len(coordinates), bool)
        last[rings[1:] - 1] = True  # the last point of a ring repeats its first
        x, y = coordinates.T
        along = np.flatnonzero(~last[:-1] & (y[:-1] == row) & (y[1:] == row))
        polygon = owners[np.searchsorted(rings, along, side="right") - 1]
        for k, owner in zip(along.tolist(), polygon.tolist(), strict=True):
            a, b = sorted((int(x[k]), int(x[k + 1])))
            numbers[a:b] = owner
        return numbers


def strip_pieces(ids: np.ndarray, first: int, tolerance_px: float = 0.0) -> Pieces:
    """Return the polygons of the areas of a strip uint8 [h, W] whose first row is ``first``; 0 has none.

    Pixels that touch at a corner are not connected. With a tolerance, corners of less than about its square in pixels go.
    """
    import shapely
    from rasterio.features import shapes

    areas = [
        (shape["coordinates"], int(value))
        for shape, value in shapes(ids, connectivity=4, transform=Affine.translation(0, 0))
    ]
    polygons = _assembled([rings for rings, _ in areas])
    values = np.array([value for _, value in areas], np.uint8)
    if tolerance_px > 0:
        polygons = shapely.coverage_simplify(_noded(polygons, _corners(ids)), tolerance_px, simplify_boundary=False)
    polygons, values = polygons[values != 0], values[values != 0]
    return Pieces(shapely.transform(polygons, lambda points: points + np.array([0, first])), values)


def _assembled(polygons: list[list[list[tuple[float, float]]]]) -> np.ndarray:
    """Return polygons of lists of rings, in one call."""
    import shapely

    rings = [ring for polygon in polygons for ring in polygon]
    coordinates = np.array([point for ring in rings for point in ring], np.float64).reshape(-1, 2)
    offsets = _offsets([len(ring) for ring in rings]), _offsets([len(polygon) for polygon in polygons])
    result: np.ndarray = shapely.from_ragged_array(shapely.GeometryType.POLYGON, coordinates, offsets)
    return result


def _offsets(lengths: Any) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(np.asarray(lengths, np.int64))])


def _ragged(parts: tuple[Any, np.ndarray, tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return coordinates, offsets of rings, and the polygon of each ring."""
    _, coordinates, (rings, polygons) = parts
    return coordinates, rings, np.repeat(np.arange(len(polygons) - 1), np.diff(polygons))


def _corners(ids: np.ndarray) -> np.ndarray:
    """Return bool [h+1, W+1]: pixel corners at which a border bends, branches or ends, and not the middle of a straight one."""
    padded = np.full((ids.shape[0] + 2, ids.shape[1] + 2), -1, np.int16)
    padded[1:-1, 1:-1] = ids
    a, b, c, d = padded[:-1, :-1], padded[:-1, 1:], padded[1:, :-1], padded[1:, 1:]
    corners: np.ndarray = ~((a == b) & (c == d)) & ~((a == c) & (b == d))
    return corners


def _noded(polygons: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """Return the polygons with a point at each of the corners on their edges, so that shared borders have equal points."""
    import shapely

    _, points, (rings, owners) = shapely.to_ragged_array(polygons)
    steps = np.zeros(len(points), np.int64)
    moves = np.diff(points, axis=0)
    steps[:-1] = np.abs(moves).sum(axis=1).astype(np.int64)
    steps[rings[1:] - 1] = 1  # the last point of a ring stays; what follows is another ring
    origin = np.repeat(np.arange(len(points)), steps)
    along = np.arange(len(origin)) - np.repeat(np.cumsum(steps) - steps, steps)
    direction = np.zeros_like(points)
    direction[:-1] = np.sign(moves)
    dense = points[origin] + along[:, None] * direction[origin]
    columns, rows = dense.astype(np.int64).T
    used = (along == 0) | corners[rows, columns]
    counts = np.bincount(origin[used], minlength=len(points))
    return np.asarray(
        shapely.from_ragged_array(
            shapely.GeometryType.POLYGON, dense[used], (_offsets(np.add.reduceat(counts, rings[:-1])), owners)
        )
    )
