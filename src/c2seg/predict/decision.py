"""From class probabilities to one class per pixel: the most probable one, or one that is best for a stated purpose.

Axes: K class, N pixel, H row, W column.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from c2seg.artifacts.maps import DecisionWeights
from c2seg.predict.agreement import sample_windows
from c2seg.predict.calibration import calibrated
from c2seg.predict.engine import Predictor, Reader
from c2seg.predict.plan import WindowPlan
from c2seg.predict.shares import mlls_shares

__all__ = [
    "Decision",
    "ModelFacts",
    "decide_for",
    "expected_iou",
    "expected_oa",
    "sample_probabilities",
    "subsampled",
    "unbiased_area",
]

_PIXELS = 400_000
_SAMPLED_PX = 4 * 2**20
_ROUNDS = 40
_AREA_PIXELS = 100_000
_AREA_ROUNDS = 200
_NEVER = 1e6  # an offset that no score makes up for


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
    offset = np.where(np.isfinite(offset), offset, _NEVER)
    return Decision(*(tuple(float(f"{value:.4g}") for value in values) for values in (scale, offset)))


@dataclass(frozen=True)
class ModelFacts:
    """What a decision knows of the model behind the probabilities.

    ``present``: bool [K], classes with training pixels; None: all. ``training_shares`` [K]: shares of the classes in what the
    model was trained on; None: not known, then a city's shares are the mean of its probabilities. ``temperature``: at which the
    probabilities are calibrated.
    """

    present: tuple[bool, ...] | None = None
    training_shares: tuple[float, ...] | None = None
    temperature: float | None = None

    def shares(self, probability: np.ndarray) -> np.ndarray:
        """Return the estimated class shares float64 [K] of a city with these probabilities [K, N]."""
        chance = self.calibrated(probability)
        if self.training_shares is None:
            return np.asarray(chance.mean(axis=1, dtype=np.float64))
        return mlls_shares(chance, np.array(self.training_shares))

    def calibrated(self, probability: np.ndarray) -> np.ndarray:
        """Return calibrated probabilities [K, N] of present classes alone."""
        chance = probability if self.temperature is None else calibrated(probability, self.temperature)
        if self.present is not None and not all(self.present):
            chance = chance * np.asarray(self.present, chance.dtype)[:, None]
            chance /= np.maximum(chance.sum(axis=0), 1e-12)
        return chance

    def factors(self, shares: np.ndarray) -> np.ndarray:
        """Return factors [K] on probabilities that are calibrated only later, for shares in the place of the training's."""
        if self.training_shares is None:
            return np.where(self._there(len(shares)), 1.0, 0.0)
        prior = np.array(self.training_shares)
        ratio = np.divide(shares, prior, out=np.zeros(len(shares)), where=prior > 0)
        return np.asarray(ratio ** (self.temperature or 1.0))

    def _there(self, classes: int) -> np.ndarray:
        return np.ones(classes, bool) if self.present is None else np.asarray(self.present)


def decide_for(kind: str, probability: np.ndarray, facts: ModelFacts, area_shares: str = "mean") -> Decision | None:
    """Return the decision of a kind (``prediction.decision`` of recipes) on pixels with these probabilities [K, N].

    ``area_shares``: as ``prediction.area_shares``. None: the largest probability, also where there are no pixels.
    """
    if kind == "argmax" or not probability.shape[1]:
        return None
    if kind == "expected_iou":
        return expected_iou(probability, facts.present)
    if kind == "expected_oa":
        return expected_oa(probability, facts)
    return unbiased_area(probability, facts, estimated=area_shares == "mlls")


def expected_oa(probability: np.ndarray, facts: ModelFacts) -> Decision:
    """Return the decision with the largest expected overall accuracy if the city's class shares differ from the training's.

    It is the largest probability after a change of the shares: p[k] q[k] / t[k], with shares t of the training and q of the
    city (``mlls_shares``; Saerens et al. 2002, equation 4). Classes that get no share are never decided.
    """
    return _scaled(facts.factors(facts.shares(probability)))


def unbiased_area(probability: np.ndarray, facts: ModelFacts, *, estimated: bool = False) -> Decision:
    """Return the decision by which mapped shares are those of the city: sums of calibrated probabilities, or ``estimated``
    (``mlls_shares``).

    Probabilities are multiplied by factors, which rise where a class is mapped too rarely and fall where it is mapped too
    often, by half the ratio (iterative proportional fitting, damped), until mapped and estimated shares agree. The best round
    counts. Overall accuracy is a little lower than by ``expected_oa``; areas are as good as the estimate.
    """
    chance = probability[:, :: max(1, -(-probability.shape[1] // _AREA_PIXELS))].astype(np.float64)
    shares = facts.shares(probability) if estimated else facts.calibrated(probability).mean(axis=1, dtype=np.float64)
    there = shares * chance.shape[1] >= 0.5
    logs = np.where(there, np.log(np.maximum(facts.factors(shares), 1e-12)), -np.inf)
    aim = shares * chance.shape[1]
    best, chosen = np.inf, logs
    with np.errstate(divide="ignore"):
        score = np.log(chance)
    for place in range(_AREA_ROUNDS):
        mapped = np.bincount((score + logs[:, None]).argmax(axis=0), minlength=len(shares))
        error = float(np.abs(mapped - aim).sum())
        if error < best:
            best, chosen = error, logs
        step = 0.5 / (1 + place / 40)
        logs = np.where(there, logs + step * np.log((aim + 1) / (mapped + 1)), -np.inf)
    return _scaled(np.exp(chosen))


def _scaled(factors: np.ndarray) -> Decision:
    """Return the decision for the largest of probabilities times factors; a factor of 0 never wins."""
    relative = factors / max(float(factors.max()), 1e-300)
    offset = np.where(relative > 0, 0.0, _NEVER)
    return Decision(*(tuple(float(f"{value:.4g}") for value in values) for values in (relative, offset)))


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
