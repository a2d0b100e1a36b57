"""The page: what the template shows, made from runs, views and panels. All text is escaped by the template engine."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources

from c2seg._version import __version__
from c2seg.legend import c2seg13
from c2seg.metrics import map_legend
from c2seg.report.assess import ScorePanel
from c2seg.report.charts import curve_groups, reliability_chart
from c2seg.report.comparison import published_context
from c2seg.report.contexts import AreaCell, AreaColumn, MapDownload, ViewContext, ViewData
from c2seg.report.layers import RenderedView
from c2seg.report.panels import panel_context
from c2seg.report.run_page import run_context, trained_on
from c2seg.report.runs import MapFile, Run
from c2seg.report.verification import VerifiedMap
from c2seg.report.verification_contexts import VerificationContext
from c2seg.report.verification_page import overall_text, verification_context
from c2seg.report.views import View, palettes

__all__ = ["PageContent", "render_page"]

_SCORED = 3
"""Panels of scores in the table of runs at most."""
_DOWNLOAD_BYTES = 400_000
"""Of a map that the page carries as a file, at most; and a sixth of what all of them take."""
MEASURES = (("iou", "IoU"), ("f1", "F1"), ("precision", "Precision"), ("recall", "Recall"))
PALETTE_NAMES = {
    "default": "legend of the map",
    "colorblind": "color-blind safe",
    "paper": "dataset paper",
    "mmglots": "MMGLOTS",
    "submission": "challenge submission",
}


@dataclass(frozen=True)
class PageContent:
    """All that goes into a page. ``figures`` are data URIs, one per view as far as they go."""

    runs: Sequence[Run]
    views: tuple[View, ...]
    drawn: tuple[RenderedView, ...]
    panels: tuple[ScorePanel, ...]
    hidden_views: int
    palette: str
    title: str | None
    figures: tuple[str, ...]
    verified: tuple[VerifiedMap, ...] = ()
    pictures: tuple[tuple[str, str], ...] = ()
    """Title and data URI."""
    tables: tuple[tuple[str, str], ...] = ()
    """Title and HTML, in which texts are escaped."""


def render_page(content: PageContent) -> str:
    """Return the HTML of a page: one text with its styles, scripts and pictures, which loads nothing."""
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_asset), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    script = _asset("page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    views = [_view_context(k, content) for k in range(len(content.views))]
    panels = [panel_context(panel, content.runs, content.views) for panel in content.panels]
    curves = curve_groups(content.runs)
    scored = _scored_panels(content)
    first = _first_run(content)
    published = published_context(content.panels, content.views, content.runs)
    return environment.get_template("page.html.j2").render(
        version=__version__,
        title=content.title or _title(content),
        lead=_lead(content),
        style=Markup(_asset("page.css")),
        script=Markup(script),
        script_hash=Markup(f"sha256-{digest}"),
        sections=_sections(content, bool(curves), bool(published)),
        runs=[run_context(k, run, scored, first) for k, run in enumerate(content.runs)],
        score_columns=[f"{name} on {_place(panel, content)}" for panel in scored for name in ("mIoU", "OA")],
        views=views,
        panels=panels,
        measures=MEASURES,
        verifications=_verifications(content),
        curves=curves,
        published=published,
        figures=content.figures,
        pictures=content.pictures,
        tables=[(title, Markup(table)) for title, table in content.tables],
        data={"views": [_view_data(k, content) for k in range(len(content.views))]},
    )


def _asset(name: str) -> str:
    return resources.files("c2seg.report").joinpath("html", name).read_text(encoding="utf-8")


def _title(content: PageContent) -> str:
    places = list(dict.fromkeys(view.maps[0][1].city for view in content.views))
    names = ", ".join(run.name for run in content.runs)
    return f"Land cover of {' and '.join(places[:3])}" if places else f"Report of {names}"


def _lead(content: PageContent) -> str:
    """Say in a sentence or two what the page shows."""
    sentences = []
    for run in content.runs[:3]:
        sources, predicted = trained_on(run), ", ".join(dict.fromkeys(m.city for m in run.maps))
        text = run.name + (f" ({run.recipe_name})" if run.recipe_name and run.recipe_name != run.name else "")
        text += f" was trained on {sources}" if sources else ""
        text += f"{' and' if sources else ''} predicted {predicted}" if predicted else ""
        sentences.append(text + ".")
    if len(content.runs) > 3:
        sentences.append(f"{len(content.runs) - 3} more runs are shown beside them.")
    shown = [p for p in content.panels if p.view is not None and p.best.scores.miou is not None]
    scored = next((p for p in shown if not p.memorized), None)
    if scored is not None:
        sentences.append(_best(scored, content))
    elif shown:
        sentences.append("It is scored only on a city that it was trained on, which is no test.")
    elif content.verified:
        sentences.append(overall_text(content.verified[0]))
    elif content.views:
        sentences.append("No ground truth was given, so the map is shown but not scored.")
    if content.hidden_views:
        sentences.append(f"{content.hidden_views} more predicted scenes are scored but not shown.")
    return " ".join(sentences)


def _best(panel: ScorePanel, content: PageContent) -> str:
    """Name the best run of a panel, and those that do not differ significantly from it."""
    best, place = panel.best, content.views[panel.view or 0].name
    if len(panel.entries) == 1:
        return f"mIoU {best.scores.miou:.3f} and OA {best.scores.oa:.3f} on {place}."
    close = [
        content.runs[entry.run].name
        for entry in panel.entries
        if entry.against_best and (low := entry.against_best["miou"].difference.low) is not None and low <= 0
    ]
    text = f"{content.runs[best.run].name} has the highest mIoU on {place}, {best.scores.miou:.3f} (OA {best.scores.oa:.3f})"
    return text + (f", not clearly ahead of {', '.join(close)}." if close else ".")


def _sections(content: PageContent, curves: bool, published: bool) -> list[tuple[str, str]]:
    sections = [("runs", "Runs" if len(content.runs) > 1 else "Run")]
    sections += [(f"map{k}", f"Map of {view.name}") for k, view in enumerate(content.views)]
    sections += [(f"scores{k}", panel.title) for k, panel in enumerate(content.panels)]
    sections += [
        (f"sample{k}", f"Sample of {_verified_name(entry, content)}") for k, entry in enumerate(content.verified)
    ]
    sections += [("curves", "Training curves")] if curves else []
    sections += [("published", "Published results")] if published else []
    sections.append(("provenance", "Provenance"))
    sections += [("figure", "Figure")] if content.figures else []
    sections += [(f"table{k}", title) for k, (title, _) in enumerate(content.tables)]
    return sections + [(f"picture{k}", title.split(":")[0]) for k, (title, _) in enumerate(content.pictures)]


def _verifications(content: PageContent) -> list[VerificationContext]:
    return [
        verification_context(
            entry, _verified_name(entry, content), content.palette if _knows(entry, content) else "default"
        )
        for entry in content.verified
    ]


def _verified_name(verified: VerifiedMap, content: PageContent) -> str:
    """Name a map by its city, and by its run where there are several."""
    return verified.entry.city + (f" ({content.runs[verified.run].name})" if len(content.runs) > 1 else "")


def _knows(verified: VerifiedMap, content: PageContent) -> bool:
    """Return whether the map's legend has the page's palette."""
    return content.palette in palettes(map_legend(verified.entry.raster) or c2seg13())


def _scored_panels(content: PageContent) -> list[ScorePanel]:
    """Return the panels whose scores stand in the table of runs: of shown maps, and no city that a run was trained on."""
    return [panel for panel in content.panels if panel.view is not None and not panel.memorized][:_SCORED]


def _place(panel: ScorePanel, content: PageContent) -> str:
    few_shot = any(content.runs[entry.run].few_shot for entry in panel.entries)
    return content.views[panel.view or 0].name + (", few-shot" if few_shot else "")


def _first_run(content: PageContent) -> int:
    """Return the run that the page opens with: the best on the first city with scores, else the first."""
    panel = next(iter(_scored_panels(content)), None)
    return panel.best.run if panel is not None else 0


def _view_context(index: int, content: PageContent) -> ViewContext:
    view, drawn = content.views[index], content.drawn[index]
    panel = next((p for p in content.panels if p.view == index), None)
    columns, rows = _areas(view, content.runs, panel)
    known = palettes(view.legend)
    colors = dict(zip(view.legend.ids, known[content.palette], strict=True))
    same = {"colorblind"} if known.get("colorblind") == known["default"] else set()
    agreement = (
        f"The maps agree on {drawn.agreement:.1%} of the predicted pixels." if drawn.agreement is not None else ""
    )
    return {
        "name": view.name,
        "facts": _facts(view, drawn),
        "remark": view.remark,
        "agreement": agreement,
        "palettes": [name for name in known if name not in same],
        "palette": "default" if content.palette in same else content.palette,
        "palette_names": {
            name: PALETTE_NAMES.get("colorblind" if same and name == "default" else name, name) for name in known
        },
        "areas": [
            {"id": c.id, "name": c.name, "color": colors[c.id], "cells": cells}
            for c, cells in zip(view.legend.classes, rows, strict=True)
        ],
        "area_columns": columns,
        "area_unit": "Area in km²" if view.grid.crs else "Pixels",
        "area_note": "Ground truth: of the labeled pixels only." if panel else "",
        "downloads": _downloads(view, index, content),
        "reliability": reliability_chart(drawn.reliability, [run.name for run in content.runs]),
    }


def _downloads(view: View, index: int, content: PageContent) -> list[MapDownload]:
    """Return the maps of a view as files, as long as they and those of the views before it are small."""
    before = sum(_size(entry) for one in content.views[:index] for _, entry in one.maps)
    room = 6 * _DOWNLOAD_BYTES - before
    files: list[MapDownload] = []
    for run, entry in view.maps:
        room -= _size(entry)
        if _size(entry) and room >= 0:
            text = base64.b64encode(entry.path.read_bytes()).decode("ascii")
            files.append({"run": run, "name": entry.path.name, "uri": f"data:image/tiff;base64,{text}"})
    return files


def _size(entry: MapFile) -> int:
    size = entry.path.stat().st_size
    return size if size <= _DOWNLOAD_BYTES else 0


def _facts(view: View, drawn: RenderedView) -> str:
    height, width = view.grid.height, view.grid.width
    side_m = view.grid.pixel_side_m()
    parts = [f"{height:,} rows x {width:,} columns"]
    parts.append("no coordinate reference system" if side_m is None else f"pixels of {side_m:.4g} m on the ground")
    if drawn.sampling.step > 1:
        parts.append(f"shown at 1:{drawn.sampling.step:.3g} (images as means, classes as samples)")
    return "; ".join(parts) + "."


def _areas(view: View, runs: Sequence[Run], panel: ScorePanel | None) -> tuple[list[AreaColumn], list[list[AreaCell]]]:
    """Return columns (title, run, total) and, by class, the cells (km2, share) of each column; pixels without a CRS."""
    pixel_km2 = (view.grid.pixel_area_m2() or 1e6) / 1e6
    series: list[tuple[str, int | None, list[float]]] = []
    for index, entry in view.maps:
        series.append((runs[index].name, index, _map_areas(entry, view, pixel_km2)))
    if panel is not None:
        support = panel.entries[0].scores.support
        series.append(("Reference", None, [n * _reference_pixel_km2(view) for n in support]))
    columns: list[AreaColumn] = [
        {"title": title, "run": run, "total": _amount(sum(values), view)} for title, run, values in series
    ]
    rows: list[list[AreaCell]] = [
        [
            {"area": _amount(values[k], view), "share": f"{values[k] / sum(values):.1%}" if sum(values) else ""}
            for _, _, values in series
        ]
        for k in range(view.legend.num_classes)
    ]
    return columns, rows


def _map_areas(entry: MapFile, view: View, pixel_km2: float) -> list[float]:
    """Return km2 by class: from the map's record, else counted in the file."""
    recorded = entry.record.area_km2 if entry.record and view.grid.crs else {}
    if all(item.name in recorded for item in view.legend.classes):
        return [recorded[item.name] for item in view.legend.classes]
    counts = entry.count_ids()
    return [float(counts[c.id]) * pixel_km2 for c in view.legend.classes]


def _reference_pixel_km2(view: View) -> float:
    assert view.reference is not None
    return (view.reference.open(view.grid).grid.pixel_area_m2() or 1e6) / 1e6


def _amount(value: float, view: View) -> str:
    """Write an area in km2, or a number of pixels where there is no CRS."""
    if view.grid.crs is None:
        return f"{value:,.0f}"
    return f"{value:,.1f}" if value >= 10 else f"{value:.2f}" if value >= 0.005 or value == 0 else "<0.01"


def _view_data(index: int, content: PageContent) -> ViewData:
    """Return what the script needs of a view."""
    view, drawn = content.views[index], content.drawn[index]
    sampling = drawn.sampling
    x, y = view.grid.resolution_xy
    side_m = view.grid.pixel_side_m()
    keys = {layer["title"]: layer["key"] for layer in drawn.layers}
    maps = [layer for layer in drawn.layers if layer.get("role") == "map"]
    panel = next((one for one in content.panels if one.view == index and not one.memorized), None)
    best = [layer for layer in maps if panel is not None and layer.get("run") == panel.best.run]
    first_map = (best or maps)[0]["key"]
    images = [layer["key"] for layer in drawn.layers if layer["kind"] == "image"]
    others = [layer["key"] for layer in drawn.layers if layer["key"] != first_map]
    first_left = keys.get("Reference") if view.reference else (images or others or [first_map])[0]
    return {
        "width": sampling.width,
        "height": sampling.height,
        "aspect": (y * view.grid.height / sampling.height) / (x * view.grid.width / sampling.width),
        "meters": side_m and side_m * (x / y) ** 0.5 * view.grid.width / sampling.width,
        "step": sampling.step,
        "stepX": view.grid.width / sampling.width,
        "names": {str(c.id): c.name for c in view.legend.classes},
        "palettes": {
            name: {str(i): color for i, color in zip(view.legend.ids, colors, strict=True)}
            for name, colors in palettes(view.legend).items()
        },
        "layers": list(drawn.layers),
        "left_layer": first_left,
        "right_layer": first_map,
    }
