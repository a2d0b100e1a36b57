"""The interface for programs, version 1: JSON in and out, a token in ``Authorization``."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from c2seg.server.errors import Refusal
from c2seg.server.views import Entry, Part, Principal
from c2seg.server.web.access import OrganizerToken, Reader, TeamToken, TheSite
from c2seg.server.web.answers import (
    AuditAnswer,
    BoardAnswer,
    ChallengeAnswer,
    EntryAnswer,
    EntryRequest,
    MeAnswer,
    NewTeam,
    NewTeamAnswer,
    PhaseAnswer,
    QuotaAnswer,
    TeamAnswer,
)
from c2seg.server.web.public import phase_of
from c2seg.server.web.receiving import enter_uploads
from c2seg.server.web.site import Site

__all__ = ["router"]

router = APIRouter(prefix="/api/v1")
Number = Annotated[int | None, Query(ge=1, le=2**31)]
Limit = Annotated[int, Query(ge=1, le=500)]


@router.get("/challenge")
def challenge(site: TheSite) -> ChallengeAnswer:
    """The data sets, the phases and what a submission must hold."""
    return ChallengeAnswer.of(site.service.challenge())


@router.get("/board")
def board(site: TheSite, reader: Reader, phase: Number = None, part: Part | None = None) -> BoardAnswer:
    """The ranking of a phase, by default the open one."""
    return _board(site, reader, phase, part, history=False)


@router.get("/history")
def history(site: TheSite, reader: Reader, phase: Number = None, part: Part | None = None) -> BoardAnswer:
    """Every scored entry of a phase by time of receipt."""
    return _board(site, reader, phase, part, history=True)


@router.get("/me")
def me(site: TheSite, reader: Reader) -> MeAnswer:
    """Whose token it is."""
    if reader is None:
        raise HTTPException(401, "send a token: Authorization: Bearer TOKEN", {"WWW-Authenticate": "Bearer"})
    current = site.service.challenge().current
    quota = site.service.quota(reader.team_id, current.id) if current and reader.team_id is not None else None
    return MeAnswer(
        name=reader.name, organizer=reader.organizer, phase=PhaseAnswer.of(current) if current else None,
        quota=QuotaAnswer.of(quota) if quota else None,
    )  # fmt: skip


@router.get("/entries")
def entries(site: TheSite, reader: Reader, limit: Limit = 100, before: Number = None) -> list[EntryAnswer]:
    """A team's entries, all of them for organizers; the newest first."""
    holder = _holder(reader)
    listed = site.service.entries(holder.team_id, private=holder.organizer, limit=limit, before=before)
    return [EntryAnswer.of(entry) for entry in listed]


@router.post("/entries", status_code=201)
def enter(request: Request, site: TheSite, principal: TeamToken, asked: EntryRequest) -> Response:
    """Make an entry of finished uploads; the answer is its receipt."""
    entry = enter_uploads(site, principal, asked.method, asked.uploads)
    answer = EntryAnswer.of(entry, site.service.queue_position(entry.id))
    return JSONResponse(answer.as_json(), 201, {"Location": f"/api/v1/entries/{entry.id}"})


@router.get("/entries/{entry_id}")
def entry(site: TheSite, reader: Reader, entry_id: int) -> EntryAnswer:
    """One entry: its receipt, its place in the queue, its scores."""
    return EntryAnswer.of(_entry(site, _holder(reader), entry_id), site.service.queue_position(entry_id))


@router.post("/entries/{entry_id}/withdraw")
def withdraw(site: TheSite, reader: Reader, entry_id: int) -> EntryAnswer:
    """Take an entry back."""
    holder = _holder(reader)
    _entry(site, holder, entry_id)
    return EntryAnswer.of(site.service.withdraw(entry_id, actor=holder.actor, team_id=holder.team_id))


@router.get("/teams")
def teams(site: TheSite, organizer: OrganizerToken) -> list[TeamAnswer]:
    """All teams; for organizers."""
    return [TeamAnswer.of(team) for team in site.service.teams()]


@router.post("/teams", status_code=201)
def add_team(site: TheSite, organizer: OrganizerToken, asked: NewTeam) -> NewTeamAnswer:
    """Add a team; for organizers. The token is shown this once."""
    team, issued = site.service.create_team(asked.name, asked.contact, actor=organizer.actor)
    return NewTeamAnswer(team=TeamAnswer.of(team), token=issued.text)


@router.get("/audit")
def audit(site: TheSite, organizer: OrganizerToken, limit: Limit = 100, before: Number = None) -> list[AuditAnswer]:
    """The audit log; for organizers."""
    return [AuditAnswer.of(line) for line in site.service.audit(limit=limit, before=before)]


def _holder(reader: Principal | None) -> Principal:
    if reader is None:
        raise HTTPException(401, "send a token: Authorization: Bearer TOKEN", {"WWW-Authenticate": "Bearer"})
    return reader


def _entry(site: Site, holder: Principal, entry_id: int) -> Entry:
    if 0 < entry_id < 2**31:
        entry = site.service.entry(entry_id, private=holder.organizer)
        if holder.organizer or entry.team_id == holder.team_id:
            return entry
    raise Refusal("unknown", "there is no such entry")


def _board(
    site: Site, reader: Principal | None, phase_id: int | None, part: Part | None, *, history: bool
) -> BoardAnswer:
    phase = phase_of(site.service.challenge(), phase_id)
    if phase is None:
        raise Refusal("unknown", "there is no phase yet")
    private = reader is not None and reader.organizer
    read = site.service.history if history else site.service.board
    return BoardAnswer.of(phase, read(phase.id, private=private, part=part if private else None))
