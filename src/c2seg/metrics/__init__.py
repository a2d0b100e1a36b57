"""Scores of maps: confusion counts, and all scores as pure functions of the counts."""

from __future__ import annotations

from c2seg.metrics.boundary import BoundaryCounts, boundary_counts, count_boundaries
from c2seg.metrics.confusion import Confusion, confusion_counts, fold_histogram, joint_histogram
from c2seg.metrics.maps import count_maps
from c2seg.metrics.pairs import GridOf, MapPair, check_reference, find_tiles, pair_maps
from c2seg.metrics.protocols import PROTOCOLS, Protocol, Scores, protocol_ids, scores
from c2seg.metrics.references import Reference, ReferenceCode, map_legend, open_references
from c2seg.metrics.resample import Comparison, Interval, bootstrap_scores, compare_maps, compare_pooled

__all__ = [
    "PROTOCOLS",
    "BoundaryCounts",
    "Comparison",
    "Confusion",
    "GridOf",
    "Interval",
    "MapPair",
    "Protocol",
    "Reference",
    "ReferenceCode",
    "Scores",
    "bootstrap_scores",
    "boundary_counts",
    "check_reference",
    "compare_maps",
    "compare_pooled",
    "confusion_counts",
    "count_boundaries",
    "count_maps",
    "find_tiles",
    "fold_histogram",
    "joint_histogram",
    "map_legend",
    "open_references",
    "pair_maps",
    "protocol_ids",
    "scores",
]
