"""Score entries: each once, whatever is killed when.

A worker *claims* an entry in one transaction, counts for as long as it takes, and writes the counts in another one that holds
only if the claim is still the entry's last. So a worker that was slow, stopped or thought dead cannot write a second time.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import select, update
from sqlalchemy.orm import Session, selectinload

from c2seg.challenge.counting import Counts, count_parts
from c2seg.challenge.rules import SubmissionError
from c2seg.challenge.submission import Decoder
from c2seg.server.archives import Archives
from c2seg.server.audit import note
from c2seg.server.references import WithheldReference
from c2seg.server.results import result_row
from c2seg.server.tables import Entry, Worker

__all__ = ["MAX_CLAIMS", "Claim", "Counted", "claim", "count_entry", "finish", "give_up", "release_stale", "waiting"]

MAX_CLAIMS = 10
"""How often workers may begin an entry before it counts as failed: one that kills its worker must not do so for ever."""
_UNSCORABLE = "the server could not score it; the organizer has to look at it"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to write the results of an entry, until somebody claims it again."""

    entry_id: int
    number: int
    digests: tuple[tuple[int, str], ...]
    """Data set and SHA-256 of the archives."""


@dataclass(frozen=True, slots=True)
class Counted:
    """What a worker counted: by data set and part; or the rule that the archives break."""

    counts: tuple[tuple[int, str, Counts], ...] = ()
    refused: str | None = None


def waiting(session: Session, limit: int = 1000) -> list[int]:
    """Return the entries that nobody scores and somebody should, the first received first."""
    query = select(Entry.id).where(
        Entry.status == "queued", Entry.withdrawn_at.is_(None), Entry.disqualified_at.is_(None)
    )
    return list(session.scalars(query.order_by(Entry.id).limit(limit)))


def claim(session: Session, entry_id: int, worker: str, now: datetime) -> Claim | None:
    """Begin to score an entry; None if it does not wait (any more), or was begun too often, which fails it."""
    query = select(Entry).where(Entry.id == entry_id).options(selectinload(Entry.archives)).with_for_update()
    row = session.scalar(query)
    if row is None or row.status != "queued" or row.withdrawn_at or row.disqualified_at:
        return None
    if row.claim >= MAX_CLAIMS:
        row.status, row.reason = "failed", _UNSCORABLE
        note(session, f"worker {worker}", "entry failed", f"entry {row.id}", now, begun=row.claim)
        return None
    row.status, row.claim, row.worker, row.claimed_at = "scoring", row.claim + 1, worker, now
    return Claim(row.id, row.claim, tuple((item.dataset_id, item.sha256) for item in row.archives))


def count_entry(
    claimed: Claim, references: Sequence[WithheldReference], archives: Archives, decoder: Decoder
) -> Counted:
    """Count the archives of an entry, in the confined decoder. Raises DataError where the store has lost one."""
    digests = dict(claimed.digests)
    paths: dict[int, Path] = {ref.dataset_id: archives.check(digests[ref.dataset_id]) for ref in references}
    counts = []
    for ref in references:
        try:
            parts = count_parts(ref.tile, ref.tile_set, ref.windows, ref.parts, paths[ref.dataset_id], decoder)
        except SubmissionError as error:
            return Counted(refused=f"{ref.name}: {error}")
        counts += [(ref.dataset_id, part, item) for part, item in parts.items()]
    return Counted(tuple(counts))


def finish(
    session: Session, claimed: Claim, counted: Counted, worker: str, now: datetime, missing: Sequence[str] = ()
) -> bool:
    """Write what was counted. False, and nothing is written, if the claim is not the entry's last.

    ``missing``: the kinds of isolation that the kernel did not grant to the decoder; the audit log says so.
    """
    status = "refused" if counted.refused is not None else "scored"
    if not _end(session, claimed, status, counted.refused, now):
        return False
    session.add_all(result_row(claimed.entry_id, dataset, part, counts) for dataset, part, counts in counted.counts)
    note(
        session, f"worker {worker}", f"entry {status}", f"entry {claimed.entry_id}", now, reason=counted.refused,
        without=" and ".join(missing) or None,
    )  # fmt: skip
    return True


def give_up(session: Session, claimed: Claim, worker: str, now: datetime, *, again: bool) -> None:
    """Let go of an entry that could not be scored: for another try, or as failed."""
    if again:
        _end(session, claimed, "queued", None, None)
    elif _end(session, claimed, "failed", _UNSCORABLE, None):
        note(session, f"worker {worker}", "entry failed", f"entry {claimed.entry_id}", now)


def release_stale(session: Session, now: datetime, stale_s: float) -> list[int]:
    """Put back the entries of workers that have not reported for ``stale_s`` seconds. Returns them."""
    alive = select(Worker.name).where(Worker.seen_at >= now - timedelta(seconds=stale_s))
    rows = session.scalars(
        select(Entry).where(Entry.status == "scoring", Entry.worker.not_in(alive)).with_for_update()
    ).all()
    for row in rows:
        _log.warning("entry %d is put back: %s does not report any more", row.id, row.worker)
        row.status = "queued"
    return [row.id for row in rows]


def _end(session: Session, claimed: Claim, status: str, reason: str | None, scored_at: datetime | None) -> bool:
    """Move an entry on from its claim; False if it is claimed by another one meanwhile, or put back."""
    done = session.execute(
        update(Entry)
        .where(Entry.id == claimed.entry_id, Entry.status == "scoring", Entry.claim == claimed.number)
        .values(status=status, reason=reason, scored_at=scored_at)
    )
    return bool(done.rowcount)  # type: ignore[attr-defined]
