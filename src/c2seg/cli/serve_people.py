"""``c2seg serve``: teams and tokens."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import typer

from c2seg.cli.console import JSON, print_json
from c2seg.cli.serve_common import ACTOR, DATA, MOMENTS, opened, team_named, utc

__all__ = [
    "add_organizer",
    "add_team",
    "add_token",
    "disqualify_team",
    "reinstate_team",
    "revoke_token",
    "teams",
    "tokens",
]

TEAM = typer.Option(..., "--team", metavar="NAME", help="The team's name.")
UNTIL = typer.Option(None, "--until", formats=MOMENTS, help="End of the token, in UTC; default: none.")


def add_team(
    data: Path = DATA,
    name: str = typer.Argument(..., metavar="NAME", help="Name of the team."),
    contact: str = typer.Option("", "--contact", help="Whom to ask; for organizers only."),
    as_json: bool = JSON,
) -> None:
    """Add a team, and print its token, which is shown once."""
    with opened(data) as service:
        team, issued = service.create_team(name, contact, actor=ACTOR)
    _print_token(issued, as_json, team=team.name)


def add_token(data: Path = DATA, team: str = TEAM, until: datetime | None = UNTIL, as_json: bool = JSON) -> None:
    """Issue another token for a team."""
    with opened(data) as service:
        known = team_named(service, team)
        issued = service.issue_token(known.id, actor=ACTOR, expires_at=utc(until))
    _print_token(issued, as_json, team=known.name)


def add_organizer(
    data: Path = DATA,
    name: str = typer.Argument(..., metavar="NAME", help="The organizer's name, for the audit log."),
    until: datetime | None = UNTIL,
    as_json: bool = JSON,
) -> None:
    """Issue a token that may do everything."""
    with opened(data) as service:
        issued = service.issue_organizer_token(name, actor=ACTOR, expires_at=utc(until))
    _print_token(issued, as_json, organizer=name)


def revoke_token(
    data: Path = DATA,
    token: str = typer.Argument(..., metavar="ID", help="The token's public half, as `tokens` lists it."),
) -> None:
    """End a token at once."""
    with opened(data) as service:
        service.revoke_token(token, actor=ACTOR)


def tokens(data: Path = DATA, as_json: bool = JSON) -> None:
    """List tokens, without their secrets."""
    with opened(data) as service:
        rows = service.tokens()
    content = [
        {
            "id": row.id, "holder": row.name, "organizer": row.team_id is None, "created_at": row.created_at.isoformat(),
            "expires_at": row.expires_at and row.expires_at.isoformat(),
            "revoked_at": row.revoked_at and row.revoked_at.isoformat(),
        }
        for row in rows
    ]  # fmt: skip
    if as_json:
        print_json({"tokens": content})
        return
    for row in rows:
        kind = "organizer" if row.team_id is None else "team"
        ended = "  revoked" if row.revoked_at else ""
        typer.echo(f"{row.id}  {kind:<9}  {row.name}{ended}")


def teams(data: Path = DATA, as_json: bool = JSON) -> None:
    """List teams."""
    with opened(data) as service:
        rows = service.teams()
    if as_json:
        print_json({"teams": [
            {"id": row.id, "name": row.name, "contact": row.contact, "disqualified_for": row.reason} for row in rows
        ]})  # fmt: skip
        return
    for row in rows:
        typer.echo(f"{row.id:>4}  {row.name}{f'  disqualified: {row.reason}' if row.reason else ''}")


def disqualify_team(
    data: Path = DATA, team: str = TEAM, reason: str = typer.Option(..., "--reason", help="Why; the team sees it.")
) -> None:
    """Take a team off all boards, and take nothing more of it."""
    with opened(data) as service:
        service.disqualify_team(team_named(service, team).id, reason, actor=ACTOR)


def reinstate_team(data: Path = DATA, team: str = TEAM) -> None:
    """Undo a disqualification of a team."""
    with opened(data) as service:
        service.reinstate_team(team_named(service, team).id, actor=ACTOR)


def _print_token(issued: Any, as_json: bool, **holder: str) -> None:
    if as_json:
        print_json({**holder, "id": issued.token.id, "token": issued.text})
    else:
        typer.echo(issued.text)
