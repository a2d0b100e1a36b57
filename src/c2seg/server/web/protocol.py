"""uvicorn's HTTP/1.1 with a deadline for clients that send no head, or not the rest of a body: the connection is closed."""

from __future__ import annotations

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

__all__ = ["timed_protocol"]


def timed_protocol(header_s: float) -> type[H11Protocol]:
    """Return the protocol class for uvicorn's ``http``.

    A head that is not whole after ``header_s`` ends the connection, and so does the rest of a body that nobody reads any more,
    because the request was answered before it came.
    """

    class TimedProtocol(H11Protocol):
        _deadline: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._watch()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._watch()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            self._watch()

        def connection_lost(self, exc: Exception | None) -> None:
            self._cancel()
            super().connection_lost(exc)

        def _watch(self) -> None:
            """Start the deadline while only the client's bytes are missing, stop it when they are there."""
            answered = self.conn.our_state not in (h11.SEND_RESPONSE, h11.SEND_BODY)
            if self.conn.their_state is h11.IDLE or (self.conn.their_state is h11.SEND_BODY and answered):
                if self._deadline is None:
                    self._deadline = self.loop.call_later(header_s, self._close_slow)
            else:
                self._cancel()

        def _cancel(self) -> None:
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None

        def _close_slow(self) -> None:
            self._deadline = None
            if not self.transport.is_closing():
                self.transport.close()

    return TimedProtocol
