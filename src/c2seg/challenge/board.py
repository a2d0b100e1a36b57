"""A leaderboard: data sets with withheld ground truth, entries scored on all of them, ranked by mean IoU. One SQLite file.

The file holds the ground truth: only its owner can read it, and it stays with the organizer. The public table is made
from ``Board.rows``: scores of whole data sets, rounded to four digits, and nothing finer.
"""

from __future__ import annotations

import json
import re
import sqlite3
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean

import numpy as np
from affine import Affine

from c2seg.challenge.rules import SubmissionError, TileSet, numbered_tiles, tile_windows
from c2seg.challenge.submission import Decoder, file_sha256
from c2seg.data import open_city
from c2seg.data.published import DATASETS, city_of_tiles
from c2seg.data.tiling import Order
from c2seg.data.vectors import is_vector
from c2seg.errors import DataError, InputError, OutputError, unknown_name
from c2seg.legend import BACKGROUND, IGNORE, Legend
from c2seg.metrics import Confusion, Reference, ReferenceCode, Scores, confusion_counts, open_references, scores
from c2seg.metrics.maps import reference_ids
from c2seg.metrics.pairs import ClassRaster, is_city
from c2seg.outputs import Output, check_outputs, commit, is_write_fault
from c2seg.raster import RasterFile
from c2seg.types import Grid, Window

__all__ = ["MAX_ENTRIES", "METRICS", "Board", "ReferenceSource", "Row", "create_board"]

METRICS = ("oa", "kappa", "mf1", "miou")
MAX_ENTRIES = 20
"""Of a team, if the organizer says nothing else."""
_DIGITS = 4  # of scores that leave the board: with more, a few entries could find out single labels
PROTOCOL = "challenge"
_SUFFIXES = ("", ".sqlite", ".sqlite3", ".db")
_APPLICATION_ID = 0x63327362  # "c2sb"
_LABEL = re.compile(r"[^\W_][\w .,+()/&'-]{0,79}")
_REFERENCES = "truth"  # table of the ground truths, by the name that it has in existing files
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
"""


@dataclass(frozen=True, slots=True)
class ReferenceSource:
    """Where the ground truth of a data set is: a folder of numbered tiles, or a raster to cut by the window rule."""

    path: Path
    tile_px: int = 128
    order: Order = "columns"
    label_map: str | None = None
    """None: what a city states, else class ids."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the leaderboard. ``means`` and ``datasets`` hold oa, kappa, mf1, miou to four digits (None: unknown).

    ``rank`` is None for published rows on a board whose data are not the challenge's, and in a history.
    """

    rank: int | None
    team: str
    method: str
    submitted_at: str | None
    published: bool
    means: Mapping[str, float | None]
    datasets: Mapping[str, Mapping[str, float | None]]

    def as_dict(self) -> dict[str, object]:
        """Return plain values for JSON."""
        return {
            "rank": self.rank, "team": self.team, "method": self.method, "submitted_at": self.submitted_at,
            "published": self.published, **self.means, "datasets": {k: dict(v) for k, v in self.datasets.items()},
        }  # fmt: skip


def create_board(
    path: Path,
    references: Mapping[str, ReferenceSource],
    legend: Legend,
    *,
    opening: bool = True,
    max_entries: int = MAX_ENTRIES,
    inputs: Sequence[Path] = (),
    overwrite: bool = False,
) -> Board:
    """Make a leaderboard file with the ground truths inside, and Table I of the challenge paper as its opening rows.

    A team may add ``max_entries`` entries, over all its methods. ``inputs`` are further files that nothing may replace.

    Raises DataError when a ground truth has values outside the legend, no label at all, or tiles that are not numbered.
    """
    if not references:
        raise InputError("a leaderboard needs at least one data set with its ground truth (NAME=PATH)")
    if max_entries < 1:
        raise InputError(f"`max_entries` must be at least 1, found {max_entries}")
    for name in references:
        _check_label("data set", name)
    read = [*inputs, *(file for source in references.values() for file in (source.path, Path(source.label_map or "")))]
    check_outputs([Output(path, "board", _SUFFIXES)], read, overwrite=overwrite)
    with commit(overwrite=overwrite) as files:
        temporary = files.add(path, private=True)
        temporary.touch(mode=0o600)
        with closing(sqlite3.connect(temporary)) as database, database:
            database.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
            database.executescript(_SCHEMA)
            database.execute("INSERT INTO setting VALUES ('legend', ?)", (json.dumps(legend.as_dict()),))
            database.execute("INSERT INTO setting VALUES ('max_entries', ?)", (str(max_entries),))
            for position, (name, source) in enumerate(references.items()):
                database.execute("INSERT INTO dataset VALUES (?, ?)", (name, position))
                _store_reference(database, name, source, legend)
            if opening:
                _store_opening(database)
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
        if dataset not in self.datasets:
            raise InputError(unknown_name("data set", dataset, self.datasets))
        with self._connect() as database:
            rows = database.execute(
                f"SELECT number, height, width FROM {_REFERENCES} WHERE dataset = ? ORDER BY number", (dataset,)
            ).fetchall()
        return TileSet({number: (height, width) for number, height, width in rows}, self.legend.ids)

    def score(self, dataset: str, archive: Path, decoder: Decoder) -> Confusion:
        """Count a submission against the withheld ground truth over all tiles. Raises SubmissionError when it breaks a rule."""
        tile_set, total = self.tile_set(dataset), Confusion.empty(self.legend.ids)
        with self._connect() as database:  # closed before the long work, so that others need not wait
            labels = dict(
                database.execute(f"SELECT number, labels FROM {_REFERENCES} WHERE dataset = ?", (dataset,)).fetchall()
            )
        for number, pixels in decoder.tiles(archive, tile_set):
            reference = np.frombuffer(zlib.decompress(labels[number]), np.uint8).reshape(pixels.shape)
            total += confusion_counts(reference, pixels, self.legend.ids)
        return total

    def add(
        self,
        team: str,
        method: str,
        archives: Mapping[str, Path],
        decoder: Decoder,
        submitted_at: datetime | None = None,
    ) -> Row:
        """Score one entry on every data set and record it, whole or not at all. Returns its line (without a rank).

        ``submitted_at`` (default now) decides ties. The same archives of the same team and method are one entry, however often
        they are added. Raises SubmissionError for an invalid archive and for more entries than a team may have, InputError for
        missing or unknown data sets and invalid names.
        """
        _check_label("team", team)
        _check_label("method", method)
        for name in archives:
            self.tile_set(name)
        missing = [name for name in self.datasets if name not in archives]
        if missing:
            raise InputError(f"an entry needs a submission for every data set; {', '.join(missing)} is missing")
        digests = {name: file_sha256(archives[name]) for name in self.datasets}
        with self._connect() as database:
            if (known := _same_entry(database, team, method, digests)) is not None:
                return self._row(database, known)
            self._check_limit(database, team)
        counts = {}
        for name in self.datasets:
            try:
                counts[name] = self.score(name, archives[name], decoder)
            except SubmissionError as error:
                raise SubmissionError(f"{name}: {error}") from None
        results = {name: scores(c, PROTOCOL) for name, c in counts.items()}
        time = (submitted_at or datetime.now(UTC)).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        means = {metric: _mean([getattr(results[n], metric) for n in self.datasets]) for metric in METRICS}
        with self._connect(write=True) as database:  # another process may have added meanwhile
            if (known := _same_entry(database, team, method, digests)) is not None:
                return self._row(database, known)
            self._check_limit(database, team)
            entry = database.execute(
                "INSERT INTO entry (team, method, submitted_at, oa, kappa, mf1, miou) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (team, method, time, *means.values()),
            ).lastrowid
            for name, result in results.items():
                database.execute(
                    "INSERT INTO score VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    (entry, name, *_values(result), json.dumps(counts[name].as_dict()), digests[name]),
                )
            assert entry is not None
            return self._row(database, entry)

    def _row(self, database: sqlite3.Connection, entry: int) -> Row:
        return next(row for number, row in _entries(database) if number == entry)

    def _check_limit(self, database: sqlite3.Connection, team: str) -> None:
        """Raise SubmissionError if a team has all the entries that it may have; spellings of one name are one team."""
        teams = database.execute("SELECT team FROM entry WHERE submitted_at IS NOT NULL").fetchall()
        count = sum(_spelled(other) == _spelled(team) for (other,) in teams)
        if self.max_entries is not None and count >= self.max_entries:
            raise SubmissionError(
                f"team {team} has {count} entries; this leaderboard takes {self.max_entries} of a team"
            )

    def rows(self, *, history: bool = False) -> list[Row]:
        """Return the leaderboard: the best entry of each team and method, by mIoU, ties by time.

        Published rows are ranked with the others only where the board's tiles are those of the challenge; elsewhere
        they follow at the end without a rank, since scores on other data cannot be compared. ``history`` returns every
        entry by time instead, published rows first.
        """
        with self._connect() as database:
            rows = [row for _, row in _entries(database)]
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
                if database.execute("PRAGMA application_id").fetchone()[0] != _APPLICATION_ID:
                    raise DataError(f"{self._path} is not a leaderboard of c2seg challenge init")
                database.execute("BEGIN IMMEDIATE" if write else "BEGIN")
                yield database
                database.execute("COMMIT")
        except sqlite3.OperationalError as error:
            use = "write" if is_write_fault(error) else "use"
            raise OutputError(f"cannot {use} the leaderboard {self._path}: {error}") from error
        except sqlite3.DatabaseError as error:
            raise DataError(f"{self._path} is not a leaderboard, or is damaged: {error}") from error


def _entries(database: sqlite3.Connection) -> list[tuple[int, Row]]:
    """Return number and line of every entry by time, published ones first, with scores rounded to four digits."""
    entries = database.execute(
        "SELECT id, team, method, submitted_at, oa, kappa, mf1, miou FROM entry ORDER BY submitted_at, id"
    ).fetchall()
    details: dict[int, dict[str, Mapping[str, float | None]]] = {}
    for entry, name, *values in database.execute("SELECT entry, dataset, oa, kappa, mf1, miou FROM score"):
        details.setdefault(entry, {})[name] = _rounded(values)
    return [
        (number, Row(None, team, method, time, time is None, _rounded(means), details.get(number, {})))
        for number, team, method, time, *means in entries
    ]


def _rounded(values: Sequence[float | None]) -> dict[str, float | None]:
    return {m: None if v is None else round(v, _DIGITS) for m, v in zip(METRICS, values, strict=True)}


def _same_entry(database: sqlite3.Connection, team: str, method: str, digests: Mapping[str, str]) -> int | None:
    """Return the entry of a team and method with these archives, by data set; None if there is none."""
    for (entry,) in database.execute("SELECT id FROM entry WHERE team = ? AND method = ?", (team, method)).fetchall():
        rows = database.execute("SELECT dataset, archive_sha256 FROM score WHERE entry = ?", (entry,)).fetchall()
        if dict(rows) == dict(digests):
            return int(entry)
    return None


def _spelled(team: str) -> str:
    return " ".join(team.casefold().split())


def _store_reference(database: sqlite3.Connection, name: str, source: ReferenceSource, legend: Legend) -> None:
    labeled = 0
    for number, raster, window, code in _reference_tiles(source, legend):
        labels = reference_ids(raster, window, code)
        known = np.isin(labels, [BACKGROUND, IGNORE, *legend.ids])
        if not known.all():
            raise DataError(f"{raster.path} holds the value {labels[~known][0]}, which is no id of the legend")
        labeled += int(np.isin(labels, legend.ids).sum())
        database.execute(
            f"INSERT INTO {_REFERENCES} VALUES (?, ?, ?, ?, ?)",
            (name, number, *labels.shape, zlib.compress(labels.tobytes())),
        )
    if not labeled:
        raise DataError(f"the ground truth {source.path} of data set {name} has no labeled pixel")


def _reference_tiles(
    source: ReferenceSource, legend: Legend
) -> Iterator[tuple[int, ClassRaster, Window, ReferenceCode]]:
    """Yield number, raster, window and meaning of the ground truth of every tile: of a folder of tiles, or cut from a city."""
    if source.path.is_dir() and not is_city(source.path):
        sizes = TileSet.from_path(source.path, (1,), source.tile_px, source.order).sizes  # checks numbers and sizes
        files = numbered_tiles(source.path)
        code = open_references(next(iter(files.values())), legend, source.label_map)[0].code
        for number in sizes:
            tile = RasterFile(files[number], (0,))
            yield number, tile, tile.grid.window, code
            tile.close()
        return
    references = open_references(source.path, legend, source.label_map)
    if len(references) > 1:
        raise InputError(f"{source.path} has several scenes; give the label of one, or a data set for each")
    whole = _whole(references[0])
    windows = tile_windows(whole.height, whole.width, source.tile_px, source.order)
    TileSet({n: (w.height, w.width) for n, w in enumerate(windows)}, (1,))  # checks number and sizes
    for number, window in enumerate(windows):
        yield number, whole, window, references[0].code


def _whole(reference: Reference) -> ClassRaster:
    """Open the label of a scene; polygons are burned into the grid of their city."""
    if not is_vector(reference.path):
        return reference.open(Grid(1, 1, Affine.identity()))
    if reference.city is None:
        raise InputError(f"{reference.path} holds polygons, which have no pixels; give a label raster, or a city")
    return reference.open(open_city(reference.city).scenes[0].grid)


def _store_opening(database: sqlite3.Connection) -> None:
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


def _check_label(kind: str, text: str) -> None:
    # A spreadsheet treats no text that begins with a letter or digit as a formula.
    if not _LABEL.fullmatch(text):
        raise InputError(
            f"the name of a {kind} begins with a letter or digit and has at most 80 letters, digits, spaces and "
            f".,+()/&'-; found {ascii(text)[:90]}"
        )


def _values(result: Scores) -> list[float | None]:
    return [getattr(result, metric) for metric in METRICS]


def _mean(values: Sequence[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return fmean(known) if len(known) == len(values) else None
