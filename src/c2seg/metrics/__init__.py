"""Scores of maps: confusion counts, and all scores as pure functions of the counts."""

from __future__ import annotations

from c2seg.metrics.boundary import BoundaryCounts, boundary_counts, count_boundaries
from c2seg.metrics.confusion import Confusion, confusion_counts, fold_histogram, joint_histogram
from c2seg.metrics.maps import MapPair, ReferenceCode, check_reference, count_maps, find_tiles, pair_maps
from c2seg.metrics.protocols import PROTOCOLS, Protocol, Scores, protocol_ids, scores
from c2seg.metrics.resample import Comparison, Interval, bootstrap_scores, compare_maps, compare_pooled

__all__ = [
    "PROTOCOLS",
    "BoundaryCounts",
    "Comparison",
    "Confusion",
    "Interval",
    "MapPair",
    "Protocol",
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
    "pair_maps",
    "protocol_ids",
    "scores",
]
