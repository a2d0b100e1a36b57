"""The whole core in one object: what the web and the command line call."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

from c2seg.challenge.publish import board_csv
from c2seg.server import audit, boards, entries, lookups, phases, seasons, teams, tokens
from c2seg.server.archives import Archives
from c2seg.server.database import Database
from c2seg.server.folder import ServerFolder
from c2seg.server.jobs import Jobs
from c2seg.server.views import (
    AuditLine,
    Board,
    Challenge,
    Counting,
    Entry,
    IssuedToken,
    Part,
    Phase,
    Principal,
    QueueState,
    Quota,
    Team,
    Token,
)

__all__ = ["Service", "open_service"]


class Service:
    """The core of one season. All methods may be called from several threads and processes at the same time.

    ``actor`` is the text of the audit log, such as ``Principal.actor``. What the rules forbid raises ``Refusal`` with a code;
    nothing has changed then. ``now`` is for tests and for times of receipt; None: the clock.
    """

    def __init__(self, folder: ServerFolder) -> None:
        self.folder = folder
        self.database = Database(folder.database_url)
        self.database.check_revision()
        self.archives = Archives(folder.archives)
        self.jobs = Jobs(folder)

    def __enter__(self) -> Service:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release connections."""
        self.database.close()

    def secret(self) -> bytes:
        """Return 32 random bytes that stay the same for the life of the folder: the key of cookies."""
        return self.folder.secret()

    # The season

    def challenge(self, now: datetime | None = None) -> Challenge:
        """Return the season, its data sets and phases."""
        with self.database.read() as session:
            return lookups.challenge(session, _now(now))

    def set_season(
        self,
        *,
        actor: str,
        title: str | None = None,
        counting: Counting | None = None,
        embargo_until: datetime | None = None,
        lift_embargo: bool = False,
        closed: bool | None = None,
    ) -> Challenge:
        """Change what is given. ``closed=True`` ends the season: no entry, withdrawal or change of a phase any more."""
        with self.database.write() as session:
            seasons.set_season(
                session, actor, title, counting, embargo_until, lift_embargo=lift_embargo, closed=closed, now=_now(None)
            )
        return self.challenge()

    # Phases

    def add_phase(
        self,
        name: str,
        opens_at: datetime,
        closes_at: datetime | None,
        *,
        actor: str,
        part: Part = "public",
        hidden: bool = False,
        late: bool = False,
        daily_quota: int = phases.DAILY_QUOTA,
        total_quota: int = phases.TOTAL_QUOTA,
    ) -> Phase:
        """Add a phase. Raises Refusal (invalid) where it overlaps another one."""
        facts = phases.PhaseValues(name, opens_at, closes_at, part, hidden, late, daily_quota, total_quota)
        with self.database.write() as session:
            return phases.add_phase(session, facts, actor=actor, now=_now(None))

    def set_phase(
        self,
        phase_id: int,
        *,
        actor: str,
        name: str | None = None,
        opens_at: datetime | None = None,
        closes_at: datetime | None = None,
        hidden: bool | None = None,
        daily_quota: int | None = None,
        total_quota: int | None = None,
    ) -> Phase:
        """Change what is given. Opening or closing now is to set ``opens_at`` or ``closes_at`` to now."""
        changes = phases.PhaseChanges(name, opens_at, closes_at, hidden, daily_quota, total_quota)
        with self.database.write() as session:
            return phases.set_phase(session, phase_id, changes, actor=actor, now=_now(None))

    # Teams and tokens

    def create_team(self, name: str, contact: str = "", *, actor: str) -> tuple[Team, IssuedToken]:
        """Add a team with its first token. Spellings of one name are one team; Refusal (invalid) if it is there."""
        with self.database.write() as session:
            team = teams.create_team(session, name, contact, actor=actor, now=_now(None))
            return team, tokens.issue(session, team.id, team.name, actor=actor, now=_now(None))

    def teams(self) -> tuple[Team, ...]:
        """Return all teams by name."""
        with self.database.read() as session:
            return teams.all_teams(session)

    def team(self, team_id: int) -> Team:
        """Return a team. Raises Refusal (unknown)."""
        with self.database.read() as session:
            return teams.team(session, team_id)

    def disqualify_team(self, team_id: int, reason: str, *, actor: str) -> Team:
        """Take a team off all boards, and take nothing more of it; its tokens still show its entries."""
        with self.database.write() as session:
            return teams.disqualify(session, team_id, reason, actor=actor, now=_now(None))

    def reinstate_team(self, team_id: int, *, actor: str) -> Team:
        """Undo ``disqualify_team``."""
        with self.database.write() as session:
            return teams.reinstate(session, team_id, actor=actor, now=_now(None))

    def issue_token(self, team_id: int, *, actor: str, expires_at: datetime | None = None) -> IssuedToken:
        """Issue another token for a team."""
        with self.database.write() as session:
            name = teams.team(session, team_id).name
            return tokens.issue(session, team_id, name, actor=actor, now=_now(None), expires_at=expires_at)

    def issue_organizer_token(self, name: str, *, actor: str, expires_at: datetime | None = None) -> IssuedToken:
        """Issue a token that may do everything. ``name`` is the organizer's in the audit log."""
        with self.database.write() as session:
            return tokens.issue(session, None, name, actor=actor, now=_now(None), expires_at=expires_at)

    def rotate_token(self, token_id: str, *, actor: str) -> IssuedToken:
        """Revoke a token, and issue one for the same holder."""
        with self.database.write() as session:
            return tokens.rotate(session, token_id, actor=actor, now=_now(None))

    def revoke_token(self, token_id: str, *, actor: str) -> Token:
        """End a token at once."""
        with self.database.write() as session:
            return tokens.revoke(session, token_id, actor=actor, now=_now(None))

    def tokens(self, team_id: int | None = None) -> tuple[Token, ...]:
        """Return the tokens of a team, or all; the newest first."""
        with self.database.read() as session:
            return tokens.all_tokens(session, team_id)

    def authenticate(self, text: str) -> Principal | None:
        """Return who holds a token; None if there is no such token, or it is revoked or expired.

        The time of the answer tells nothing about secrets: one row is read by the token's public half, and digests are
        compared in constant time, also where there is no row.
        """
        with self.database.read() as session:
            return tokens.authenticate(session, text, _now(None))

    def token_valid(self, token_id: str) -> Principal | None:
        """Return who holds the token of a session that was opened with it; None if it has ended meanwhile."""
        with self.database.read() as session:
            return tokens.holder(session, token_id, _now(None))

    # Entries

    def check_may_submit(self, team_id: int, now: datetime | None = None) -> tuple[Phase, Quota]:
        """Return the phase that takes entries now, and what the team has used of it: to ask before an upload.

        Raises Refusal (closed, disqualified, daily_quota, total_quota, unknown) as ``submit`` would.
        """
        with self.database.read() as session:
            return entries.check_may_submit(session, team_id, _now(now))

    def submit(
        self,
        team_id: int,
        method: str,
        archives: Mapping[str, Path],
        *,
        actor: str,
        received_at: datetime | None = None,
    ) -> Entry:
        """Take an entry: one archive for every data set. When it returns, files and entry are on disk and synced.

        ``archives`` are complete files on the file system of the data folder; they are moved into the store. After a Refusal
        some may have been moved, and those that were not are the caller's to remove. Archives are not opened here: whether
        they are valid is found out by a worker. ``received_at`` decides the phase, the quota and ties.

        Raises Refusal: closed, daily_quota, disqualified, identical, incomplete, invalid, too_large, total_quota, unknown.
        """
        now = _now(received_at)
        with self.database.read() as session:  # cheap reasons first, before anything is moved
            entries.check_archives(session, team_id, method, _sizes(archives), now)
        stored = self.archives.adopt_all(archives)
        with self.database.write() as session:
            entry = entries.add_entry(session, team_id, method, stored, actor=actor, now=now)
        self.jobs.enqueue(entry.id)
        return entry

    def entry(self, entry_id: int, *, private: bool = False) -> Entry:
        """Return an entry. ``private``: with all scores, for organizers. Raises Refusal (unknown)."""
        with self.database.read() as session:
            return lookups.entry(session, entry_id, _now(None), private=private)

    def entries(
        self, team_id: int | None = None, *, private: bool = False, limit: int = 100, before: int | None = None
    ) -> tuple[Entry, ...]:
        """Return the entries of a team, or all, the newest first; ``before``: those with smaller ids only."""
        with self.database.read() as session:
            return lookups.entries(session, team_id, _now(None), private=private, limit=limit, before=before)

    def entry_count(self) -> int:
        """Return how many entries the season has, of all kinds."""
        with self.database.read() as session:
            return lookups.entry_count(session)

    def quota(self, team_id: int, phase_id: int, now: datetime | None = None) -> Quota:
        """Return what a team has used of a phase."""
        with self.database.read() as session:
            return entries.quota(session, team_id, phases.phase(session, phase_id), _now(now))

    def queue_position(self, entry_id: int) -> int | None:
        """Return the place in the queue, 1 for the next or the one being scored; None if it is not waiting."""
        with self.database.read() as session:
            return lookups.queue_position(session, entry_id)

    def queue_state(self) -> QueueState:
        """Return what waits, and the workers."""
        with self.database.read() as session:
            return lookups.queue_state(session)

    def withdraw(self, entry_id: int, *, actor: str, team_id: int | None = None) -> Entry:
        """Take an entry back. It still counts in quotas. ``team_id``: the team that asks, None for an organizer.

        Raises Refusal: forbidden for another team's entry and after the phase has closed, state if it is withdrawn.
        """
        with self.database.write() as session:
            entries.withdraw(session, entry_id, team_id, actor=actor, now=_now(None))
        return self.entry(entry_id)

    def disqualify_entry(self, entry_id: int, reason: str, *, actor: str) -> Entry:
        """Take an entry off the boards."""
        with self.database.write() as session:
            entries.disqualify(session, entry_id, reason, actor=actor, now=_now(None))
        return self.entry(entry_id, private=True)

    def reinstate_entry(self, entry_id: int, *, actor: str) -> Entry:
        """Undo ``disqualify_entry`` or ``withdraw``."""
        with self.database.write() as session:
            entries.reinstate(session, entry_id, actor=actor, now=_now(None))
        self.jobs.enqueue(entry_id)
        return self.entry(entry_id, private=True)

    def requeue(self, entry_id: int, *, actor: str) -> Entry:
        """Score an entry that has failed again. Raises Refusal (state) for any other."""
        with self.database.write() as session:
            entries.requeue(session, entry_id, actor=actor, now=_now(None))
        self.jobs.enqueue(entry_id)
        return self.entry(entry_id, private=True)

    # Boards

    def board(self, phase_id: int, *, private: bool = False, part: Part | None = None) -> Board | None:
        """Return the ranking of a phase: the entry of every team that counts, by mIoU, ties by time of receipt.

        None if the board is hidden, by the phase or by the embargo. ``private``: for organizers, who see every board, and on
        any ``part`` of the tiles (default: the phase's). Ranks follow the scores to four digits, as they are shown.
        """
        with self.database.read() as session:
            return boards.board(session, phase_id, _now(None), private=private, part=part)

    def history(self, phase_id: int, *, private: bool = False, part: Part | None = None) -> Board | None:
        """Return every scored entry of a phase by time of receipt, without ranks; None as in ``board``."""
        with self.database.read() as session:
            return boards.history(session, phase_id, _now(None), private=private, part=part)

    def board_csv(self, phase_id: int, *, private: bool = False, part: Part | None = None) -> str | None:
        """Return the ranking as CSV; None as in ``board``."""
        return _csv(self.board(phase_id, private=private, part=part))

    def history_csv(self, phase_id: int, *, private: bool = False, part: Part | None = None) -> str | None:
        """Return the history as CSV; None as in ``board``."""
        return _csv(self.history(phase_id, private=private, part=part))

    # The audit log

    def audit(self, *, limit: int = 100, before: int | None = None) -> tuple[AuditLine, ...]:
        """Return lines of the log, the newest first; ``before``: those with smaller ids only."""
        with self.database.read() as session:
            return audit.lines(session, limit=limit, before=before)

    def note(self, actor: str, action: str, subject: str = "", **details: str) -> None:
        """Add a line of the caller's to the log, such as a refused sign-in."""
        with self.database.write() as session:
            audit.note(session, actor, action, subject, _now(None), **details)


def open_service(data: str | os.PathLike[str]) -> Service:
    """Open a data folder that ``create_season`` made. Raises DataError if it is none, or needs ``c2seg serve upgrade``."""
    return Service(ServerFolder.open(Path(data)))


def _now(given: datetime | None) -> datetime:
    return given.astimezone(UTC) if given else datetime.now(UTC)


def _sizes(archives: Mapping[str, Path]) -> dict[str, int]:
    return {name: path.stat().st_size for name, path in archives.items()}


def _csv(board: Board | None) -> str | None:
    return None if board is None else board_csv(board.rows, board.datasets)
