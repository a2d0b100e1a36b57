"""Boards: of every team the entry that counts, ranked; and the history of a phase."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload, selectinload

from c2seg.challenge.rows import Row
from c2seg.server.lookups import board_is_public
from c2seg.server.phases import phase as phase_of
from c2seg.server.results import entry_scores
from c2seg.server.seasons import datasets, season
from c2seg.server.tables import Entry as EntryRow
from c2seg.server.tables import Team
from c2seg.server.views import Board, Part, Phase, Season

__all__ = ["board", "history"]


@dataclass(frozen=True, slots=True)
class _Line:
    team_id: int
    row: Row


def board(session: Session, phase_id: int, now: datetime, *, private: bool, part: Part | None) -> Board | None:
    """Return the ranking of a phase; None if the viewer may not see it."""
    phase, facts = phase_of(session, phase_id), season(session)
    if not private and not board_is_public(facts, phase, now):
        return None
    shown = _part(phase, private=private, part=part)
    rows = _ranked(_counting(_lines(session, phase, shown), facts))
    return Board(phase, shown, _names(session), tuple(rows))


def history(session: Session, phase_id: int, now: datetime, *, private: bool, part: Part | None) -> Board | None:
    """Return the scored entries of a phase by time; None if the viewer may not see them."""
    phase = phase_of(session, phase_id)
    if not private and not board_is_public(season(session), phase, now):
        return None
    shown = _part(phase, private=private, part=part)
    return Board(phase, shown, _names(session), tuple(line.row for line in _lines(session, phase, shown)))


def _part(phase: Phase, *, private: bool, part: Part | None) -> Part:
    return part if private and part is not None else phase.part


def _names(session: Session) -> tuple[str, ...]:
    return tuple(row.name for row in datasets(session))


def _lines(session: Session, phase: Phase, part: Part) -> list[_Line]:
    """Return the entries that have scores and that nobody took off, by time of receipt."""
    query = (
        select(EntryRow)
        .join(Team)
        .where(
            EntryRow.phase_id == phase.id, EntryRow.status == "scored", EntryRow.withdrawn_at.is_(None),
            EntryRow.disqualified_at.is_(None), Team.disqualified_at.is_(None),
        )
        .order_by(EntryRow.received_at, EntryRow.id)
        .options(joinedload(EntryRow.team), selectinload(EntryRow.results))
    )  # fmt: skip
    names = [(row.id, row.name) for row in datasets(session)]
    lines = []
    for entry in session.scalars(query):
        scores = entry_scores(entry.results, names, part)
        if scores is not None:
            time = entry.received_at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
            row = Row(None, entry.id, entry.team.name, entry.method, time, False, scores.tiles, scores.mosaic)
            lines.append(_Line(entry.team_id, row))
    return lines


def _counting(lines: Sequence[_Line], facts: Season) -> list[Row]:
    """Return the entry of every team that counts. Lines come by time, so that the earlier of equal ones is the best."""
    chosen: dict[int, Row] = {}
    for line in lines:
        current = chosen.get(line.team_id)
        if current is None or facts.counting == "last" or _score(line.row) > _score(current):
            chosen[line.team_id] = line.row
    return list(chosen.values())


def _ranked(rows: Sequence[Row]) -> list[Row]:
    """Return rows by mIoU; of equal ones the first received is before."""
    ordered = sorted(rows, key=lambda row: (-_score(row), row.submitted_at, row.entry))
    return [replace(row, rank=rank) for rank, row in enumerate(ordered, 1)]


def _score(row: Row) -> float:
    return row.means["miou"] or 0.0
