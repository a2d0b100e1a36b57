"""Class shares of a city estimated from class probabilities, where shares differ from those of the training.

Axes: K class, N pixel. Shares sum to 1. Both methods assume label shift: a class looks the same in training and in the city.
"""

from __future__ import annotations

import numpy as np

__all__ = ["bbse_shares", "mlls_shares", "reweighted"]

_ROUNDS = 500
_CHANGE = 1e-6
_LEAST = 1e-9


def reweighted(probability: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Return probabilities [K, N] times factors [K], each pixel's sum 1. A pixel with no probability left is 0."""
    weighted = probability * factors[:, None]
    return np.asarray(weighted / np.maximum(weighted.sum(axis=0), _LEAST))


def mlls_shares(probability: np.ndarray, training_shares: np.ndarray) -> np.ndarray:
    """Return the shares float64 [K] that maximize the likelihood of a city's pixels (Saerens et al., Neural Computation 2002).

    ``probability`` [K, N] must be calibrated under ``training_shares`` [K]: the shares that the model saw, which are those of
    the sampler, not of the source city. By expectation maximization: probabilities times the ratio of shares, their mean is
    the next estimate. Classes without training share get none. Without pixels the training shares are returned.
    """
    prior: np.ndarray = np.array(training_shares, np.float64)
    prior /= prior.sum()
    if not probability.shape[1]:
        return prior
    known = prior > 0
    chance = np.maximum(probability[known].astype(np.float64), 0.0)
    shares = prior[known].copy()
    for _ in range(_ROUNDS):
        fresh = reweighted(chance, shares / prior[known]).mean(axis=1)
        fresh /= max(fresh.sum(), _LEAST)
        done = np.abs(fresh - shares).max() < _CHANGE
        shares = fresh
        if done:
            break
    estimate = np.zeros(len(prior))
    estimate[known] = shares
    return estimate


def bbse_shares(response: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Return shares float64 [K] by the classifier's mean response (BBSE, Lipton et al., ICML 2018, in its soft form).

    ``response`` [K, K]: column j is the mean probability of each class over held-out source pixels of class j. ``mean`` [K] is
    that over the city's pixels. The shares are the non-negative least-squares solution of ``response @ shares = mean``, of sum
    1. Neither calibration nor training shares matter. A class without held-out pixels has a column of zeros and gets no share.
    """
    from scipy.optimize import nnls

    classes = len(mean)
    weight = 10.0  # of the row that asks for the sum 1
    matrix = np.vstack([response, weight * np.where(response.any(axis=0), 1.0, 0.0)])
    solution, _ = nnls(matrix.astype(np.float64), np.append(np.asarray(mean, np.float64), weight))
    total = float(solution.sum())
    return np.asarray(solution / total) if total > 0 else np.full(classes, 1 / classes)
