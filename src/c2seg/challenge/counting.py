"""Count a submission against the withheld ground truth, in the two ways that a score of tiles may be meant.

*Tile-counted*: a pixel counts in every tile that holds it, as in the 2023 challenge, whose last tiles overlap their
neighbors. *Mosaic*: each pixel of the scene counts once, in the first tile that holds it, as in a score of the whole map.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from c2seg.challenge.rules import TileSet
from c2seg.challenge.submission import Decoder
from c2seg.challenge.withheld import ReferenceTile, first_pixels
from c2seg.metrics import Confusion, Scores, confusion_counts, scores
from c2seg.types import Window

__all__ = [
    "DIGITS",
    "METRICS",
    "PROTOCOL",
    "Counts",
    "MeanScores",
    "count_archive",
    "count_parts",
    "mean_scores",
    "scores_of",
]

METRICS = ("oa", "kappa", "mf1", "miou")
DIGITS = 4
"""Of scores that leave a board: with more, a few entries could find out single labels."""
PROTOCOL = "challenge"


@dataclass(frozen=True, slots=True)
class Counts:
    """The counts of a submission for one data set. ``mosaic`` is None where the places of the tiles are not known."""

    tiles: Confusion
    mosaic: Confusion | None


MeanScores = dict[str, float | None]
"""The four METRICS by name, as fractions 0..1; None if undefined."""


def count_archive(
    references: Callable[[int], ReferenceTile],
    tile_set: TileSet,
    places: Mapping[int, Window] | None,
    archive: Path,
    decoder: Decoder,
) -> Counts:
    """Count a submission over all tiles of the test set. Raises SubmissionError when it breaks a rule.

    ``references`` returns the ground truth of a tile by its number, ``places`` the tiles' windows in the scene. Memory holds
    one tile at a time.
    """
    whole = dict.fromkeys(tile_set.sizes, "all")
    return count_parts(references, tile_set, places, whole, archive, decoder)["all"]


def count_parts(
    references: Callable[[int], ReferenceTile],
    tile_set: TileSet,
    places: Mapping[int, Window] | None,
    parts: Mapping[int, str],
    archive: Path,
    decoder: Decoder,
) -> dict[str, Counts]:
    """Count a submission for parts of the test set, in one pass. ``parts`` names the part of every tile by its number.

    The counts of all parts add to those of ``count_archive``: a pixel of the mosaic belongs to the part of the first tile that
    holds it. Raises as ``count_archive`` does.
    """
    ids = tile_set.ids
    tiles = {part: Confusion.empty(ids) for part in parts.values()}
    mosaic = dict(tiles)
    first = first_pixels({n: places[n] for n in tile_set.sizes}) if places else None
    for number, pixels in decoder.tiles(archive, tile_set):
        part, labels = parts[number], references(number).labels.reshape(pixels.shape)
        counted = confusion_counts(labels, pixels, ids)
        tiles[part] += counted
        mask = next(first)[1] if first else None
        if mask is not None:
            mosaic[part] += counted if mask.all() else confusion_counts(labels[mask], pixels[mask], ids)
    return {part: Counts(tiles[part], mosaic[part] if places else None) for part in tiles}


def scores_of(confusion: Confusion | None) -> MeanScores:
    """Return the four metrics of the counts under the challenge's protocol, not rounded; all None without counts."""
    if confusion is None:
        return dict.fromkeys(METRICS)
    result: Scores = scores(confusion, PROTOCOL)
    return {metric: getattr(result, metric) for metric in METRICS}


def mean_scores(parts: Sequence[Mapping[str, float | None]]) -> MeanScores:
    """Return the plain means over data sets; None where one of them is undefined."""
    return {metric: _mean([part[metric] for part in parts]) for metric in METRICS}


def _mean(values: Sequence[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return fmean(known) if known and len(known) == len(values) else None
