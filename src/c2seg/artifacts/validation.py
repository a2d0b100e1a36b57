"""Validation on the sources (``validation.json``)."""

from __future__ import annotations

from typing import Literal

import numpy as np

from c2seg.artifacts.offline import OfflineRecord
from c2seg.artifacts.scores import ConfusionCounts, ScoreValues
from c2seg.artifacts.upgrade import upgraded_validation
from c2seg.metrics import Confusion, scores
from c2seg.metrics.reliability import Reliability
from c2seg.records import Artifact, Json, Record

__all__ = ["ValidationRecord"]


class ReliabilityRecord(Record):
    """Pixels and right ones by bin of the probability of the decided class, before any temperature; bins of equal width."""

    pixels: tuple[int, ...]
    right: tuple[int, ...]

    @classmethod
    def of(cls, counts: Reliability) -> ReliabilityRecord:
        """Return the record of counts."""
        return cls(pixels=tuple(counts.pixels.tolist()), right=tuple(counts.right.tolist()))

    def counts(self) -> Reliability:
        """Return the counts."""
        return Reliability(np.array(self.pixels, np.int64), np.array(self.right, np.int64))


class ValidationRecord(Artifact):
    """Counts over the held-out folds of the sources, pooled, and their scores under the challenge's protocol."""

    artifact: Literal["validation"] = "validation"
    kind: str
    """How pixels were held out, as a text."""
    scores: ScoreValues
    confusion: ConfusionCounts
    reliability: ReliabilityRecord | None = None
    """How often the model's probabilities were right there; None: not recorded."""
    offline: OfflineRecord | None = None
    """Of a random split of overlapping tiles: the scores as the challenge's third place counted them; None: guarded folds."""

    @classmethod
    def of(
        cls,
        kind: str,
        pooled: Confusion,
        reliability: Reliability | None = None,
        offline: OfflineRecord | None = None,
    ) -> ValidationRecord:
        """Return the record of counts."""
        counts = None if reliability is None else ReliabilityRecord.of(reliability)
        return ValidationRecord(
            kind=kind, scores=ScoreValues.of(scores(pooled)), confusion=pooled, reliability=counts, offline=offline
        )

    @classmethod
    def upgraded(cls, content: Json) -> Json:
        """Return a validation of 0.1.0 in the present layout."""
        return upgraded_validation(content)
