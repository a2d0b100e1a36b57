"""Maps of models that were trained on labels of the city that they show: what scores leave out, and that they stand alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from c2seg.artifacts import MapRecord, TargetLabelsRecord
from c2seg.errors import C2SegError, DataError, InputError
from c2seg.legend import BACKGROUND, IGNORE
from c2seg.metrics import MapPair
from c2seg.metrics.maps import read_pair, strips
from c2seg.types import Window

__all__ = ["LeftOutPixels", "check_comparable", "leave_out", "left_out_pixels", "map_record", "trained_labels"]


@dataclass(frozen=True)
class _Near:
    """The pixels of a scene that are labeled in training, or near such; picklable."""

    labels: tuple[TargetLabelsRecord, ...]
    scene: str | None

    def __call__(self, window: Window) -> np.ndarray:
        near = np.zeros((window.height, window.width), bool)
        for labels in self.labels:
            near |= labels.mask(self.scene, window)
        return near


@dataclass(frozen=True)
class LeftOutPixels:
    """How many labeled pixels of the ground truth scores leave out, and of how many."""

    left_out: int
    labeled: int
    notes: tuple[str, ...]


def map_record(path: Path) -> MapRecord | None:
    """Return the record beside a map; None if there is none, or none of ours."""
    try:
        return MapRecord.read(path.with_suffix(".json"))
    except (C2SegError, OSError):
        return None


def trained_labels(path: Path) -> tuple[TargetLabelsRecord, ...]:
    """Return the labels on pixels of a map that its model was trained on; none where nothing is recorded beside it."""
    record = map_record(path)
    return record.labels_here() if record else ()


def leave_out(pairs: Sequence[MapPair]) -> tuple[MapPair, ...]:
    """Return pairs that do not count what a map's model was trained on, nor its surroundings."""
    return tuple(_without_labels(pair) for pair in pairs)


def left_out_pixels(pairs: Sequence[MapPair]) -> LeftOutPixels | None:
    """Return how many labeled pixels the pairs leave out; None where no model was trained on labels of what it shows.

    Raises DataError if nothing remains.
    """
    marked = [pair for pair in pairs if pair.left_out is not None]
    if not marked:
        return None
    left_out = labeled = 0
    for pair, window in strips(pairs):
        reference = read_pair(replace(pair, left_out=None), window)[0]
        here = (reference != BACKGROUND) & (reference != IGNORE)
        labeled += int(here.sum())
        left_out += int((here & pair.read_left_out(window)).sum())
    if labeled and left_out == labeled:
        raise DataError(
            f"{marked[0].prediction.path}: every labeled pixel of the ground truth is one that the model was trained on, or "
            "near one; give a ground truth of other places, or train with a smaller target_labels.guard_px"
        )
    notes = (
        f"{labels.text}; they and pixels up to {labels.guard_px} px from them are left out: {left_out:,} of {labeled:,} "
        "labeled pixels"
        for pair in marked
        for labels in trained_labels(pair.prediction.path)
    )
    return LeftOutPixels(left_out, labeled, tuple(dict.fromkeys(notes)))


def check_comparable(one: Path, other: Path) -> None:
    """Raise InputError where one of two maps is few-shot: its model has seen labels of a target, the other's none."""
    records = [map_record(path) for path in (one, other)]
    few_shot = [bool(record and record.few_shot) for record in records]
    if few_shot[0] != few_shot[1]:
        name = (one, other)[few_shot.index(True)].name
        raise InputError(
            f"{name} is few-shot: its model was trained on labels of the target, the other's was not; score each alone"
        )


def _without_labels(pair: MapPair) -> MapPair:
    record = map_record(pair.prediction.path)
    labels = record.labels_here() if record else ()
    return replace(pair, left_out=_Near(labels, record.scene)) if record and labels else pair
