"""Close ``natural=coastline`` ways against a box, and separate sea from land. By convention the land is on their left.

The coast and the edge of the box divide the box into faces. Each segment of coast votes that the face on its left is land and
that the face on its right is sea. A face with contradicting votes (a coast that is not closed) is unknown. A box without coast
is unknown too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import cos, radians

import numpy as np
import shapely

from c2seg.labels.extract import METERS_PER_DEGREE, Box

__all__ = ["Sea", "lead_to_edge", "sea_polygons"]

# In extracts cut at nodes the coast ends up to one segment before the box. Such ends are extended straight to the edge.
_MAX_GAP_FRACTION = 0.1  # of the box's shorter side
_MAX_GAP_M = 500.0
_MAX_CONTRADICTION = 0.1  # allowed fraction of contradicting votes of a face (short spurs, duplicates)
_STEP_M = 0.05  # distance of the voting points from the coast


@dataclass(frozen=True)
class Sea:
    """Polygons of the sea in degrees, and facts about the coast.

    ``state`` is ``closed``, ``none`` (no coast in the box) or ``unclosed`` (some faces are unknown: ``unknown_m2``).
    """

    polygons: tuple[shapely.Polygon, ...]
    state: str
    ways: int = 0
    led_to_edge: int = 0
    unknown_m2: float = 0.0


def sea_polygons(coastlines: Sequence[np.ndarray], box: Box) -> Sea:
    """Return the sea in ``box`` (west, south, east, north in degrees) from directed coastlines [n, 2] (lon, lat)."""
    scale = np.array([cos(radians((box[1] + box[3]) / 2)), 1.0]) * METERS_PER_DEGREE  # locally metric
    frame = shapely.box(box[0] * scale[0], box[1] * scale[1], box[2] * scale[0], box[3] * scale[1])
    coast = [line * scale for line in coastlines]
    ends, led = lead_to_edge(coast, frame)
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


def lead_to_edge(coast: Sequence[np.ndarray], frame: shapely.Polygon) -> tuple[list[np.ndarray], int]:
    """Return segments from loose ends of the coast to the nearest edge of the box, and their number."""
    west, south, east, north = frame.bounds
    limit = min(_MAX_GAP_M, _MAX_GAP_FRACTION * min(east - west, north - south))
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
    """Return for each face the length of coast in meters with the face on its left (land) and on its right (sea)."""
    ends = np.concatenate([np.stack([line[:-1], line[1:]], axis=1) for line in coast])  # [n, 2 ends, 2]
    steps = ends[:, 1] - ends[:, 0]
    inside = shapely.intersection(shapely.linestrings(ends), frame)
    lengths = shapely.length(inside)
    inside, steps, lengths = (values[lengths > 0] for values in (inside, steps, lengths))
    middle = shapely.get_coordinates(shapely.line_interpolate_point(inside, 0.5, normalized=True))
    offsets = np.column_stack([-steps[:, 1], steps[:, 0]]) / np.hypot(steps[:, 0], steps[:, 1])[:, None] * _STEP_M
    tree = shapely.STRtree(faces)
    sides = []
    for points in (middle + offsets, middle - offsets):
        segment, face = tree.query(shapely.points(points), predicate="within")
        sides.append(np.bincount(face, weights=lengths[segment], minlength=len(faces)))
    return sides[0], sides[1]
