"""What programs get: the JSON of the interface, version 1. No time, score or reason in it tells a label."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pydantic import Field

from c2seg.challenge.rows import Row, Scored
from c2seg.records import Record
from c2seg.server.views import AuditLine, Board, Challenge, Entry, EntryScores, Phase, Quota, Team

__all__ = [
    "AuditAnswer",
    "BoardAnswer",
    "ChallengeAnswer",
    "EntryAnswer",
    "EntryRequest",
    "MeAnswer",
    "NewTeam",
    "NewTeamAnswer",
    "TeamAnswer",
]


class PhaseAnswer(Record):
    """A phase. Times are UTC; quotas count entries of a team, the daily one by the UTC day."""

    id: int
    name: str
    opens_at: datetime
    closes_at: datetime | None
    part: str
    hidden: bool
    late: bool
    daily_quota: int
    total_quota: int

    @classmethod
    def of(cls, phase: Phase) -> PhaseAnswer:
        """Copy a phase."""
        return cls(**{name: getattr(phase, name) for name in cls.model_fields})


class DatasetAnswer(Record):
    """What an archive of a data set must hold: height and width of every tile by number."""

    name: str
    tiles: int
    max_archive_bytes: int
    sizes: dict[int, tuple[int, int]]


class ChallengeAnswer(Record):
    """The challenge as it stands."""

    title: str
    counting: str
    class_ids: tuple[int, ...]
    datasets: tuple[DatasetAnswer, ...]
    phases: tuple[PhaseAnswer, ...]
    current_phase: int | None
    embargo_until: datetime | None
    closed_at: datetime | None

    @classmethod
    def of(cls, challenge: Challenge) -> ChallengeAnswer:
        """Copy a challenge."""
        season = challenge.season
        datasets = tuple(
            DatasetAnswer(
                name=d.name, tiles=len(d.tile_set.sizes), max_archive_bytes=d.max_archive_bytes, sizes=dict(d.tile_set.sizes)
            )
            for d in challenge.datasets
        )  # fmt: skip
        return cls(
            title=season.title, counting=season.counting, class_ids=tuple(challenge.legend.ids), datasets=datasets,
            phases=tuple(PhaseAnswer.of(phase) for phase in challenge.phases),
            current_phase=challenge.current.id if challenge.current else None, embargo_until=season.embargo_until,
            closed_at=season.closed_at,
        )  # fmt: skip


class ScoredAnswer(Record):
    """Scores counted in one way, to four digits; null where undefined."""

    means: dict[str, float | None]
    datasets: dict[str, dict[str, float | None]]

    @classmethod
    def of(cls, scored: Scored) -> ScoredAnswer:
        """Copy scores."""
        return cls(means=dict(scored.means), datasets={name: dict(values) for name, values in scored.datasets.items()})


class RowAnswer(Record):
    """A line of a board."""

    rank: int | None
    entry: int
    team: str
    method: str
    received_at: str | None
    published: bool
    tiles: ScoredAnswer
    mosaic: ScoredAnswer

    @classmethod
    def of(cls, row: Row) -> RowAnswer:
        """Copy a line."""
        return cls(
            rank=row.rank, entry=row.entry, team=row.team, method=row.method, received_at=row.submitted_at,
            published=row.published, tiles=ScoredAnswer.of(row.tiles), mosaic=ScoredAnswer.of(row.mosaic),
        )  # fmt: skip


class BoardAnswer(Record):
    """A ranking, or a history (without ranks). ``hidden`` boards have no rows."""

    phase: PhaseAnswer
    hidden: bool
    part: str | None
    rows: tuple[RowAnswer, ...]

    @classmethod
    def of(cls, phase: Phase, board: Board | None) -> BoardAnswer:
        """Copy a board; None: it is hidden."""
        rows = () if board is None else tuple(RowAnswer.of(row) for row in board.rows)
        return cls(phase=PhaseAnswer.of(phase), hidden=board is None, part=board.part if board else None, rows=rows)


class ArchiveAnswer(Record):
    """An archive as it was received."""

    dataset: str
    sha256: str
    size: int


class ScoresAnswer(Record):
    """Scores of an entry on some of the tiles."""

    part: str
    tiles: ScoredAnswer
    mosaic: ScoredAnswer

    @classmethod
    def of(cls, scores: EntryScores) -> ScoresAnswer:
        """Copy scores."""
        return cls(part=scores.part, tiles=ScoredAnswer.of(scores.tiles), mosaic=ScoredAnswer.of(scores.mosaic))


class EntryAnswer(Record):
    """An entry. The first fields are its receipt, which does not change."""

    id: int
    team: str
    phase: str
    method: str
    received_at: datetime
    digest: str
    archives: tuple[ArchiveAnswer, ...]
    status: str
    reason: str | None
    queue_position: int | None = None
    scores: ScoresAnswer | None
    private_scores: dict[str, ScoresAnswer] = Field(default_factory=dict)
    """For organizers: by part of the tiles."""

    @classmethod
    def of(cls, entry: Entry, position: int | None = None) -> EntryAnswer:
        """Copy what the viewer may see of an entry."""
        return cls(
            id=entry.id, team=entry.team, phase=entry.phase, method=entry.method, received_at=entry.received_at,
            digest=entry.digest, status=entry.status, reason=entry.reason, queue_position=position,
            archives=tuple(ArchiveAnswer(dataset=a.dataset, sha256=a.sha256, size=a.size) for a in entry.archives),
            scores=ScoresAnswer.of(entry.scores) if entry.scores else None,
            private_scores={part: ScoresAnswer.of(scores) for part, scores in entry.others.items()},
        )  # fmt: skip

    def receipt(self) -> Mapping[str, Any]:
        """Return the plain values of what was received."""
        names = {"id", "team", "phase", "method", "received_at", "digest", "archives"}
        return self.model_dump(mode="json", include=names)


class EntryRequest(Record):
    """A new entry: finished uploads by data set, and the name of the method."""

    method: str = Field(max_length=1000)
    uploads: dict[str, str] = Field(max_length=100)


class QuotaAnswer(Record):
    """What a team has used of the open phase."""

    daily_used: int
    daily_quota: int
    total_used: int
    total_quota: int
    remaining: int
    resets_at: datetime

    @classmethod
    def of(cls, quota: Quota) -> QuotaAnswer:
        """Copy a quota."""
        return cls(**{name: getattr(quota, name) for name in cls.model_fields})


class MeAnswer(Record):
    """Whose token it is."""

    name: str
    organizer: bool
    phase: PhaseAnswer | None
    quota: QuotaAnswer | None


class TeamAnswer(Record):
    """A team, for organizers."""

    id: int
    name: str
    contact: str
    created_at: datetime
    disqualified_at: datetime | None
    reason: str | None

    @classmethod
    def of(cls, team: Team) -> TeamAnswer:
        """Copy a team."""
        return cls(**{name: getattr(team, name) for name in cls.model_fields})


class NewTeam(Record):
    """A team to add."""

    name: str = Field(max_length=1000)
    contact: str = Field(default="", max_length=1000)


class NewTeamAnswer(Record):
    """A new team, and its token, which is shown this once."""

    team: TeamAnswer
    token: str


class AuditAnswer(Record):
    """A line of the audit log."""

    id: int
    at: datetime
    actor: str
    action: str
    subject: str
    details: dict[str, str]

    @classmethod
    def of(cls, line: AuditLine) -> AuditAnswer:
        """Copy a line."""
        return cls(
            id=line.id,
            at=line.at,
            actor=line.actor,
            action=line.action,
            subject=line.subject,
            details=dict(line.details),
        )
