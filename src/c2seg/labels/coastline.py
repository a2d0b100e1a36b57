"""Close ``natural=coastline`` ways against a box and tell sea from land. By convention the land is on their left.

The coast and the box's edge cut the box into faces. Every piece of coast votes for the face on its left to be land and
for the one on its right to be sea. Nothing is guessed: a face whose votes contradict each other (a coast that does
not close) is unknown, and so is a box without coast.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import cos, radians

import numpy as np
import shapely

from c2seg.labels.extract import METERS_PER_DEGREE, Box

__all__ = ["Sea", "sea_polygons"]

# Extracts cut at nodes end the coast short of the box, by up to one segment: such ends are led straight to the edge.
_MAX_GAP_SHARE = 0.1  # of the box's shorter side
_MAX_GAP_M = 500.0
_MAX_CONTRADICTION = 0.1  # share of a face's votes that may disagree (short spurs, doubled pieces)
_STEP_M = 0.05  # how far beside the coast a vote is cast


@dataclass(frozen=True)
class Sea:
    """Polygons of the sea in degrees, and what is known of their making.

    ``state`` is ``closed``, ``none`` (no coast in the box) or ``unclosed`` (some faces are unknown: ``unknown_m2``).
    """

    polygons: tuple[shapely.Polygon, ...]
    state: str
    ways: int = 0
    led_to_edge: int = 0
    unknown_m2: float = 0.0


def sea_polygons(coastlines: Sequence[np.ndarray], box: Box) -> Sea:
    """Return the sea inside ``box`` (west, south, east, north in degrees) from directed coastlines [n, 2] (lon, lat)."""
    scale = np.array([cos(radians((box[1] + box[3]) / 2)), 1.0]) * METERS_PER_DEGREE  # locally metric
    frame = shapely.box(box[0] * scale[0], box[1] * scale[1], box[2] * scale[0], box[3] * scale[1])
    coast = [line * scale for line in coastlines]
    ends, led = _lead_to_edge(coast, frame)
    lines = [shapely.LineString(line) for line in (*coast, *ends)]
    inside = [line for line in shapely.intersection(np.array(lines, object), frame) if shapely.length(line) > 0]
    if not inside:
        return Sea((), "none")
    noded = shapely.node(shapely.GeometryCollection([*inside, frame.exterior]))
    faces = np.array(shapely.get_parts(shapely.polygonize(shapely.get_parts(noded))), object)
    land, sea = _votes(coast, frame, faces)
    total, less = land + sea, np.minimum(land, sea)
    unknown = less > _MAX_CONTRADICTION * total
    water = (sea > land) & ~unknown
    polygons = shapely.transform(faces[water], lambda xy: xy / scale)
    unknown_m2 = float(shapely.area(faces[unknown | (total == 0)]).sum())
    return Sea(tuple(polygons), "unclosed" if unknown_m2 else "closed", len(inside) - led, led, unknown_m2)


def _lead_to_edge(coast: Sequence[np.ndarray], frame: shapely.Polygon) -> tuple[list[np.ndarray], int]:
    """Return short pieces that lead loose ends of the coast to the nearest point of the box's edge, and their number."""
    west, south, east, north = frame.bounds
    limit = min(_MAX_GAP_M, _MAX_GAP_SHARE * min(east - west, north - south))
    tips = Counter((float(line[i, 0]), float(line[i, 1])) for line in coast for i in (0, -1))
    pieces = []
    for (x, y), meeting in tips.items():
        loose = meeting == 1 and west < x < east and south < y < north
        gap, point = min(
            ((x - west, (west, y)), (east - x, (east, y)), (y - south, (x, south)), (north - y, (x, north)))
        )
        if loose and gap <= limit:
            pieces.append(np.array([(x, y), point]))
    return pieces, len(pieces)


def _votes(coast: Sequence[np.ndarray], frame: shapely.Polygon, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return per face the length of coast that has it on its left (land) and on its right (sea), in meters."""
    ends = np.concatenate([np.stack([line[:-1], line[1:]], axis=1) for line in coast])  # [n, 2 ends, 2]
    steps = ends[:, 1] - ends[:, 0]
    inside = shapely.intersection(shapely.linestrings(ends), frame)
    lengths = shapely.length(inside)
    inside, steps, lengths = (values[lengths > 0] for values in (inside, steps, lengths))
    middle = shapely.get_coordinates(shapely.line_interpolate_point(inside, 0.5, normalized=True))
    left = np.column_stack([-steps[:, 1], steps[:, 0]]) / np.hypot(steps[:, 0], steps[:, 1])[:, None] * _STEP_M
    tree = shapely.STRtree(faces)
    sides = []
    for points in (middle + left, middle - left):
        segment, face = tree.query(shapely.points(points), predicate="within")
        sides.append(np.bincount(face, weights=lengths[segment], minlength=len(faces)))
    return sides[0], sides[1]
