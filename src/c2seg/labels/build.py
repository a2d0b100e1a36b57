"""Prepare labels from an extract, a rule table and a grid. They are computed row by row."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import shapely

from c2seg.errors import DataError
from c2seg.labels.burn import SAMPLES, Burner
from c2seg.labels.coastline import Sea, sea_polygons
from c2seg.labels.cutting import close_cut_areas
from c2seg.labels.extract import Box, Coverage, Extract, read_coverage, read_extract
from c2seg.labels.grids import DEGREES, geographic_box, metric_crs, project, to_pixels, wkt_of
from c2seg.labels.rules import RuleTable
from c2seg.progress import Progress, no_progress
from c2seg.types import Grid

__all__ = ["Labels", "make_labels"]

_EDGE_STEP_DEG = 0.01  # long straight edges in degrees are curved on the grid


@dataclass
class Labels:
    """Labels of a grid, computed row by row on request, and facts about the extract.

    ``burner`` contains the polygons in painting order. ``features`` int64 [rules] is the number of features of each rule in the
    grid. ``geometry_px`` float64 [rules] is their area in pixels, with overlaps counted twice and rules that are off included.
    """

    grid: Grid
    table: RuleTable
    coverage: Coverage
    extract: Extract
    sea: Sea
    burner: Burner
    features: np.ndarray
    geometry_px: np.ndarray

    def shares(self, first: int, last: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the samples per class (of 25), uint8 [K, rows, W] in the legend's order, and per code, int64 [256]."""
        groups = np.zeros(256, np.uint8)  # 0: unmapped or outside; then the classes in output order
        groups[: len(self.table.rules)] = [
            (0, *self.table.legend.ids).index(class_id) for class_id in self.table.class_ids
        ]
        counts, by_code = self.burner.count(first, last, groups, self.table.legend.num_classes + 1)
        return counts[1:], by_code

    def rows(self, first: int, last: int) -> np.ndarray:
        """Return the labels of rows, uint8 [rows, W]: the class with the largest fraction, 0 if most is unmapped.

        In ties a class wins over the background, and the lower id over the higher one. A class with a ``win_share`` always wins
        from this fraction.
        """
        return self.decide(self.shares(first, last)[0])

    def decide(self, shares: np.ndarray) -> np.ndarray:
        """Return the label of each pixel from its samples per class (see ``rows``)."""
        label = np.zeros(shares.shape[1:], np.uint8)
        best = np.zeros_like(label)
        ids = self.table.legend.ids
        for class_id, share in zip(ids, shares, strict=True):
            label[share > best] = class_id
            np.maximum(best, share, out=best)
        label[best < SAMPLES - shares.sum(axis=0, dtype=np.int64)] = 0
        for class_id, least in self.table.win_share.items():
            label[shares[ids.index(class_id)] >= least * SAMPLES - 1e-9] = class_id
        return label


def make_labels(path: Path, table: RuleTable, grid: Grid, *, progress: Progress = no_progress) -> Labels:
    """Read an OpenStreetMap extract (.osm.pbf, .osm, .osm.gz) and prepare the labels of a grid.

    Memory depends on the geometries in the grid, not on the number of pixels. Raises DataError for a damaged file or an
    extract that does not overlap the grid, GridError for a grid without CRS.
    """
    coverage = read_coverage(path)
    area, covered = _covered(path, coverage.box, grid)
    margin = table.max_half_width_m + 4 * (grid.pixel_side_m() or 0.0)
    box = geographic_box(grid, margin)
    extract = read_extract(path, table, box, progress=progress)
    extract = close_cut_areas(extract, table, coverage.box, box)
    sea = _sea(extract, coverage.box, area, table)
    pixels, rules, areas = _pixel_geometries(extract, sea, table, grid)
    inside = shapely.clip_by_rect(pixels, 0, 0, grid.width, grid.height)
    geometry_px = np.bincount(rules, weights=shapely.area(inside), minlength=len(table.rules))
    features = np.bincount(rules[~shapely.is_empty(inside)], minlength=len(table.rules))
    priorities = np.array([rule.priority for rule in table.rules])[rules]
    order = np.lexsort((-areas, priorities))
    order = order[np.array(table.class_ids)[rules[order]] > 0]
    burner = Burner(grid, pixels[order], rules[order].astype(np.uint8), covered)
    return Labels(grid, table, coverage, extract, sea, burner, features, geometry_px)


def _covered(path: Path, coverage: Box, grid: Grid) -> tuple[Box, shapely.Geometry]:
    """Return the part of the extract around the grid, as a box in degrees and as a polygon in pixels."""
    box = geographic_box(grid, 0)
    area = _intersection(coverage, _expanded(box))
    if area[0] < area[2] and area[1] < area[3]:
        polygon = np.array([_densified(shapely.box(*area))])
        covered = to_pixels(project(polygon, DEGREES, wkt_of(grid)), grid)[0]
        if shapely.clip_by_rect(covered, 0, 0, grid.width, grid.height).area > 0:
            return area, covered
    west, south, east, north = box
    swapped = _intersection(coverage, _expanded((south, west, north, east)))
    hint = "use an extract of the grid's area"
    if swapped[0] < swapped[2] and swapped[1] < swapped[3]:
        hint = "longitude and latitude of the grid are swapped (x is the longitude)"
    raise DataError(
        f"{path} covers {_degrees(coverage)} and the grid covers {_degrees(box)}: they do not overlap; {hint}"
    )


def _sea(extract: Extract, coverage: Box, area: Box, table: RuleTable) -> Sea:
    """Close the coast against the edge of the area. If the area has no coast, use the whole extract."""
    if table.sea_rule is None or not extract.coastlines:
        return Sea((), "none")
    sea = sea_polygons(extract.coastlines, area)
    if sea.state == "none":
        sea = sea_polygons(extract.coastlines, coverage)
    return replace(sea, polygons=tuple(p for p in sea.polygons if p.intersects(shapely.box(*area))))


def _pixel_geometries(
    extract: Extract, sea: Sea, table: RuleTable, grid: Grid
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return polygons in pixels, their rules, and the areas they are sorted by. Lines are buffered in meters first."""
    wkt, metric = wkt_of(grid), metric_crs(grid)
    is_line = shapely.get_dimensions(extract.geometries) == 1
    widths = np.array([rule.half_width_m or 0.0 for rule in table.rules])[extract.rules[is_line]]
    lines = project(extract.geometries[is_line], DEGREES, metric)
    widened = project(shapely.buffer(lines, widths, quad_segs=4), metric, wkt)
    seas = np.empty(len(sea.polygons), object)
    seas[:] = [_densified(polygon) for polygon in sea.polygons]
    areas = project(np.concatenate([extract.geometries[~is_line], seas]), DEGREES, wkt)
    pixels = to_pixels(np.concatenate([areas, widened]), grid)
    sea_rule = np.full(len(seas), -1 if table.sea_rule is None else table.sea_rule)
    rules = np.concatenate([extract.rules[~is_line], sea_rule, extract.rules[is_line]]).astype(np.int64)
    sort_areas = np.concatenate([extract.areas_m2[~is_line], np.full(len(seas), np.inf), np.zeros(len(lines))])
    return pixels, rules, sort_areas


def _densified(polygon: shapely.Geometry) -> shapely.Geometry:
    return shapely.segmentize(polygon, _EDGE_STEP_DEG)


def _intersection(a: Box, b: Box) -> Box:
    return max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])


def _expanded(box: Box) -> Box:
    """Expand a box by a tenth, so that it also covers the curved edges of the grid."""
    x, y = (box[2] - box[0]) / 10, (box[3] - box[1]) / 10
    return box[0] - x, box[1] - y, box[2] + x, box[3] + y


def _degrees(box: Box) -> str:
    return f"{box[0]:.4f},{box[1]:.4f},{box[2]:.4f},{box[3]:.4f} degrees"
