"""The error matrix of a sample: counts by stratum, and proportions of area.

Axes: H stratum, K class; of a matrix the rows are mapped classes and the columns reference classes, as in the papers. Leading
axes are those of several samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from c2seg.errors import InputError

__all__ = ["SampleCounts", "count_points"]


@dataclass(frozen=True)
class SampleCounts:
    """Counts of labeled points, int64 [..., H, K, K] (mapped class, reference class), and what the strata are.

    ``pixels`` float64 [H] is the size of each stratum, in pixels or any other unit of area. ``unknown`` int64 [..., H, K]
    counts points that nobody could decide, by mapped class. ``possible`` bool [H, K] says which mapped classes a stratum can
    hold: one if strata are made of the mapped class, all if nothing is known. With ``finite`` points are different pixels of
    finite strata, and variances have the factor 1 - n/N.
    """

    counts: np.ndarray
    pixels: np.ndarray
    unknown: np.ndarray
    possible: np.ndarray
    finite: bool = False

    @classmethod
    def of(
        cls,
        counts: np.ndarray,
        pixels: Sequence[float] | np.ndarray,
        *,
        unknown: np.ndarray | None = None,
        possible: np.ndarray | None = None,
        finite: bool = False,
    ) -> SampleCounts:
        """Return counts with what is not given filled in. Raises InputError for shapes that do not fit."""
        sizes = np.asarray(pixels, float)
        shape = (len(sizes), counts.shape[-1])
        if counts.shape[-3:] != (*shape, shape[1]) or (sizes < 0).any():
            raise InputError(f"counts of shape {counts.shape} do not fit {len(sizes)} strata of a size of 0 or more")
        unknown = np.zeros(counts.shape[:-1], np.int64) if unknown is None else unknown
        return cls(counts, sizes, unknown, np.ones(shape, bool) if possible is None else possible, finite)

    @classmethod
    def of_map_classes(
        cls, matrix: np.ndarray, pixels: Sequence[float] | np.ndarray, *, finite: bool = False
    ) -> SampleCounts:
        """Return the counts of a matrix [..., K, K] whose rows, the mapped classes, are the strata."""
        matrix = np.asarray(matrix)
        classes = matrix.shape[-1]
        counts = np.zeros((*matrix.shape[:-2], classes, classes, classes), matrix.dtype)
        rows = np.arange(classes)
        counts[..., rows, rows, :] = matrix
        return cls.of(counts, pixels, possible=np.eye(classes, dtype=bool), finite=finite)

    @property
    def classes(self) -> int:
        """Number of classes."""
        return int(self.counts.shape[-1])

    @property
    def points(self) -> np.ndarray:
        """Labeled points by stratum, int64 [..., H]."""
        total: np.ndarray = self.counts.sum((-1, -2))
        return total

    @property
    def weights(self) -> np.ndarray:
        """Shares of the area that strata with points stand for, float64 [..., H]; 0 where a stratum has none."""
        sizes = np.where(self.points > 0, self.pixels, 0.0)
        total = sizes.sum(-1, keepdims=True)
        weights: np.ndarray = np.divide(sizes, total, out=np.zeros_like(sizes), where=total > 0)
        return weights

    @property
    def unsampled(self) -> np.ndarray:
        """Share of the area in strata without a labeled point, [...]."""
        share: np.ndarray = np.where(self.points > 0, 0.0, self.pixels).sum(-1) / max(self.pixels.sum(), 1e-300)
        return share

    @property
    def finite_factor(self) -> np.ndarray:
        """Factor of variances, float64 [..., H]."""
        if not self.finite:
            return np.ones(self.points.shape)
        factor: np.ndarray = np.clip(1 - self.points / np.maximum(self.pixels, 1e-300), 0.0, 1.0)
        return factor

    @property
    def proportions(self) -> np.ndarray:
        """The error matrix in proportions of area, float64 [..., K, K] (Olofsson et al. 2014, equation 4; Stehman 2014)."""
        scale = self.weights / np.maximum(self.points, 1)
        matrix: np.ndarray = (scale[..., None, None] * self.counts).sum(-3)
        return matrix

    @property
    def matrix(self) -> np.ndarray:
        """Counts of points, int64 [..., K, K]."""
        total: np.ndarray = self.counts.sum(-3)
        return total

    def few(self, least: int = 2) -> np.ndarray:
        """Return bool [H]: strata of fewer than ``least`` points, and the smallest others that these need to have as many."""
        few: np.ndarray = self.points < least
        for index in np.argsort(self.pixels, kind="stable"):
            if not few.any() or self.points[few].sum() >= least:
                break
            few[index] = True
        return few

    def merged(self, few: np.ndarray | None = None) -> SampleCounts:
        """Return counts in which the strata ``few`` (bool [H]; None: those of ``few()``, of one sample) are one.

        It is for strata that were made after sampling: several of them are one larger stratum whose points were drawn evenly,
        too.
        """
        few = self.few() if few is None else few
        if not few.any():
            return self
        rest = ~few

        def joined(values: np.ndarray, axis: int) -> np.ndarray:
            return np.concatenate(
                [np.compress(rest, values, axis), np.compress(few, values, axis).sum(axis, keepdims=True)], axis
            )

        return SampleCounts(
            joined(self.counts, -3),
            joined(self.pixels, 0),
            joined(self.unknown, -2),
            joined(self.possible.astype(int), 0) > 0,
            self.finite,
        )


def count_points(
    stratum: np.ndarray, mapped: np.ndarray, reference: np.ndarray, strata: int, classes: int
) -> np.ndarray:
    """Count points into int64 [H, K, K] (stratum, mapped class, reference class); all are indices from 0, [n]."""
    code = (stratum.astype(np.int64) * classes + mapped) * classes + reference
    counts: np.ndarray = np.bincount(code, minlength=strata * classes**2).reshape(strata, classes, classes)
    return counts
