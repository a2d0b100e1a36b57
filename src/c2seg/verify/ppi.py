"""Prediction-powered estimates: a sample corrects what a model's probabilities say of every pixel of the map.

The mean of the probabilities over the map is precise and biased; the sample estimates its bias (Angelopoulos et al. 2023,
10.1126/science.adi6000; of maps: Lu, Bates and Wang 2024, arXiv:2407.13659). How much the probabilities count is tuned for the
smallest variance (Angelopoulos, Duchi and Zrnic 2023, arXiv:2311.01453). In survey statistics this is the difference estimator,
and with tuning the regression estimator.

Axes: n point, H stratum, Q quantity.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from c2seg.verify.planning import quantile

__all__ = ["PredictedMeans", "predicted_means"]

_LEAST = 10
"""Hits, and misses, that the normal approximation needs."""


@dataclass(frozen=True)
class PredictedMeans:
    """Estimates, float64 [Q] each: NaN with few hits or misses. ``tuning`` 0: probabilities do not count, 1: in full."""

    value: np.ndarray
    se: np.ndarray
    low: np.ndarray
    high: np.ndarray
    tuning: np.ndarray


def predicted_means(
    labels: np.ndarray,
    predictions: np.ndarray,
    stratum: np.ndarray,
    weights: np.ndarray,
    mean: np.ndarray,
    *,
    level: float = 0.95,
    tuning: float | None = None,
) -> PredictedMeans:
    """Return prediction-powered means.

    ``labels`` [n, Q] are 0 or 1, ``predictions`` [n, Q] their probabilities, ``stratum`` [n] an index. ``weights`` [H] are
    shares of the area, ``mean`` [Q] the means of the predictions over all pixels of the map. Strata of one point have the
    variance of all points. ``tuning`` fixes how much predictions count; None: by the smallest variance.
    """
    weights = weights / weights.sum()
    moments = [_moments(labels, predictions, stratum == h) for h in range(len(weights))]
    if tuning is None:
        covariance = sum(w**2 * m[3] for w, m in zip(weights, moments, strict=True))
        spread = np.asarray(sum(w**2 * m[4] for w, m in zip(weights, moments, strict=True)))
        parts = np.divide(covariance, spread, out=np.zeros_like(spread), where=spread > 0)
        tuned = np.clip(parts, 0.0, 1.0)
    else:
        tuned = np.full(labels.shape[1], float(tuning))
    value, variance = np.zeros(labels.shape[1]), np.zeros(labels.shape[1])
    for weight, (label, predicted, of_labels, covariance, spread) in zip(weights, moments, strict=True):
        value += weight * (label - tuned * predicted)
        variance += weight**2 * (of_labels - 2 * tuned * covariance + tuned**2 * spread)
    value += tuned * mean
    se = np.sqrt(np.maximum(variance, 0))
    few = np.minimum(labels.sum(0), (1 - labels).sum(0)) < _LEAST
    value, se = np.where(few, np.nan, value), np.where(few, np.nan, se)
    reach = quantile(level) * se
    return PredictedMeans(value, se, np.clip(value - reach, 0, 1), np.clip(value + reach, 0, 1), tuned)


def _moments(labels: np.ndarray, predictions: np.ndarray, inside: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return, [Q] each: means of labels and predictions, and variances of these means: labels', covariance, predictions'."""
    points = int(inside.sum())
    y, f = labels[inside].astype(float), predictions[inside].astype(float)
    mean = (y.mean(0), f.mean(0)) if points else (labels.mean(0), predictions.mean(0))
    if points < 2:
        y, f = labels.astype(float), predictions.astype(float)
    dy, df = y - y.mean(0), f - f.mean(0)
    scale = max(len(y) - 1, 1) * max(points, 1)
    return (*mean, (dy * dy).sum(0) / scale, (dy * df).sum(0) / scale, (df * df).sum(0) / scale)
