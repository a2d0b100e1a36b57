"""Validation on the sources (``validation.json``)."""

from __future__ import annotations

from typing import Literal

from c2seg.artifacts.scores import ConfusionCounts, ScoreValues
from c2seg.artifacts.upgrade import upgraded_validation
from c2seg.metrics import Confusion, scores
from c2seg.records import Artifact, Json

__all__ = ["ValidationRecord"]


class ValidationRecord(Artifact):
    """Counts over the held-out folds of the sources, pooled, and their scores under the challenge's protocol."""

    artifact: Literal["validation"] = "validation"
    kind: str
    """How pixels were held out, as a text."""
    scores: ScoreValues
    confusion: ConfusionCounts

    @classmethod
    def of(cls, kind: str, pooled: Confusion) -> ValidationRecord:
        """Return the record of counts."""
        return ValidationRecord(kind=kind, scores=ScoreValues.of(scores(pooled)), confusion=pooled)

    @classmethod
    def upgraded(cls, content: Json) -> Json:
        """Return a validation of 0.1.0 in the present layout."""
        return upgraded_validation(content)
