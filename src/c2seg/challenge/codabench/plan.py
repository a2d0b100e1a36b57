"""``round.json`` in the reference data of a task: what the scoring program does there."""

from __future__ import annotations

from typing import Literal

from c2seg.records import Artifact

__all__ = ["REFERENCE_FILE", "ROUND_FILE", "ScoringRound"]

ROUND_FILE = "round.json"
REFERENCE_FILE = "reference.sqlite"
"""A leaderboard file without entries, with the ground truth of one stage."""


class ScoringRound(Artifact):
    """Which keys ``scores.json`` has, and whether the participant may see the scores."""

    artifact: Literal["codabench-round"] = "codabench-round"
    prefix: str = ""
    """Before every key: ``final_`` in the final."""
    is_hidden: bool = False
    """The page of an entry says only that it is valid."""
