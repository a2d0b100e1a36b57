"""Values of one sensor's bands from another's, by the bands' responses to wavelength.

A band's value is the spectrum, averaged by its response: a Gaussian around its center, with its full width at half maximum.
Reflectance is smooth in wavelength. So the value of a band is estimated from bands of another sensor as the best linear
unbiased prediction (ordinary kriging; Cressie, Statistics for Spatial Data, 1993, section 3.2) under a Gaussian covariance of
``SMOOTH_NM``. Covariances of Gaussian averages under it are again Gaussians. Wide bands become averages of narrow ones,
narrow bands interpolations, and overlapping bands share the weight.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["LEAST_COVERAGE", "SMOOTH_NM", "ResponseWeights", "response_weights"]

SMOOTH_NM = 20.0
"""Length over which reflectance is smooth: about the width of the narrowest features of solids in 400 to 2500 nm."""
LEAST_COVERAGE = 0.5
"""Share of a band's response that the other sensor must see; with less, a band is interpolated across a gap."""

_NOISE = 1e-3  # variance of a band's noise, of the spectrum's variance: weights stay small where bands are close
_SIGMA = 2.3548200450309493  # full width at half maximum of a Gaussian, in standard deviations
_REACH = 1.25  # distance up to which bands count, of both widths together: beyond, Gaussians are below 0.2 percent
_SEEN = 0.75  # of its width, to both sides of its center: what a band sees
_NEIGHBORS = 2  # bands to each side that are used at least
_NODES = 64


@dataclass(frozen=True, eq=False)
class ResponseWeights:
    """Weights float32 [bands, other bands], rows sum to 1, and the covered share of each band's response [bands]."""

    weights: np.ndarray
    coverage: np.ndarray

    @property
    def in_gaps(self) -> np.ndarray:
        """Numbers of bands that are covered by less than ``LEAST_COVERAGE``."""
        return np.flatnonzero(self.coverage < LEAST_COVERAGE)


def response_weights(
    centers_nm: np.ndarray, widths_nm: np.ndarray, other_centers_nm: np.ndarray, other_widths_nm: np.ndarray
) -> ResponseWeights:
    """Return weights that compute bands from those of another sensor, all with centers and full widths at half maximum, nm.

    The order of the bands is free. Only bands near in wavelength have a weight. A band in a gap of the other sensor is
    interpolated linearly between the gap's sides, and beyond its range the outermost band is used.
    """
    centers, widths = np.asarray(centers_nm, np.float64), np.asarray(widths_nm, np.float64)
    others, spreads = np.asarray(other_centers_nm, np.float64), np.asarray(other_widths_nm, np.float64)
    weights = np.zeros((len(centers), len(others)), np.float32)
    coverage = np.zeros(len(centers))
    for row, (center, width) in enumerate(zip(centers, widths, strict=True)):
        coverage[row] = _covered(center, width, others, spreads)
        if coverage[row] < LEAST_COVERAGE:
            weights[row] = _between(center, others)
            continue
        near = _near(center, width, others, spreads)
        weights[row, near] = _prediction(center, width / _SIGMA, others[near], spreads[near] / _SIGMA)
    return ResponseWeights(weights, coverage)


def _near(center: float, width: float, others: np.ndarray, spreads: np.ndarray) -> np.ndarray:
    """Return the numbers of the other bands that a band is computed from."""
    hit = np.abs(others - center) <= _REACH * np.hypot(width, spreads)
    for side in (others <= center, others >= center):
        candidates = np.flatnonzero(side)
        hit[candidates[np.argsort(np.abs(others[candidates] - center), kind="stable")[:_NEIGHBORS]]] = True
    return np.flatnonzero(hit)


def _between(center: float, others: np.ndarray) -> np.ndarray:
    """Return weights of linear interpolation between the nearest bands, float64."""
    order = np.argsort(others, kind="stable")
    weights: np.ndarray = np.zeros(len(others))
    weights[order] = [np.interp(center, others[order], unit) for unit in np.eye(len(others))]
    return weights


def _prediction(center: float, sigma: float, others: np.ndarray, sigmas: np.ndarray) -> np.ndarray:
    """Return the weights of the best linear unbiased prediction of one band, float64, summing to 1."""
    covariance = _covariance(others[:, None], sigmas[:, None], others, sigmas)
    count = len(others)
    system = np.ones((count + 1, count + 1))
    system[:count, :count] = covariance + _NOISE * np.eye(count)
    system[count, count] = 0
    right = np.append(_covariance(center, np.array(sigma), others, sigmas), 1.0)
    weights: np.ndarray = np.linalg.solve(system, right)[:count]
    result: np.ndarray = weights / weights.sum()
    return result


def _covariance(a: np.ndarray | float, sigma_a: np.ndarray, b: np.ndarray, sigma_b: np.ndarray) -> np.ndarray:
    """Return covariances of the values of bands, of a spectrum of variance 1."""
    spread = SMOOTH_NM**2 + sigma_a**2 + sigma_b**2
    result: np.ndarray = SMOOTH_NM / np.sqrt(spread) * np.exp(-((a - b) ** 2) / (2 * spread))
    return result


def _covered(center: float, width: float, others: np.ndarray, spreads: np.ndarray) -> float:
    """Return the share of a band's response, 0..1, that lies where other bands see."""
    places = center + np.linspace(-_REACH, _REACH, _NODES) * width
    response = np.exp(-((places - center) ** 2) / (2 * (width / _SIGMA) ** 2))
    seen = (np.abs(places[:, None] - others) <= _SEEN * spreads).any(axis=1)
    return float(response[seen].sum() / response.sum())
