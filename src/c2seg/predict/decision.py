"""From class probabilities to one class per pixel: the most probable one, or the one that maximizes the expected mean IoU.

Axes: K class, N pixel, H row, W column.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from c2seg.artifacts.maps import DecisionWeights
from c2seg.predict.agreement import sample_windows
from c2seg.predict.engine import Predictor, Reader
from c2seg.predict.plan import WindowPlan

__all__ = ["Decision", "expected_iou", "sample_probabilities", "subsampled"]

_PIXELS = 400_000
_SAMPLED_PX = 4 * 2**20
_ROUNDS = 40


@dataclass(frozen=True)
class Decision:
    """A pixel's class is argmax over k of ``scale[k] * p[k] - offset[k]``, p being its probabilities."""

    scale: tuple[float, ...]
    offset: tuple[float, ...]

    def scores(self, sums: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Return scores [K, ...] whose argmax decides, from sums [K, ...] of probabilities and their weights [...]."""
        scale, offset = (
            np.asarray(values, np.float32).reshape(-1, *[1] * weights.ndim) for values in (self.scale, self.offset)
        )
        scores: np.ndarray = sums * scale
        scores -= offset * weights
        return scores

    def classes(self, probability: np.ndarray) -> np.ndarray:
        """Return output indices [...] of probabilities [K, ...]; the lowest class wins a tie."""
        index: np.ndarray = self.scores(probability, np.ones(probability.shape[1:], np.float32)).argmax(axis=0)
        return index

    def record(self) -> DecisionWeights:
        """Return the weights as a map's record holds them."""
        return DecisionWeights(scale=self.scale, offset=self.offset)


def expected_iou(probability: np.ndarray, present: Sequence[bool] | None = None, prior: float = 0.005) -> Decision:
    """Return the decision that maximizes the expected mean over classes of IoU on pixels with these probabilities [K, N].

    With n[k] pixels decided for k, s[k] the sum of p[k], and t[k] its sum over those decided for k, the expected
    intersection and union are t and U = n + s - t, J = t / U. One more pixel for k changes J[k] by about
    (p[k] (1 + J[k]) - J[k]) / U[k]: pixels take the class for which that is largest, and J and U are computed again until
    nothing changes (the linearization of Dembczynski et al., ICML 2013, for each class; the best round is kept).
    ``prior`` N pixels are added to U: they limit the weight of very rare classes.
    Classes without probability never win, nor do those that are not ``present`` (bool [K]). A class without training pixels
    keeps a small probability because of label smoothing. No label is needed. The gain depends on how well the probabilities
    are calibrated.
    """
    classes, pixels = probability.shape
    chance = probability.astype(np.float64)
    total = chance.sum(axis=1)
    there = total > 1e-5 * pixels
    if present is not None:
        there &= np.asarray(present)
    decided = np.where(there[:, None], chance, -1.0).argmax(axis=0)
    scale, offset = np.ones(classes), np.where(there, 0.0, np.inf)
    best = -1.0, scale, offset
    union = index = np.zeros(0)
    for _ in range(_ROUNDS):
        count = np.bincount(decided, minlength=classes)
        hit = np.bincount(decided, chance[decided, np.arange(pixels)], minlength=classes)
        new_union = np.maximum(count + total - hit, 1e-6)
        score = float((hit / new_union)[there].mean())
        if score > best[0]:
            best = score, scale, offset
        union = new_union if not union.size else (union + new_union) / 2  # damped: the rounds would swing
        index = hit / new_union if not index.size else (index + hit / new_union) / 2
        weight = 1 / (union + prior * pixels)
        weight /= weight[there].min()
        scale, offset = weight * (1 + index), np.where(there, weight * index, np.inf)
        now = (chance * scale[:, None] - offset[:, None]).argmax(axis=0)
        if (now == decided).all():
            break
        decided = now
    _, scale, offset = best
    offset = np.where(np.isfinite(offset), offset, 1e6)
    return Decision(*(tuple(float(f"{value:.4g}") for value in values) for values in (scale, offset)))


def sample_probabilities(reader: Reader, predictor: Predictor, plan: WindowPlan) -> np.ndarray:
    """Return probabilities float32 [K, N] of valid pixels from windows distributed over a scene; N may be 0."""
    window = plan.windows(0)[0]
    count = max(4, -(-_SAMPLED_PX // (window.height * window.width)))
    halo = predictor.halo_px
    parts = []
    for patch, valid in sample_windows(reader, plan, halo, count):
        inner = valid[0, halo : valid.shape[1] - halo, halo : valid.shape[2] - halo]
        scores = np.asarray(predictor.predict(patch, valid))[0]
        parts.append(scores[:, inner])
    return subsampled(parts, predictor.num_classes)


def subsampled(parts: Iterable[np.ndarray], classes: int) -> np.ndarray:
    """Return at most 400,000 columns of concatenated arrays [K, N], evenly subsampled, each column of sum 1."""
    whole = np.concatenate([np.zeros((classes, 0), np.float32), *parts], axis=1)
    whole = whole[:, :: max(1, -(-whole.shape[1] // _PIXELS))]
    return np.asarray(whole / np.maximum(whole.sum(axis=0), 1e-12), np.float32)
