"""The ground truth of each stage of a challenge: a leaderboard file in which only the labels of its tiles are left."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

import numpy as np

from c2seg.challenge.board import MAX_ENTRIES, Board
from c2seg.challenge.board_file import ReferenceRows, store_references, store_settings
from c2seg.challenge.split import Part, split_tiles
from c2seg.challenge.withheld import ReferenceTile
from c2seg.legend import BACKGROUND

__all__ = ["split_board", "write_part"]

Parts = Mapping[str, Mapping[int, Part]]


def split_board(board: Board, public_share: float, seed: int) -> dict[str, dict[int, Part]]:
    """Return the part of every tile by data set and number; the same seed gives the same parts.

    Raises InputError where a part would have no labeled pixel.
    """
    rng = np.random.default_rng(seed)
    ids = list(board.legend.ids)
    parts = {}
    for name in board.datasets:
        rows = board.references(name)
        counts = {n: np.bincount(rows.tile(n).labels.ravel(), minlength=256)[ids] for n in rows.sizes}
        parts[name] = split_tiles(counts, rows.windows, public_share, rng)
    return parts


def write_part(board: Board, path: Path, parts: Parts, scored: Part | None) -> None:
    """Write the ground truth of one part as a leaderboard file without entries; None: of all tiles.

    Every tile is there, since an entry holds every tile; labels of the others are 0, and so they do not count.
    """
    path.touch(mode=0o600)
    with closing(sqlite3.connect(path)) as database, database:
        store_settings(database, board.legend, MAX_ENTRIES)
        for position, name in enumerate(board.datasets):
            store_references(database, name, position, _masked(board.references(name), parts[name], scored))


def _masked(rows: ReferenceRows, parts: Mapping[int, Part], scored: Part | None) -> Iterator[ReferenceTile]:
    for number in rows.sizes:
        tile = rows.tile(number)
        is_scored = scored is None or parts[number] == scored
        yield tile if is_scored else ReferenceTile(number, np.full_like(tile.labels, BACKGROUND), tile.place)
