"""Areas of an extract that osmium does not assemble: which are cut, with the parts of their rings, and which are broken."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import shapely

__all__ = ["CutArea", "Unassembled", "read_unassembled", "runs_of"]


@dataclass(frozen=True)
class CutArea:
    """A multipolygon, or a closed way, whose rings are not all in the file.

    ``rule`` indexes the rule table. ``outer`` and ``inner`` are the parts of its rings that are there, by their roles: lines
    float [n, 2] (lon, lat).
    """

    osm_id: str
    rule: int
    outer: list[np.ndarray] = field(default_factory=list)
    inner: list[np.ndarray] = field(default_factory=list)


class Unassembled(NamedTuple):
    """Areas with missing parts, and the id and rule of those whose rings cross or do not close."""

    cut: list[CutArea]
    broken: list[tuple[str, int]]


class _Way(NamedTuple):
    """The parts of a way that are in the file, and whether these are all of it."""

    runs: list[np.ndarray]
    is_whole: bool


def read_unassembled(
    path: Path, expected: Mapping[tuple[str, int], int], box: tuple[float, float, float, float]
) -> Unassembled:
    """Read why areas were not assembled. ``expected`` are their rules by kind (``way``, ``relation``) and id.

    Broken areas outside the box are omitted. The whole extent of cut areas is unknown, so all of them are listed.
    """
    if not expected:
        return Unassembled([], [])
    ring_ways = {(kind, number): [(number, "outer")] for kind, number in expected if kind == "way"}
    ring_ways |= _ring_ways(path, [number for kind, number in expected if kind == "relation"])
    ways = _ways(path, {way for parts in ring_ways.values() for way, _ in parts})
    cut, broken = [], []
    for key, rule in sorted(expected.items()):
        name, parts = f"{key[0]} {key[1]}", ring_ways.get(key, [])
        if not all(way in ways and ways[way].is_whole for way, _ in parts):
            outer, inner = (
                [run for way, role in parts if way in ways and (role == "inner") == is_inner for run in ways[way].runs]
                for is_inner in (False, True)
            )
            cut.append(CutArea(name, rule, outer, inner))
        elif _touches([ways[way].runs for way, _ in parts], box):
            broken.append((name, rule))
    return Unassembled(cut, broken)


def runs_of(way: Any) -> list[np.ndarray]:
    """Return the parts of a way whose nodes are in the file, as lon, lat [n, 2]. Extracts cut at nodes lack some nodes."""
    runs = []
    for present, nodes in groupby(way.nodes, key=lambda node: node.location.valid()):
        if present:
            points = np.array([(node.lon, node.lat) for node in nodes])
            points = points[np.append(True, np.any(np.diff(points, axis=0) != 0, axis=1))]
            if len(points) > 1:
                runs.append(points)
    return runs


def _ring_ways(path: Path, relations: list[int]) -> dict[tuple[str, int], list[tuple[int, str]]]:
    """Return the ways of relations with their roles."""
    import osmium

    if not relations:
        return {}
    only = osmium.filter.IdFilter(relations)
    reader: Iterator[Any] = iter(osmium.FileProcessor(str(path), osmium.osm.RELATION).with_filter(only))
    return {
        ("relation", relation.id): [(way.ref, way.role) for way in relation.members if way.type == "w"]
        for relation in reader
    }


def _ways(path: Path, numbers: set[int]) -> dict[int, _Way]:
    import osmium

    reader = osmium.FileProcessor(str(path)).with_locations()
    reader.with_filter(osmium.filter.EntityFilter(osmium.osm.WAY)).with_filter(osmium.filter.IdFilter(numbers))
    ways: Iterator[Any] = iter(reader)
    return {way.id: _Way(runs_of(way), all(node.location.valid() for node in way.nodes)) for way in ways}


def _touches(parts: list[list[np.ndarray]], box: tuple[float, float, float, float]) -> bool:
    lines = [shapely.LineString(run) for runs in parts for run in runs]
    return bool(lines) and bool(shapely.box(*shapely.total_bounds(lines)).intersects(shapely.box(*box)))
