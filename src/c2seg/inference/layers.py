"""Decide the classes of a finished strip and scale its layers to bytes.

Axes: K class, H row, W column.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np

from c2seg.inference.engine import Strip
from c2seg.legend import Legend

__all__ = ["LAYER_NODATA", "decide", "layer_shapes"]

LAYER_NODATA = 255  # of all layers but the ids; probabilities are 0..200, half a percent each
_ROWS = 16  # decided together: they stay in the processor's cache


def layer_shapes(names: Collection[str], width: int, num_classes: int) -> dict[str, tuple[tuple[int, ...], Any]]:
    """Return shape and dtype of one row by layer: ``ids`` and those of ``names``."""
    shapes: dict[str, tuple[tuple[int, ...], Any]] = {
        "ids": ((width,), np.uint8),
        "confidence": ((width,), np.uint8),
        "second": ((2, width), np.uint8),
        "probabilities": ((num_classes, width), np.uint8),
    }
    return {name: shape for name, shape in shapes.items() if name == "ids" or name in names}


def decide(strip: Strip, legend: Legend, names: Collection[str]) -> tuple[dict[str, np.ndarray], list[int]]:
    """Return the layers of a strip, uint8 [H, ...] by name, and the pixel counts by id.

    ``ids`` are those of the largest score, 0 where not valid; the lowest class wins a tie. ``second`` holds the id of the
    second class and the margin to it.
    """
    rows, width = strip.valid.shape
    shapes = layer_shapes(names, width, len(strip.sums))
    layers = {name: np.empty((rows, *shape), dtype) for name, (shape, dtype) in shapes.items()}
    table = legend.id_table()
    for first in range(0, rows, _ROWS):
        part = slice(first, min(first + _ROWS, rows))
        sums, invalid = strip.sums[:, part], ~strip.valid[part]
        best, index = _largest(sums)
        np.take(table, index, out=layers["ids"][part])
        layers["ids"][part][invalid] = 0
        if len(layers) == 1:
            continue
        weights = strip.weights(part.start, part.stop)
        if "confidence" in layers:
            layers["confidence"][part] = _scaled(best, weights, invalid)
        if "second" in layers:
            runner_up, other = _second(sums, index)
            layers["second"][part, 0] = np.where(invalid, LAYER_NODATA, table[other])
            layers["second"][part, 1] = _scaled(best - runner_up, weights, invalid)
        if "probabilities" in layers:
            layers["probabilities"][part] = _scaled(sums, weights, invalid).transpose(1, 0, 2)
    return layers, np.bincount(layers["ids"].ravel(), minlength=256).tolist()


def _largest(sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the largest of [K, H, W] over K and its index; the lowest index wins a tie. Much faster than argmax(0)."""
    best = sums[0].copy()
    index = np.zeros(best.shape, np.uint8)
    better = np.empty(best.shape, bool)
    for k in range(1, len(sums)):
        np.greater(sums[k], best, out=better)
        np.maximum(best, sums[k], out=best)
        np.maximum(index, np.multiply(better.view(np.uint8), np.uint8(k)), out=index)
    return best, index


def _second(sums: np.ndarray, largest: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the largest of the other classes, and its index."""
    others = sums.copy()
    np.put_along_axis(others, largest[None].astype(np.intp), -np.inf, axis=0)
    if len(sums) == 1:
        return np.zeros_like(sums[0]), largest
    return _largest(others)


def _scaled(sums: np.ndarray, weights: np.ndarray, invalid: np.ndarray) -> np.ndarray:
    """Return sums / weights in 0..1 as 0..200, nodata where invalid."""
    scaled: np.ndarray = np.rint(np.clip(sums / weights, 0.0, 1.0) * 200.0).astype(np.uint8)
    scaled[..., invalid] = LAYER_NODATA
    return scaled
