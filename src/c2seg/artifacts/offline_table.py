"""Offline scores in a benchmark: of a run, and as rows of the challenge's Tables II and III."""

from __future__ import annotations

from typing import Literal

from c2seg.artifacts.offline import SplitRecord
from c2seg.artifacts.scores import ScoreRecord
from c2seg.records import Record

__all__ = ["OfflineAcross", "OfflineRow", "Spread"]

Spread = tuple[float | None, float | None]
"""Mean and standard deviation over seeds; None: not known."""


class OfflineAcross(Record):
    """Scores of maps of the target by the very weights that were scored offline."""

    last: ScoreRecord
    best: ScoreRecord | None = None
    """Of the weights that the validation tiles chose; None: they are the last, or only the last were scored."""


class OfflineRow(Record):
    """The last or the best weights of a recipe on a pair, over its seeds: inside the source, where the split leaks, under the
    third place's convention, and across the cities under the challenge's."""

    pair: str
    label: str
    weights: Literal["last", "best"]
    seeds: int
    steps: tuple[int | None, ...]
    """Iterations by seed; None: of a forest."""
    dataset: str | None
    """``AB`` or ``BW``, by the number of tiles; None: another city."""
    splits: tuple[SplitRecord, ...]
    background: bool
    random_start: bool
    """Starts at random, though it is published with pretrained weights."""
    oa: Spread
    miou: Spread
    mf1: Spread
    across_oa: Spread
    across_miou: Spread
    across_mf1: Spread
    parameters: int | None
