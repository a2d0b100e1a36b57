"""The public form of a leaderboard: a CSV table and a self-contained HTML page."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from importlib import resources

from c2seg.challenge.board import METRICS, Row
from c2seg.errors import needs_extra

__all__ = ["board_csv", "board_html", "check_packages"]

_TITLES = {"oa": "OA", "kappa": "Kappa", "mf1": "mF1", "miou": "mIoU"}


def board_csv(rows: Sequence[Row], datasets: Sequence[str]) -> str:
    """Return the table as CSV: rank, names, time, the means and every data set's scores; unknown values are empty."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    header = ["rank", "team", "method", "published", "submitted_at", *METRICS]
    writer.writerow([*header, *(f"{name} {metric}" for name in datasets for metric in METRICS)])
    for row in rows:
        scores = [row.means[m] for m in METRICS] + [row.datasets.get(d, {}).get(m) for d in datasets for m in METRICS]
        names = [row.rank, row.team, row.method, int(row.published), row.submitted_at]
        writer.writerow(["" if value is None else value for value in (*names, *scores)])
    return stream.getvalue()


def check_packages() -> None:
    """Raise MissingExtraError where no web page can be made."""
    with needs_extra("the leaderboard's web page", "report"):
        import jinja2  # noqa: F401


def board_html(rows: Sequence[Row], datasets: Sequence[str], *, title: str) -> str:
    """Return one HTML page without scripts or outside references; names are escaped."""
    check_packages()
    from jinja2 import Environment

    template = resources.files("c2seg.challenge").joinpath("board.html.j2").read_text(encoding="utf-8")
    page = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(template)
    content: str = page.render(
        title=title,
        ranked=[row for row in rows if row.rank is not None],
        others=[row for row in rows if row.rank is None],
        datasets=[name for name in datasets if any(name in row.datasets for row in rows)],
        metrics=_TITLES,
    )
    return content + "\n"
