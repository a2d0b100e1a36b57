"""Pages for everybody: the challenge, its boards and its texts."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse, Response

from c2seg.server.errors import Refusal
from c2seg.server.views import Board, Challenge, Part, Phase
from c2seg.server.web.access import TheSite, Visitor, VisitorOf
from c2seg.server.web.render import facts_of, page, read_icon, style, style_url
from c2seg.server.web.site import Site
from c2seg.server.web.texts import TEXTS, read_page

__all__ = ["csv_answer", "phase_of", "router"]

router = APIRouter(default_response_class=Response)
PhaseId = Annotated[int | None, Query(ge=1, le=2**31)]
AskedPart = Annotated[Part | None, Query()]


@router.get("/")
def home(request: Request, site: TheSite, visitor: VisitorOf) -> Response:
    """The challenge: its phases, and how to take part."""
    challenge = site.service.challenge()
    text = read_page(site.service.folder.pages, "about", facts_of(challenge))
    return page(request, visitor, "home.html.j2", "The challenge", challenge=challenge, text=text)


@router.get("/board")
def board(
    request: Request, site: TheSite, visitor: VisitorOf, phase: PhaseId = None, part: AskedPart = None
) -> Response:
    """The ranking of a phase."""
    return _table(request, site, visitor, phase, part, history=False)


@router.get("/history")
def history(
    request: Request, site: TheSite, visitor: VisitorOf, phase: PhaseId = None, part: AskedPart = None
) -> Response:
    """Every scored entry of a phase by time."""
    return _table(request, site, visitor, phase, part, history=True)


@router.get("/board.csv")
def board_csv(site: TheSite, visitor: VisitorOf, phase: PhaseId = None, part: AskedPart = None) -> Response:
    """The ranking as CSV."""
    return _csv(site, visitor, phase, part, "board")


@router.get("/history.csv")
def history_csv(site: TheSite, visitor: VisitorOf, phase: PhaseId = None, part: AskedPart = None) -> Response:
    """The history as CSV."""
    return _csv(site, visitor, phase, part, "history")


@router.get("/help")
def help_page(request: Request, site: TheSite, visitor: VisitorOf) -> Response:
    """How to submit from the command line, and the addresses for programs."""
    base = site.settings.public_url or str(request.base_url)
    return page(request, visitor, "help.html.j2", "Command line and API", base=base.rstrip("/"))


@router.get("/style-{digest}.css")
def style_sheet(request: Request) -> Response:
    """The style sheet; its address changes with its content."""
    if request.url.path != style_url():
        raise HTTPException(404, "there is no such file")
    headers = {"Cache-Control": "public, max-age=31536000, immutable"}
    return Response(style(), media_type="text/css; charset=utf-8", headers=headers)


@router.get("/icon.svg")
def icon() -> Response:
    """The icon of browser tabs."""
    return Response(read_icon(), media_type="image/svg+xml", headers={"Cache-Control": "public, max-age=86400"})


@router.get("/robots.txt")
def robots() -> Response:
    """Search engines need the front page and the texts only."""
    rules = "User-agent: *\nDisallow: /api/\nDisallow: /organizer\nDisallow: /entries\nDisallow: /login\n"
    return PlainTextResponse(rules)


@router.get("/health")
def health(site: TheSite) -> Response:
    """Whether the server and its database answer."""
    site.service.challenge()
    return PlainTextResponse("ok\n")


def _text_page(name: str) -> None:
    def show(request: Request, site: TheSite, visitor: VisitorOf) -> Response:
        challenge = site.service.challenge()
        text = read_page(site.service.folder.pages, name, facts_of(challenge))
        return page(request, visitor, "text.html.j2", TEXTS[name], challenge=challenge, text=text)

    router.add_api_route(f"/{name}", show, methods=["GET"], name=name)


for _name in ("rules", "terms", "license", "embargo"):
    _text_page(_name)


def phase_of(challenge: Challenge, phase_id: int | None) -> Phase | None:
    """Return the phase that is asked for: by default the open one, else the one that ended last, else the first."""
    if phase_id is not None:
        for phase in challenge.phases:
            if phase.id == phase_id:
                return phase
        raise Refusal("unknown", "there is no such phase")
    if challenge.current is not None:
        return challenge.current
    over = [phase for phase in challenge.phases if phase.closes_at is not None and phase != challenge.current]
    return max(over, key=lambda p: p.closes_at or p.opens_at, default=next(iter(challenge.phases), None))


def csv_answer(text: str | None, name: str) -> Response:
    """Return a table as a file. Raises HTTPException (404) for a board that is hidden."""
    if text is None:
        raise HTTPException(404, "this board is hidden until the organizers show it")
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(text, media_type="text/csv; charset=utf-8", headers=headers)


def _csv(
    site: Site, visitor: Visitor, phase_id: int | None, part: Part | None, kind: Literal["board", "history"]
) -> Response:
    asked = phase_of(site.service.challenge(), phase_id)
    if asked is None:
        raise HTTPException(404, "there is no phase yet")
    read = site.service.board_csv if kind == "board" else site.service.history_csv
    text = read(asked.id, private=visitor.organizer, part=part if visitor.organizer else None)
    return csv_answer(text, f"{kind}-{asked.id}.csv")


def _table(
    request: Request, site: Site, visitor: Visitor, phase_id: int | None, part: Part | None, *, history: bool
) -> Response:
    challenge = site.service.challenge()
    phase = phase_of(challenge, phase_id)
    part = part if visitor.organizer else None
    read = site.service.history if history else site.service.board
    table: Board | None = read(phase.id, private=visitor.organizer, part=part) if phase else None
    heading = "History" if history else "Leaderboard"
    return page(
        request, visitor, "board.html.j2", heading, challenge=challenge, phase=phase, table=table, history=history,
        part=part,
    )  # fmt: skip
