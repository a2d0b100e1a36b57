"""Scores inside a source on a random split of overlapping tiles, as the challenge's third place published them.

Such a split leaks: nearly every pixel of validation is also trained on. These records are for comparison with published numbers
alone.
"""

from __future__ import annotations

from typing import Literal

from c2seg.artifacts.scores import ConfusionCounts, ScoreValues
from c2seg.data.splits import LeakReport, TileSplit
from c2seg.data.tiling import TileGrid
from c2seg.metrics import Confusion, scores
from c2seg.records import CheckedArtifact, Record

__all__ = ["OFFLINE_PROTOCOL", "Checkpoints", "OfflineRecord", "SplitRecord", "TileScores"]

OFFLINE_PROTOCOL = "mrsn"
"""Background counts as a 14th class, absent classes score 0 (Table II of the challenge)."""


class TileScores(Record):
    """Scores over the tiles of validation after ``step`` iterations (None: of a forest); overlaps count twice."""

    step: int | None
    scores: ScoreValues
    confusion: ConfusionCounts

    @classmethod
    def of(cls, step: int | None, counts: Confusion) -> TileScores:
        """Return the scores of counts that have background as a class."""
        return cls(step=step, scores=ScoreValues.of(scores(counts, OFFLINE_PROTOCOL)), confusion=counts)

    @property
    def miou(self) -> float:
        """What chooses the best weights; 0 where undefined."""
        return self.scores.miou or 0.0


class SplitRecord(Record):
    """A split of a city's overlapping tiles, and its leak in pixels that are counted once."""

    released: bool
    """The third place's own list; False: a random one by its rule."""
    tile_px: int
    step_px: int
    training_tiles: int
    validation_tiles: int
    leaking_tiles: int
    """Validation tiles that overlap a training tile."""
    validation_px: int
    leaked_px: int

    @classmethod
    def of(cls, split: TileSplit, tiles: TileGrid, leak: LeakReport) -> SplitRecord:
        """Return the record of a split of these tiles."""
        return cls(
            released=split.is_released,
            tile_px=tiles.tile_px,
            step_px=tiles.step_px,
            training_tiles=len(split.train),
            validation_tiles=leak.validation_tiles,
            leaking_tiles=leak.leaking_tiles,
            validation_px=leak.validation_px,
            leaked_px=leak.leaked_px,
        )

    @property
    def leak(self) -> float:
        """Share of the pixels of validation that are also trained on."""
        return self.leaked_px / self.validation_px


class OfflineRecord(Record):
    """The offline scores of one training, of its last weights and of those that were best on the validation tiles."""

    splits: tuple[SplitRecord, ...]
    """Of each scene."""
    background: bool
    """The model can predict the background; False: it never does."""
    checkpoints: tuple[TileScores, ...]
    """In the order of their steps; the last is that of the model."""

    @property
    def last(self) -> TileScores:
        """Of the last weights."""
        return self.checkpoints[-1]

    @property
    def best(self) -> TileScores | None:
        """Of the weights that the validation tiles chose, the first of equals; None: only the last were scored."""
        if len(self.checkpoints) < 2:
            return None
        return max(self.checkpoints, key=lambda one: one.miou)


class Checkpoints(CheckedArtifact):
    """Scores of the weights during a training (``checkpoints.json``), beside the best of them (``best.safetensors``)."""

    artifact: Literal["checkpoints"] = "checkpoints"
    scored: tuple[TileScores, ...]
