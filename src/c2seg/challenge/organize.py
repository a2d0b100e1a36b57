"""The organizer's tasks, one function each: check an archive, add it to the leaderboard, publish the table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from c2seg.challenge.board import Board
from c2seg.challenge.publish import board_csv, board_html, check_packages
from c2seg.challenge.rows import Row
from c2seg.challenge.rules import TileSet
from c2seg.challenge.submission import CheckedSubmission, Decoder, check_submission
from c2seg.data.tiling import Order
from c2seg.legend import Legend
from c2seg.outputs import Output, check_outputs, commit

__all__ = ["Table", "add_entry", "check_archive", "publish_board"]


@dataclass(frozen=True)
class Table:
    """The lines of a leaderboard and the data sets behind them."""

    rows: list[Row]
    datasets: tuple[str, ...]


def check_archive(archive: Path, like: Path, legend: Legend, *, tile_px: int, order: Order) -> CheckedSubmission:
    """Check a submission against a folder of test tiles, or a raster that is cut into tiles.

    Raises SubmissionError with the first rule that it breaks, DataError for ``like``.
    """
    expected = TileSet.from_path(like, legend.ids, tile_px, order)
    with Decoder() as decoder:
        return check_submission(archive, expected, decoder)


def add_entry(
    board: Path, team: str, method: str, archives: Mapping[str, Path], submitted_at: datetime | None = None
) -> Row:
    """Check and score an entry's archives by data set, and record it, whole or not at all. Raises as ``Board.add`` does."""
    with Decoder() as decoder:
        return Board(board).add(team, method, archives, decoder, submitted_at)


def publish_board(
    board: Path,
    *,
    history: bool = False,
    csv: Path | None = None,
    html: Path | None = None,
    title: str = "C2Seg leaderboard",
    overwrite: bool = False,
) -> Table:
    """Return the leaderboard, or every entry by time with ``history``; write it as CSV and as a web page where asked to.

    Raises DataError for a file that is no leaderboard, OutputError where a file exists.
    """
    outputs = [Output(path, kind, (f".{kind}",)) for kind, path in (("csv", csv), ("html", html)) if path]
    check_outputs(outputs, [board], overwrite=overwrite)
    if html is not None:
        check_packages()
    opened = Board(board)
    table = Table(opened.rows(history=history), opened.datasets)
    with commit(overwrite=overwrite) as files:
        if csv is not None:
            files.text(csv, board_csv(table.rows, table.datasets))
        if html is not None:
            files.text(html, board_html(table.rows, table.datasets, title=title))
    return table
