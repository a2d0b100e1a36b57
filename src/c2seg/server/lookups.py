"""Reading: the season, entries and the queue as frozen facts."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session, joinedload, selectinload

from c2seg.server.errors import Refusal
from c2seg.server.names import check_id
from c2seg.server.phases import all_phases
from c2seg.server.phases import view as phase_view
from c2seg.server.references import tile_set
from c2seg.server.results import PARTS, entry_scores
from c2seg.server.seasons import datasets, legend, season
from c2seg.server.tables import Archive as ArchiveRow
from c2seg.server.tables import Entry as EntryRow
from c2seg.server.tables import Result, Worker
from c2seg.server.views import (
    Archive,
    Challenge,
    DatasetFacts,
    Entry,
    EntryScores,
    Part,
    Phase,
    QueueState,
    Season,
    Status,
    WorkerState,
)

__all__ = [
    "board_is_public",
    "challenge",
    "entries",
    "entry",
    "entry_count",
    "queue_position",
    "queue_state",
    "status_of",
]

_MOST = 1000
_WAITING = ("queued", "scoring")


def challenge(session: Session, now: datetime) -> Challenge:
    """Return the season, its data sets and phases."""
    classes = legend(session)
    facts = tuple(DatasetFacts(row.name, tile_set(session, row.id, classes.ids)) for row in datasets(session))
    phases = all_phases(session)
    state = season(session)
    current = None if state.closed_at else next((phase for phase in phases if phase.is_open(now)), None)
    return Challenge(state, classes, facts, phases, current)


def board_is_public(facts: Season, phase: Phase, now: datetime) -> bool:
    """Return whether anybody may see the scores of a phase."""
    embargo = facts.embargo_until is not None and now < facts.embargo_until and phase.part != "public"
    return not phase.hidden and not embargo


def entry(session: Session, entry_id: int, now: datetime, *, private: bool) -> Entry:
    """Return an entry. Raises Refusal (unknown)."""
    views = _views(session, _query().where(EntryRow.id == check_id("entry", entry_id)), now, private=private)
    if not views:
        raise Refusal("unknown", f"there is no entry {entry_id}")
    return views[0]


def entries(
    session: Session, team_id: int | None, now: datetime, *, private: bool, limit: int, before: int | None
) -> tuple[Entry, ...]:
    """Return entries, the newest first."""
    query = _query().order_by(EntryRow.id.desc()).limit(max(0, min(limit, _MOST)))
    if team_id is not None:
        query = query.where(EntryRow.team_id == team_id)
    if before is not None:
        query = query.where(EntryRow.id < before)
    return tuple(_views(session, query, now, private=private))


def entry_count(session: Session) -> int:
    """Return how many entries there are."""
    return session.scalar(select(func.count()).select_from(EntryRow)) or 0


def queue_position(session: Session, entry_id: int) -> int | None:
    """Return the place of an entry in the queue; None if it does not wait."""
    waiting = _waiting().with_only_columns(EntryRow.id)
    if session.scalar(waiting.where(EntryRow.id == entry_id)) is None:
        return None
    return session.scalar(_waiting().with_only_columns(func.count()).where(EntryRow.id <= entry_id))


def queue_state(session: Session) -> QueueState:
    """Return what waits, and the workers."""
    counts = {
        status: session.scalar(_waiting().with_only_columns(func.count()).where(EntryRow.status == status)) or 0
        for status in _WAITING
    }
    oldest = session.scalar(_waiting().with_only_columns(EntryRow.received_at).order_by(EntryRow.id).limit(1))
    workers = session.scalars(select(Worker).order_by(Worker.seen_at.desc()))
    states = tuple(WorkerState(row.name, row.started_at, row.seen_at, row.entry_id) for row in workers)
    return QueueState(counts["queued"], counts["scoring"], oldest, states)


def status_of(row: EntryRow) -> Status:
    """Return the status as it is told: what people did counts more than what the worker did."""
    if row.disqualified_at is not None:
        return "disqualified"
    if row.withdrawn_at is not None:
        return "withdrawn"
    status: Status = row.status  # type: ignore[assignment]
    return status


def _waiting() -> Select[EntryRow]:
    return select(EntryRow).where(
        EntryRow.status.in_(_WAITING), EntryRow.withdrawn_at.is_(None), EntryRow.disqualified_at.is_(None)
    )


def _query() -> Select[EntryRow]:
    return select(EntryRow).options(
        joinedload(EntryRow.team),
        joinedload(EntryRow.phase),
        selectinload(EntryRow.archives).joinedload(ArchiveRow.dataset),
        selectinload(EntryRow.results),
    )


def _views(session: Session, query: Select[EntryRow], now: datetime, *, private: bool) -> list[Entry]:
    facts = season(session)
    names = [(row.id, row.name) for row in datasets(session)]
    rows = session.scalars(query.execution_options(populate_existing=True))
    return [_view(row, facts, names, now, private=private) for row in rows]


def _view(row: EntryRow, facts: Season, names: Sequence[tuple[int, str]], now: datetime, *, private: bool) -> Entry:
    phase = phase_view(row.phase)
    shown = private or board_is_public(facts, phase, now)
    status = status_of(row)
    return Entry(
        row.id, row.team_id, row.team.name, phase.id, phase.name, row.method, row.received_at, status,
        row.disqualified_for if status == "disqualified" else row.reason, row.digest,
        tuple(Archive(item.dataset.name, item.sha256, item.size) for item in row.archives), row.scored_at,
        entry_scores(row.results, names, phase.part) if shown else None,
        _by_part(row.results, names) if private else {},
    )  # fmt: skip


def _by_part(results: Sequence[Result], names: Sequence[tuple[int, str]]) -> dict[Part, EntryScores]:
    scores = {part: entry_scores(results, names, part) for part in PARTS}
    return {part: item for part, item in scores.items() if item is not None}
