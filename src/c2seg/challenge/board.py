"""A leaderboard: data sets with withheld ground truth, entries scored on all of them, ranked by mean IoU. One SQLite file.

The file holds the ground truth: only its owner can read it, and it stays with the organizer. The public table is made
from ``Board.rows``: scores of whole data sets, rounded to four digits, and nothing finer.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from c2seg.challenge.board_file import (
    APPLICATION_ID,
    EntryFacts,
    ReferenceRows,
    entries,
    same_archives,
    store_entry,
    store_opening,
    store_references,
    store_settings,
    team_entries,
)
from c2seg.challenge.counting import Counts, count_archive
from c2seg.challenge.rows import Row
from c2seg.challenge.rules import SubmissionError, TileSet
from c2seg.challenge.submission import Decoder, file_sha256
from c2seg.challenge.withheld import ReferenceSource, reference_tiles
from c2seg.data.published import DATASETS, city_of_tiles
from c2seg.errors import DataError, InputError, OutputError, unknown_name
from c2seg.legend import Legend
from c2seg.outputs import Output, check_outputs, commit, is_write_fault

__all__ = ["MAX_ENTRIES", "Board", "check_label", "create_board"]

MAX_ENTRIES = 20
"""Of a team, if the organizer says nothing else."""
_SUFFIXES = ("", ".sqlite", ".sqlite3", ".db")
_LABEL = re.compile(r"[^\W_][\w .,+()/&'-]{0,79}")


def create_board(
    path: Path,
    references: Mapping[str, ReferenceSource],
    legend: Legend,
    *,
    opening: bool = False,
    max_entries: int = MAX_ENTRIES,
    inputs: Sequence[Path] = (),
    overwrite: bool = False,
) -> Board:
    """Make a leaderboard file with the ground truths inside; ``opening`` adds Table I of the 2023 challenge's paper.

    A team may add ``max_entries`` entries, over all its methods. ``inputs`` are further files that nothing may replace.

    Raises DataError when a ground truth has values outside the legend, no label at all, or tiles that are not numbered.
    """
    if not references:
        raise InputError("a leaderboard needs at least one data set with its ground truth (NAME=PATH)")
    if max_entries < 1:
        raise InputError(f"`max_entries` must be at least 1, found {max_entries}")
    for name in references:
        check_label("data set", name)
    read = [*inputs, *(file for source in references.values() for file in (source.path, Path(source.label_map or "")))]
    check_outputs([Output(path, "board", _SUFFIXES)], read, overwrite=overwrite)
    with commit(overwrite=overwrite) as files:
        temporary = files.add(path, private=True)
        temporary.touch(mode=0o600)
        with closing(sqlite3.connect(temporary)) as database, database:
            store_settings(database, legend, max_entries)
            for position, (name, source) in enumerate(references.items()):
                store_references(database, name, position, reference_tiles(source, legend))
            if opening:
                store_opening(database)
    return Board(path)


class Board:
    """An existing leaderboard file. Raises DataError if the file is none."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._connect() as database:
            (legend,) = database.execute("SELECT value FROM setting WHERE key = 'legend'").fetchone()
            limit = database.execute("SELECT value FROM setting WHERE key = 'max_entries'").fetchone()
            names = database.execute("SELECT name FROM dataset ORDER BY position").fetchall()
        self.legend = Legend.from_dict(json.loads(legend), path.name)
        self.max_entries: int | None = int(limit[0]) if limit else None
        """Entries that a team may add; None: any number, in boards of 0.1.0."""
        self.datasets: tuple[str, ...] = tuple(name for (name,) in names)

    def tile_set(self, dataset: str) -> TileSet:
        """Return what a submission for a data set must hold. Raises InputError for an unknown one."""
        return TileSet(self.references(dataset).sizes, self.legend.ids)

    def references(self, dataset: str) -> ReferenceRows:
        """Return the withheld ground truth of a data set. Raises InputError for an unknown one."""
        if dataset not in self.datasets:
            raise InputError(unknown_name("data set", dataset, self.datasets))
        with self._connect() as database:
            return ReferenceRows.read(database, dataset)

    def count(self, dataset: str, archive: Path, decoder: Decoder) -> Counts:
        """Count a submission against the withheld ground truth over all tiles. Raises SubmissionError when it breaks a rule."""
        rows = self.references(dataset)  # the file is closed before the long work, so that others need not wait
        return count_archive(rows.tile, TileSet(rows.sizes, self.legend.ids), rows.windows, archive, decoder)

    def count_all(self, archives: Mapping[str, Path], decoder: Decoder) -> dict[str, Counts]:
        """Count the submissions of an entry for every data set.

        Raises SubmissionError that names the data set, InputError for missing or unknown data sets.
        """
        for name in archives:
            if name not in self.datasets:
                raise InputError(unknown_name("data set", name, self.datasets))
        missing = [name for name in self.datasets if name not in archives]
        if missing:
            raise InputError(f"an entry needs a submission for every data set; {', '.join(missing)} is missing")
        counts = {}
        for name in self.datasets:
            try:
                counts[name] = self.count(name, archives[name], decoder)
            except SubmissionError as error:
                raise SubmissionError(f"{name}: {error}") from None
        return counts

    def add(
        self,
        team: str,
        method: str,
        archives: Mapping[str, Path],
        decoder: Decoder,
        submitted_at: datetime | None = None,
    ) -> Row:
        """Score one entry on every data set and record it, whole or not at all. Returns its line (without a rank).

        ``submitted_at`` (default now) decides ties. Raises SubmissionError for an invalid archive, for archives that the team
        has an entry with already, and for more entries than a team may have; InputError for missing or unknown data sets and
        invalid names.
        """
        check_label("team", team)
        check_label("method", method)
        time = (submitted_at or datetime.now(UTC)).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        facts = EntryFacts(team, method, time, {name: file_sha256(path) for name, path in archives.items()})
        with self._connect() as database:
            self._check_new(database, facts)
        counts = self.count_all(archives, decoder)
        with self._connect(write=True) as database:
            self._check_new(database, facts)  # another process may have added meanwhile
            entry = store_entry(database, facts, counts)
            return next(row for row in entries(database) if row.entry == entry)

    def _check_new(self, database: sqlite3.Connection, facts: EntryFacts) -> None:
        """Raise SubmissionError if a team has an entry with these archives, or all the entries that it may have."""
        if (known := same_archives(database, facts.team, facts.digests)) is not None:
            entry, time = known
            raise SubmissionError(f"team {facts.team} has these archives as entry {entry} of {time[:19]}Z already")
        count = len(team_entries(database, facts.team))
        if self.max_entries is not None and count >= self.max_entries:
            raise SubmissionError(
                f"team {facts.team} has {count} entries; this leaderboard takes {self.max_entries} of a team"
            )

    def rows(self, *, history: bool = False) -> list[Row]:
        """Return the leaderboard: the best entry of each team and method, by mIoU, ties by time.

        Published rows are ranked with the others only where the board's tiles are those of the challenge; elsewhere
        they follow at the end without a rank, since scores on other data cannot be compared. ``history`` returns every
        entry by time instead, published rows first.
        """
        with self._connect() as database:
            rows = entries(database)
        if history:
            return rows
        rows.sort(key=lambda row: -(row.means["miou"] or 0.0))  # stable: equal scores stay in order of time
        first: dict[tuple[str, str], Row] = {}
        for row in rows:
            first.setdefault((row.team, row.method), row)
        best = list(first.values())
        ranked = best if self._is_challenge() else [r for r in best if not r.published]
        return [replace(row, rank=i) for i, row in enumerate(ranked, 1)] + [row for row in best if row not in ranked]

    def _is_challenge(self) -> bool:
        """True if the data sets are AB and BW in the tiles of the challenge: only there do published scores compare."""
        for name in self.datasets:
            sizes = self.tile_set(name).sizes
            city = city_of_tiles(len(sizes), max(next(iter(sizes.values()))))
            same = len({side for size in sizes.values() for side in size}) == 1
            if city is None or not same or city.split != "test" or city.dataset != f"C2Seg-{name}":
                return False
        return len(self.datasets) == len(DATASETS)

    @contextmanager
    def _connect(self, *, write: bool = False) -> Iterator[sqlite3.Connection]:
        if not self._path.is_file():
            raise DataError(f"{self._path} does not exist; make a leaderboard with c2seg challenge init")
        try:
            with closing(sqlite3.connect(self._path, timeout=30, isolation_level=None)) as database:
                if database.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
                    raise DataError(f"{self._path} is not a leaderboard of c2seg challenge init")
                database.execute("BEGIN IMMEDIATE" if write else "BEGIN")
                yield database
                database.execute("COMMIT")
        except sqlite3.OperationalError as error:
            use = "write" if is_write_fault(error) else "use"
            raise OutputError(f"cannot {use} the leaderboard {self._path}: {error}") from error
        except sqlite3.DatabaseError as error:
            raise DataError(f"{self._path} is not a leaderboard, or is damaged: {error}") from error


def check_label(kind: str, text: str) -> None:
    """Raise InputError unless a name is safe in tables: a spreadsheet treats no text that begins with a letter as a formula."""
    if not _LABEL.fullmatch(text):
        raise InputError(
            f"the name of a {kind} begins with a letter or digit and has at most 80 letters, digits, spaces and "
            f".,+()/&'-; found {ascii(text)[:90]}"
        )
