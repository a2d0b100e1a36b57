"""Limits of a request's body: size and time. Slow and endless requests end with one line, and never hold the server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from c2seg.server.web.settings import WebLimits

__all__ = ["BodyLimits", "Refuse", "SizeOf"]

SizeOf = Callable[[Scope], int | None]
"""The most bytes that a request may carry if it uploads archives; None for every other request."""
Refuse = Callable[[Scope, HTTPException], Response]
"""Makes the answer of a refused request."""


class BodyLimits:
    """ASGI layer: 413 for a body that is too large, announced or sent; 408 for one that stops, 503 for an answer too late.

    What happens while the application reads the body is raised there as HTTPException.
    """

    def __init__(self, app: ASGIApp, *, limits: WebLimits, upload_bytes: SizeOf, refuse: Refuse) -> None:
        self._app, self._limits, self._upload_bytes, self._refuse = app, limits, upload_bytes, refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, its body counted and timed."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._run(scope, receive, watched)
        except HTTPException as refusal:
            if not started:
                await self._refuse(scope, refusal)(scope, receive, send)

    async def _run(self, scope: Scope, receive: Receive, send: Send) -> None:
        upload = self._upload_bytes(scope)
        most = self._limits.small_body if upload is None else upload
        _check_announced(Headers(scope=scope), most)
        counted = _Counted(receive, most, self._limits.idle_s)
        seconds = self._limits.answer_s if upload is None else self._limits.upload_s
        try:
            async with asyncio.timeout(seconds):
                await self._app(scope, counted, send)
        except TimeoutError:
            raise HTTPException(503, "the request took too long; try again later") from None


class _Counted:
    """A ``receive`` that counts bytes and does not wait forever."""

    def __init__(self, receive: Receive, most: int, idle_s: float) -> None:
        self._receive, self._most, self._idle_s = receive, most, idle_s
        self._bytes = 0
        self._whole = False

    async def __call__(self) -> Message:
        if self._whole:  # what follows is the end of the connection, which may come much later
            return await self._receive()
        try:
            async with asyncio.timeout(self._idle_s):
                message = await self._receive()
        except TimeoutError:
            raise HTTPException(408, "the rest of the request did not come; send it again") from None
        if message["type"] == "http.request":
            self._bytes += len(message.get("body", b""))
            self._whole = not message.get("more_body", False)
            if self._bytes > self._most:
                raise HTTPException(413, _too_large(self._most))
        return message


def _check_announced(headers: Headers, most: int) -> None:
    """Refuse before a byte of the body is read."""
    announced = headers.get("content-length")
    if announced is None:
        return
    if not announced.isascii() or not announced.isdigit():
        raise HTTPException(400, "Content-Length is no number")
    if len(announced) > 15 or int(announced) > most:
        raise HTTPException(413, _too_large(most))


def _too_large(most: int) -> str:
    return f"the request is too large; at most {most} bytes are allowed here"
