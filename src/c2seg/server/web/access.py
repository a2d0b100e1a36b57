"""Who sends a request: a session by cookie for pages, a token in ``Authorization`` for programs."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, Request
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException

from c2seg.server.views import Principal
from c2seg.server.web.sessions import Session
from c2seg.server.web.site import Site, address_of, site_of

__all__ = [
    "Form",
    "OrganizerToken",
    "OrganizerVisitor",
    "Reader",
    "TeamToken",
    "TeamVisitor",
    "TheSite",
    "Visitor",
    "VisitorOf",
    "check_attempts",
    "check_origin",
    "count_failure",
    "read_form",
]

_log = logging.getLogger("c2seg.server")
_FIELDS, _FIELD_BYTES = 40, 32_768

TheSite = Annotated[Site, Depends(site_of)]


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who looks at a page. ``fresh``: the browser has no cookie of the session yet."""

    session: Session
    principal: Principal | None
    fresh: bool

    @property
    def organizer(self) -> bool:
        """Whether an organizer is signed in."""
        return self.principal is not None and self.principal.organizer

    @property
    def team_id(self) -> int | None:
        """The team that is signed in."""
        return None if self.principal is None else self.principal.team_id


def visitor(request: Request, site: TheSite) -> Visitor:
    """Return who is signed in. A session ends with its token."""
    session = site.signer.session(request.cookies.get(site.cookie_name))
    principal = None
    if session is not None and session.token_id is not None:
        principal = site.service.token_valid(session.token_id)
        if principal is None:
            session = None
    seen = Visitor(session or site.signer.start(), principal, session is None)
    request.state.visitor = seen
    return seen


def team_visitor(seen: Annotated[Visitor, Depends(visitor)]) -> Visitor:
    """Let teams pass. Raises HTTPException (401), for which pages go to the sign-in."""
    if seen.team_id is None:
        raise HTTPException(401, "sign in with the token of a team")
    return seen


def organizer_visitor(seen: Annotated[Visitor, Depends(visitor)]) -> Visitor:
    """Let organizers pass. Others are told that there is nothing."""
    if seen.principal is None:
        raise HTTPException(401, "sign in with an organizer's token")
    if not seen.organizer:
        raise HTTPException(404, "there is no such page")
    return seen


VisitorOf = Annotated[Visitor, Depends(visitor)]
TeamVisitor = Annotated[Visitor, Depends(team_visitor)]
OrganizerVisitor = Annotated[Visitor, Depends(organizer_visitor)]


def reader(request: Request, site: TheSite) -> Principal | None:
    """Return who asks by token, None without one. Raises HTTPException (401) for a token that is not valid."""
    header = request.headers.get("authorization")
    if header is None:
        return None
    scheme, _, text = header.partition(" ")
    check_attempts(request, site)
    principal = site.service.authenticate(text.strip()) if scheme.lower() == "bearer" else None
    if principal is None:
        count_failure(request, site)
        raise HTTPException(401, "the token is not valid", {"WWW-Authenticate": "Bearer"})
    return principal


Reader = Annotated[Principal | None, Depends(reader)]


def token_of_team(principal: Reader) -> Principal:
    """Let teams' tokens pass."""
    if principal is None:
        raise HTTPException(401, "send the team's token: Authorization: Bearer TOKEN", {"WWW-Authenticate": "Bearer"})
    if principal.organizer:
        raise HTTPException(403, "an organizer's token submits nothing; use the token of a team")
    return principal


def token_of_organizer(principal: Reader) -> Principal:
    """Let organizers' tokens pass."""
    if principal is None:
        raise HTTPException(
            401, "send an organizer's token: Authorization: Bearer TOKEN", {"WWW-Authenticate": "Bearer"}
        )
    if not principal.organizer:
        raise HTTPException(404, "there is no such address")
    return principal


TeamToken = Annotated[Principal, Depends(token_of_team)]
OrganizerToken = Annotated[Principal, Depends(token_of_organizer)]


def check_attempts(request: Request, site: Site) -> None:
    """Raise HTTPException (429) for an address that has tried too many tokens that are not valid."""
    if wait := site.logins.wait_s(address_of(request)):
        raise HTTPException(429, f"too many attempts; try again in {wait} s", {"Retry-After": str(wait)})


def count_failure(request: Request, site: Site) -> None:
    """Note a token that was not valid."""
    site.logins.use(address_of(request))
    _log.warning("a token that is not valid was tried from %s", address_of(request))


def check_origin(request: Request, site: Site) -> None:
    """Raise HTTPException (403) if a browser says that another site sends the form."""
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise HTTPException(403, "the form was sent by another site")
    origin = request.headers.get("origin")
    if origin is None:
        return
    if site.settings.origin is not None:
        right = origin.lower() == site.settings.origin
    else:
        right = urlsplit(origin).netloc.lower() == request.headers.get("host", "").lower()
    if not right:
        raise HTTPException(403, "the form was sent by another site; open this site by its own address")


@dataclass(frozen=True)
class Form:
    """The fields of a form that this site made for this visitor."""

    data: FormData

    def text(self, name: str) -> str:
        """Return a field's text without spaces around it; empty if it is missing."""
        value = self.data.get(name)
        return value.strip() if isinstance(value, str) else ""

    def file(self, name: str) -> UploadFile | None:
        """Return an uploaded file, None where none was chosen."""
        value = self.data.get(name)
        return value if isinstance(value, UploadFile) and value.filename else None


async def read_form(request: Request, site: Site, seen: Visitor, *, files: int = 0) -> Form:
    """Return a form. Raises HTTPException: 403 if another site or session made it, 400 and 415 if it is not readable."""
    check_origin(request, site)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in ("multipart/form-data", "application/x-www-form-urlencoded"):
        raise HTTPException(415, "a form is expected")
    try:
        data = await request.form(max_files=files, max_fields=_FIELDS, max_part_size=_FIELD_BYTES)
    except MultiPartException as error:
        raise HTTPException(400, f"the form is not readable: {error.message}") from None
    form = Form(data)
    if seen.fresh or not site.signer.is_form_token(seen.session, form.text("form_token")):
        raise HTTPException(403, "the form is too old, or cookies are off; load the page again and send it once more")
    return form
