"""Decide the classes of a finished strip and scale its layers to bytes.

Axes: K class, H row, W column.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from types import ModuleType
from typing import Any

import numpy as np

from c2seg.legend import Legend
from c2seg.predict.calibration import calibrated
from c2seg.predict.decision import Decision
from c2seg.predict.engine import Strip

__all__ = ["LAYER_NODATA", "LAYER_STEPS", "decide", "expected_pixels", "largest", "layer_shapes", "scaled"]

LAYER_NODATA = 255  # of all layers but the ids
LAYER_STEPS = 200  # probabilities are 0..200, half a percent each
_PIXELS = 2**17  # decided together: they stay in the processor's cache


def layer_shapes(names: Collection[str], width: int, num_classes: int) -> dict[str, tuple[tuple[int, ...], Any]]:
    """Return shape and dtype of one row by layer: ``ids`` and those of ``names``."""
    shapes: dict[str, tuple[tuple[int, ...], Any]] = {
        "ids": ((width,), np.uint8),
        "confidence": ((width,), np.uint8),
        "runner_up": ((2, width), np.uint8),
        "probabilities": ((num_classes, width), np.uint8),
    }
    return {name: shape for name, shape in shapes.items() if name == "ids" or name in names}


def decide(
    strip: Strip,
    legend: Legend,
    names: Collection[str],
    decision: Decision | None = None,
    temperature: float | None = None,
) -> tuple[dict[str, np.ndarray], list[int]]:
    """Return the layers of a strip, uint8 [H, ...] by name, and the pixel counts by id.

    ``ids`` are those of the largest score, or by ``decision``, 0 where not valid; the lowest class wins a tie. ``runner_up``
    holds the id of the runner-up class and the margin over it, 0 where the decision preferred the less probable class.
    A ``temperature`` changes the probabilities in the layers (``calibrated``), never the ids.
    """
    if not isinstance(strip.sums, np.ndarray):
        arrays, counts = _device().decide_on_device(strip, legend, names, decision, temperature)
        return arrays, counts
    rows, width = strip.valid.shape
    shapes = layer_shapes(names, width, len(strip.sums))
    layers = {name: np.empty((rows, *shape), dtype) for name, (shape, dtype) in shapes.items()}
    table = legend.id_table()
    for part in _bands(strip.valid):
        sums, invalid = strip.sums[:, part], ~strip.valid[part]
        weights = strip.weights(part.start, part.stop)
        scores = sums if decision is None else decision.scores(sums, weights)
        best, index = largest(scores)
        np.take(table, index, out=layers["ids"][part])
        layers["ids"][part][invalid] = 0
        if len(layers) == 1:
            continue
        if temperature is not None:
            sums, weights = calibrated(sums / weights, temperature), np.ones((1, 1), np.float32)
        if decision is not None or temperature is not None:
            best = np.take_along_axis(sums, index[None].astype(np.intp), axis=0)[0]
        if "confidence" in layers:
            layers["confidence"][part] = scaled(best, weights, invalid)
        if "runner_up" in layers:
            other = _runner_up(scores, index)
            runner_up = np.take_along_axis(sums, other[None].astype(np.intp), axis=0)[0]
            layers["runner_up"][part, 0] = np.where(invalid, LAYER_NODATA, table[other])
            layers["runner_up"][part, 1] = scaled(best - runner_up, weights, invalid)
        if "probabilities" in layers:
            layers["probabilities"][part] = scaled(sums, weights, invalid).transpose(1, 0, 2)
    return layers, np.bincount(layers["ids"].ravel(), minlength=256).tolist()


def expected_pixels(strip: Strip, temperature: float | None = None) -> np.ndarray:
    """Return float64 [K]: the sum over the valid pixels of each class's probability, calibrated if there is a temperature.

    It is the expected number of pixels of the class.
    """
    if not isinstance(strip.sums, np.ndarray):
        expected: np.ndarray = _device().expected_on_device(strip, temperature)
        return expected
    totals = np.zeros(len(strip.sums))
    for part in _bands(strip.valid):
        probabilities = (strip.sums[:, part] / strip.weights(part.start, part.stop))[:, strip.valid[part]]
        if temperature is not None:
            probabilities = calibrated(probabilities, temperature)
        totals += probabilities.sum(axis=1, dtype=np.float64)
    return totals


def _device() -> ModuleType:
    from c2seg.predict.backends import device_scores  # with torch, which the sums are of

    return device_scores


def _bands(valid: np.ndarray) -> Iterator[slice]:
    rows, width = valid.shape
    step = max(1, _PIXELS // width)
    for first in range(0, rows, step):
        yield slice(first, min(first + step, rows))


def largest(sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the largest of [K, H, W] over K and its index; the lowest index wins a tie. Much faster than argmax(0)."""
    best = sums[0].copy()
    index = np.zeros(best.shape, np.uint8)
    better = np.empty(best.shape, bool)
    for k in range(1, len(sums)):
        np.greater(sums[k], best, out=better)
        np.maximum(best, sums[k], out=best)
        np.maximum(index, np.multiply(better.view(np.uint8), np.uint8(k)), out=index)
    return best, index


def _runner_up(scores: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Return the index of the largest of the other classes."""
    if len(scores) == 1:
        return first
    others = scores.copy()
    np.put_along_axis(others, first[None].astype(np.intp), -np.inf, axis=0)
    return largest(others)[1]


def scaled(sums: np.ndarray, weights: np.ndarray, invalid: np.ndarray) -> np.ndarray:
    """Return sums / weights in 0..1 as 0..200, nodata where invalid."""
    steps: np.ndarray = np.rint(np.clip(sums / weights, 0.0, 1.0) * LAYER_STEPS).astype(np.uint8)
    steps[..., invalid] = LAYER_NODATA
    return steps
