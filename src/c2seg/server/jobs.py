"""The queue: one job for every entry that waits. It only wakes workers; what has to be done stands in the entries.

A job that is lost is put in again by a worker's sweep, and one that is there twice does nothing the second time
(``scoring.claim``). So the queue may be a file or database of its own, and needs no common transaction with the entries.
"""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Callable
from typing import Any

from huey import PostgresHuey, SqliteHuey
from huey.api import Huey
from huey.consumer import Consumer
from huey.registry import Message
from huey.serializer import Serializer

from c2seg.server.folder import ServerFolder

__all__ = ["Jobs"]

_NAME, _JOB = "c2seg", "score"
_BUSY_S = 30
_log = logging.getLogger(__name__)


class Jobs:
    """The queue of a season. ``score`` is what a worker does with the id of an entry; None: jobs are put in only."""

    def __init__(self, folder: ServerFolder, score: Callable[[int], None] | None = None) -> None:
        self._huey = _huey(folder)

        def run(entry_id: int) -> None:
            if score is not None:
                score(entry_id)

        self._task = self._huey.task(name=_JOB)(run)
        self._huey.storage.close()

    def enqueue(self, entry_id: int) -> None:
        """Wake a worker for an entry. A queue that is out of order is logged, and not the caller's trouble: workers sweep."""
        try:
            self._task(entry_id)
        except Exception:
            _log.exception("entry %d waits for the next sweep: the queue took no job", entry_id)
        finally:
            self._huey.storage.close()  # that of this thread, which may never come again

    def pending(self) -> set[int]:
        """Return the entries that have a job which no worker has begun."""
        try:
            return {int(task.args[0]) for task in self._huey.pending()}
        finally:
            self._huey.storage.close()

    def consumer(self) -> Consumer:
        """Return what runs jobs, one at a time, in a thread of its own; start and stop it."""
        return _QuietConsumer(
            self._huey, workers=1, periodic=False, initial_delay=0.05, max_delay=0.5, shutdown_timeout=20
        )


class _JsonSerializer(Serializer):  # type: ignore[misc]
    """Jobs as JSON: huey's own serializer would unpickle what it finds in the queue."""

    def _serialize(self, data: Message) -> bytes:
        return json.dumps([data.id, int(data.args[0])]).encode()

    def _deserialize(self, data: bytes) -> Message:
        identity, entry_id = json.loads(bytes(data))
        return Message(str(identity), f"{__name__}.{_JOB}", retries=0, retry_delay=0, args=(int(entry_id),), kwargs={})


class _QuietConsumer(Consumer):  # type: ignore[misc]
    """A consumer that leaves the signals of the process alone."""

    def _set_signal_handlers(self) -> None:
        pass

    def _create_process(self, process: Any, name: str) -> Any:
        """Let every thread close its connection at its end."""
        shutdown = process.shutdown

        def closing() -> None:
            shutdown()
            self.huey.storage.close()

        process.shutdown = closing
        return super()._create_process(process, name)


def _huey(folder: ServerFolder) -> Huey:
    common: dict[str, Any] = {"results": False, "utc": True, "serializer": _JsonSerializer()}
    if folder.settings.database is None:
        folder.queue.touch(mode=0o600)
        common |= {"filename": str(folder.queue), "strict_fifo": True, "timeout": _BUSY_S}
        try:
            return SqliteHuey(_NAME, **common)
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError as error:
            _log.warning("the queue is damaged (%s) and made anew; workers put in what waits", error)
            for suffix in ("", "-wal", "-shm"):
                folder.queue.with_name(f"{folder.queue.name}{suffix}").unlink(missing_ok=True)
            folder.queue.touch(mode=0o600)
            return SqliteHuey(_NAME, **common)
    dsn = folder.settings.database.replace("postgresql+psycopg://", "postgresql://", 1)
    return PostgresHuey(_NAME, dsn=dsn, table_prefix="c2seg_jobs", read_timeout=0.5, **common)
