"""uvicorn's HTTP/1.1 with a deadline for heads of requests: connections that say nothing, or say it very slowly, are closed."""

from __future__ import annotations

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

__all__ = ["timed_protocol"]


def timed_protocol(header_s: float) -> type[H11Protocol]:
    """Return the protocol class for uvicorn's ``http``: a head that is not whole after ``header_s`` ends the connection."""

    class TimedProtocol(H11Protocol):
        _deadline: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._deadline = self.loop.call_later(header_s, self._close_slow)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self.conn.their_state is not h11.IDLE:  # a head is whole
                self._cancel()
            elif self._deadline is None:  # the next one on this connection has begun
                self._deadline = self.loop.call_later(header_s, self._close_slow)

        def connection_lost(self, exc: Exception | None) -> None:
            self._cancel()
            super().connection_lost(exc)

        def _cancel(self) -> None:
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None

        def _close_slow(self) -> None:
            self._deadline = None
            if not self.transport.is_closing():
                self.transport.close()

    return TimedProtocol
