"""Fuse the scores of several maps: a weighted mean, then rules that take a class from an expert.

Axes: K class, H row, W column.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from c2seg.errors import InputError
from c2seg.fusion.sources import ScoreMap
from c2seg.predict.layers import LAYER_STEPS, largest
from c2seg.types import Window

__all__ = ["SECOND_PLACE", "Fused", "Rule", "Rules", "fuse_window"]

SECOND_PLACE = {7: "hsi", 1: "sar", 2: "msi"}
"""Arable land from the hyperspectral expert, water from the radar one, streets from the multispectral one; in this order,
streets last so that thin ones survive. The second place of the challenge combined separate models for these three classes; how
it did so is not published."""


@dataclass(frozen=True)
class Rule:
    """Take a class (its position in the legend) from an expert's map."""

    index: int
    expert: ScoreMap


@dataclass(frozen=True)
class Rules:
    """Rules in order, and their kind.

    By default a pixel takes the class where it is the expert's most probable class. With ``threshold`` the expert's
    probability must reach that value, too. ``soft``: the class's probability becomes the mean of the base's and the expert's.
    """

    rules: tuple[Rule, ...] = ()
    threshold: float | None = None
    soft: bool = False

    def __post_init__(self) -> None:
        if self.soft and self.threshold is not None:
            raise InputError("a rule is soft or has a threshold, not both")
        if (self.soft or self.threshold is not None) and not self.rules:
            raise InputError("soft and threshold say how experts decide; give hsi, sar, msi or rules")
        if self.threshold is not None and not 0 <= self.threshold <= 1:
            raise InputError(f"the threshold is a probability (0 to 1), found {self.threshold}")
        if (self.soft or self.threshold is not None) and (plain := [r for r in self.rules if r.expert.plain]):
            raise InputError(
                f"{plain[0].expert.file.path} is a class map: soft rules and thresholds need probabilities, as "
                "predict writes them with `probabilities`"
            )


@dataclass(frozen=True)
class Fused:
    """A window of the fused map: positions of classes uint8 [H, W], probabilities float32 [K, H, W] in half percents (0..200),
    where there is data bool [H, W]; by rule, pixels where it held and pixels whose class it changed."""

    index: np.ndarray
    scores: np.ndarray
    valid: np.ndarray
    held: tuple[int, ...]
    changed: tuple[int, ...]


def fuse_window(maps: Sequence[ScoreMap], weights: Sequence[float], rules: Rules, window: Window) -> Fused:
    """Return a window of the fused map.

    The base is the weighted mean of the maps that have data at a pixel. Rules apply where the base and the expert have
    data, one after the other; the lowest class wins a tie. Where a rule took over, the probabilities are the expert's.
    """
    scores, valid = _mean(maps, weights, window)
    index = largest(scores)[1]
    held, changed = [], []
    for rule in rules.rules:
        expert, known = rule.expert.read(window)
        mask = valid & known
        if rules.soft:
            scores[rule.index, mask] = (scores[rule.index, mask] + expert[rule.index, mask]) / 2  # float: no overflow
            after = largest(scores)[1]
        else:
            mask &= largest(expert)[1] == rule.index
            if rules.threshold is not None:
                mask &= expert[rule.index] >= np.float32(rules.threshold * LAYER_STEPS)
            after = np.where(mask, np.uint8(rule.index), index)
            np.copyto(scores, expert, where=mask)
        held.append(int(mask.sum()))
        changed.append(int((valid & (after != index)).sum()))
        index = after
    if rules.soft:
        scores *= LAYER_STEPS / np.maximum(scores.sum(axis=0), np.float32(1e-6))
    return Fused(index, scores, valid, tuple(held), tuple(changed))


def _mean(maps: Sequence[ScoreMap], weights: Sequence[float], window: Window) -> tuple[np.ndarray, np.ndarray]:
    scores = np.zeros((maps[0].legend.num_classes, window.height, window.width), np.float32)
    total = np.zeros(scores.shape[1:], np.float32)
    for source, weight in zip(maps, weights, strict=True):
        values, known = source.read(window)
        scores += np.float32(weight) * values
        total += np.float32(weight) * known
    valid = total > 0
    scores /= np.where(valid, total, np.float32(1))
    return scores, valid
