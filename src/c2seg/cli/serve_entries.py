"""``c2seg serve``: phases, entries and boards."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import typer

from c2seg.cli.console import JSON, OVERWRITE, print_json
from c2seg.cli.serve_common import ACTOR, DATA, MOMENTS, opened, phase_named, utc
from c2seg.errors import InputError

if TYPE_CHECKING:
    from c2seg.server.views import Entry, Phase

__all__ = [
    "add_phase",
    "board",
    "disqualify",
    "entries",
    "phases",
    "reinstate",
    "requeue",
    "set_phase",
    "withdraw",
]

NAME = typer.Argument(..., metavar="NAME", help="Name of the phase.")
ENTRY = typer.Argument(..., metavar="ENTRY", help="Number of the entry.")
DAILY = 5  # as in server.phases, which is not imported for the overview
TOTAL = 100


def add_phase(
    data: Path = DATA,
    name: str = NAME,
    opens: datetime | None = typer.Option(None, "--opens", formats=MOMENTS, help="In UTC; default: now."),
    closes: datetime | None = typer.Option(None, "--closes", formats=MOMENTS, help="In UTC; default: never."),
    part: Literal["public", "private", "all"] = typer.Option("public", "--part", help="Tiles that its scores are of."),
    hidden: bool = typer.Option(False, "--hidden", help="Scores and board for organizers only."),
    late: bool = typer.Option(False, "--late", help="It follows the end of the challenge."),
    daily_quota: int = typer.Option(DAILY, "--daily-quota", min=1, help="Entries of a team in a UTC day."),
    total_quota: int = typer.Option(TOTAL, "--total-quota", min=1, help="Entries of a team in the phase."),
    as_json: bool = JSON,
) -> None:  # fmt: skip
    """Add a phase. Phases do not overlap."""
    with opened(data) as service:
        phase = service.add_phase(
            name, utc(opens) or datetime.now(UTC), utc(closes), actor=ACTOR, part=part, hidden=hidden, late=late,
            daily_quota=daily_quota, total_quota=total_quota,
        )  # fmt: skip
    _print_phases([phase], as_json)


def set_phase(
    data: Path = DATA,
    name: str = NAME,
    rename: str | None = typer.Option(None, "--rename", metavar="NAME", help="New name."),
    opens: datetime | None = typer.Option(None, "--opens", formats=MOMENTS, help="In UTC."),
    closes: datetime | None = typer.Option(None, "--closes", formats=MOMENTS, help="In UTC."),
    hidden: bool | None = typer.Option(None, "--hidden/--shown", help="Scores and board for organizers only, or for all."),
    daily_quota: int | None = typer.Option(None, "--daily-quota", min=1, help="Entries of a team in a UTC day."),
    total_quota: int | None = typer.Option(None, "--total-quota", min=1, help="Entries of a team in the phase."),
    as_json: bool = JSON,
) -> None:  # fmt: skip
    """Change a phase: what is given."""
    with opened(data) as service:
        phase = service.set_phase(
            phase_named(service, name).id, actor=ACTOR, name=rename, opens_at=utc(opens), closes_at=utc(closes),
            hidden=hidden, daily_quota=daily_quota, total_quota=total_quota,
        )  # fmt: skip
    _print_phases([phase], as_json)


def phases(data: Path = DATA, as_json: bool = JSON) -> None:
    """List phases."""
    with opened(data) as service:
        rows = service.challenge().phases
    _print_phases(rows, as_json)


def entries(
    data: Path = DATA,
    team: str | None = typer.Option(None, "--team", metavar="NAME", help="Those of a team only."),
    limit: int = typer.Option(100, "--limit", min=1, max=1000, help="The newest so many."),
    as_json: bool = JSON,
) -> None:
    """List entries, the newest first, with all scores."""
    from c2seg.cli.serve_common import team_named

    with opened(data) as service:
        team_id = None if team is None else team_named(service, team).id
        rows = service.entries(team_id, private=True, limit=limit)
    if as_json:
        print_json({"entries": [_entry(row) for row in rows]})
        return
    for row in rows:
        miou = row.scores.tiles.means["miou"] if row.scores else None
        score = "     -" if miou is None else f"{miou:6.4f}"
        reason = f"  {row.reason}" if row.reason else ""
        typer.echo(
            f"{row.id:>6}  {row.received_at:%Y-%m-%d %H:%M}  {row.status:<12}  {score}  {row.team}: {row.method}{reason}"
        )


def withdraw(data: Path = DATA, entry: int = ENTRY) -> None:
    """Withdraw an entry."""
    with opened(data) as service:
        service.withdraw(entry, actor=ACTOR)


def disqualify(
    data: Path = DATA, entry: int = ENTRY, reason: str = typer.Option(..., "--reason", help="Why; the team sees it.")
) -> None:
    """Take an entry off the boards."""
    with opened(data) as service:
        service.disqualify_entry(entry, reason, actor=ACTOR)


def reinstate(data: Path = DATA, entry: int = ENTRY) -> None:
    """Undo a disqualification or withdrawal of an entry."""
    with opened(data) as service:
        service.reinstate_entry(entry, actor=ACTOR)


def requeue(data: Path = DATA, entry: int = ENTRY) -> None:
    """Score a failed entry again."""
    with opened(data) as service:
        service.requeue(entry, actor=ACTOR)


def board(
    data: Path = DATA,
    name: str = NAME,
    part: Literal["public", "private", "all"] | None = typer.Option(
        None, "--part", help="Tiles; default: the phase's."
    ),
    history: bool = typer.Option(False, "--history", help="Every entry by time."),
    csv: Path | None = typer.Option(None, "--csv", metavar="FILE", help="Write the table as CSV."),
    as_json: bool = JSON,
    overwrite: bool = OVERWRITE,
) -> None:
    """Show a board as organizers see it, also where it is hidden."""
    from c2seg.challenge.publish import board_csv
    from c2seg.outputs import Output, check_outputs, write_text

    if csv is not None:
        check_outputs([Output(csv, "csv", (".csv",))], [data], overwrite=overwrite)
    with opened(data) as service:
        phase = phase_named(service, name)
        table = (service.history if history else service.board)(phase.id, private=True, part=part)
    if table is None:
        raise InputError(f"phase {name} has no board")
    if csv is not None:
        write_text(csv, board_csv(table.rows, table.datasets), overwrite=overwrite)
    if as_json:
        rows = [row.as_dict() for row in table.rows]
        print_json({"phase": name, "part": table.part, "datasets": list(table.datasets), "rows": rows})
        return
    for row in table.rows:
        miou = row.means["miou"]
        score = "     -" if miou is None else f"{miou:6.4f}"
        typer.echo(f"{row.rank or '-':>4}  {score}  {row.team}: {row.method}  (entry {row.entry})")


def _print_phases(rows: tuple[Phase, ...] | list[Phase], as_json: bool) -> None:
    if as_json:
        print_json({"phases": [_phase(row) for row in rows]})
        return
    for row in rows:
        until = f"{row.closes_at:%Y-%m-%d %H:%M}" if row.closes_at else "open end"
        notes = f"{row.part} tiles{', hidden' if row.hidden else ''}{', late' if row.late else ''}"
        quotas = f"{row.daily_quota} a day, {row.total_quota} in all"
        typer.echo(f"{row.name}: {row.opens_at:%Y-%m-%d %H:%M} to {until} UTC, {notes}, {quotas}")


def _phase(row: Phase) -> dict[str, Any]:
    return {
        "id": row.id, "name": row.name, "opens_at": row.opens_at.isoformat(),
        "closes_at": row.closes_at and row.closes_at.isoformat(), "part": row.part, "hidden": row.hidden, "late": row.late,
        "daily_quota": row.daily_quota, "total_quota": row.total_quota,
    }  # fmt: skip


def _entry(row: Entry) -> dict[str, Any]:
    return {
        "id": row.id, "team": row.team, "phase": row.phase, "method": row.method, "status": row.status,
        "reason": row.reason, "received_at": row.received_at.isoformat(), "digest": row.digest,
        "archives": {item.dataset: {"sha256": item.sha256, "bytes": item.size} for item in row.archives},
        "scores": {part: {**item.tiles.as_dict(), "mosaic": item.mosaic.as_dict()} for part, item in row.others.items()},
    }  # fmt: skip
