"""Pseudo-labels for an unlabeled scene: the most confident pixels of every class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from c2seg.predict.decision import Decision
from c2seg.predict.engine import Predictor, Reader, predict_rows
from c2seg.predict.plan import WindowPlan
from c2seg.progress import Progress, no_progress

__all__ = ["UNLABELED", "pseudo_labels"]

UNLABELED = 255
_LEVELS = 4096


def pseudo_labels(
    reader: Reader,
    predictors: Sequence[Predictor],
    plan: WindowPlan,
    *,
    keep_fraction: float = 0.5,
    decision: Decision | None = None,
    weights: Sequence[float] | None = None,
    batch_size: int = 1,
    progress: Progress = no_progress,
) -> np.ndarray:
    """Return output indices uint8 [H, W], 255 where no class is confident enough or the scene is not valid.

    A pixel's class follows from the mean (by ``weights``) of the predictors' probabilities: the largest, or by ``decision``.
    Of the pixels of each class the ``keep_fraction`` in which that class is most probable stays (class-balanced self-training,
    Zou et al., ECCV 2018). Memory: 3 bytes a pixel.
    """
    height, width = plan.height, plan.width
    labels = np.full((height, width), UNLABELED, np.uint8)
    levels = np.zeros((height, width), np.uint16)
    counts = np.zeros((predictors[0].num_classes, _LEVELS), np.int64)
    strips_by_predictor = [predict_rows(reader, predictor, plan, batch_size=batch_size) for predictor in predictors]
    for strips in zip(*strips_by_predictor, strict=True):
        first = strips[0]
        rows = slice(first.first, first.last)
        probabilities = [strip.scores / strip.scores.sum(axis=0).clip(1e-12) for strip in strips]
        mean = np.average(probabilities, axis=0, weights=weights)
        label = _decided(mean, decision)
        confidence = np.take_along_axis(mean, label[None].astype(np.intp), axis=0)[0]
        level = (confidence * (_LEVELS - 1)).astype(np.uint16)
        counts += _counted(label[first.valid], level[first.valid], counts.shape)
        labels[rows] = np.where(first.valid, label, UNLABELED)
        levels[rows] = level
        progress(first.last, height, "pseudo-labels")
    least = _least_levels(counts, keep_fraction)
    for row in range(0, height, 512):
        part = labels[row : row + 512]
        part[levels[row : row + 512] < np.append(least, _LEVELS)[np.minimum(part, len(least))]] = UNLABELED
    return labels


def _decided(probabilities: np.ndarray, decision: Decision | None) -> np.ndarray:
    return (decision.classes(probabilities) if decision else probabilities.argmax(axis=0)).astype(np.uint8)


def _counted(label: np.ndarray, level: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    return np.bincount(label.astype(np.int64) * shape[1] + level, minlength=shape[0] * shape[1]).reshape(shape)


def _least_levels(counts: np.ndarray, keep: float) -> np.ndarray:
    """Return int64 [K]: the highest level from which upwards at least ``keep`` of each class's pixels lie."""
    above = counts[:, ::-1].cumsum(axis=1)[:, ::-1]  # pixels at this level or above
    reach = above >= np.ceil(keep * counts.sum(axis=1, keepdims=True))
    return np.asarray(counts.shape[1] - 1 - reach[:, ::-1].argmax(axis=1))
