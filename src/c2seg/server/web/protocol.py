"""uvicorn's HTTP/1.1 with bounds for clients: how many connections an address has, and how long one may say nothing."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Collection
from typing import ClassVar

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from c2seg.server.web.rates import address_key

__all__ = ["TimedProtocol", "timed_protocol"]


class TimedProtocol(H11Protocol):
    """Closes a connection on which no whole head comes in time, nor the rest of a body that was answered before it came."""

    header_s: ClassVar[float] = 15.0
    most: ClassVar[int] = 100
    trusted: ClassVar[Collection[str]] = ()
    open_by_address: ClassVar[Counter[str]] = Counter()

    _deadline: asyncio.TimerHandle | None = None
    _sender = ""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Count the connection; close it if its address has too many."""
        super().connection_made(transport)
        self._sender = address_key(self.client[0] if self.client else "")
        self.open_by_address[self._sender] += 1
        if self.open_by_address[self._sender] > self.most and self._sender not in self.trusted:
            transport.close()
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Pass bytes on."""
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        """Wait for the next request, or for the rest of this one."""
        super().on_response_complete()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._cancel()
        self.open_by_address[self._sender] -= 1
        if not self.open_by_address[self._sender]:
            del self.open_by_address[self._sender]
        super().connection_lost(exc)

    def _watch(self) -> None:
        """Start the deadline while only the client's bytes are missing, stop it when they are there."""
        answered = self.conn.our_state not in (h11.SEND_RESPONSE, h11.SEND_BODY)
        if self.conn.their_state is h11.IDLE or (self.conn.their_state is h11.SEND_BODY and answered):
            if self._deadline is None:
                self._deadline = self.loop.call_later(self.header_s, self._close_slow)
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


def timed_protocol(header_s: float, most: int, trusted: Collection[str]) -> type[TimedProtocol]:
    """Return the protocol class for uvicorn's ``http``; each class counts connections for itself.

    An address has at most ``most`` connections at a time, unless it is one of the ``trusted`` proxies. ``header_s`` is how long
    the server waits for a head.
    """
    settings = {"header_s": header_s, "most": most, "trusted": tuple(trusted), "open_by_address": Counter()}
    return type("SiteProtocol", (TimedProtocol,), settings)
