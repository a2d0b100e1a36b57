"""The application: pages, the interface for programs, and the layers around them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from anyio import to_thread
from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from c2seg._version import __version__
from c2seg.server.web import api, organizer, organizer_teams, public, team, tus_routes
from c2seg.server.web.bodies import BodyLimits, SizeOf
from c2seg.server.web.faults import add_handlers, refuse
from c2seg.server.web.headers import SecurityHeaders
from c2seg.server.web.render import problem_page
from c2seg.server.web.site import Site, address_of
from c2seg.server.web.sweeping import sweeping

__all__ = ["create_app"]

_THREADS = 12
"""For requests that ask the core. More would wait for its connections to the database."""
_FORM_BYTES = 1 << 20
"""Of a form around its archives."""


def create_app(site: Site) -> ASGIApp:
    """Return the ASGI application of a site. It stores nothing but in the service's data folder."""
    settings = site.settings
    app = FastAPI(
        title="c2seg challenge", version=__version__, docs_url=None, redoc_url=None, openapi_url="/api/v1/openapi.json",
        lifespan=_lifespan, redirect_slashes=False,
    )  # fmt: skip
    app.state.site = site
    for router in (public.router, team.router, organizer.router, organizer_teams.router, api.router, tus_routes.router):
        app.include_router(router, include_in_schema=router in (api.router, tus_routes.router))
    add_handlers(app, problem_page)
    limited = BodyLimits(app, limits=settings.limits, upload_bytes=_upload_bytes(site), refuse=refuse)
    return SecurityHeaders(_RateLimits(limited, site), secure=settings.secure)


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    to_thread.current_default_thread_limiter().total_tokens = _THREADS
    site: Site = app.state.site
    async with sweeping(site.uploads):
        yield


class _RateLimits:
    """ASGI layer: 429 for addresses that ask too often. Pieces of uploads do not count: teams and sizes bound them."""

    def __init__(self, app: ASGIApp, site: Site) -> None:
        self._app, self._site = app, site

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        wait = self._wait_s(scope) if scope["type"] == "http" else 0
        if not wait:
            await self._app(scope, receive, send)
            return
        error = HTTPException(429, f"too many requests; try again in {wait} s", {"Retry-After": str(wait)})
        await refuse(scope, error)(scope, receive, send)

    def _wait_s(self, scope: Scope) -> int:
        method, path = scope["method"], scope["path"]
        if method == "PATCH" and path.startswith(tus_routes.UPLOADS):
            return 0
        rates = self._site.reads if method in ("GET", "HEAD", "OPTIONS") else self._site.writes
        return rates.use(address_of(HTTPConnection(scope)))


def _upload_bytes(site: Site) -> SizeOf:
    """Return what a request may carry: archives come by the form and by tus only."""
    all_archives = sum(site.archive_bytes.values()) + _FORM_BYTES

    def upload_bytes(scope: Scope) -> int | None:
        path, method = scope["path"], scope["method"]
        if path == "/submit" and method == "POST":
            return all_archives
        if path.startswith(tus_routes.UPLOADS) and method in ("POST", "PATCH"):
            return site.largest_archive_bytes
        return None

    return upload_bytes
