"""Calibrate probabilities by one temperature, and measure how far confidence is from accuracy.

Axes: K class, N pixel.
"""

from __future__ import annotations

import numpy as np

__all__ = ["LEAST", "calibrated", "calibration_error", "fit_temperature", "log_loss"]

LEAST = 1e-6  # a forest gives exact zeros, which no temperature could lift
_BOUNDS = 0.2, 5.0


def calibrated(probability: np.ndarray, temperature: float) -> np.ndarray:
    """Return probabilities [K, ...] at another temperature T: the softmax of log p / T (Guo et al., ICML 2017).

    The order of the classes stays. A temperature above 1 evens the probabilities out, one below 1 sharpens them. Values
    below 1e-6 count as 1e-6. A pixel whose probabilities are all 0 gets equal ones.
    """
    powers = np.power(np.maximum(probability, np.float32(LEAST)), np.float32(1 / temperature))
    powers /= powers.sum(axis=0)
    return np.asarray(powers)


def log_loss(probability: np.ndarray, label: np.ndarray, temperature: float = 1.0) -> float:
    """Return the mean negative log-likelihood (nats) of labels [N] under probabilities [K, N] at a temperature."""
    likelihood = calibrated(probability, temperature)[label, np.arange(len(label))]
    return float(-np.log(np.maximum(likelihood, LEAST), dtype=np.float64).mean())


def fit_temperature(probability: np.ndarray, label: np.ndarray) -> float:
    """Return the temperature in 0.2 .. 5 with the least ``log_loss`` of labels [N], at least one."""
    from scipy.optimize import minimize_scalar

    optimum = minimize_scalar(
        lambda power: log_loss(probability, label, float(np.exp(power))),
        bounds=np.log(_BOUNDS),
        method="bounded",
        options={"xatol": 1e-3},
    )
    return float(f"{np.exp(optimum.x):.4g}")


def calibration_error(confidence: np.ndarray, correct: np.ndarray, bins: int = 15) -> float:
    """Return the expected calibration error (Naeini et al., AAAI 2015), 0..1.

    It is the mean gap between confidence [N] (0..1) and accuracy over bins of equal width, weighted by pixels. ``correct``
    is bool [N].
    """
    place = np.minimum((confidence * bins).astype(np.int64), bins - 1)
    gaps = np.bincount(place, confidence.astype(np.float64) - correct, minlength=bins)
    return float(np.abs(gaps).sum() / max(1, len(place)))
