"""What ``suggest`` writes: points to label for training. Without inclusion probability, nothing is estimated from them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from c2seg.errors import DataError
from c2seg.records import Artifact, Record
from c2seg.verify.samples import GridRecord, LegendRecord, SampledMap

__all__ = ["SuggestedPoint", "SuggestionRecord", "refuse_suggestion"]


class SuggestedPoint(Record):
    """A point to label: pixel center of ``row``, ``col``, and why it was picked."""

    id: int
    row: int
    col: int
    reason: str


class SuggestionRecord(Artifact):
    """The JSON beside suggested points. ``exclude`` names the earlier rounds whose surroundings were left out."""

    artifact: Literal["suggestion"] = "suggestion"
    path: str
    suggestion_id: str = ""
    map: SampledMap
    seed: int
    round: int
    exclude: tuple[str, ...] = ()
    uncertainty: str
    """What tells how uncertain a pixel is: ``margin``, ``confidence``, ``class`` (rarity alone)."""
    features: tuple[str, ...] = ()
    """The city's modalities that tell how different pixels are."""
    legend: LegendRecord
    grid: GridRecord
    points: tuple[SuggestedPoint, ...]


def refuse_suggestion(path: Path, kind: str) -> None:
    """Raise DataError if a file is of ``suggest`` (``kind``: its record's ``artifact``)."""
    if kind == "suggestion":
        raise DataError(
            f"{path} holds points of `c2seg suggest`, which have no inclusion probability: nothing can be estimated from "
            "them; draw points with `c2seg sample`"
        )
