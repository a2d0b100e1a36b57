"""Phases: times in which entries are taken. They do not overlap, so that the time of receipt decides the phase."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from c2seg.server.audit import note
from c2seg.server.errors import Refusal
from c2seg.server.names import check_id, check_name
from c2seg.server.seasons import check_running
from c2seg.server.tables import Phase as PhaseRow
from c2seg.server.tables import ReferenceTile
from c2seg.server.views import Part, Phase

__all__ = [
    "DAILY_QUOTA",
    "TOTAL_QUOTA",
    "PhaseChanges",
    "PhaseValues",
    "add_phase",
    "all_phases",
    "current",
    "phase",
    "set_phase",
]

DAILY_QUOTA = 5
TOTAL_QUOTA = 100
_MOST = 1_000_000


@dataclass(frozen=True, slots=True)
class PhaseValues:
    """What a phase is made of; see ``views.Phase``."""

    name: str
    opens_at: datetime
    closes_at: datetime | None
    part: Part
    hidden: bool
    late: bool
    daily_quota: int
    total_quota: int


@dataclass(frozen=True, slots=True)
class PhaseChanges:
    """What to change of a phase; None: nothing."""

    name: str | None = None
    opens_at: datetime | None = None
    closes_at: datetime | None = None
    hidden: bool | None = None
    daily_quota: int | None = None
    total_quota: int | None = None


def add_phase(session: Session, values: PhaseValues, *, actor: str, now: datetime) -> Phase:
    """Add a phase. Raises Refusal (invalid) for values that make no sense or a phase at the same time."""
    check_running(session)
    if values.part != "all":
        _check_part(session, values.part)
    row = PhaseRow(**{field.name: _utc(getattr(values, field.name)) for field in fields(values)})
    _check(session, row, None)
    session.add(row)
    session.flush()
    note(session, actor, "add phase", f"phase {row.name}", now, **_shown(row))
    return view(row)


def set_phase(session: Session, phase_id: int, changes: PhaseChanges, *, actor: str, now: datetime) -> Phase:
    """Change a phase. Raises Refusal (invalid) as ``add_phase``."""
    check_running(session)
    row = _row(session, phase_id)
    given = {f.name: value for f in fields(changes) if (value := getattr(changes, f.name)) is not None}
    with session.no_autoflush:
        for name, value in given.items():
            setattr(row, name, _utc(value))
        _check(session, row, row.id)
    note(session, actor, "change phase", f"phase {row.name}", now, **given)
    return view(row)


def all_phases(session: Session) -> tuple[Phase, ...]:
    """Return all phases by time."""
    return tuple(view(row) for row in session.scalars(select(PhaseRow).order_by(PhaseRow.opens_at)))


def phase(session: Session, phase_id: int) -> Phase:
    """Return a phase. Raises Refusal (unknown)."""
    return view(_row(session, phase_id))


def current(session: Session, now: datetime) -> Phase | None:
    """Return the phase that takes entries at a time."""
    return next((item for item in all_phases(session) if item.is_open(now)), None)


def view(row: PhaseRow) -> Phase:
    """Return the facts of a row."""
    part: Part = row.part  # type: ignore[assignment]
    return Phase(
        row.id, row.name, row.opens_at, row.closes_at, part, row.hidden, row.late, row.daily_quota, row.total_quota
    )


def _check(session: Session, row: PhaseRow, phase_id: int | None) -> None:
    check_name("phase", row.name)
    if row.closes_at is not None and row.closes_at <= row.opens_at:
        raise Refusal("invalid", f"phase {row.name} closes before it opens")
    if not 1 <= row.daily_quota <= _MOST or not 1 <= row.total_quota <= _MOST:
        raise Refusal("invalid", f"quotas are whole numbers from 1 to {_MOST}")
    for item in all_phases(session):
        if item.id == phase_id:
            continue
        if item.name == row.name:
            raise Refusal("invalid", f"there is a phase {row.name} already")
        if _before(item.opens_at, row.closes_at) and _before(row.opens_at, item.closes_at):
            raise Refusal("invalid", f"phase {row.name} is at the same time as phase {item.name}")


def _before(start: datetime, end: datetime | None) -> bool:
    return end is None or start < end


def _check_part(session: Session, part: Part) -> None:
    """Raise Refusal for a part that has no tile: a season without a split has public tiles only."""
    if not session.scalar(select(func.count()).select_from(ReferenceTile).where(ReferenceTile.part == part)):
        raise Refusal(
            "invalid", f"the season has no {part} tiles; make it with a public share below 1, or use all tiles"
        )


def _utc(value: Any) -> Any:
    """Return a time in UTC, and any other value as it is. Raises Refusal (invalid) for a time without a zone."""
    if not isinstance(value, datetime):
        return value
    if value.tzinfo is None:
        raise Refusal("invalid", f"the time {value} has no zone; write 2027-01-31T12:00Z")
    return value.astimezone(UTC)


def _row(session: Session, phase_id: int) -> PhaseRow:
    row = session.get(PhaseRow, check_id("phase", phase_id))
    if row is None:
        raise Refusal("unknown", f"there is no phase {phase_id}")
    return row


def _shown(row: PhaseRow) -> dict[str, object]:
    names = ("opens_at", "closes_at", "part", "hidden", "late", "daily_quota", "total_quota")
    return {name: getattr(row, name) for name in names}
