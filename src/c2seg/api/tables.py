"""Results as HTML tables, for notebooks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from c2seg.artifacts.scores import ScoreValues

__all__ = ["HEADLINE", "html_table", "number", "score_line"]

HEADLINE = {"oa": "OA", "kappa": "Kappa", "mf1": "mF1", "miou": "mIoU"}
"""The main scores and how they are written."""


def number(value: float | None, sign: str = "") -> str:
    """Write a score with four digits; ``-`` where it is undefined."""
    return "-" if value is None else f"{value:{sign}.4f}"


def score_line(scores: ScoreValues) -> str:
    """Write the main scores in one line."""
    return "  ".join(f"{title} {number(getattr(scores, name))}" for name, title in HEADLINE.items())


def html_table(header: Sequence[str], rows: Iterable[Sequence[object]], caption: str = "") -> str:
    """Return a table; everything in it is escaped. Columns but the first are aligned to the right."""
    head = "".join(f"<th>{escape(text)}</th>" for text in header)
    body = "".join(f"<tr>{''.join(_cell(i, value) for i, value in enumerate(row))}</tr>" for row in rows)
    title = f"<caption>{escape(caption)}</caption>" if caption else ""
    return f"<table>{title}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _cell(column: int, value: object) -> str:
    side = "left" if column == 0 else "right"
    return f'<td style="text-align: {side}">{escape(str(value))}</td>'
