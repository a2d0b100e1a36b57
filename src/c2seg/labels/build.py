"""From an extract, a rule table and a grid to labels that are computed by rows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import shapely

from c2seg.errors import DataError
from c2seg.labels.burn import SAMPLES, Burner
from c2seg.labels.coastline import Sea, sea_polygons
from c2seg.labels.extract import Box, Coverage, Extract, read_coverage, read_extract
from c2seg.labels.grids import DEGREES, geographic_box, metric_crs, project, to_pixels, wkt_of
from c2seg.labels.rules import RuleTable
from c2seg.progress import Progress, no_progress
from c2seg.types import Grid

__all__ = ["Labels", "make_labels"]

_EDGE_STEP_DEG = 0.01  # long straight edges in degrees are curves on the grid


@dataclass
class Labels:
    """Labels of a grid, computed by rows when asked for, and what was found on the way.

    ``burner`` holds the polygons in painting order; ``features`` int64 [rules] counts those of each rule in the grid
    and ``geometry_px`` float64 [rules] their area in pixels, overlaps counted twice and switched-off rules included.
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
        """Return samples of 25 per class, uint8 [K, rows, W] in the legend's order, and per code, int64 [256]."""
        groups = np.zeros(256, np.uint8)  # 0: unmapped and outside; then the classes in output order
        groups[: len(self.table.rules)] = [
            (0, *self.table.legend.ids).index(class_id) for class_id in self.table.class_ids
        ]
        counts, by_code = self.burner.count(first, last, groups, self.table.legend.num_classes + 1)
        return counts[1:], by_code

    def rows(self, first: int, last: int) -> np.ndarray:
        """Return the labels of rows as uint8 [rows, W]: the class with the largest share, 0 where most is unmapped.

        Ties go to the class before the background and to the lower id; a class with a ``win_share`` wins from there.
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

    Memory grows with the geometries in the grid, not with its pixels. Raises DataError for a damaged file or an
    extract that does not touch the grid, GridError for a grid without CRS.
    """
    coverage = read_coverage(path)
    wanted, covered = _covered(path, coverage.box, grid)
    margin = table.max_half_width_m + 4 * grid.pixel_area_m2() ** 0.5
    extract = read_extract(path, table, geographic_box(grid, margin), progress=progress)
    sea = _sea(extract, coverage.box, wanted, table)
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
    """Return the part of the extract around the grid, in degrees and as a polygon in pixels."""
    box = geographic_box(grid, 0)
    wanted = _meet(coverage, _grown(box))
    if wanted[0] < wanted[2] and wanted[1] < wanted[3]:
        polygon = np.array([_edges(shapely.box(*wanted))])
        covered = to_pixels(project(polygon, DEGREES, wkt_of(grid)), grid)[0]
        if shapely.clip_by_rect(covered, 0, 0, grid.width, grid.height).area > 0:
            return wanted, covered
    raise DataError(
        f"{path} covers {_degrees(coverage)} and the wanted area is {_degrees(box)}: they do not meet; "
        "take an extract of that area"
    )


def _sea(extract: Extract, coverage: Box, wanted: Box, table: RuleTable) -> Sea:
    """Close the coast against the wanted part of the extract; where no coast runs through it, against the whole."""
    if table.sea_rule is None or not extract.coastlines:
        return Sea((), "none")
    sea = sea_polygons(extract.coastlines, wanted)
    if sea.state == "none":
        sea = sea_polygons(extract.coastlines, coverage)
    return replace(sea, polygons=tuple(p for p in sea.polygons if p.intersects(shapely.box(*wanted))))


def _pixel_geometries(
    extract: Extract, sea: Sea, table: RuleTable, grid: Grid
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return polygons in pixels, their rules and their order-giving areas; lines are widened in meters first."""
    wkt, metric = wkt_of(grid), metric_crs(grid)
    is_line = shapely.get_dimensions(extract.geometries) == 1
    widths = np.array([rule.half_width_m or 0.0 for rule in table.rules])[extract.rules[is_line]]
    lines = project(extract.geometries[is_line], DEGREES, metric)
    widened = project(shapely.buffer(lines, widths, quad_segs=4), metric, wkt)
    seas = np.empty(len(sea.polygons), object)
    seas[:] = [_edges(polygon) for polygon in sea.polygons]
    areas = project(np.concatenate([extract.geometries[~is_line], seas]), DEGREES, wkt)
    pixels = to_pixels(np.concatenate([areas, widened]), grid)
    sea_rule = np.full(len(seas), -1 if table.sea_rule is None else table.sea_rule)
    rules = np.concatenate([extract.rules[~is_line], sea_rule, extract.rules[is_line]]).astype(np.int64)
    order_by = np.concatenate([extract.areas_m2[~is_line], np.full(len(seas), np.inf), np.zeros(len(lines))])
    return pixels, rules, order_by


def _edges(polygon: shapely.Geometry) -> shapely.Geometry:
    return shapely.segmentize(polygon, _EDGE_STEP_DEG)


def _meet(a: Box, b: Box) -> Box:
    return max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])


def _grown(box: Box) -> Box:
    """Grow a box by a tenth: an extract that exceeds the grid must exceed it on the curved edges of the grid too."""
    x, y = (box[2] - box[0]) / 10, (box[3] - box[1]) / 10
    return box[0] - x, box[1] - y, box[2] + x, box[3] + y


def _degrees(box: Box) -> str:
    return f"{box[0]:.4f},{box[1]:.4f},{box[2]:.4f},{box[3]:.4f} degrees"
