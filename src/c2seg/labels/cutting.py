"""Areas that an extract cuts: closed along its edge where their rings leave it and enter it again, as the coast is.

The rings and the edge divide the extract into faces. Across a ring the area begins or ends: the faces fall into two sets, one
of which is the area. Which one is told by evidence, in this order: whole rings with their roles; polygons of other
classes, which lie outside; lines of the same class, such as a river in its water. Without evidence nothing is guessed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import cos, radians

import numpy as np
import shapely

from c2seg.labels.coastline import lead_to_edge
from c2seg.labels.extract import METERS_PER_DEGREE, Box, Closed, Extract, Skipped, square_meters
from c2seg.labels.rules import RuleTable
from c2seg.labels.unassembled import CutArea

__all__ = ["WAY_OUT", "Evidence", "close_area", "close_cut_areas"]

WAY_OUT = "extract the city with `osmium extract --strategy smart`"

_STEP_M = 0.05  # distance from a ring at which the faces beside it are looked up
_LOOSE_M = 1.0  # length of rings that may end inside: rounding of coordinates
_MOST_CONTRADICTING = 0.1
_LEAST_COVERED, _MOST_OF_THAT = 0.1, 0.25  # other classes cover this much outside, and at most that part of it inside


class Evidence:
    """What else an extract knows, in degrees: lines, and polygons with their classes."""

    def __init__(self, extract: Extract, table: RuleTable) -> None:
        self.table = table
        is_line = shapely.get_dimensions(extract.geometries) == 1
        classes = np.array([0, *table.class_ids])[extract.rules + 1]
        self._lines, self._line_rules = extract.geometries[is_line], extract.rules[is_line]
        is_counted = ~is_line & (classes > 0)
        self._polygons, self._classes = extract.geometries[is_counted], classes[is_counted]
        self._tree = shapely.STRtree(self._polygons)
        self._covered: dict[int, float] = {}
        self.reach = shapely.box(*shapely.total_bounds(self._polygons)) if len(self._polygons) else shapely.Polygon()

    def lines_of(self, rule: int) -> np.ndarray:
        """Return the lines of the rule's class that share a key with it, such as ``waterway``."""
        table, keys = self.table, self.table.rules[rule].tags.keys()
        alike = [
            table.class_ids[i] == table.class_ids[rule] and bool(keys & r.tags.keys())
            for i, r in enumerate(table.rules)
        ]
        lines: np.ndarray = self._lines[np.array(alike)[self._line_rules]]
        return lines

    def others_in(self, rule: int, place: shapely.Geometry) -> float:
        """Return the area in a place that polygons of other classes than the rule's cover, in square degrees."""
        near = self._tree.query(place)
        near = near[self._classes[near] != self.table.class_ids[rule]]
        return float(shapely.area(shapely.intersection(place, shapely.union_all(self._polygons[near]))))

    def others(self, rule: int) -> float:
        """Return the area that polygons of other classes cover in all, in square degrees."""
        own_class = self.table.class_ids[rule]
        if own_class not in self._covered:
            self._covered[own_class] = float(
                shapely.area(shapely.union_all(self._polygons[self._classes != own_class]))
            )
        return self._covered[own_class]


def close_cut_areas(extract: Extract, table: RuleTable, frame: Box, box: Box) -> Extract:
    """Return the extract with its cut areas closed along the edge of ``frame``, the box that the extract covers.

    Their parts in ``box`` join the polygons; their area in ``frame`` is the size by which they are sorted. What cannot
    be closed is among ``skipped``, with the reason and the way out.
    """
    if not extract.cut:
        return extract
    added: list[tuple[shapely.Geometry, int, float]] = []
    closed, skipped = list(extract.closed), list(extract.skipped)
    evidence = Evidence(extract, table)
    for area in extract.cut:
        result = close_area(area, frame, evidence)
        if result is None:
            continue
        name = table.rules[area.rule].name
        if isinstance(result, str):
            skipped.append(Skipped(area.osm_id, name, f"incomplete: {result}; {WAY_OUT}"))
            continue
        polygon, told_by = result
        part = shapely.clip_by_rect(polygon, *box)
        if not part.is_empty:
            added.append((part, area.rule, shapely.area(polygon) * square_meters(polygon)))
            closed.append(Closed(area.osm_id, name, told_by))
    return replace(
        extract,
        geometries=np.append(extract.geometries, _objects([geometry for geometry, _, _ in added])),
        rules=np.append(extract.rules, np.array([rule for _, rule, _ in added], np.int16)),
        areas_m2=np.append(extract.areas_m2, [area for _, _, area in added]),
        skipped=skipped,
        closed=closed,
    )


def _objects(geometries: Sequence[shapely.Geometry]) -> np.ndarray:
    result = np.empty(len(geometries), object)
    result[:] = geometries
    return result


def close_area(area: CutArea, frame: Box, evidence: Evidence) -> tuple[shapely.Geometry, str] | str | None:
    """Return the part of a cut area in ``frame``, in degrees, and what told its side.

    Returns the reason alone if it cannot be closed, None if it does not reach the frame.
    """
    faces = _faces(area, frame)
    if not isinstance(faces, _Faces):
        return faces
    colors = _colors(faces)
    if colors is None:
        return "its rings cross"
    told_by, color = "whole rings", _by_roles(area, faces, colors)
    if color is None:
        told_by, color = "polygons of other classes", _by_polygons(evidence, area.rule, faces, colors)
    if color is None:
        told_by, color = "lines of its class", _by_lines(evidence.lines_of(area.rule), faces, colors)
    if color is None:
        return "nothing in the extract tells on which side of its rings it lies"
    return faces.joined(colors == color), told_by


@dataclass(frozen=True)
class _Faces:
    """The faces of a box in local meters, the edges between them, and a tree to look faces up."""

    polygons: np.ndarray
    edges: np.ndarray
    scale: np.ndarray
    tree: shapely.STRtree

    def at(self, points: np.ndarray) -> np.ndarray:
        """Return the face of each point [n, 2], -1 for none."""
        result = np.full(len(points), -1)
        point, face = self.tree.query(shapely.points(points), predicate="within")
        result[point] = face
        return result

    def joined(self, chosen: np.ndarray) -> shapely.Geometry:
        """Return the union of the chosen faces, bool [n], in degrees."""
        return shapely.transform(shapely.union_all(self.polygons[chosen]), lambda xy: xy / self.scale)


def _faces(area: CutArea, box: Box) -> _Faces | str | None:
    scale = np.array([cos(radians((box[1] + box[3]) / 2)), 1.0]) * METERS_PER_DEGREE
    frame = shapely.box(box[0] * scale[0], box[1] * scale[1], box[2] * scale[0], box[3] * scale[1])
    lines = [line * scale for line in (*area.outer, *area.inner)]
    ends, _ = lead_to_edge(lines, frame)
    cut = shapely.intersection(np.array([shapely.LineString(line) for line in (*lines, *ends)], object), frame)
    rings = [line for line in cut if shapely.length(line) > 0]
    if not rings:
        return None
    edges = shapely.get_parts(shapely.node(shapely.GeometryCollection([*rings, frame.exterior])))
    polygons, *loose = shapely.polygonize_full(edges)
    if sum(shapely.length(part) for part in loose) > _LOOSE_M:
        return "its rings end inside the extract"
    faces = shapely.get_parts(polygons)
    on_edge = shapely.covers(shapely.buffer(frame.exterior, _STEP_M / 10), edges)
    return _Faces(faces, edges[~on_edge], scale, shapely.STRtree(faces))


def _beside(lines: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return points left and right of the middle of each line's first longest segment, [n, 2]."""
    middles, offsets = [], []
    for line in lines:
        points = shapely.get_coordinates(line)
        steps = np.diff(points, axis=0)
        longest = int(np.hypot(*steps.T).argmax())
        step = steps[longest]
        middles.append(points[longest] + step / 2)
        offsets.append(np.array([-step[1], step[0]]) / np.hypot(*step) * _STEP_M)
    return np.array(middles) + offsets, np.array(middles) - offsets


def _colors(faces: _Faces) -> np.ndarray | None:
    """Return 0 or 1 for each face, different across each edge, int [n]; None if that is not possible."""
    neighbors: list[list[int]] = [[] for _ in faces.polygons]
    if len(faces.edges):
        for a, b in zip(*map(faces.at, _beside(faces.edges)), strict=True):
            if a >= 0 and b >= 0:
                neighbors[a].append(int(b))
                neighbors[b].append(int(a))
    colors = np.full(len(faces.polygons), -1)
    colors[0] = 0
    waiting = deque([0])
    while waiting:
        face = waiting.popleft()
        for beside in neighbors[face]:
            if colors[beside] < 0:
                colors[beside] = 1 - colors[face]
                waiting.append(beside)
            elif colors[beside] == colors[face]:
                return None
    return None if (colors < 0).any() else colors


def _decided(votes: np.ndarray) -> int | None:
    """Return the color with the votes [2]; None without votes or if many contradict."""
    return int(votes.argmax()) if votes.sum() > 0 and votes.min() <= _MOST_CONTRADICTING * votes.sum() else None


def _by_roles(area: CutArea, faces: _Faces, colors: np.ndarray) -> int | None:
    """Return the color inside whole outer rings, and outside whole inner ones."""
    votes = np.zeros(2)
    for lines, inside in ((area.outer, True), (area.inner, False)):
        rings = shapely.get_parts(shapely.polygonize([shapely.LineString(line * faces.scale) for line in lines]))
        if not len(rings):
            continue
        exteriors = shapely.get_exterior_ring(rings)
        for points in _beside(exteriors):
            here = faces.at(points)
            counted = (shapely.contains_xy(rings, points) == inside) & (here >= 0)
            votes += np.bincount(colors[here[counted]], shapely.length(exteriors[counted]), minlength=2)
    return _decided(votes)


def _by_lines(lines: np.ndarray, faces: _Faces, colors: np.ndarray) -> int | None:
    """Return the color in which the lines of the same class run."""
    votes = np.zeros(2)
    for line in shapely.transform(lines, lambda xy: xy * faces.scale):
        near = faces.tree.query(line)
        lengths = shapely.length(shapely.intersection(faces.polygons[near], line))
        votes += np.bincount(colors[near], lengths, minlength=2)
    return _decided(votes)


def _by_polygons(evidence: Evidence, rule: int, faces: _Faces, colors: np.ndarray) -> int | None:
    """Return the color that polygons of other classes leave free, if they cover the one and hardly the other."""
    smaller = int(np.bincount(colors, shapely.area(faces.polygons), minlength=2).argmin())
    part = shapely.intersection(faces.joined(colors == smaller), evidence.reach)
    size, covered = shapely.area(part), evidence.others_in(rule, part)
    rest, rest_covered = shapely.area(evidence.reach) - size, evidence.others(rule) - covered
    if min(size, rest) <= 0:
        return None
    shares = [covered / size, rest_covered / rest]
    if max(shares) < _LEAST_COVERED or min(shares) > _MOST_OF_THAT * max(shares):
        return None
    return smaller if shares[0] < shares[1] else 1 - smaller
