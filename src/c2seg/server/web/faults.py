"""One table from what goes wrong to the status of the answer. 4xx say why, 5xx say nothing; the log has the rest."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from urllib.parse import quote

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import Scope

from c2seg.errors import C2SegError, OutputError, one_line
from c2seg.server.errors import Code, Refusal
from c2seg.server.web.tus import VERSION, TusError

__all__ = ["REFUSED", "add_handlers", "api_answer", "is_api", "refuse"]

_log = logging.getLogger("c2seg.server")

REFUSED: Mapping[Code, int] = {
    "closed": 409,
    "daily_quota": 429,
    "disqualified": 403,
    "forbidden": 403,
    "identical": 409,
    "incomplete": 422,
    "invalid": 422,
    "state": 409,
    "too_large": 413,
    "total_quota": 409,
    "unknown": 404,
}
_INTERNAL = "internal error; the organizers find the reason in the server's log"
_DETAILS = {
    "Not Found": "there is nothing at this address",
    "Method Not Allowed": "this address does not allow that method",
}
"""What starlette says by itself, in our words."""
_Show = Callable[[Request, int, str], Response]


def is_api(path: str) -> bool:
    """Return whether a path belongs to programs, which get JSON."""
    return path == "/api" or path.startswith("/api/")


def api_answer(status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """Return an error for programs."""
    return JSONResponse({"error": {"code": code, "message": message}}, status, dict(headers or {}))


def refuse(scope: Scope, refusal: HTTPException) -> Response:
    """Answer a request that a layer around the application refuses; the connection ends, as its body may be unread."""
    headers = {**(refusal.headers or {}), "Connection": "close"}
    return api_answer(refusal.status_code, _code(refusal.status_code), str(refusal.detail), headers)


def add_handlers(app: FastAPI, show: _Show) -> None:
    """Answer every exception: programs by JSON, people by a page that ``show`` makes."""
    handlers = _Handlers(show)
    kinds: dict[type[Exception], Callable[..., Response]] = {
        Refusal: handlers.refused, HTTPException: handlers.http, TusError: handlers.tus,
        RequestValidationError: handlers.invalid, C2SegError: handlers.internal, Exception: handlers.internal,
    }  # fmt: skip
    for kind, handler in kinds.items():
        app.add_exception_handler(kind, _asynchronous(handler))


class _Handlers:
    """One method a kind of exception."""

    def __init__(self, show: _Show) -> None:
        self._show = show

    def refused(self, request: Request, error: Refusal) -> Response:
        headers = {"Retry-After": str(_until_midnight_s())} if error.code == "daily_quota" else {}
        return self._answer(request, REFUSED[error.code], error.code, one_line(error), headers)

    def http(self, request: Request, error: HTTPException) -> Response:
        if error.status_code == 401 and not is_api(request.url.path):
            return RedirectResponse(f"/login?next={quote(request.url.path, safe='/')}", 303)
        headers = dict(error.headers or {})
        if error.status_code in (408, 413):
            headers["Connection"] = "close"
        detail = _DETAILS.get(error.detail, str(error.detail))
        return self._answer(request, error.status_code, _code(error.status_code), detail, headers)

    def tus(self, request: Request, error: TusError) -> Response:
        headers = {"Tus-Resumable": VERSION} | ({"Tus-Version": VERSION} if error.status == 412 else {})
        return self._answer(request, error.status, _code(error.status), str(error), headers)

    def invalid(self, request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        if first["loc"][0] == "path":
            return self._answer(request, 404, "not_found", "there is no such page", {})
        where = ".".join(ascii(part)[:40].strip("'") for part in first["loc"][1:])
        return self._answer(request, 422, "invalid", f"{where}: {first['msg']}"[:300], {})

    def internal(self, request: Request, error: Exception) -> Response:
        _log.error("%s %s: %s", request.method, request.url.path, error, exc_info=error)
        if isinstance(error, OutputError):
            return self._answer(request, 507, "no_room", "the server cannot write; tell the organizers", {})
        return self._answer(request, 500, "internal", _INTERNAL, {})

    def _answer(self, request: Request, status: int, code: str, message: str, headers: Mapping[str, str]) -> Response:
        if is_api(request.url.path):
            return api_answer(status, code, message, headers)
        response = self._show(request, status, message)
        response.headers.update(headers)
        return response


def _asynchronous(handler: Callable[..., Response]) -> Callable[[Request, Exception], Awaitable[Response]]:
    """Return a handler that works in a thread: a page asks the core."""

    async def handle(request: Request, error: Exception) -> Response:
        return await run_in_threadpool(handler, request, error)

    return handle


def _code(status: int) -> str:
    try:
        return HTTPStatus(status).phrase.lower().replace(" ", "_").replace("'", "")
    except ValueError:  # 460 is of tus
        return "checksum_mismatch"


def _until_midnight_s() -> int:
    now = datetime.now(UTC)
    midnight = (now + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    return int((midnight - now).total_seconds()) + 1
