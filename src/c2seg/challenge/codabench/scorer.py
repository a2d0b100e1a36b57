"""``python -m c2seg.challenge.codabench.scorer INPUT OUTPUT``: the scoring program, as Codabench's worker starts it.

INPUT holds ``ref`` (reference data of the task) and ``res`` (the entry, unpacked). OUTPUT receives ``scores.json`` and
``detailed_results.html``. Exit code 0: scored; 1: the entry is refused, with the reason in a line on stderr and on the page.
A refused entry fails on Codabench and does not count among those that a participant may send.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

from c2seg.challenge.board import Board
from c2seg.challenge.codabench.archives import entry_archives
from c2seg.challenge.codabench.columns import columns, score_values
from c2seg.challenge.codabench.details import details_page, refusal_page
from c2seg.challenge.codabench.plan import REFERENCE_FILE, ROUND_FILE, ScoringRound
from c2seg.challenge.rules import SubmissionError
from c2seg.challenge.submission import Decoder
from c2seg.records import Json

__all__ = ["main", "score_entry"]

_FAULT = "the scoring program failed; this is no fault of the entry: tell the organizers"


def score_entry(inputs: Path, output: Path) -> dict[str, float]:
    """Score the entry in ``inputs/res`` and write scores and page; return the scores by key.

    Raises SubmissionError where the entry breaks a rule, with the page written and no scores.
    """
    plan = ScoringRound.read(inputs / "ref" / ROUND_FILE)
    board = Board(inputs / "ref" / REFERENCE_FILE)
    tile_sets = {name: board.tile_set(name) for name in board.datasets}
    try:
        with tempfile.TemporaryDirectory() as scratch, Decoder() as decoder:
            counts = board.count_all(entry_archives(inputs / "res", tile_sets, Path(scratch)), decoder)
    except SubmissionError as error:
        _write(output / "detailed_results.html", refusal_page(str(error)))
        raise
    values = score_values(counts, plan.prefix)
    with_mosaic = all(counted.mosaic is not None for counted in counts.values())
    shown = columns(list(counts), with_mosaic=with_mosaic, prefix=plan.prefix)
    _write(output / "detailed_results.html", details_page(shown, values, is_hidden=plan.is_hidden))
    _write(output / "scores.json", _as_text(values))
    return values


def main(arguments: list[str]) -> int:
    """Score as the worker asks; no message tells of a path or a label."""
    inputs, output = (Path(argument) for argument in arguments)
    try:
        score_entry(inputs, output)
    except SubmissionError as error:
        sys.stderr.write(f"refused: {error}\n")
        return 1
    except Exception as error:  # whatever it is, its text may hold what is withheld
        sys.stderr.write(f"{_FAULT} ({type(error).__name__})\n")
        return 1
    sys.stdout.write("scored\n")
    return 0


def _as_text(values: Json | dict[str, float]) -> str:
    return json.dumps(values, indent=1) + "\n"


def _write(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.part")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
