"""What the commands of ``c2seg serve`` share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from c2seg.errors import InputError, needs_extra, unknown_name

if TYPE_CHECKING:
    from c2seg.server.service import Service
    from c2seg.server.views import Phase, Team

__all__ = ["ACTOR", "DATA", "MOMENTS", "opened", "phase_named", "server_extra", "team_named", "utc"]

ACTOR = "command line"
"""Of acts by the command line, in the audit log."""
DATA = typer.Argument(..., metavar="DATA", help="The server's data folder.")
MOMENTS = ["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"]


def server_extra() -> None:
    """Raise MissingExtraError where the server's packages are not installed."""
    with needs_extra("a challenge server", "server"):
        import alembic  # noqa: F401
        import huey  # noqa: F401
        import sqlalchemy  # noqa: F401


@contextmanager
def opened(data: Path) -> Iterator[Service]:
    """Open a data folder."""
    server_extra()
    from c2seg.server.service import open_service

    with open_service(data) as service:
        yield service


def team_named(service: Service, name: str) -> Team:
    """Return the team of a name, in any spelling. Raises InputError."""
    from c2seg.server.names import spelled

    teams = service.teams()
    for team in teams:
        if spelled(team.name) == spelled(name):
            return team
    raise InputError(unknown_name("team", name, [team.name for team in teams]))


def phase_named(service: Service, name: str) -> Phase:
    """Return the phase of a name. Raises InputError."""
    phases = service.challenge().phases
    for phase in phases:
        if phase.name == name:
            return phase
    raise InputError(unknown_name("phase", name, [phase.name for phase in phases]))


def utc(time: datetime | None) -> datetime | None:
    """Return a time of the command line, which is in UTC."""
    return None if time is None else time.replace(tzinfo=UTC)
