"""A worker: a process that scores entries. Any number may run, on any machine that has the data folder."""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from c2seg.challenge.rules import Limits
from c2seg.challenge.submission import Decoder
from c2seg.errors import DataError
from c2seg.server.archives import Archives
from c2seg.server.database import Database
from c2seg.server.folder import ServerFolder
from c2seg.server.jobs import Jobs
from c2seg.server.references import WithheldReference, withheld
from c2seg.server.scoring import Claim, Counted, claim, count_entry, finish, give_up, release_stale, waiting
from c2seg.server.seasons import datasets, legend
from c2seg.server.tables import Archive as ArchiveRow
from c2seg.server.tables import Worker as WorkerRow

__all__ = ["STALE_S", "Worker", "run_worker"]

STALE_S = 30.0
"""A worker that has not reported for so long counts as dead, and its entry is scored by another one."""
_ORPHAN_S = 24 * 3600.0
"""Archives without an entry are removed after so long: uploads that were refused at the last moment."""
_ORPHANS_EVERY_S = 3600.0
_log = logging.getLogger(__name__)


class Worker:
    """What a worker process does. ``score`` runs in the queue's thread, which has the decoder; ``tick`` in the main one.

    A ``decoder`` that is given stays open at the end.
    """

    def __init__(self, folder: ServerFolder, decoder: Decoder | None = None, *, stale_s: float = STALE_S) -> None:
        self.name = f"{socket.gethostname()[:60]}:{os.getpid()}:{secrets.token_hex(4)}"
        self._database = Database(folder.database_url)
        self._database.check_revision()
        self._archives = Archives(folder.archives)
        self._stale_s = stale_s
        self._started_at = datetime.now(UTC)
        self._entry_id: int | None = None
        self._decoder = decoder or Decoder()
        self._owns_decoder = decoder is None
        self._orphans_due = 0.0
        self.jobs = Jobs(folder, self.score)
        self._references = self._read_references()

    def close(self) -> None:
        """Say good-bye, and put back what is not finished."""
        now = datetime.now(UTC)
        with self._database.write() as session:
            session.execute(delete(WorkerRow).where(WorkerRow.name == self.name))
            release_stale(session, now, self._stale_s)
        if self._owns_decoder:
            self._decoder.close()
        self._database.close()

    def score(self, entry_id: int) -> None:
        """Score an entry if it waits. Does nothing for any other, so that a job may be there twice."""
        with self._database.write() as session:
            claimed = claim(session, entry_id, self.name, datetime.now(UTC))
        if claimed is None:
            return
        self._entry_id = entry_id
        try:
            counted = count_entry(claimed, self._references, self._archives, self._decoder)
        except DataError:  # the store has lost an archive: another try would not bring it back
            _log.exception("entry %d failed", entry_id)
            self._give_up(claimed, again=False)
        except Exception:
            _log.exception("entry %d is tried again", entry_id)
            self._give_up(claimed, again=True)
        else:
            self._finish(claimed, counted)
        finally:
            self._entry_id = None

    def tick(self) -> None:
        """Report, put back the entries of dead workers, and put in the jobs that are missing."""
        now = datetime.now(UTC)
        with self._database.write() as session:
            self._report(session, now)
            release_stale(session, now, self._stale_s)
            session.execute(delete(WorkerRow).where(WorkerRow.seen_at < now - timedelta(days=1)))
        with self._database.read() as session:
            entries = waiting(session)
        if entries:
            pending = self.jobs.pending()
            for entry_id in entries:
                if entry_id not in pending:
                    self.jobs.enqueue(entry_id)
        if time.monotonic() >= self._orphans_due:
            self._orphans_due = time.monotonic() + _ORPHANS_EVERY_S
            self._remove_orphans()

    def _report(self, session: Session, now: datetime) -> None:
        session.merge(WorkerRow(name=self.name, started_at=self._started_at, seen_at=now, entry_id=self._entry_id))

    def _remove_orphans(self) -> None:
        with self._database.read() as session:
            referred = set(session.scalars(select(ArchiveRow.sha256)))
        if removed := self._archives.remove_orphans(referred, _ORPHAN_S):
            _log.info("removed %d archives that no entry refers to", removed)

    def _finish(self, claimed: Claim, counted: Counted) -> None:
        isolation = self._decoder.isolation
        missing = isolation.missing if isolation else ()
        with self._database.write() as session:
            if not finish(session, claimed, counted, self.name, datetime.now(UTC), missing):
                _log.warning("entry %d was claimed by another worker meanwhile", claimed.entry_id)

    def _give_up(self, claimed: Claim, *, again: bool) -> None:
        with self._database.write() as session:
            give_up(session, claimed, self.name, datetime.now(UTC), again=again)

    def _read_references(self) -> list[WithheldReference]:
        with self._database.read() as session:
            ids = legend(session).ids
            return [withheld(session, dataset, ids) for dataset in datasets(session)]


def run_worker(
    data: str | os.PathLike[str],
    stop: threading.Event | None = None,
    *,
    tick_s: float = 2.0,
    stale_s: float = STALE_S,
    limits: Limits | None = None,
) -> None:
    """Score entries until ``stop`` is set, or the process is interrupted; then finish the entry at hand, within 20 s.

    Every ``tick_s`` seconds it reports and looks for entries without a job.
    """
    stop = stop or threading.Event()
    with Decoder(limits) as decoder:
        worker = Worker(ServerFolder.open(Path(data)), decoder, stale_s=stale_s)
        try:
            _work(worker, stop, tick_s)
        finally:
            worker.close()


def _work(worker: Worker, stop: threading.Event, tick_s: float) -> None:
    worker.tick()
    consumer = worker.jobs.consumer()
    consumer.start()
    try:
        while not stop.wait(tick_s):
            _try_to(worker)
            consumer.check_worker_health()
    except KeyboardInterrupt:
        _log.info("stopping")
    consumer.stop(graceful=True)


def _try_to(worker: Worker) -> None:
    """Tick; a database or queue that is away for a while is no reason to end."""
    try:
        worker.tick()
    except Exception:
        _log.exception("the database or the queue cannot be used; trying again")
