"""Pages of teams: sign in, submit, see entries."""

from __future__ import annotations

from functools import partial
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import APIRouter, Depends, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, RedirectResponse, Response

from c2seg.server.errors import Refusal
from c2seg.server.views import Entry, Principal
from c2seg.server.web.access import (
    Form,
    TeamVisitor,
    TheSite,
    Visitor,
    VisitorOf,
    check_attempts,
    count_failure,
    read_form,
)
from c2seg.server.web.answers import EntryAnswer
from c2seg.server.web.receiving import enter_files, room_for
from c2seg.server.web.render import page, set_cookie
from c2seg.server.web.site import Site

__all__ = ["posted", "router", "see_other"]

router = APIRouter(default_response_class=Response)
_PAGE = 50
Before = Annotated[int | None, Query(ge=1, le=2**31)]


async def posted(request: Request, site: TheSite, visitor: VisitorOf) -> Form:
    """Return the fields of a form without files."""
    return await read_form(request, site, visitor)


Posted = Annotated[Form, Depends(posted)]


def see_other(path: str, done: str | None = None) -> Response:
    """Send the browser to a page after an act, which says what was done."""
    return RedirectResponse(f"{path}?done={done}" if done else path, 303)


@router.get("/login")
def login_page(request: Request, visitor: VisitorOf, next: str = "") -> Response:
    """The form for the token."""
    return page(request, visitor, "login.html.j2", "Sign in", next=_local(next))


@router.post("/login")
def login(request: Request, site: TheSite, visitor: VisitorOf, form: Posted) -> Response:
    """Open a session with a token."""
    check_attempts(request, site)
    principal = site.service.authenticate(form.text("token"))
    goal = _local(form.text("next"))
    if principal is None:
        count_failure(request, site)
        problem = "This token is not valid. Copy it whole; if it was replaced, use the new one."
        return page(request, visitor, "login.html.j2", "Sign in", status=403, next=goal, problem=problem)
    response = see_other(goal or ("/organizer" if principal.organizer else "/team"))
    set_cookie(response, site, Visitor(site.signer.start(principal.token_id), principal, True))
    return response


@router.post("/logout")
def logout(site: TheSite, form: Posted) -> Response:
    """Forget the session in this browser."""
    response = see_other("/", "signed-out")
    response.delete_cookie(site.cookie_name, path="/", secure=site.settings.secure, httponly=True, samesite="lax")
    return response


@router.get("/team")
def team(request: Request, site: TheSite, visitor: TeamVisitor, before: Before = None) -> Response:
    """A team's entries, quota and unfinished uploads."""
    principal = _signed_in(visitor)
    challenge = site.service.challenge()
    team_id = principal.team_id or 0
    current = challenge.current
    return page(
        request, visitor, "team.html.j2", "My entries", challenge=challenge, team=site.service.team(team_id),
        quota=site.service.quota(team_id, current.id) if current else None, more=_PAGE, before=before,
        entries=site.service.entries(team_id, limit=_PAGE, before=before),
        uploads=[(record, site.uploads.offset(record)) for record in site.uploads.records(team_id)],
    )  # fmt: skip


@router.post("/uploads/{upload_id}/remove")
def remove_upload(site: TheSite, visitor: TeamVisitor, form: Posted, upload_id: str) -> Response:
    """Remove an unfinished upload."""
    record = site.uploads.record(upload_id, visitor.team_id or 0)
    with site.uploads.hold(record):
        site.uploads.remove(record)
    return see_other("/team", "removed")


@router.get("/submit")
def submit_page(request: Request, site: TheSite, visitor: TeamVisitor) -> Response:
    """The form for an entry, or why there can be none now."""
    return _submit_page(request, site, visitor)


@router.post("/submit")
async def submit(request: Request, site: TheSite, visitor: TeamVisitor) -> Response:
    """Take an entry by form."""
    await run_in_threadpool(_check_room, request, site)
    form = await read_form(request, site, visitor, files=len(site.archive_bytes))
    try:
        return await run_in_threadpool(_submit, request, site, visitor, form)
    finally:
        await form.data.close()


@router.get("/entries/{entry_id}")
def entry_page(request: Request, site: TheSite, visitor: VisitorOf, entry_id: int) -> Response:
    """The receipt of an entry, its state and its scores."""
    entry = seen_entry(site, visitor, entry_id)
    waiting = entry.status in ("queued", "scoring")
    return page(
        request, visitor, "entry.html.j2", f"Entry {entry.id}", entry=entry, refresh=15 if waiting else None,
        position=site.service.queue_position(entry.id) if waiting else None,
    )  # fmt: skip


@router.get("/entries/{entry_id}/receipt.json")
def receipt(site: TheSite, visitor: VisitorOf, entry_id: int) -> Response:
    """The receipt as a file."""
    entry = seen_entry(site, visitor, entry_id)
    headers = {"Content-Disposition": f'attachment; filename="receipt-{entry.id}.json"'}
    return JSONResponse(EntryAnswer.of(entry).receipt(), headers=headers)


@router.post("/entries/{entry_id}/withdraw")
def withdraw(site: TheSite, visitor: TeamVisitor, form: Posted, entry_id: int) -> Response:
    """Take an entry back."""
    principal = _signed_in(visitor)
    seen_entry(site, visitor, entry_id)
    site.service.withdraw(entry_id, actor=principal.actor, team_id=principal.team_id)
    return see_other(f"/entries/{entry_id}", "withdrawn")


def seen_entry(site: Site, visitor: Visitor, entry_id: int) -> Entry:
    """Return an entry to its team and to organizers; for everybody else there is none."""
    if visitor.principal is None:
        raise HTTPException(401, "sign in")
    entry = site.service.entry(_known(entry_id), private=visitor.organizer)
    if not visitor.organizer and entry.team_id != visitor.team_id:
        raise Refusal("unknown", "there is no such entry")
    return entry


def _known(number: int) -> int:
    """Raise Refusal for a number that no database holds."""
    if not 0 < number < 2**31:
        raise Refusal("unknown", "there is no such entry")
    return number


def _submit_page(
    request: Request, site: Site, visitor: Visitor, *, status: int = 200, problem: str | None = None, method: str = ""
) -> Response:
    try:
        allowed, reason = site.service.check_may_submit(visitor.team_id or 0), None
    except Refusal as refusal:
        allowed, reason = None, str(refusal)
    show = partial(page, request, visitor, "submit.html.j2", "Submit an entry", status=status, problem=problem)
    return show(allowed=allowed, reason=reason, method=method, archive_bytes=site.archive_bytes)


def _check_room(request: Request, site: Site) -> None:
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and not room_for(site, int(announced)):
        raise HTTPException(507, "the server's disk has no room for this; tell the organizers")


def _submit(request: Request, site: Site, visitor: Visitor, form: Form) -> Response:
    principal = _signed_in(visitor)
    chosen = {name: form.file(f"archive-{place}") for place, name in enumerate(site.archive_bytes)}
    files: dict[str, UploadFile] = {name: file for name, file in chosen.items() if file is not None}
    try:
        entry = enter_files(site, principal, form.text("method"), files)
    except Refusal as refusal:
        from c2seg.server.web.faults import REFUSED

        status = REFUSED[refusal.code]
        return _submit_page(request, site, visitor, status=status, problem=str(refusal), method=form.text("method"))
    return see_other(f"/entries/{entry.id}", "submitted")


def _signed_in(visitor: Visitor) -> Principal:
    if visitor.principal is None:
        raise HTTPException(401, "sign in")
    return visitor.principal


def _local(path: str) -> str:
    """Return a path of this site to go to after signing in; empty for anything else, such as another site's address."""
    if not path.startswith("/") or path.startswith(("//", "/\\")) or not path.isprintable() or len(path) > 200:
        return ""
    parts = urlsplit(path)
    return path if not (parts.scheme or parts.netloc or parts.query) else ""
