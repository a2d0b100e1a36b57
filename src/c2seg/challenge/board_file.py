"""The SQLite file of a leaderboard: its tables, and what is stored in them and read back.

Tables that 0.1.0 did not have (``place``, ``mosaic``) may be missing in a file.
"""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from c2seg.challenge.counting import METRICS, Counts, mean_scores, scores_of
from c2seg.challenge.rows import Row, Scored, rounded
from c2seg.challenge.withheld import ReferenceTile
from c2seg.legend import Legend
from c2seg.metrics import Confusion
from c2seg.types import Window

__all__ = [
    "APPLICATION_ID",
    "EntryFacts",
    "ReferenceRows",
    "entries",
    "same_archives",
    "store_entry",
    "store_opening",
    "store_references",
    "store_settings",
    "team_entries",
]

APPLICATION_ID = 0x63327362  # "c2sb"
_REFERENCES = "truth"  # table of the ground truths, by the name that it has in existing files
_UNKNOWN = Scored(dict.fromkeys(METRICS))
_NEW_TABLES = """
CREATE TABLE IF NOT EXISTS place (
    dataset TEXT NOT NULL REFERENCES dataset(name), number INTEGER NOT NULL, row INTEGER NOT NULL,
    col INTEGER NOT NULL, PRIMARY KEY (dataset, number)
);
CREATE TABLE IF NOT EXISTS mosaic (
    entry INTEGER NOT NULL REFERENCES entry(id), dataset TEXT NOT NULL, oa REAL, kappa REAL, mf1 REAL, miou REAL,
    confusion TEXT, PRIMARY KEY (entry, dataset)
);
"""
_SCHEMA = f"""
CREATE TABLE setting (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE dataset (name TEXT PRIMARY KEY, position INTEGER NOT NULL);
CREATE TABLE {_REFERENCES} (
    dataset TEXT NOT NULL REFERENCES dataset(name), number INTEGER NOT NULL, height INTEGER NOT NULL,
    width INTEGER NOT NULL, labels BLOB NOT NULL, PRIMARY KEY (dataset, number)
);
CREATE TABLE entry (
    id INTEGER PRIMARY KEY, team TEXT NOT NULL, method TEXT NOT NULL, submitted_at TEXT,
    oa REAL, kappa REAL, mf1 REAL, miou REAL
);
CREATE TABLE score (
    entry INTEGER NOT NULL REFERENCES entry(id), dataset TEXT NOT NULL, oa REAL, kappa REAL, mf1 REAL, miou REAL,
    confusion TEXT, archive_sha256 TEXT, PRIMARY KEY (entry, dataset)
);
{_NEW_TABLES}"""


@dataclass(frozen=True, slots=True)
class EntryFacts:
    """What is known of an entry besides its scores. ``digests``: SHA-256 of its archives by data set."""

    team: str
    method: str
    submitted_at: str
    digests: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ReferenceRows:
    """The stored ground truth of one data set: compressed labels by tile number, and the tiles' windows if known."""

    labels: Mapping[int, bytes]
    sizes: Mapping[int, tuple[int, int]]
    windows: Mapping[int, Window] | None

    @classmethod
    def read(cls, database: sqlite3.Connection, dataset: str) -> ReferenceRows:
        """Read the ground truth of a data set."""
        rows = database.execute(
            f"SELECT number, height, width, labels FROM {_REFERENCES} WHERE dataset = ? ORDER BY number", (dataset,)
        ).fetchall()
        sizes = {number: (height, width) for number, height, width, _ in rows}
        return cls({row[0]: row[3] for row in rows}, sizes, _windows(database, dataset, sizes))

    def tile(self, number: int) -> ReferenceTile:
        """Return the ground truth of a tile."""
        labels = np.frombuffer(zlib.decompress(self.labels[number]), np.uint8).reshape(self.sizes[number])
        window = self.windows[number] if self.windows else None
        return ReferenceTile(number, labels, (window.row, window.col) if window else None)


def store_settings(database: sqlite3.Connection, legend: Legend, max_entries: int) -> None:
    """Make the tables of a new file, and store its settings."""
    database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    database.executescript(_SCHEMA)
    database.execute("INSERT INTO setting VALUES ('legend', ?)", (json.dumps(legend.as_dict()),))
    database.execute("INSERT INTO setting VALUES ('max_entries', ?)", (str(max_entries),))


def store_references(database: sqlite3.Connection, name: str, position: int, tiles: Iterable[ReferenceTile]) -> None:
    """Store a data set with its ground truth."""
    database.execute("INSERT INTO dataset VALUES (?, ?)", (name, position))
    for tile in tiles:
        labels = zlib.compress(tile.labels.tobytes())
        database.execute(
            f"INSERT INTO {_REFERENCES} VALUES (?, ?, ?, ?, ?)", (name, tile.number, *tile.labels.shape, labels)
        )
        if tile.place is not None:
            database.execute("INSERT INTO place VALUES (?, ?, ?, ?)", (name, tile.number, *tile.place))


def store_opening(database: sqlite3.Connection) -> None:
    """Store Table I of the challenge's outcome paper."""
    from c2seg.metrics.published import published_scores

    rows = [row for row in published_scores() if row.source == "challenge"]
    for mean in (row for row in rows if row.dataset == "mean"):
        entry = database.execute(
            "INSERT INTO entry (team, method, oa, mf1, miou) VALUES ('Published', ?, ?, ?, ?)",
            (mean.method, mean.oa, mean.mf1, mean.miou),
        ).lastrowid
        for row in (row for row in rows if row.dataset != "mean" and row.method == mean.method):
            database.execute(
                "INSERT INTO score (entry, dataset, oa, mf1, miou) VALUES (?, ?, ?, ?, ?)",
                (entry, row.dataset, row.oa, row.mf1, row.miou),
            )


def store_entry(database: sqlite3.Connection, facts: EntryFacts, counts: Mapping[str, Counts]) -> int:
    """Store an entry with its counts and scores by data set; return its number."""
    for statement in _NEW_TABLES.split(";")[:-1]:  # a script would end the transaction
        database.execute(statement)
    results = {name: scores_of(c.tiles) for name, c in counts.items()}
    means = mean_scores(list(results.values()))
    entry = database.execute(
        "INSERT INTO entry (team, method, submitted_at, oa, kappa, mf1, miou) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (facts.team, facts.method, facts.submitted_at, *means.values()),
    ).lastrowid
    assert entry is not None
    for name, counted in counts.items():
        database.execute(
            "INSERT INTO score VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (entry, name, *results[name].values(), _as_text(counted.tiles), facts.digests[name]),
        )
        if counted.mosaic is not None:
            once = scores_of(counted.mosaic)
            database.execute(
                "INSERT INTO mosaic VALUES (?, ?, ?, ?, ?, ?, ?)",
                (entry, name, *once.values(), _as_text(counted.mosaic)),
            )
    return entry


def entries(database: sqlite3.Connection) -> list[Row]:
    """Return the line of every entry by time, published ones first, with scores rounded to four digits."""
    rows = database.execute(
        "SELECT id, team, method, submitted_at, oa, kappa, mf1, miou FROM entry ORDER BY submitted_at, id"
    ).fetchall()
    tiles = _by_entry(database, "score")
    once = _by_entry(database, "mosaic") if _has(database, "mosaic") else {}
    return [
        Row(
            None, number, team, method, time, time is None,
            Scored(rounded(means), {name: rounded(values) for name, values in tiles.get(number, {}).items()}),
            _mosaic(tiles.get(number, {}), once.get(number, {})),
        )
        for number, team, method, time, *means in rows
    ]  # fmt: skip


def same_archives(database: sqlite3.Connection, team: str, digests: Mapping[str, str]) -> tuple[int, str] | None:
    """Return number and time of the team's entry with these archives, by data set; None if there is none."""
    for entry, time in team_entries(database, team):
        rows = database.execute("SELECT dataset, archive_sha256 FROM score WHERE entry = ?", (entry,)).fetchall()
        if dict(rows) == dict(digests):
            return entry, time
    return None


def team_entries(database: sqlite3.Connection, team: str) -> list[tuple[int, str]]:
    """Return number and time of every entry of a team; spellings of one name are one team."""
    rows = database.execute("SELECT id, submitted_at, team FROM entry WHERE submitted_at IS NOT NULL").fetchall()
    return [(number, time) for number, time, name in rows if _spelled(name) == _spelled(team)]


def _spelled(team: str) -> str:
    return " ".join(team.casefold().split())


def _windows(
    database: sqlite3.Connection, dataset: str, sizes: Mapping[int, tuple[int, int]]
) -> dict[int, Window] | None:
    if not _has(database, "place"):
        return None
    rows = database.execute(
        "SELECT number, row, col FROM place WHERE dataset = ? ORDER BY number", (dataset,)
    ).fetchall()
    return {number: Window(row, col, *sizes[number]) for number, row, col in rows} or None


def _has(database: sqlite3.Connection, table: str) -> bool:
    query = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?"
    return database.execute(query, (table,)).fetchone() is not None


def _by_entry(database: sqlite3.Connection, table: str) -> dict[int, dict[str, Sequence[float | None]]]:
    details: dict[int, dict[str, Sequence[float | None]]] = {}
    for entry, name, *values in database.execute(f"SELECT entry, dataset, oa, kappa, mf1, miou FROM {table}"):
        details.setdefault(entry, {})[name] = values
    return details


def _mosaic(tiles: Mapping[str, Sequence[float | None]], once: Mapping[str, Sequence[float | None]]) -> Scored:
    """Return the scores over mosaics; the means are known where those of every data set are."""
    if not once:
        return _UNKNOWN
    parts = {name: dict(zip(METRICS, values, strict=True)) for name, values in once.items()}
    means = mean_scores(list(parts.values())) if set(once) == set(tiles) else dict.fromkeys(METRICS)
    return Scored(rounded([means[m] for m in METRICS]), {name: rounded(values) for name, values in once.items()})


def _as_text(confusion: Confusion) -> str:
    return json.dumps(confusion.as_dict())
