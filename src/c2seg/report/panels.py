"""A panel of scores as the template shows it: headline, findings, bars by class, confusion matrices."""

from __future__ import annotations

import base64
import csv
import io
from collections.abc import Sequence

import numpy as np

from c2seg.legend import c2seg13
from c2seg.report.assess import ScoredMap, ScorePanel, findings
from c2seg.report.contexts import BarCell, ClassRow, ConfusionRow, EntryContext, PanelColumn, PanelContext
from c2seg.report.runs import Run
from c2seg.report.views import View

__all__ = ["HEADLINE", "panel_context"]

HEADLINE = ("oa", "kappa", "mf1", "miou")
GRAY = "#808080"


def panel_context(panel: ScorePanel, runs: Sequence[Run], views: Sequence[View]) -> PanelContext:
    """Return what the template shows of a panel."""
    legend = views[panel.view].legend if panel.view is not None else c2seg13()
    colors = {c.id: c.color for c in legend.classes}
    first = panel.entries[0].scores
    intervals = any(entry.intervals for entry in panel.entries)
    note = (
        "Below each score: 95 % interval from a bootstrap over blocks of 1 km."
        + (" The difference to the best run is paired over the same blocks." if len(panel.entries) > 1 else "")
        if intervals
        else ""
    )
    memorized = ", ".join(panel.memorized)
    return {
        "title": panel.title,
        "warning": f"Not a test: {memorized} was trained on this city; such scores show what was memorized."
        if memorized
        else "",
        "note": f"{panel.note} {first.pixels:,} labeled pixels; means over the classes that the ground truth has.",
        "view": panel.view,
        "compared": any(entry.against_best for entry in panel.entries),
        "interval_note": note,
        "csv": _csv(panel, runs),
        "entries": [_entry(panel, entry, runs, colors) for entry in panel.entries],
        "classes": _classes(panel, colors),
        "columns": [
            *(PanelColumn(id=i, name=panel.names[i], color=colors.get(i, GRAY)) for i in first.ids),
            PanelColumn(id="none", name="no class of the legend", color=""),
        ],
    }


def _entry(panel: ScorePanel, entry: ScoredMap, runs: Sequence[Run], colors: dict[int, str]) -> EntryContext:
    intervals = entry.intervals or {}
    return {
        "run": entry.run,
        "name": runs[entry.run].name,
        "best": entry is panel.best,
        "headline": [
            {
                "value": getattr(entry.scores, name),
                "low": intervals[name].low if name in intervals else None,
                "high": intervals[name].high if name in intervals else None,
                "best": _is_best(panel, entry, name),
            }
            for name in HEADLINE
        ],
        "below": _below(entry),
        "findings": findings(entry, panel.names),
        "matrix": _matrix(panel, entry, colors),
    }


def _is_best(panel: ScorePanel, entry: ScoredMap, name: str) -> bool:
    """Return whether no run of the panel has more of a score; False where there is no other."""
    values = [value for one in panel.entries if (value := getattr(one.scores, name)) is not None]
    return len(panel.entries) > 1 and bool(values) and getattr(entry.scores, name) == max(values)


def _csv(panel: ScorePanel, runs: Sequence[Run]) -> str:
    """Return the scores by run and class as the data URI of a CSV."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(("run", "class_id", "class", "pixels", "iou", "f1", "precision", "recall"))
    for entry in panel.entries:
        result = entry.scores
        for k, i in enumerate(result.ids):
            values = [getattr(result, name)[k] for name in ("iou", "f1", "precision", "recall")]
            numbers = ["" if value is None else f"{value:.6f}" for value in values]
            table.writerow((runs[entry.run].name, i, panel.names[i], result.support[k], *numbers))
    return f"data:text/csv;base64,{base64.b64encode(text.getvalue().encode()).decode('ascii')}"


def _below(entry: ScoredMap) -> str:
    if entry.against_best is None:
        return ""
    compared = entry.against_best["miou"]
    difference = compared.difference
    if difference.value is None or difference.low is None or difference.high is None:
        return ""
    return f"{difference.value:.3f} ({difference.low:+.3f} to {difference.high:+.3f}; p {compared.p_value:.2g})"


def _classes(panel: ScorePanel, colors: dict[int, str]) -> list[ClassRow]:
    first = panel.entries[0].scores
    rows: list[ClassRow] = []
    for k, i in enumerate(first.ids):
        cells: dict[str, list[BarCell]] = {
            name: [
                {"run": entry.run, "value": value, "width": round(100 * (value or 0.0), 1)}
                for entry in panel.entries
                for value in [getattr(entry.scores, name)[k]]
            ]
            for name in ("iou", "f1", "precision", "recall")
        }
        rows.append({"name": panel.names[i], "color": colors.get(i, GRAY), "support": first.support[k], "cells": cells})
    return rows


def _matrix(panel: ScorePanel, entry: ScoredMap, colors: dict[int, str]) -> list[ConfusionRow]:
    ids, counts = entry.confusion.ids, entry.confusion.counts
    of_reference = _percent(counts, counts.sum(1, keepdims=True))
    of_map = _percent(counts, counts.sum(0, keepdims=True))
    columns: list[int | str] = [*ids, "other"]
    names = [*(panel.names[i] for i in ids), "no class of the legend"]
    return [
        {
            "id": i,
            "name": panel.names[i],
            "color": colors.get(i, GRAY),
            "cells": [
                {
                    "id": columns[j],
                    "n": int(counts[k, j]),
                    "of_reference": f"{of_reference[k, j]:.2f}",
                    "of_map": f"{of_map[k, j]:.2f}",
                    "right": j == k,
                    "title": f"{panel.names[i]} predicted as {names[j]}: {counts[k, j]:,} pixels, {of_reference[k, j]:.1f} % "
                    f"of the ground truth's, {of_map[k, j]:.1f} % of the map's",
                    "text": f"{of_reference[k, j]:.0f}" if counts[k, j] else "",
                }
                for j in range(len(columns))
            ],
        }
        for k, i in enumerate(ids)
    ]


def _percent(counts: np.ndarray, totals: np.ndarray) -> np.ndarray:
    share = np.zeros(counts.shape)
    np.divide(100.0 * counts, totals, out=share, where=totals > 0)
    return share
