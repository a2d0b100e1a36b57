"""Entries: taken once, never changed in what they hold. Every rule is checked in the transaction that writes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from c2seg.server.archives import Stored
from c2seg.server.audit import note
from c2seg.server.errors import Refusal
from c2seg.server.lookups import entry as entry_view
from c2seg.server.names import check_id, check_name
from c2seg.server.phases import all_phases, current
from c2seg.server.references import tile_set
from c2seg.server.seasons import check_running, datasets, legend
from c2seg.server.tables import Archive
from c2seg.server.tables import Entry as EntryRow
from c2seg.server.teams import reason_of, team_row
from c2seg.server.views import Entry, Phase, Quota

__all__ = [
    "INVALID_A_DAY",
    "add_entry",
    "check_archives",
    "check_may_submit",
    "disqualify",
    "entry_row",
    "quota",
    "reinstate",
    "requeue",
    "withdraw",
]

INVALID_A_DAY = 20
"""Entries of a team that break a rule of submissions count in no quota, up to so many a day."""
_UNCOUNTED = ("refused", "failed")


def check_may_submit(session: Session, team_id: int, now: datetime, *, lock: bool = False) -> tuple[Phase, Quota]:
    """Return the open phase and what the team has used of it. Raises Refusal where the team may add no entry now."""
    team = team_row(session, team_id, lock=lock)
    check_running(session)
    if team.disqualified_at is not None:
        raise Refusal("disqualified", f"team {team.name} is disqualified: {team.reason}")
    phase = current(session, now)
    if phase is None:
        upcoming = [item for item in all_phases(session) if item.opens_at > now]
        when = f"; {upcoming[0].name} opens at {upcoming[0].opens_at:%Y-%m-%d %H:%M} UTC" if upcoming else ""
        raise Refusal("closed", f"no phase is open{when}")
    used = quota(session, team_id, phase, now)
    if used.total_used >= used.total_quota:
        raise Refusal("total_quota", f"team {team.name} has all {used.total_quota} entries of phase {phase.name}")
    if used.daily_used >= used.daily_quota:
        raise Refusal("daily_quota", f"team {team.name} has all {used.daily_quota} entries of today, by UTC")
    invalid = _count(session, team_id, phase.id, since=_midnight(now), invalid=True)
    if invalid >= INVALID_A_DAY:
        raise Refusal(
            "daily_quota", f"team {team.name} has {invalid} invalid entries today; check them before you send them"
        )
    return phase, used


def quota(session: Session, team_id: int, phase: Phase, now: datetime) -> Quota:
    """Return what a team has used of a phase. Withdrawn and disqualified entries count, invalid ones do not."""
    midnight = _midnight(now)
    return Quota(
        _count(session, team_id, phase.id, since=midnight),
        phase.daily_quota,
        _count(session, team_id, phase.id),
        phase.total_quota,
        midnight + timedelta(days=1),
    )


def check_archives(session: Session, team_id: int, method: str, sizes: Mapping[str, int], now: datetime) -> Phase:
    """Raise Refusal for what is wrong with an entry before its archives are looked at. Returns its phase."""
    phase, _ = check_may_submit(session, team_id, now)
    check_name("method", method)
    known = {dataset.name: dataset for dataset in datasets(session)}
    strange = [name for name in sizes if name not in known]
    if strange:
        raise Refusal("incomplete", f"there is no data set {ascii(strange[0])[:90]}; valid: {', '.join(known)}")
    missing = [name for name in known if name not in sizes]
    if missing:
        raise Refusal("incomplete", f"an entry has an archive for every data set; {', '.join(missing)} is missing")
    ids = legend(session).ids
    for name, size in sizes.items():
        largest = tile_set(session, known[name].id, ids).max_archive_bytes
        if size > largest:
            raise Refusal("too_large", f"{name}: the archive has {size} bytes; at most {largest} are allowed")
    return phase


def add_entry(
    session: Session, team_id: int, method: str, stored: Mapping[str, Stored], *, actor: str, now: datetime
) -> Entry:
    """Record an entry whose archives are in the store. Raises Refusal as ``check_archives``, and for identical archives."""
    check_may_submit(session, team_id, now, lock=True)
    phase = check_archives(session, team_id, method, {name: item.size for name, item in stored.items()}, now)
    digest = digest_of({name: item.sha256 for name, item in stored.items()})
    same = select(EntryRow).where(EntryRow.team_id == team_id, EntryRow.phase_id == phase.id, EntryRow.digest == digest)
    if (known := session.scalar(same)) is not None:
        raise Refusal(
            "identical", f"the team has these archives in phase {phase.name} already: entry {known.id} of "
            f"{known.received_at:%Y-%m-%d %H:%M} UTC"
        )  # fmt: skip
    row = EntryRow(
        team_id=team_id, phase_id=phase.id, method=method, received_at=now, digest=digest, status="queued", reason=None,
        claim=0, worker=None, claimed_at=None, scored_at=None, withdrawn_at=None, disqualified_at=None,
        disqualified_for=None,
    )  # fmt: skip
    session.add(row)
    session.flush()
    by_name = {dataset.name: dataset.id for dataset in datasets(session)}
    session.add_all(
        Archive(entry_id=row.id, dataset_id=by_name[name], sha256=item.sha256, size=item.size)
        for name, item in stored.items()
    )
    note(session, actor, "entry received", f"entry {row.id}", now, phase=phase.name, digest=digest)
    session.flush()
    return entry_view(session, row.id, now, private=False)


def withdraw(session: Session, entry_id: int, team_id: int | None, *, actor: str, now: datetime) -> None:
    """Take an entry back. A team may do so with its own, as long as the phase is not over."""
    row = entry_row(session, entry_id, team_id)
    check_running(session)
    phase = next(item for item in all_phases(session) if item.id == row.phase_id)
    if team_id is not None and phase.is_over(now):
        raise Refusal("forbidden", f"phase {phase.name} is over; ask the organizer to withdraw entry {row.id}")
    if row.withdrawn_at is not None:
        raise Refusal("state", f"entry {row.id} is withdrawn already")
    row.withdrawn_at = now
    note(session, actor, "withdraw entry", f"entry {row.id}", now)


def disqualify(session: Session, entry_id: int, reason: str, *, actor: str, now: datetime) -> None:
    """Disqualify an entry."""
    row = entry_row(session, entry_id)
    if row.disqualified_at is not None:
        raise Refusal("state", f"entry {row.id} is disqualified already")
    row.disqualified_at, row.disqualified_for = now, reason_of(reason)
    note(session, actor, "disqualify entry", f"entry {row.id}", now, reason=row.disqualified_for)


def reinstate(session: Session, entry_id: int, *, actor: str, now: datetime) -> None:
    """Undo a disqualification or withdrawal."""
    row = entry_row(session, entry_id)
    if row.disqualified_at is None and row.withdrawn_at is None:
        raise Refusal("state", f"entry {row.id} is neither withdrawn nor disqualified")
    row.disqualified_at = row.disqualified_for = row.withdrawn_at = None
    note(session, actor, "reinstate entry", f"entry {row.id}", now)


def requeue(session: Session, entry_id: int, *, actor: str, now: datetime) -> None:
    """Let a failed entry be scored again."""
    row = entry_row(session, entry_id)
    if row.status != "failed":
        raise Refusal("state", f"entry {row.id} is {row.status}; only a failed one is scored again")
    row.status, row.reason, row.claim = "queued", None, 0
    note(session, actor, "requeue entry", f"entry {row.id}", now)


def entry_row(session: Session, entry_id: int, team_id: int | None = None) -> EntryRow:
    """Return the row of an entry, locked. Raises Refusal: unknown, forbidden if it is not of that team."""
    row = session.get(EntryRow, check_id("entry", entry_id), with_for_update=True)
    if row is None:
        raise Refusal("unknown", f"there is no entry {entry_id}")
    if team_id is not None and row.team_id != team_id:
        raise Refusal("forbidden", f"entry {entry_id} is another team's")
    return row


def digest_of(digests: Mapping[str, str]) -> str:
    """Return one SHA-256 for the archives of an entry: of lines ``NAME SHA256``, by name."""
    text = "".join(f"{name} {digests[name]}\n" for name in sorted(digests))
    return hashlib.sha256(text.encode()).hexdigest()


def _count(
    session: Session, team_id: int, phase_id: int, *, since: datetime | None = None, invalid: bool = False
) -> int:
    query = select(func.count()).select_from(EntryRow).where(EntryRow.team_id == team_id, EntryRow.phase_id == phase_id)
    query = query.where(EntryRow.status == "refused" if invalid else EntryRow.status.not_in(_UNCOUNTED))
    if since is not None:
        query = query.where(EntryRow.received_at >= since)
    return session.scalar(query) or 0


def _midnight(now: datetime) -> datetime:
    return now.replace(hour=0, minute=0, second=0, microsecond=0)
