"""The public form of a leaderboard: a CSV table and a self-contained HTML page."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from importlib import resources

from c2seg.challenge.counting import METRICS
from c2seg.challenge.rows import Row
from c2seg.errors import needs_extra

__all__ = ["board_csv", "board_html", "check_packages"]

_TITLES = {"oa": "OA", "kappa": "Kappa", "mf1": "mF1", "miou": "mIoU"}


def board_csv(rows: Sequence[Row], datasets: Sequence[str]) -> str:
    """Return the table as CSV: rank, id, names, time, the means and every data set's scores; unknown values are empty.

    Plain names are tile-counted scores, ``mosaic ...`` those that count each pixel of a scene once.
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    groups = ["", "mosaic ", *(f"{name} {way}" for name in datasets for way in ("", "mosaic "))]
    header = ["rank", "id", "team", "method", "published", "submitted_at"]
    writer.writerow([*header, *(f"{group}{metric}" for group in groups for metric in METRICS)])
    for row in rows:
        parts = [row.tiles.means, row.mosaic.means]
        parts += [scored.datasets.get(name, {}) for name in datasets for scored in (row.tiles, row.mosaic)]
        names = [row.rank, row.entry, row.team, row.method, int(row.published), row.submitted_at]
        scores = [part.get(metric) for part in parts for metric in METRICS]
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
