"""Pages of organizers: teams and their tokens."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from c2seg.server.errors import Refusal
from c2seg.server.views import IssuedToken
from c2seg.server.web.access import OrganizerVisitor, TheSite, Visitor
from c2seg.server.web.organizer import actor_of
from c2seg.server.web.render import page
from c2seg.server.web.site import Site
from c2seg.server.web.team import Posted, see_other

__all__ = ["router"]

router = APIRouter(prefix="/organizer", default_response_class=Response)


@router.get("/teams")
def teams(request: Request, site: TheSite, visitor: OrganizerVisitor) -> Response:
    """All teams, and a form for one more."""
    return _teams_page(request, site, visitor)


@router.post("/teams")
def add_team(request: Request, site: TheSite, visitor: OrganizerVisitor, form: Posted) -> Response:
    """Add a team and show its token, this once."""
    try:
        team, issued = site.service.create_team(form.text("name"), form.text("contact"), actor=actor_of(visitor))
    except Refusal as refusal:
        return _teams_page(request, site, visitor, problem=str(refusal), status=422)
    return _team_page(request, site, visitor, team.id, issued)


@router.get("/teams/{team_id}")
def team(request: Request, site: TheSite, visitor: OrganizerVisitor, team_id: int) -> Response:
    """One team: its tokens and entries."""
    return _team_page(request, site, visitor, team_id, None)


@router.post("/teams/{team_id}/{act}")
def act_on_team(
    request: Request, site: TheSite, visitor: OrganizerVisitor, form: Posted, team_id: int, act: str
) -> Response:
    """Issue a token, disqualify a team or reinstate it."""
    actor, core = actor_of(visitor), site.service
    core.team(team_id)
    if act == "token":
        return _team_page(request, site, visitor, team_id, core.issue_token(team_id, actor=actor))
    if act == "disqualify":
        if not form.text("reason"):
            raise Refusal("invalid", "give a reason; it is shown to the team and stands in the audit log")
        core.disqualify_team(team_id, form.text("reason"), actor=actor)
        return see_other(f"/organizer/teams/{team_id}", "disqualified")
    if act == "reinstate":
        core.reinstate_team(team_id, actor=actor)
        return see_other(f"/organizer/teams/{team_id}", "reinstated")
    raise Refusal("unknown", "there is no such act")


@router.post("/tokens/{token_id}/{act}")
def act_on_token(
    request: Request, site: TheSite, visitor: OrganizerVisitor, form: Posted, token_id: str, act: str
) -> Response:
    """Revoke a token, or replace it by a new one."""
    token = next((token for token in site.service.tokens() if token.id == token_id), None)
    if token is None or token.team_id is None:
        raise Refusal("unknown", "there is no such token of a team")
    if act == "rotate":
        issued = site.service.rotate_token(token_id, actor=actor_of(visitor))
        return _team_page(request, site, visitor, token.team_id, issued)
    if act == "revoke":
        site.service.revoke_token(token_id, actor=actor_of(visitor))
        return see_other(f"/organizer/teams/{token.team_id}", "revoked")
    raise Refusal("unknown", "there is no such act")


def _teams_page(
    request: Request, site: Site, visitor: Visitor, *, problem: str | None = None, status: int = 200
) -> Response:
    listed = site.service.teams()
    return page(request, visitor, "teams.html.j2", "Teams", status=status, teams=listed, problem=problem)


def _team_page(request: Request, site: Site, visitor: Visitor, team_id: int, issued: IssuedToken | None) -> Response:
    shown = site.service.team(team_id)
    return page(
        request, visitor, "team_admin.html.j2", shown.name, team=shown, issued=issued,
        tokens=site.service.tokens(team_id), entries=site.service.entries(team_id, private=True, limit=50),
    )  # fmt: skip
