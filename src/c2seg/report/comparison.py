"""Scores of this page beside published ones, with a note on what may be compared."""

from __future__ import annotations

from collections.abc import Sequence

from c2seg.legend import c2seg13
from c2seg.metrics import scores
from c2seg.metrics.published import PublishedSource, published_class_f1, published_scores, published_sources
from c2seg.report.assess import ScorePanel
from c2seg.report.contexts import ClassF1Row, ClassF1Table, PublishedContext, PublishedRow, PublishedTable
from c2seg.report.runs import Run
from c2seg.report.views import View

__all__ = ["published_context"]

# The scenes of the dataset paper by name: rows and columns at 10 m (two heights of Berlin are in circulation).
SCENES = {"berlin": ("AB", {(2465, 811), (2456, 811)}), "wuhan": ("BW", {(6225, 8670)})}


def published_context(
    panels: Sequence[ScorePanel], views: Sequence[View], runs: Sequence[Run]
) -> PublishedContext | None:
    """Return the published tables, and apart from them this page's scores by their conventions.

    Numbers of this page and published ones never stand in one table: they are of other data unless a note says so. None where
    the legend is not C2Seg-13.
    """
    legends = {view.legend.ids for view in views} | {tuple(panel.names) for panel in panels}
    if legends and c2seg13().ids not in legends:
        return None
    scored = [p for p in panels if p.view is not None and tuple(p.names) == c2seg13().ids]
    tables: list[PublishedTable] = []
    own_rows: list[PublishedRow] = []
    for source in published_sources().values():
        by_source = [row for panel in scored for row in _page_rows(panel, views, runs, source)]
        own_rows += [row for row in by_source if row not in own_rows]
        rows: list[PublishedRow] = [
            {
                "method": row.method, "cities": row.dataset, "oa": row.oa, "mf1": row.mf1, "miou": row.miou, "run": None,
            }
            for row in published_scores()
            if row.source == source.name
        ]  # fmt: skip
        tables.append({"title": source.title, "rows": rows, "note": source.note, "citation": source.citation})
    return {"notes": _notes(scored, views), "page_rows": own_rows, "tables": tables, "class_f1": _class_f1()}


def _page_rows(
    panel: ScorePanel, views: Sequence[View], runs: Sequence[Run], source: PublishedSource
) -> list[PublishedRow]:
    if source.protocol is None:
        return []
    rows: list[PublishedRow] = []
    for entry in panel.entries:
        result = scores(entry.confusion, source.protocol)
        name = views[panel.view].name if panel.view is not None else ""
        rows.append(
            {
                "method": runs[entry.run].name, "cities": f"{name} ({source.protocol})",
                "oa": result.oa, "mf1": result.mf1, "miou": result.miou, "run": entry.run,
            }
        )  # fmt: skip
    return rows


def _notes(scored: Sequence[ScorePanel], views: Sequence[View]) -> list[str]:
    if not scored:
        return [
            "This page has no score that compares with these. "
            "Scores on the source's folds, or on another city, are not comparable."
        ]
    notes = [_comparable(views[panel.view], panel) for panel in scored if panel.view is not None]
    return [
        *notes,
        "AB: trained on Augsburg, tested on Berlin; BW: Beijing and Wuhan; mean: plain mean of both. "
        "Published means differ in which classes they count. The first table has the scores of this page under the "
        "convention nearest to each of them.",
    ]


def _comparable(view: View, panel: ScorePanel) -> str:
    side_m = view.grid.pixel_side_m()
    size = f"pixels of {side_m:.3g} m" if side_m else "pixels of unknown size"
    pixels = panel.entries[0].scores.pixels
    for name, (_, sizes) in SCENES.items():
        if name in view.name.lower() and (view.grid.height, view.grid.width) in sizes:
            return (
                f"{view.name} has the size of the dataset's scene. With its released full label the numbers are "
                "comparable with the dataset paper's. The challenge's numbers were measured on tiles of it, whose "
                "overlaps count twice."
            )
    return (
        "Not comparable: the published numbers were measured on Berlin and Wuhan at 10 m. Those of this page were "
        f"measured on {view.name} with {size} and {pixels:,} labeled pixels. "
        "They are shown for orientation only."
    )


def _class_f1() -> ClassF1Table:
    published = published_class_f1()
    columns = [f"{dataset} {method}" for dataset, method in published]
    rows: list[ClassF1Row] = [
        {"name": item.name, "cells": [values[k] for values in published.values()]}
        for k, item in enumerate(c2seg13().classes)
    ]
    return {"columns": columns, "rows": rows}
