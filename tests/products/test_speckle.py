"""Speckle filters against slow direct versions."""

from __future__ import annotations

import numpy as np
import pytest

from c2seg.products.speckle import filter_speckle


def image() -> np.ndarray:
    rng = np.random.default_rng(0)
    power = rng.gamma(4.4, 0.1 / 4.4, (40, 47)).astype(np.float32)
    power[12:25, 15:30] *= 20
    power[:3] = np.nan
    power[20, 40] = np.nan
    power[30, 4] = -0.01  # noise was subtracted
    return power


def around(power: np.ndarray, row: int, col: int, size: int) -> np.ndarray:
    half = size // 2
    part = power[max(0, row - half) : row + half + 1, max(0, col - half) : col + half + 1].astype(np.float64)
    return part[np.isfinite(part)]


def slow_lee(power, size, looks):
    result = np.full(power.shape, np.nan)
    for row, col in zip(*np.nonzero(np.isfinite(power)), strict=True):
        values = around(power, row, col, size)
        mean, variance = values.mean(), values.var()
        noise = mean**2 / looks
        weight = max(0.0, 1 - noise / variance) if variance > 0 else 0.0
        result[row, col] = mean + weight * (power[row, col] - mean)
    return result


def slow_median(power, size):
    result = np.full(power.shape, np.nan)
    for row, col in zip(*np.nonzero(np.isfinite(power)), strict=True):
        result[row, col] = np.median(around(power, row, col, size))
    return result


@pytest.mark.parametrize("size", [3, 5, 7])
def test_lee_is_its_formula(size):
    power = image()
    np.testing.assert_allclose(
        filter_speckle(power, "lee", size, 4.4), slow_lee(power, size, 4.4), rtol=1e-5, atol=1e-7
    )


@pytest.mark.parametrize("size", [3, 5])
def test_median_counts_valid_pixels_only(size):
    power = image()
    inner = slice(size // 2, -(size // 2))
    np.testing.assert_allclose(
        filter_speckle(power, "median", size, 4.4)[inner, inner], slow_median(power, size)[inner, inner], rtol=1e-6
    )


def test_lee_smooths_speckle_and_keeps_edges():
    rng = np.random.default_rng(1)
    level = np.where(np.arange(200) < 100, 0.02, 0.5)
    power = (rng.gamma(4.4, 1 / 4.4, (200, 200)) * level).astype(np.float32)
    filtered = filter_speckle(power, "lee", 7, 4.4)
    assert filtered[:, :90].std() < 0.4 * power[:, :90].std()
    assert abs(filtered[:, :97].mean() / power[:, :97].mean() - 1) < 0.02
    assert abs(filtered[:, 103:].mean() / power[:, 103:].mean() - 1) < 0.02


def test_none_changes_nothing():
    power = image()
    assert filter_speckle(power, "none", 5, 4.4) is power
