"""What holds for the season as a whole."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from c2seg.errors import DataError
from c2seg.legend import Legend
from c2seg.server.audit import note
from c2seg.server.errors import Refusal
from c2seg.server.names import check_text
from c2seg.server.tables import Dataset
from c2seg.server.tables import Season as SeasonRow
from c2seg.server.views import Counting, Season

__all__ = ["check_running", "datasets", "legend", "season", "season_row", "set_season"]


def season_row(session: Session) -> SeasonRow:
    """Return the row of the season. Raises DataError for a database without one."""
    row = session.get(SeasonRow, 1)
    if row is None:
        raise DataError("the database holds no season; make one with c2seg serve init")
    return row


def season(session: Session) -> Season:
    """Return the season."""
    row = season_row(session)
    counting: Counting = row.counting  # type: ignore[assignment]
    return Season(row.title, counting, row.created_at, row.embargo_until, row.closed_at)


def legend(session: Session) -> Legend:
    """Return the legend of all data sets."""
    return Legend.from_dict(json.loads(season_row(session).legend), "the season's legend")


def datasets(session: Session) -> list[Dataset]:
    """Return the data sets in their order."""
    return list(session.scalars(select(Dataset).order_by(Dataset.position)))


def check_running(session: Session) -> None:
    """Raise Refusal (closed) after the season's end."""
    if season_row(session).closed_at is not None:
        raise Refusal("closed", "the season is over")


def set_season(
    session: Session,
    actor: str,
    title: str | None,
    counting: Counting | None,
    embargo_until: datetime | None,
    *,
    lift_embargo: bool,
    closed: bool | None,
    now: datetime,
) -> None:
    """Change what is given. Raises Refusal (invalid)."""
    row = season_row(session)
    if title is not None:
        row.title = check_title(title)
    if counting is not None:
        row.counting = check_counting(counting)
    if embargo_until is not None:
        if embargo_until.tzinfo is None:
            raise Refusal("invalid", f"the time {embargo_until} has no zone; write 2027-01-31T12:00Z")
        row.embargo_until = embargo_until.astimezone(UTC)
    if lift_embargo:
        row.embargo_until = None
    if closed is not None:
        row.closed_at = (row.closed_at or now) if closed else None
    note(
        session, actor, "change season", "season", now, title=title, counting=counting, embargo_until=embargo_until,
        lift_embargo=lift_embargo or None, closed=closed,
    )  # fmt: skip


def check_title(title: str) -> str:
    """Return a title. Raises Refusal (invalid) for an empty one."""
    title = check_text("title", title, 200)
    if not title:
        raise Refusal("invalid", "a season has a title")
    return title


def check_counting(counting: str) -> Counting:
    """Return which entry counts. Raises Refusal (invalid) for any other word."""
    if counting == "best":
        return "best"
    if counting == "last":
        return "last"
    raise Refusal("invalid", f"of a team its best or its last entry counts, not {ascii(counting)[:40]}")
