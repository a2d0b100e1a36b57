"""Probabilities that mean what they say: one temperature for all, and how far confidence is from the share that is right.

Axes: K class, N pixel.
"""

from __future__ import annotations

import numpy as np

__all__ = ["calibrated", "calibration_error", "fit_temperature", "log_loss"]

_LEAST = 1e-6  # a forest gives exact zeros, which no temperature could lift
_BOUNDS = 0.2, 5.0


def calibrated(probability: np.ndarray, temperature: float) -> np.ndarray:
    """Return probabilities [K, ...] at another temperature T: the softmax of log p / T (Guo et al., ICML 2017).

    The order of the classes stays. Above 1 they come closer to each other, below 1 the largest gains. Values below 1e-6
    count as 1e-6; pixels without any probability become even.
    """
    found = np.power(np.maximum(probability, np.float32(_LEAST)), np.float32(1 / temperature))
    found /= found.sum(axis=0)
    return np.asarray(found)


def log_loss(probability: np.ndarray, label: np.ndarray, temperature: float = 1.0) -> float:
    """Return the mean negative log-likelihood (nats) of labels [N] under probabilities [K, N] at a temperature."""
    own = calibrated(probability, temperature)[label, np.arange(len(label))]
    return float(-np.log(np.maximum(own, _LEAST), dtype=np.float64).mean())


def fit_temperature(probability: np.ndarray, label: np.ndarray) -> float:
    """Return the temperature in 0.2 .. 5 with the least ``log_loss`` of labels [N], at least one."""
    from scipy.optimize import minimize_scalar

    found = minimize_scalar(
        lambda power: log_loss(probability, label, float(np.exp(power))),
        bounds=np.log(_BOUNDS),
        method="bounded",
        options={"xatol": 1e-3},
    )
    return float(f"{np.exp(found.x):.4g}")


def calibration_error(confidence: np.ndarray, right: np.ndarray, bins: int = 15) -> float:
    """Return the expected calibration error: over equal bins of confidence [N] (0..1), the mean distance of the mean
    confidence from the share that is ``right`` (bool [N]), weighted by pixels (Naeini et al., AAAI 2015).
    """
    place = np.minimum((confidence * bins).astype(np.int64), bins - 1)
    gaps = np.bincount(place, confidence.astype(np.float64) - right, minlength=bins)
    return float(np.abs(gaps).sum() / max(1, len(place)))
