"""What ``suggest`` writes: points to label for training. Without inclusion probability, nothing is estimated from them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Literal

from c2seg.errors import DataError
from c2seg.raster import short
from c2seg.records import Artifact, Record
from c2seg.verify.samples import GridRecord, LegendRecord, SampledMap

__all__ = ["PREFIX", "SuggestedPoint", "SuggestionRecord", "refuse_suggestion"]

PREFIX = "suggestion-"


class SuggestedPoint(Record):
    """A point to label: pixel center of ``row``, ``col``, and why it was picked.

    ``uncertainty`` is 0..1. ``distance`` is that of its image features to the nearest earlier point, in standard deviations
    of a band (None: it is the first).
    """

    id: int
    row: int
    col: int
    uncertainty: float
    distance: float | None


class SuggestionRecord(Artifact):
    """The JSON beside suggested points. ``exclude`` names the files of points whose surroundings were left out."""

    artifact: Literal["suggestion"] = "suggestion"
    path: str
    sample_id: str = ""
    """What labels name, as in a sample; it begins with ``suggestion-``."""
    map: SampledMap
    seed: int
    round: int
    """1 + the highest round of ``exclude``."""
    exclude: tuple[str, ...] = ()
    apart_px: int
    """Least distance between points, and to those of ``exclude``."""
    uncertainty: str
    """What tells how uncertain a pixel is: ``margin``, ``confidence`` or ``none``."""
    features: tuple[str, ...] = ()
    """The city's modalities that tell how different pixels are; empty: their places do."""
    legend: LegendRecord
    grid: GridRecord
    points: tuple[SuggestedPoint, ...]

    def signed(self) -> SuggestionRecord:
        """Return the record with its ``sample_id``, a digest of the map and the points."""
        content = [self.map.digest, self.round, [(point.id, point.row, point.col) for point in self.points]]
        digest = hashlib.sha256(json.dumps(content).encode())
        return self.model_copy(update={"sample_id": f"{PREFIX}{short(digest)}"})


def refuse_suggestion(path: Path, kind: str, sample_id: str = "") -> None:
    """Raise DataError if a file is of ``suggest``: by its record's ``artifact``, or by the id that its points name."""
    if kind == "suggestion" or sample_id.startswith(PREFIX):
        raise DataError(
            f"{path} holds points of `c2seg suggest`, which have no inclusion probability: nothing can be estimated from "
            "them; draw points with `c2seg sample`"
        )
