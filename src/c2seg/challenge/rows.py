"""A line of the leaderboard: an entry, with its scores by tiles and over the mosaic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from c2seg.challenge.counting import DIGITS, METRICS, MeanScores

__all__ = ["Row", "Scored", "rounded"]


@dataclass(frozen=True, slots=True)
class Scored:
    """Scores of an entry that were counted in one way: their plain ``means``, and those by data set.

    Values are fractions 0..1 to four digits: oa, kappa, mf1, miou; None if unknown.
    """

    means: Mapping[str, float | None]
    datasets: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)

    def as_dict(self) -> dict[str, object]:
        """Return plain values for JSON: the means, and ``datasets``."""
        return {**self.means, "datasets": {name: dict(values) for name, values in self.datasets.items()}}


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the leaderboard.

    ``entry`` is the entry's number in its leaderboard, which stays. ``rank`` is None for published rows on a board whose data
    are not the challenge's, and in a history. ``tiles`` holds the tile-counted scores, by which entries are ranked, ``mosaic``
    those that count each pixel of a scene once (all None where the places of the tiles are not known).
    """

    rank: int | None
    entry: int
    team: str
    method: str
    submitted_at: str | None
    published: bool
    tiles: Scored
    mosaic: Scored

    @property
    def means(self) -> Mapping[str, float | None]:
        """The tile-counted means over the data sets."""
        return self.tiles.means

    @property
    def datasets(self) -> Mapping[str, Mapping[str, float | None]]:
        """The tile-counted scores by data set."""
        return self.tiles.datasets

    def as_dict(self) -> dict[str, object]:
        """Return plain values for JSON: tile-counted scores, and those of the mosaic under ``mosaic``."""
        return {
            "rank": self.rank, "id": self.entry, "team": self.team, "method": self.method,
            "submitted_at": self.submitted_at, "published": self.published, **self.tiles.as_dict(),
            "mosaic": self.mosaic.as_dict(),
        }  # fmt: skip


def rounded(values: Sequence[float | None]) -> MeanScores:
    """Return the four metrics by name, to the digits that may leave a board."""
    return {m: None if v is None else round(v, DIGITS) for m, v in zip(METRICS, values, strict=True)}
