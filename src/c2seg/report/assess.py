"""The quality of maps: scores with intervals, comparisons, and findings in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from c2seg.metrics import (
    Comparison,
    Confusion,
    Interval,
    Scores,
    bootstrap_scores,
    compare_maps,
    count_maps,
    scores,
)
from c2seg.progress import Progress, no_progress
from c2seg.report.views import View

__all__ = ["ScorePanel", "ScoredMap", "assess_view", "findings"]

_BLOCK_PX = 100  # without a CRS, as ``score``
_BLOCK_M = 1000.0  # side of the bootstrap's blocks: errors further apart are nearly independent
_LEAST_BLOCKS = 20  # with fewer an interval says little
_LEAST_PIXELS = 30  # of a class, for a statement about it
_RARE_RECALL = 0.01  # below it a class is called rarely detected


@dataclass(frozen=True)
class ScoredMap:
    """The scores of one run's map; ``intervals`` by score (95 %), None where there are too few blocks."""

    run: int
    confusion: Confusion
    scores: Scores
    intervals: Mapping[str, Interval] | None = None
    against_best: Mapping[str, Comparison] | None = None
    """Best run minus this one by score; None for the best itself."""

    @classmethod
    def of(cls, run: int, confusion: Confusion) -> ScoredMap:
        """Return the scores of counts under the challenge's protocol."""
        return cls(run, confusion, scores(confusion))


@dataclass(frozen=True)
class ScorePanel:
    """Scores of several runs over one ground truth.

    ``view`` is the index of the view that shows the maps, if any. ``memorized`` names the runs that were trained on the
    city that they are scored on.
    """

    title: str
    note: str
    names: Mapping[int, str]
    entries: tuple[ScoredMap, ...]
    view: int | None = None
    memorized: tuple[str, ...] = ()

    @property
    def best(self) -> ScoredMap:
        """The entry of the highest mIoU."""
        return max(self.entries, key=lambda e: -1.0 if e.scores.miou is None else e.scores.miou)


def assess_view(view: View, progress: Progress = no_progress) -> tuple[ScoredMap, ...]:
    """Count every map of a view against its ground truth, with a block bootstrap where there are enough blocks."""
    side_m = view.grid.pixel_side_m()
    block_px = _BLOCK_PX if side_m is None else int(np.clip(round(_BLOCK_M / side_m), 8, 1024))
    counted: list[tuple[int, list[Confusion]]] = []
    for index, entry in view.maps:
        blocks = count_maps([view.pair(entry)], block_px=block_px, progress=progress)
        counted.append((index, blocks))
    result = [ScoredMap.of(index, sum(blocks[1:], blocks[0])) for index, blocks in counted]
    if sum(block.pixels > 0 for block in counted[0][1]) < _LEAST_BLOCKS:
        return tuple(result)
    ranks = [-1.0 if a.scores.miou is None else a.scores.miou for a in result]
    best = int(np.argmax(ranks))
    return tuple(
        ScoredMap(
            entry.run, entry.confusion, entry.scores, _headline(bootstrap_scores(blocks)),
            compare_maps(counted[best][1], blocks) if k != best else None,
        )
        for k, (entry, (_, blocks)) in enumerate(zip(result, counted, strict=True))
    )  # fmt: skip


def _headline(intervals: Mapping[str, Interval | list[Interval]]) -> dict[str, Interval]:
    return {name: value for name, value in intervals.items() if isinstance(value, Interval)}


def findings(entry: ScoredMap, names: Mapping[int, str]) -> list[str]:
    """Say in words which classes a map gets right, misses and confuses."""
    result = entry.scores
    if not result.pixels or result.oa is None:
        return ["The ground truth labels no pixel of this map."]
    sentences = [f"{result.oa:.0%} of the {result.pixels:,} labeled pixels are right."]
    known = [
        (f1, names[i])
        for i, f1, n in zip(result.ids, result.f1, result.support, strict=True)
        if f1 is not None and n >= _LEAST_PIXELS
    ]
    good = [f"{name} (F1 {f1:.2f})" for f1, name in sorted(known, reverse=True)[:3] if f1 >= 0.5]
    if good:
        sentences.append(f"Right most often: {_list(good)}.")
    missed = [
        f"{names[i]} ({n:,} pixels)"
        for i, recall, n in zip(result.ids, result.recall, result.support, strict=True)
        if recall is not None and recall < _RARE_RECALL and n >= _LEAST_PIXELS
    ]
    if missed:
        sentences.append(f"Rarely detected (recall below {_RARE_RECALL}): {_list(missed)}.")
    return sentences + _confusions(entry.confusion, names)


def _confusions(confusion: Confusion, names: Mapping[int, str]) -> list[str]:
    """Return the three largest errors in pixels, with their share of the reference class."""
    counts = confusion.counts.copy()
    rows = counts.sum(1)
    np.fill_diagonal(counts, 0)
    sentences = []
    for place in np.argsort(counts, axis=None, kind="stable")[::-1][:3]:
        i, j = divmod(int(place), counts.shape[1])
        if not counts[i, j]:
            break
        error = (
            f"misclassified as {names[confusion.ids[j]]}" if j < len(confusion.ids) else "without a class in the map"
        )
        sentences.append(
            f"{counts[i, j] / rows[i]:.0%} of {names[confusion.ids[i]]} is {error} ({counts[i, j]:,} pixels)."
        )
    return sentences


def _list(items: Sequence[str]) -> str:
    return items[0] if len(items) == 1 else ", ".join(items[:-1]) + " and " + items[-1]
