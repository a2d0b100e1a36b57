"""Challenges: pack and check submissions, keep a leaderboard with withheld ground truth."""

from __future__ import annotations

from c2seg.challenge.board import MAX_ENTRIES, Board, create_board
from c2seg.challenge.counting import METRICS, Counts, count_archive, count_parts
from c2seg.challenge.organize import Table, add_entry, check_archive, publish_board
from c2seg.challenge.publish import board_csv, board_html
from c2seg.challenge.rows import Row, Scored
from c2seg.challenge.rules import Limits, SubmissionError, TileSet, tile_windows
from c2seg.challenge.submission import CheckedSubmission, Decoder, check_submission, pack_submission
from c2seg.challenge.withheld import ReferenceSource, ReferenceTile, reference_tiles

__all__ = [
    "MAX_ENTRIES",
    "METRICS",
    "Board",
    "CheckedSubmission",
    "Counts",
    "Decoder",
    "Limits",
    "ReferenceSource",
    "ReferenceTile",
    "Row",
    "Scored",
    "SubmissionError",
    "Table",
    "TileSet",
    "add_entry",
    "board_csv",
    "board_html",
    "check_archive",
    "check_submission",
    "count_archive",
    "count_parts",
    "create_board",
    "pack_submission",
    "publish_board",
    "reference_tiles",
    "tile_windows",
]
