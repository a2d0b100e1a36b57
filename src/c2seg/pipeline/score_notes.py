"""What limits the meaning of scores: labeled pixels without a prediction, rows matched by number, a city trained on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from c2seg.metrics import Confusion, MapPair
from c2seg.pipeline.few_shot import map_record

__all__ = ["score_notes", "uncovered_share"]

_MANY = 0.01
"""Share of labeled pixels without a class from which a note is given."""


def uncovered_share(counts: Confusion) -> float | None:
    """Return the share of labeled pixels where the map has no class of the legend; None without labeled pixels."""
    total = int(counts.counts.sum())
    return int(counts.counts[:, -1].sum()) / total if total else None


def score_notes(pairs: Sequence[MapPair], counts: Confusion) -> tuple[str, ...]:
    """Return notes on scores of these maps."""
    notes = []
    unplaced = [pair.unplaced for pair in pairs if pair.unplaced is not None]
    if unplaced:
        notes.append(f"{unplaced[0].name} has no georeference: rows and columns are compared directly")
    missing = uncovered_share(counts)
    if missing is not None and missing > _MANY:
        notes.append(f"the map has no class at {missing:.1%} of the labeled pixels; they count as errors")
    if any(pair.prediction.majority or pair.reference.majority for pair in pairs):
        notes.append("one of the two is finer: its most frequent class in each pixel of the other is compared")
    notes += dict.fromkeys(note for pair in pairs if (note := _trained_note(pair.prediction.path)))
    return tuple(notes)


def _trained_note(path: Path) -> str | None:
    """Return a note if the record of a map says that its model was trained on the labels of the city that it shows."""
    record = map_record(path)
    if record is None or record.run is None or record.run.trained is None or record.key is None:
        return None
    for source in record.run.trained.sources:
        if source.images == record.key.city:
            return f"{path.name}: the model was trained on the labels of this city ({source.name}), not a test of it"
    return None
