"""What the server's core returns: frozen facts, read in one transaction. Times are in UTC, scores are fractions 0..1."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from c2seg.challenge.rows import Row, Scored
from c2seg.challenge.rules import TileSet
from c2seg.legend import Legend

__all__ = [
    "Archive",
    "AuditLine",
    "Board",
    "Challenge",
    "Counting",
    "DatasetFacts",
    "Entry",
    "EntryScores",
    "IssuedToken",
    "Part",
    "Phase",
    "Principal",
    "QueueState",
    "Quota",
    "Season",
    "Status",
    "Team",
    "Token",
    "WorkerState",
]

Status = Literal["queued", "scoring", "scored", "refused", "failed", "withdrawn", "disqualified"]
"""``refused``: the archives break a rule; ``failed``: the server could not score, which an organizer has to look at."""
Part = Literal["public", "private", "all"]
"""The tiles that a phase's scores are of."""
Counting = Literal["best", "last"]
"""Which entry of a team stands on the board."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Who holds a token: a team, or an organizer (``team_id`` is None)."""

    token_id: str
    team_id: int | None
    name: str
    """The team's name, or the organizer's."""

    @property
    def organizer(self) -> bool:
        """Whether it is an organizer."""
        return self.team_id is None

    @property
    def actor(self) -> str:
        """The name in the audit log."""
        return f"{'organizer' if self.organizer else 'team'} {self.name}"


@dataclass(frozen=True, slots=True)
class Token:
    """A token, without its secret. ``team_id`` is None for an organizer's."""

    id: str
    team_id: int | None
    name: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """A new token. ``text`` is what its holder shows; it is stored nowhere and cannot be shown again."""

    token: Token
    text: str


@dataclass(frozen=True, slots=True)
class Team:
    """A team. ``contact`` is what the organizer noted, and never public."""

    id: int
    name: str
    contact: str
    created_at: datetime
    disqualified_at: datetime | None
    reason: str | None
    """Why it is disqualified."""


@dataclass(frozen=True, slots=True)
class DatasetFacts:
    """A data set: what a submission for it must hold. Which tiles are public is not told."""

    name: str
    tile_set: TileSet

    @property
    def max_archive_bytes(self) -> int:
        """Upper bound of a valid archive."""
        return self.tile_set.max_archive_bytes


@dataclass(frozen=True, slots=True)
class Phase:
    """A time in which entries are taken, with its board. ``daily_quota`` counts by the UTC day."""

    id: int
    name: str
    opens_at: datetime
    closes_at: datetime | None
    part: Part
    hidden: bool
    """Whether its board and scores are for organizers only."""
    late: bool
    """Whether it follows the end of the challenge, with a board of its own."""
    daily_quota: int
    total_quota: int

    def is_open(self, now: datetime) -> bool:
        """Return whether entries are taken at a time."""
        return self.opens_at <= now and (self.closes_at is None or now < self.closes_at)

    def is_over(self, now: datetime) -> bool:
        """Return whether no more entries are taken."""
        return self.closes_at is not None and self.closes_at <= now


@dataclass(frozen=True, slots=True)
class Season:
    """What holds for the whole season. Until ``embargo_until`` no board of private tiles is public, hidden or not."""

    title: str
    counting: Counting
    created_at: datetime
    embargo_until: datetime | None
    closed_at: datetime | None
    """When an organizer ended the season: nothing is taken any more."""


@dataclass(frozen=True, slots=True)
class Challenge:
    """The season with its data sets and phases, in order. ``current`` is the phase that takes entries now."""

    season: Season
    legend: Legend
    datasets: tuple[DatasetFacts, ...]
    phases: tuple[Phase, ...]
    current: Phase | None

    @property
    def dataset_names(self) -> tuple[str, ...]:
        """The names of the data sets."""
        return tuple(dataset.name for dataset in self.datasets)


@dataclass(frozen=True, slots=True)
class Archive:
    """An archive of an entry as it was received."""

    dataset: str
    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class EntryScores:
    """The scores of an entry on the tiles ``part``: tile-counted, and each pixel of a scene once; to four digits."""

    part: Part
    tiles: Scored
    mosaic: Scored


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry, and all that its viewer may see of it."""

    id: int
    team_id: int
    team: str
    phase_id: int
    phase: str
    method: str
    received_at: datetime
    status: Status
    reason: str | None
    """Why it was refused, failed or disqualified."""
    digest: str
    """SHA-256 in hexadecimal over names and digests of its archives: the entry's content in one value."""
    archives: tuple[Archive, ...]
    scored_at: datetime | None
    scores: EntryScores | None
    """Those of its phase; None where it has none, or the viewer may not see them."""
    others: Mapping[Part, EntryScores]
    """For organizers: the scores on all parts. Empty for anybody else."""


@dataclass(frozen=True, slots=True)
class Quota:
    """What a team has used of a phase. ``resets_at`` is the next UTC midnight."""

    daily_used: int
    daily_quota: int
    total_used: int
    total_quota: int
    resets_at: datetime

    @property
    def remaining(self) -> int:
        """Entries that the team may add now."""
        return max(0, min(self.daily_quota - self.daily_used, self.total_quota - self.total_used))


@dataclass(frozen=True, slots=True)
class Board:
    """Lines of a phase: the ranking, or its history. ``part`` is what the scores are of."""

    phase: Phase
    part: Part
    datasets: tuple[str, ...]
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class AuditLine:
    """One act: who did what to which subject. Lines are never changed."""

    id: int
    at: datetime
    actor: str
    action: str
    subject: str
    details: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class WorkerState:
    """A worker process, as it last reported."""

    name: str
    started_at: datetime
    seen_at: datetime
    entry_id: int | None
    """The entry that it scores."""


@dataclass(frozen=True, slots=True)
class QueueState:
    """The queue as the organizer sees it."""

    queued: int
    scoring: int
    oldest_received_at: datetime | None
    workers: tuple[WorkerState, ...]
