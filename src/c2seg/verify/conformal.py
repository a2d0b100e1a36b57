"""Prediction sets: the classes that a pixel may be of, so that the right one is missing in at most a share alpha of each class.

A class is in the set where its probability reaches the threshold of the class. Thresholds come from labeled points: the
conformal quantile of their own class' probability (Vovk et al. 2005; class by class: Mondrian, Sadinle, Lei and Wasserman
2019, 10.1080/01621459.2017.1395341). Points that stand for more pixels count more, because the sample is drawn otherwise than
the map's pixels are: weighted conformal prediction (Tibshirani et al. 2019, arXiv:1904.06019).

Axes: n point, K class, H row, W column.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from c2seg.errors import InputError
from c2seg.progress import Progress, no_progress
from c2seg.raster import RasterTags, write_cog
from c2seg.types import Window
from c2seg.verify.probabilities import ProbabilityLayer

__all__ = ["SetTotals", "class_thresholds", "left_out_coverage", "prediction_sets", "write_sets"]

_MOST_CLASSES = 32
_SLACK = 1e-6


@dataclass(frozen=True)
class SetTotals:
    """Pixels by size of their set, int64 [K + 1], and the bits of a pixel in the layer."""

    sizes: np.ndarray
    bits: int


def class_thresholds(
    probabilities: np.ndarray, reference: np.ndarray, weights: np.ndarray, alpha: float, heaviest: float | None = None
) -> np.ndarray:
    """Return the thresholds float64 [K]: the least probability by which a class is in the set.

    ``probabilities`` [n, K] and ``reference`` [n] (index) are of labeled points; ``weights`` [n] are the pixels that each
    stands for, and ``heaviest`` is the weight of the pixel to be predicted (None: the largest of the class, for which the
    sets are widest). With too few points of a class the threshold is 0: the class is in every set.
    """
    thresholds = np.zeros(probabilities.shape[1])
    for k in range(len(thresholds)):
        chosen = reference == k
        class_weights = weights[chosen]
        if len(class_weights):
            new = class_weights.max() if heaviest is None else heaviest
            thresholds[k] = _quantile(probabilities[chosen, k], class_weights, new, alpha)
    return thresholds


def prediction_sets(probabilities: np.ndarray, thresholds: np.ndarray, mapped: np.ndarray | None = None) -> np.ndarray:
    """Return bool [n, K]: the classes of each set. The most probable class (or ``mapped`` [n], an index) is always in it."""
    sets: np.ndarray = probabilities >= thresholds - _SLACK
    best = probabilities.argmax(1) if mapped is None else mapped
    sets[np.arange(len(sets)), best] = True
    return sets


def left_out_coverage(
    probabilities: np.ndarray, reference: np.ndarray, weights: np.ndarray, alpha: float
) -> float | None:
    """Return the weighted share of points whose class is in the set that the other points give; None without points."""
    if not len(reference):
        return None
    held = np.zeros(len(reference), bool)
    for index in range(len(reference)):
        rest = np.arange(len(reference)) != index
        chosen = rest & (reference == reference[index])
        mine = float(probabilities[index, reference[index]])
        threshold = _quantile(probabilities[chosen, reference[index]], weights[chosen], weights[index], alpha)
        held[index] = mine >= threshold - _SLACK or probabilities[index].argmax() == reference[index]
    return float((held * weights).sum() / weights.sum())


def write_sets(
    path: Path,
    layer: ProbabilityLayer,
    thresholds: np.ndarray,
    *,
    overwrite: bool,
    progress: Progress = no_progress,
) -> SetTotals:
    """Write the sets of a map's pixels as a cloud-optimized GeoTIFF, row by row.

    Band 1 has bit k for the class k of the legend (uint16, uint32 beyond 16 classes; 0 nodata), band 2 the size of the set.
    Raises InputError for more than 32 classes, OutputError if the file is not writable.
    """
    legend, grid = layer.class_map.legend, layer.class_map.grid
    classes = legend.num_classes
    if classes > _MOST_CLASSES:
        raise InputError(f"sets of {classes} classes do not fit {_MOST_CLASSES} bits; merge classes")
    dtype = np.uint16 if classes <= 16 else np.uint32
    sizes = np.zeros(classes + 1, np.int64)
    table = legend.index_table()

    def read_rows(first: int, last: int) -> np.ndarray:
        rows = np.zeros((2, last - first, grid.width), dtype)
        step = max(1, 4_000_000 // max(1, grid.width * classes))
        for start in range(first, last, step):
            window = Window(start, 0, min(step, last - start), grid.width)
            ids = layer.class_map.read_ids(window)
            values = layer.read(window)
            inside = (ids != 0) & np.isfinite(values[0])
            sets = prediction_sets(values[:, inside].T, thresholds, table[ids[inside]].astype(np.intp))
            size = sets.sum(1)
            sizes[:] += np.bincount(size, minlength=classes + 1)
            part = rows[:, start - first : start - first + window.height]
            part[0][inside] = (sets * (1 << np.arange(classes, dtype=np.int64))).sum(1)
            part[1][inside] = size
        progress(last, grid.height)
        return rows

    tags = {f"BIT_{k}": item.name for k, item in enumerate(legend.classes)}
    write_cog(
        path, read_rows, grid, count=2, dtype=dtype, nodata=0, overwrite=overwrite,
        tags=RasterTags({"LEGEND": legend.name, "SOFTWARE": "c2seg"}, [tags, {}], ["classes of the set", "size of the set"]),
    )  # fmt: skip
    return SetTotals(sizes, np.dtype(dtype).itemsize * 8)


def _quantile(scores: np.ndarray, weights: np.ndarray, new: float, alpha: float) -> float:
    """Return the largest threshold below which lies at most a share ``alpha`` of the weights, with the new pixel's at 0.

    ``scores`` [n] are the probabilities of the points' own class. Equation 7 of Tibshirani et al. (2019), for scores 1 - p.
    """
    order = np.argsort(scores, kind="stable")
    before = np.concatenate([[0.0], np.cumsum(weights[order])[:-1]]) + new
    total = weights.sum() + new
    allowed = np.flatnonzero(before <= alpha * total * (1 + 1e-12))
    return float(scores[order[allowed[-1]]]) if allowed.size else 0.0
