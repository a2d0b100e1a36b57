"""Boundary F1: the accuracy of class boundaries (Csurka et al., BMVC 2013, section 2.3).

H row, W column, K class. Up to 16 classes share an integer per pixel, with one bit each, so one dilation serves all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from c2seg.errors import InputError
from c2seg.metrics.maps import read_pair, run_strips, strips
from c2seg.metrics.pairs import MapPair
from c2seg.progress import Progress, no_progress
from c2seg.types import Window

__all__ = ["BoundaryCounts", "boundary_counts", "count_boundaries"]

_BITS = 16
_NO_CLASS = 255


@dataclass(frozen=True, eq=False)
class BoundaryCounts:
    """Boundary pixels by class, int64 [K]: all and matched ones, of the ground truth and of the prediction. Counts add."""

    ids: tuple[int, ...]
    reference: np.ndarray
    reference_matched: np.ndarray
    prediction: np.ndarray
    prediction_matched: np.ndarray

    def __add__(self, other: BoundaryCounts) -> BoundaryCounts:
        if self.ids != other.ids:
            raise InputError(f"boundary counts over classes {self.ids} and {other.ids} cannot be added")
        return BoundaryCounts(self.ids, *(a + b for a, b in zip(self._arrays(), other._arrays(), strict=True)))

    def f1(self) -> tuple[float | None, ...]:
        """Return 2PR / (P + R) by class: 0 if no pixel matches, None for classes without a boundary in the ground truth."""
        rows = zip(*(a.tolist() for a in self._arrays()), strict=True)
        return tuple(_f1(*row) if row[0] else None for row in rows)

    def mean_f1(self) -> float | None:
        """Return the mean over the classes with a boundary in the ground truth; None if there is none."""
        defined = [v for v in self.f1() if v is not None]
        return sum(defined) / len(defined) if defined else None

    def _arrays(self) -> tuple[np.ndarray, ...]:
        return self.reference, self.reference_matched, self.prediction, self.prediction_matched


def boundary_counts(
    reference: np.ndarray, prediction: np.ndarray, ids: tuple[int, ...], tolerance_px: int, margin_px: int = 0
) -> BoundaryCounts:
    """Count boundary pixels of two uint8 [H, W] of class ids, and those with a partner within ``tolerance_px``.

    A boundary pixel of a class has a pixel of another class among its 4 neighbors. Only labeled pixels count, as pixels and as
    neighbors. A pixel matches if the other map has a boundary pixel of the same class within a Euclidean distance of
    ``tolerance_px`` pixels. ``margin_px`` rows and columns on each side are context and are not counted.
    """
    table = np.full(256, _NO_CLASS, np.uint8)
    table[list(ids)] = np.arange(len(ids), dtype=np.uint8)
    true = table[reference]
    # Predictions outside the legend are one more class: its edges count for the classes on the other side.
    predicted = np.where(true == _NO_CLASS, _NO_CLASS, np.minimum(table[prediction], len(ids))).astype(np.uint8)
    true_edge, predicted_edge = _edges(true), _edges(predicted)
    height, width = reference.shape
    core = (slice(margin_px, height - margin_px), slice(margin_px, width - margin_px))
    counts = [np.zeros(len(ids), np.int64) for _ in range(4)]
    for first in range(0, len(ids), _BITS):
        bits_true, bits_predicted = _bits(true_edge, first), _bits(predicted_edge, first)
        pairs = ((true_edge, bits_true, bits_predicted), (predicted_edge, bits_predicted, bits_true))
        for side, (edge, bits, other) in enumerate(pairs):
            matched = (bits & _dilate(other, tolerance_px)) != 0
            boundary = bits[core] != 0
            counts[2 * side] += _by_class(edge[core][boundary], len(ids))
            counts[2 * side + 1] += _by_class(edge[core][boundary & matched[core]], len(ids))
    return BoundaryCounts(tuple(ids), *counts)


def count_boundaries(
    pairs: Sequence[MapPair],
    tolerance_px: int,
    *,
    workers: int = 1,
    progress: Progress = no_progress,
) -> BoundaryCounts:
    """Count the boundaries of pairs of maps by strips with enough context: the sum is exact."""
    margin, ids = tolerance_px + 1, pairs[0].code.legend.ids

    def count(pair: MapPair, window: Window) -> BoundaryCounts:
        reference, prediction = read_pair(pair, window.expand(margin))
        return boundary_counts(reference, prediction, ids, tolerance_px, margin)

    total = BoundaryCounts(ids, *(np.zeros(len(ids), np.int64) for _ in range(4)))
    for part in run_strips(count, strips(pairs), workers, progress):
        total += part
    return total


def _edges(classes: np.ndarray) -> np.ndarray:
    """Return the class index at boundary pixels, _NO_CLASS elsewhere, uint8 [H, W]."""
    edge = np.zeros(classes.shape, bool)
    known = classes != _NO_CLASS
    for a, b in ((np.s_[1:, :], np.s_[:-1, :]), (np.s_[:, 1:], np.s_[:, :-1])):
        differs = (classes[a] != classes[b]) & known[a] & known[b]
        edge[a] |= differs
        edge[b] |= differs
    return np.where(edge, classes, np.uint8(_NO_CLASS))


def _bits(edge: np.ndarray, first: int) -> np.ndarray:
    """Return one bit for each of the classes first .. first+15, uint16 [H, W]."""
    table = np.zeros(256, np.uint16)
    table[first : first + _BITS] = 1 << np.arange(min(_BITS, 256 - first), dtype=np.uint16)
    table[_NO_CLASS] = 0
    bits: np.ndarray = table[edge]
    return bits


def _dilate(bits: np.ndarray, radius: int) -> np.ndarray:
    """Dilate all bits by a disk."""
    height, width = bits.shape
    dilated = bits.copy()
    for dy in range(-radius, radius + 1):
        for dx in range(-radius, radius + 1):
            if (dy or dx) and dy * dy + dx * dx <= radius * radius and abs(dy) < height and abs(dx) < width:
                to = (slice(max(0, dy), height + min(0, dy)), slice(max(0, dx), width + min(0, dx)))
                of = (slice(max(0, -dy), height + min(0, -dy)), slice(max(0, -dx), width + min(0, -dx)))
                dilated[to] |= bits[of]
    return dilated


def _by_class(values: np.ndarray, classes: int) -> np.ndarray:
    return np.bincount(values, minlength=classes)[:classes]


def _f1(reference: int, reference_matched: int, prediction: int, prediction_matched: int) -> float:
    if not reference_matched or not prediction_matched:
        return 0.0
    recall, precision = reference_matched / reference, prediction_matched / prediction
    return 2 * precision * recall / (precision + recall)
