"""The page that a participant sees of an entry: scores of whole data sets, or why it was refused. Never a label or a pixel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from c2seg.challenge.codabench.columns import Column

__all__ = ["details_page", "refusal_page"]

_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><style>
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 1.5rem auto; max-width: 46rem; padding: 0 1rem; }}
body {{ color: #1b1f24; background: #fff; }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums; }}
th, td {{ padding: .3rem .8rem; border-bottom: 1px solid #d8dee4; text-align: left; }} td {{ text-align: right; }}
p.note {{ color: #57606a; font-size: .9rem; }}
</style></head><body><h1>{title}</h1>
{body}
</body></html>
"""
_NOTE = """<p class="note">The means are plain means over the data sets; entries are ranked by the first. They are tile-counted:
a pixel counts in every tile that holds it. Mosaic: each pixel counts once, in the first tile that holds it.</p>"""


def details_page(columns: Sequence[Column], values: Mapping[str, float], *, is_hidden: bool) -> str:
    """Return the page of a valid entry; with ``is_hidden`` it holds no score."""
    if is_hidden:
        body = "<p>The entry is valid and was scored. Scores of this stage are shown when the organizers open them.</p>"
        return _PAGE.format(title="Entry received", body=body)
    rows = "\n".join(
        f"<tr><th>{escape(column.title)}</th><td>{_shown(values.get(column.key))}</td></tr>" for column in columns
    )
    return _PAGE.format(title="Scores", body=f"<table>\n{rows}\n</table>\n{_NOTE}")


def refusal_page(reason: str) -> str:
    """Return the page of an entry that breaks a rule."""
    return _PAGE.format(title="Entry refused", body=f"<p>{escape(reason)}</p>")


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
