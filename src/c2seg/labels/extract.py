"""Read the features of a rule table from an OpenStreetMap extract as a stream. Osmium assembles the areas.

Geometries are in degrees (lon, lat; EPSG:4326) and clipped to the requested box. Areas that cannot be assembled are listed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import cos, radians
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from c2seg.errors import C2SegError, DataError, one_line
from c2seg.labels.rules import RuleTable
from c2seg.labels.unassembled import CutArea, read_unassembled, runs_of
from c2seg.progress import Progress, no_progress

__all__ = [
    "METERS_PER_DEGREE",
    "Box",
    "Closed",
    "Coverage",
    "Extract",
    "Skipped",
    "degrees_of",
    "read_coverage",
    "read_extract",
    "square_meters",
]

Box = tuple[float, float, float, float]  # west, south, east, north in degrees

_CHUNK = 20_000
# What osmium and shapely raise over damaged content: also for numbers beyond a type, texts that are not UTF-8, no memory.
_DAMAGED = (RuntimeError, ArithmeticError, LookupError, MemoryError, TypeError, ValueError, shapely.errors.ShapelyError)
METERS_PER_DEGREE = 111_195.0  # on a sphere of 6371 km


@dataclass(frozen=True)
class Coverage:
    """Box of an extract, the source of the box (``header`` or ``nodes``), and the date of the data, empty if unknown."""

    box: Box
    source: str
    timestamp: str


@dataclass(frozen=True)
class Skipped:
    """An area that osmium could not assemble: its id (``relation 1234``), its rule, and the reason."""

    osm_id: str
    rule: str
    reason: str


@dataclass(frozen=True)
class Closed:
    """A cut area that was closed: its id, its rule, and what told on which side of its rings it lies."""

    osm_id: str
    rule: str
    told_by: str


@dataclass
class Extract:
    """Features of an extract that match a rule table, inside a box.

    ``geometries`` [N] are polygons, or lines before buffering. ``rules`` int16 [N] index the table's rules. ``areas_m2`` [N] is
    the area of a polygon on a sphere before clipping, 0 for lines. Polygons of equal priority are sorted by it, whatever the
    box. ``coastlines`` are float [n, 2] with the land on their left.
    """

    geometries: np.ndarray
    rules: np.ndarray
    areas_m2: np.ndarray
    coastlines: list[np.ndarray] = field(default_factory=list)
    unmatched: dict[str, tuple[int, float]] = field(default_factory=dict)
    skipped: list[Skipped] = field(default_factory=list)
    cut: list[CutArea] = field(default_factory=list)
    """Areas with missing parts."""
    closed: list[Closed] = field(default_factory=list)
    """Cut areas that were closed along the extract's edge."""


def read_coverage(path: Path) -> Coverage:
    """Return the box in the header of an extract; without it, the bounding box of the nodes.

    Raises DataError for a file that is missing, not OpenStreetMap data, damaged, or without nodes.
    """
    import osmium

    if not path.is_file():
        raise DataError(f"{path} does not exist" if not path.exists() else f"{path} is not a file")
    with _Reading(path):
        header = osmium.FileProcessor(str(path)).header
        timestamp = header.get("osmosis_replication_timestamp") or header.get("timestamp") or ""
        box = header.box()
        if box.valid() and box.size() > 0:
            low, high = box.bottom_left, box.top_right
            return Coverage((low.lon, low.lat, high.lon, high.lat), "header", timestamp)
        west, south, east, north = np.inf, np.inf, -np.inf, -np.inf
        nodes: Iterator[Any] = iter(osmium.FileProcessor(str(path), osmium.osm.NODE))
        for node in nodes:
            if node.location.valid():
                west, east = min(west, node.lon), max(east, node.lon)
                south, north = min(south, node.lat), max(north, node.lat)
    if not (west < east and south < north):
        raise DataError(f"{path} contains no nodes; extract the city again")
    return Coverage((west, south, east, north), "nodes", timestamp)


def read_extract(path: Path, table: RuleTable, box: Box, *, progress: Progress = no_progress) -> Extract:
    """Read the features of an extract that match a rule and touch ``box``.

    The box should exceed the grid by the widest line. Raises DataError as ``read_coverage`` does.
    """
    reader = _FeatureReader(table, box)
    with _Reading(path):
        for feature in _features(path, progress):
            reader.take(feature)
        reader.flush()
        unassembled = read_unassembled(path, reader.expected, box)
    if not reader.ways:
        raise DataError(
            f"{path} contains no ways: it is truncated or not an extract of a region; extract the city again"
        )
    skipped = [
        Skipped(name, table.rules[rule].name, "rings cross or do not close") for name, rule in unassembled.broken
    ]
    return Extract(
        _joined(reader.geometries, object), _joined(reader.rules, np.int16), _joined(reader.areas, np.float64),
        reader.coastlines, reader.unmatched, skipped, unassembled.cut,
    )  # fmt: skip


class _Reading:
    """Convert osmium's errors to a one-line message with the file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, C2SegError):
            return
        import osmium

        if isinstance(error, (*_DAMAGED, osmium.InvalidLocationError)):
            reason = one_line(error)
            raise DataError(
                f"cannot read {self.path} as OpenStreetMap data: {reason}; it is truncated, damaged or of another "
                "format (.osm.pbf, .osm, .osm.gz and .osm.bz2 are read)"
            ) from error


def _features(path: Path, progress: Progress) -> Iterator[Any]:
    """Yield ways, areas and relations. Nodes are handled by osmium."""
    import osmium

    kinds = osmium.osm.WAY | osmium.osm.RELATION | osmium.osm.AREA
    reader = osmium.FileProcessor(str(path)).with_areas().with_filter(osmium.filter.EntityFilter(kinds))
    for number, feature in enumerate(reader):
        if number % _CHUNK == 0:
            progress(0, 1, f"{number} features read")  # osmium does not report the total
        yield feature


class _FeatureReader:
    """Collect features in chunks. Each chunk is clipped to the box before the next one is read."""

    def __init__(self, table: RuleTable, box: Box) -> None:
        import osmium

        self.table, self.box = table, box
        self.wkb = osmium.geom.WKBFactory()
        self.geometries: list[np.ndarray] = []
        self.rules: list[np.ndarray] = []
        self.areas: list[np.ndarray] = []
        self.coastlines: list[np.ndarray] = []
        self.unmatched: dict[str, tuple[int, float]] = {}
        self.expected: dict[tuple[str, int], int] = {}  # areas that osmium has not delivered yet
        self.assembled: set[tuple[str, int]] = set()
        self.ways = 0
        self._polygons: list[tuple[str, int, str]] = []
        self._lines: list[tuple[np.ndarray, int]] = []

    def take(self, feature: Any) -> None:
        if feature.is_area():
            self._take_area(feature)
        elif feature.is_way():
            self._take_way(feature)
        elif feature.tags.get("type") in ("multipolygon", "boundary"):
            self._expect("relation", feature, from_way=False)
        if len(self._polygons) + len(self._lines) >= _CHUNK:
            self.flush()

    def _expect(self, kind: str, feature: Any, *, from_way: bool) -> None:
        tags = feature.tags
        if tags.get("area") != "no" and any(key in self.table.keys for key, _ in tags):
            rule = self.table.match_area(tags, from_way=from_way)
            area = (kind, feature.id)  # areas come after their way, but before their relation
            if rule is not None and area not in self.assembled and not self.table.is_excluded(tags):
                self.expected[area] = rule

    def _take_way(self, way: Any) -> None:
        self.ways += 1
        tags = way.tags
        if not len(tags):
            return
        closed = len(way.nodes) > 3 and way.is_closed()
        if tags.get("natural") == "coastline":
            self.coastlines += runs_of(way)
        rule = self.table.match_line(tags, closed=closed)
        if rule is not None and not self.table.is_excluded(tags):
            self._lines += [(run, rule) for run in runs_of(way)]
        elif closed:
            self._expect("way", way, from_way=True)

    def _take_area(self, area: Any) -> None:
        tags = area.tags
        certain = not area.from_way() or tags.get("area") == "yes"
        keys = self.table.keys if certain else self.table.area_keys
        named = next(
            (f"{key}={value}" for key, value in tags if key in keys and value not in ("no", "coastline")), None
        )
        if named is None or self.table.is_excluded(tags):
            return
        rule = self.table.match_area(tags, from_way=area.from_way())
        if rule is None and not certain and self.table.match_line(tags, closed=True) is not None:
            return  # a closed railway line is not an area
        try:
            wkb = self.wkb.create_multipolygon(area)
        except RuntimeError:  # areas that osmium could not assemble have no rings
            return
        origin = ("way" if area.from_way() else "relation", area.orig_id())
        if not area.from_way():
            self.assembled.add(origin)
        self.expected.pop(origin, None)
        self._polygons.append((wkb, -1 if rule is None else rule, named))

    def flush(self) -> None:
        """Clip the collected features to the box and store the non-empty ones."""
        polygons = shapely.from_wkb([wkb for wkb, _, _ in self._polygons])
        rules = np.array([rule for _, rule, _ in self._polygons], np.int16)
        areas = shapely.area(polygons) * square_meters(polygons)
        clipped = _clip(polygons, self.box)
        inside = ~shapely.is_empty(clipped)
        for i in np.flatnonzero(inside & (rules < 0)):
            tag = self._polygons[i][2]
            count, area = self.unmatched.get(tag, (0, 0.0))
            self.unmatched[tag] = count + 1, area + float(shapely.area(clipped[i]) * square_meters(clipped[i]))
        matched = inside & (rules >= 0)
        lines = shapely.linestrings(
            np.concatenate([run for run, _ in self._lines]) if self._lines else np.empty((0, 2)),
            indices=np.repeat(np.arange(len(self._lines)), [len(run) for run, _ in self._lines]),
        )
        line_rules = np.array([rule for _, rule in self._lines], np.int16)
        clipped_lines = _clip(lines, self.box)
        lines_inside = ~shapely.is_empty(clipped_lines)
        self.geometries += [clipped[matched], clipped_lines[lines_inside]]
        self.rules += [rules[matched], line_rules[lines_inside]]
        self.areas += [areas[matched], np.zeros(int(lines_inside.sum()))]
        self._polygons, self._lines = [], []


def _clip(geometries: np.ndarray, box: Box) -> np.ndarray:
    """Clip geometries to a box. Those inside do not change."""
    west, south, east, north = box
    bounds = shapely.bounds(geometries).reshape(-1, 4)
    inside = (bounds[:, 0] >= west) & (bounds[:, 1] >= south) & (bounds[:, 2] <= east) & (bounds[:, 3] <= north)
    out = np.asarray(geometries, object).copy()
    if not inside.all():
        out[~inside] = shapely.clip_by_rect(out[~inside], *box)
    return out


def square_meters(polygons: Any) -> Any:
    """Return the area of a square degree in m2 at the middle latitude of each polygon."""
    bounds = shapely.bounds(polygons)
    return METERS_PER_DEGREE**2 * np.cos(np.radians((bounds[..., 1] + bounds[..., 3]) / 2))


def _joined(parts: list[np.ndarray], dtype: Any) -> np.ndarray:
    return np.concatenate(parts).astype(dtype) if parts else np.empty(0, dtype)


def degrees_of(meters: float, latitude: float) -> tuple[float, float]:
    """Convert a distance to degrees of longitude and latitude."""
    return meters / (METERS_PER_DEGREE * max(0.01, cos(radians(latitude)))), meters / METERS_PER_DEGREE
