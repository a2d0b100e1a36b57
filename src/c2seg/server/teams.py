"""Teams: the organizer adds them, and may disqualify them."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from c2seg.server.audit import note
from c2seg.server.errors import Refusal
from c2seg.server.names import check_id, check_name, check_text, spelled
from c2seg.server.tables import Team as TeamRow
from c2seg.server.views import Team

__all__ = ["all_teams", "create_team", "disqualify", "reinstate", "team", "team_row"]


def create_team(session: Session, name: str, contact: str, *, actor: str, now: datetime) -> Team:
    """Add a team. Raises Refusal (invalid) for a name that is no name, or that a team has in another spelling."""
    check_name("team", name)
    contact = check_text("contact", contact)
    same = session.scalar(select(TeamRow.name).where(TeamRow.spelling == spelled(name)))
    if same is not None:
        raise Refusal("invalid", f"there is a team {same} already")
    row = TeamRow(
        name=name, spelling=spelled(name), contact=contact, created_at=now, disqualified_at=None, reason=None
    )  # fmt: skip
    session.add(row)
    session.flush()
    note(session, actor, "create team", f"team {name}", now)
    return _view(row)


def all_teams(session: Session) -> tuple[Team, ...]:
    """Return all teams by name."""
    return tuple(_view(row) for row in session.scalars(select(TeamRow).order_by(TeamRow.spelling)))


def team(session: Session, team_id: int) -> Team:
    """Return a team. Raises Refusal (unknown)."""
    return _view(team_row(session, team_id))


def team_row(session: Session, team_id: int, *, lock: bool = False) -> TeamRow:
    """Return the row of a team; with ``lock`` no other transaction decides about it meanwhile."""
    row = session.get(TeamRow, check_id("team", team_id), with_for_update=lock or None)
    if row is None:
        raise Refusal("unknown", f"there is no team {team_id}")
    return row


def disqualify(session: Session, team_id: int, reason: str, *, actor: str, now: datetime) -> Team:
    """Disqualify a team. Raises Refusal: invalid without a reason, state if it is already."""
    row = team_row(session, team_id, lock=True)
    if row.disqualified_at is not None:
        raise Refusal("state", f"team {row.name} is disqualified already")
    row.disqualified_at, row.reason = now, reason_of(reason)
    note(session, actor, "disqualify team", f"team {row.name}", now, reason=row.reason)
    return _view(row)


def reinstate(session: Session, team_id: int, *, actor: str, now: datetime) -> Team:
    """Undo a disqualification."""
    row = team_row(session, team_id, lock=True)
    if row.disqualified_at is None:
        raise Refusal("state", f"team {row.name} is not disqualified")
    note(session, actor, "reinstate team", f"team {row.name}", now, reason=row.reason)
    row.disqualified_at = row.reason = None
    return _view(row)


def reason_of(text: str) -> str:
    """Return the reason of a disqualification. Raises Refusal (invalid) if none is given."""
    text = check_text("reason", text)
    if not text:
        raise Refusal("invalid", "a disqualification needs a reason")
    return text


def _view(row: TeamRow) -> Team:
    return Team(row.id, row.name, row.contact, row.created_at, row.disqualified_at, row.reason)
