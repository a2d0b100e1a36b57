"""Old uploads are removed while the server runs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from starlette.concurrency import run_in_threadpool

from c2seg.server.web.partial import PartialStore

__all__ = ["sweeping"]

_log = logging.getLogger("c2seg.server")
_EVERY_S = 600


@asynccontextmanager
async def sweeping(uploads: PartialStore, every_s: float = _EVERY_S) -> AsyncIterator[None]:
    """Sweep every so often within the block."""
    task = asyncio.create_task(_sweep(uploads, every_s))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _sweep(uploads: PartialStore, every_s: float) -> None:
    while True:
        await asyncio.sleep(every_s)
        try:
            await run_in_threadpool(uploads.sweep)
        except OSError as error:
            _log.error("cannot remove old uploads: %s", error)
