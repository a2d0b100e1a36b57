"""Factors on the probabilities of classes for their shares in the target, where held-out labels show a gain.

A forest treats all classes as equally frequent, which gives rare classes too many pixels. The map that it makes tells the
classes' shares well enough: probabilities are multiplied by a power of them. Labels that were drawn by class say nothing of
shares themselves. They say how often classes are confused: their votes, weighted by the shares, choose the power.
"""

from __future__ import annotations

import numpy as np

from c2seg.pipeline.label_trials import HeldOutLabels
from c2seg.pipeline.prepare import FitJob
from c2seg.predict.backends.forest import forest_predictor
from c2seg.predict.decision import sample_probabilities
from c2seg.predict.plan import window_plan
from c2seg.recipes.models import ForestModel

__all__ = ["class_factors", "factors_of", "mapped_shares", "weighted_miou"]

_POWERS = (0.0, 0.25, 0.5, 0.75)
_LEAST_SHARE = 0.002  # of a class that the map does not show


def class_factors(
    job: FitJob, model: ForestModel, tensors: dict[str, np.ndarray], held: HeldOutLabels, temperature: float
) -> tuple[tuple[float, ...] | None, str]:
    """Return the factors of the classes of a forest with these tensors (None: none), and a note on them."""
    shares = mapped_shares(job, model, tensors)
    power, scores = _best_power(held, shares, temperature)
    texts = ", ".join(f"{score:.3f} at {value:g}" for value, score in scores.items())
    note = f"labels of the target: power of the classes' shares {power:g}: mIoU on held-out labels {texts}"
    return (factors_of(shares, power, temperature) if power else None), note


def mapped_shares(job: FitJob, model: ForestModel, tensors: dict[str, np.ndarray]) -> np.ndarray:
    """Return the shares float64 [K] of the classes in the map of the target, from windows distributed over it."""
    data = job.prepared
    assert data.target is not None
    predictor = forest_predictor(model, data.channels, data.legend.num_classes, tensors)
    counts = np.zeros(data.legend.num_classes)
    for reader in data.target.readers(data.modalities):
        plan = window_plan(reader.scene, job.recipe.prediction, predictor)
        values = sample_probabilities(reader, predictor, plan)
        counts += np.bincount(values.argmax(axis=0), minlength=len(counts)) if values.size else 0
    shares: np.ndarray = counts / max(1.0, counts.sum())
    return shares


def factors_of(shares: np.ndarray, power: float, temperature: float) -> tuple[float, ...]:
    """Return the factors on probabilities that are calibrated by a temperature only later, to four digits.

    After it they are ``(K share)^power``.
    """
    relative = ((shares + _LEAST_SHARE) * len(shares)) ** (power * temperature)
    return tuple(float(f"{value:.4g}") for value in relative)


def weighted_miou(predicted: np.ndarray, held: HeldOutLabels, shares: np.ndarray) -> float:
    """Return the mean IoU that labels [N] and predictions [N] of them foretell in a city with these shares [K] of classes."""
    classes = len(shares)
    present = np.bincount(held.outputs, held.weights, minlength=classes)
    weight = held.weights * ((shares + _LEAST_SHARE) / np.maximum(present, 1e-12))[held.outputs]
    hit = np.bincount(held.outputs, weight * (predicted == held.outputs), minlength=classes)
    union = (
        np.bincount(held.outputs, weight, minlength=classes) + np.bincount(predicted, weight, minlength=classes) - hit
    )
    return round(float((hit[present > 0] / union[present > 0]).mean()), 4)


def _best_power(held: HeldOutLabels, shares: np.ndarray, temperature: float) -> tuple[float, dict[float, float]]:
    """Return the power with the highest expected mean IoU on held-out labels, and all of them by power."""
    scores = {}
    for power in _POWERS:
        factors = np.asarray(factors_of(shares, power, temperature))
        scores[power] = weighted_miou((held.probability * factors).argmax(axis=1), held, shares)
    return max(scores, key=lambda power: scores[power]), scores
