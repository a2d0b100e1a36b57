"""Pages from templates. Everything that comes from outside is escaped; no page has a script."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from functools import cache
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from c2seg.server.views import Challenge
from c2seg.server.web.access import Visitor
from c2seg.server.web.site import Site, site_of

__all__ = ["page", "problem_page", "style", "style_url"]

_DONE = {
    "created": "Done. It is below.",
    "saved": "The changes are saved.",
    "withdrawn": "The entry is withdrawn.",
    "disqualified": "Disqualified. The reason is in the audit log.",
    "reinstated": "Reinstated.",
    "requeued": "The entry is scored again.",
    "revoked": "The token is revoked.",
    "submitted": "Your entry is received and safe. This page is its receipt.",
    "signed-out": "You are signed out.",
    "removed": "The upload is removed.",
}
"""What pages say after an act, by the name in the address; other texts are not shown."""


def page(
    request: Request, visitor: Visitor, template: str, heading: str, *, status: int = 200, **content: Any
) -> Response:
    """Return a page for a visitor. The browser gets the session's cookie where the page has a form."""
    site = site_of(request)
    challenge = content.pop("challenge", None) or site.service.challenge()
    used = False

    def form_token() -> Markup:
        nonlocal used
        used = True
        token = site.signer.form_token(visitor.session)
        return Markup('<input type="hidden" name="form_token" value="{}">').format(token)

    text = _environment().get_template(template).render(
        heading=heading,
        site=challenge.season.title,
        challenge=challenge,
        visitor=visitor,
        who=visitor.principal.name if visitor.principal else None,
        navigation=_navigation(visitor),
        here=request.url.path,
        style_url=style_url(),
        token=form_token,
        now=datetime.now(UTC),
        **{"notice": _DONE.get(request.query_params.get("done", "")), "problem": None, "refresh": None, **content},
    )  # fmt: skip
    response = HTMLResponse(text, status)
    if used and visitor.fresh:
        set_cookie(response, site, visitor)
    return response


def set_cookie(response: Response, site: Site, visitor: Visitor) -> None:
    """Give the browser the cookie of a session."""
    response.set_cookie(
        site.cookie_name, site.signer.cookie(visitor.session), max_age=site.settings.limits.session_s, path="/",
        secure=site.settings.secure, httponly=True, samesite="lax",
    )  # fmt: skip


def problem_page(request: Request, status: int, message: str) -> Response:
    """Return the page of an error. It asks nothing of the core where the fault is ours."""
    if status >= 500:
        text = _environment().get_template("fault.html.j2").render(message=message, style_url=style_url())
        return HTMLResponse(text, status)
    site = site_of(request)
    seen = getattr(request.state, "visitor", None) or Visitor(site.signer.start(), None, True)
    return page(
        request, seen, "problem.html.j2", _HEADINGS.get(status, "This did not work"), status=status, problem=message
    )


_HEADINGS = {403: "Not allowed", 404: "Not found", 405: "Not allowed", 413: "Too large", 429: "Too often"}


def _navigation(visitor: Visitor) -> list[tuple[str, str]]:
    pages = [("/", "Challenge"), ("/board", "Leaderboard"), ("/history", "History")]
    if visitor.team_id is not None:
        pages += [("/team", "My entries"), ("/submit", "Submit")]
    if visitor.organizer:
        pages += [
            ("/organizer", "Organize"), ("/organizer/entries", "Entries"), ("/organizer/teams", "Teams"),
            ("/organizer/phases", "Phases"), ("/organizer/season", "Season"), ("/organizer/audit", "Audit log"),
        ]  # fmt: skip
    return pages


@cache
def style() -> bytes:
    """Return the style sheet."""
    return resources.files("c2seg.server.web").joinpath("style.css").read_bytes()


@cache
def read_icon() -> bytes:
    """Return the icon of browser tabs."""
    return resources.files("c2seg.server.web").joinpath("templates", "icon.svg.j2").read_bytes()


@cache
def style_url() -> str:
    """Return its address, which changes with its content."""
    return f"/style-{hashlib.sha256(style()).hexdigest()[:16]}.css"


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("c2seg.server.web", "templates"), autoescape=True, trim_blocks=True, lstrip_blocks=True,
        undefined=StrictUndefined,
    )  # fmt: skip
    environment.filters |= {
        "utc": _utc,
        "iso": _iso,
        "field": _field,
        "from_seconds": _from_seconds,
        "sentence": _sentence,
    }
    return environment


def _moment(value: datetime | str) -> datetime:
    return (datetime.fromisoformat(value) if isinstance(value, str) else value).astimezone(UTC)


def _utc(value: datetime | str) -> str:
    return _moment(value).strftime("%Y-%m-%d %H:%M:%S UTC")


def _iso(value: datetime | str) -> str:
    return _moment(value).isoformat(timespec="seconds")


def _sentence(text: str) -> str:
    """Return a message of the core as a sentence of a page."""
    text = text[:1].upper() + text[1:]
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _from_seconds(value: int) -> datetime:
    return datetime.fromtimestamp(value, UTC)


def _field(value: datetime | None) -> str:
    """Return a time as the field ``datetime-local`` of a form writes it, in UTC."""
    return "" if value is None else _moment(value).strftime("%Y-%m-%dT%H:%M")


def facts_of(challenge: Challenge) -> dict[str, object]:
    """Return what the organizers' texts may mention."""
    season = challenge.season
    return {
        "title": season.title,
        "datasets": challenge.dataset_names,
        "ranked": season.counting,
        "embargo": _utc(season.embargo_until) if season.embargo_until else None,
    }
