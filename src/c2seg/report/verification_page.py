"""What the page shows of a map that was checked with a sample: accuracies, areas, points, error matrix, and what to audit."""

from __future__ import annotations

import base64
from pathlib import Path

import numpy as np

from c2seg.legend import Legend, c2seg13
from c2seg.metrics import map_legend
from c2seg.raster import RasterFile
from c2seg.report.imagery import Sampling, encode_picture, sample_ids
from c2seg.report.verification import VerifiedMap
from c2seg.report.verification_contexts import (
    ClassLine,
    MatrixLine,
    PointMark,
    ValueCell,
    VerificationContext,
)
from c2seg.report.views import class_colors
from c2seg.verify.records import AreaKm2, ClassEstimate, EstimateRecord, Measured
from c2seg.verify.samples import SampleRecord

__all__ = ["overall_text", "verification_context"]

_MAP_PIXELS = 300_000  # of the picture that the points are drawn on
_MOST_POINTS = 3000  # that are drawn; the first of a random order are a sample, too
_DESIGNS = {
    "stratified": "stratified random sample",
    "random": "simple random sample",
    "systematic": "systematic sample",
}


def verification_context(verified: VerifiedMap, name: str, palette: str) -> VerificationContext:
    """Return what the page shows of a map's sample."""
    estimate = verified.estimate
    legend = map_legend(verified.entry.raster) or c2seg13()
    known = class_colors(legend, palette)
    colors = {item.id: "#{:02x}{:02x}{:02x}".format(*known.get(item.id, (128, 128, 128))) for item in estimate.classes}
    picture, aspect = _picture(verified.entry.raster, legend, palette)
    return {
        "title": f"Accuracy and area of {name}",
        "lead": _lead(estimate),
        "overall": _cell(estimate.overall),
        "level": f"{estimate.level:.0%}",
        "notes": _notes(estimate),
        "remarks": [*verified.remarks, *estimate.warnings],
        "picture": picture,
        "aspect": aspect,
        "points": _points(verified.sample),
        "unit": "percent of the mapped area" if estimate.pixel_km2 is None else "km²",
        "classes": _classes(estimate, colors),
        "columns": [(estimate.classes[k].name, colors[estimate.classes[k].id]) for k in _present(estimate)],
        "matrix": _matrix(estimate, colors),
        "strata": [(item.name, f"{item.pixels:,}", f"{item.points:,}") for item in estimate.strata],
        "zones": [(z.name, f"{z.pixels:,}", f"{z.points:,}", _text(_cell(z.overall))) for z in estimate.zones],
        "audit": _audit(verified),
        "files": _files(verified),
        "absent": _absent(estimate),
        "points_note": _points_note(verified.sample),
    }


def _lead(estimate: EstimateRecord) -> str:
    sample = estimate.sample
    text = (
        f"A {_DESIGNS.get(sample.design, sample.design)} of {sample.drawn:,} points, {sample.labeled:,} of them labeled"
    )
    if sample.interpreters:
        text += f" by {', '.join(sample.interpreters)}"
    if sample.undecided:
        text += f"; {sample.undecided:,} could not be told"
    return f"{text}. Intervals hold the value of the whole map with a probability of {estimate.level:.0%}."


def _notes(estimate: EstimateRecord) -> list[str]:
    """Return sentences about what else is known."""
    sample, overall = estimate.sample, estimate.overall
    notes = [f"Estimator: {sample.estimator}."]
    if (overall.worst_low, overall.worst_high) != (overall.low, overall.high):
        notes.append(
            f"Whatever the undecided points are, overall accuracy lies within {_span(overall.worst_low, overall.worst_high)}."
        )
    if estimate.predicted_overall:
        notes.append(f"With the model's probabilities: {_text(_cell(estimate.predicted_overall))}.")
    if estimate.agreement:
        kappa = "" if estimate.agreement.kappa is None else f", kappa {estimate.agreement.kappa:.2f}"
        share = estimate.agreement.percent
        notes.append(f"Interpreters agree on {share:.1%} of {estimate.agreement.points:,} points{kappa}.")
    if sample.left_out:
        notes.append(f"{sample.left_out:,} points near labels that the model was trained on are left out.")
    if estimate.comparison:
        other = estimate.comparison
        notes.append(
            f"Against {other.against} on the same points: {100 * other.value:+.1f} points of overall accuracy "
            f"({100 * other.low:+.1f} to {100 * other.high:+.1f}; McNemar p {other.mcnemar_p:.2g})."
        )
    if estimate.more_points is not None and estimate.half_width is not None:
        notes.append(f"{estimate.more_points:,} more points would reach ±{100 * estimate.half_width:g} %.")
    return notes


def _picture(raster: RasterFile, legend: Legend, palette: str) -> tuple[str, float]:
    """Return the map as a picture, and its width by its height on the ground."""
    sampling = Sampling.within(raster.grid, _MAP_PIXELS)
    ids = sample_ids(raster, sampling)
    table = np.zeros((256, 4), np.uint8)
    for number, color in class_colors(legend, palette).items():
        table[number] = (*color, 255)
    x, y = raster.grid.resolution_xy
    return encode_picture(table[ids]), x * raster.grid.width / (y * raster.grid.height)


def _points(sample: SampleRecord | None) -> list[PointMark]:
    if sample is None:
        return []
    names = {item.number: item.name for item in sample.strata}
    return [
        {
            "x": round(100 * (point.col + 0.5) / sample.grid.width, 3),
            "y": round(100 * (point.row + 0.5) / sample.grid.height, 3),
            "title": f"point {point.id}: row {point.row}, column {point.col}, stratum {names[point.stratum]}",
        }
        for point in sample.points[:_MOST_POINTS]
    ]


def _classes(estimate: EstimateRecord, colors: dict[int, str]) -> list[ClassLine]:
    shown = [estimate.classes[k] for k in _present(estimate)]
    widest = max([max(item.area.high, item.mapped_share) for item in shown] or [0]) or 1.0
    return [_class_line(item, colors[item.id], widest) for item in shown]


def _class_line(item: ClassEstimate, color: str, widest: float) -> ClassLine:
    low, high = item.area.low, item.area.high
    places = (low, low if item.area.value is None else item.area.value, high, item.mapped_share)
    return {
        "name": item.name,
        "color": color,
        "cells": [_cell(part) for part in (item.users, item.producers, item.f1, item.iou)],
        "area": _cell(item.area) if item.area_km2 is None else _km2(item.area_km2),
        "mapped": f"{100 * item.mapped_share:.1f} %" if item.mapped_km2 is None else f"{item.mapped_km2:,.2f}",
        "bar": tuple(round(100 * place / widest, 2) for place in places),  # type: ignore[typeddict-item]
        "outside": not low <= item.mapped_share <= high,
    }


def _matrix(estimate: EstimateRecord, colors: dict[int, str]) -> list[MatrixLine]:
    """Return the rows of the error matrix; opacity of a cell follows its share of the row."""
    shown = _present(estimate)
    rows: list[MatrixLine] = []
    for i in shown:
        item, shares, counts = estimate.classes[i], estimate.matrix[i], estimate.counts[i]
        total = sum(shares)
        cells = [
            (f"{100 * shares[j]:.1f}" if counts[j] else "", f"{counts[j]} points", shares[j] / (total or 1.0), i == j)
            for j in shown
        ]
        rows.append({"name": item.name, "color": colors[item.id], "cells": cells, "total": f"{100 * total:.1f}"})
    return rows


def _present(estimate: EstimateRecord) -> list[int]:
    """Return the places of classes that are mapped, or that a point has."""
    points = np.array(estimate.counts)
    return [
        k for k, item in enumerate(estimate.classes) if item.mapped_share > 0 or points[k].any() or points[:, k].any()
    ]


def _absent(estimate: EstimateRecord) -> str:
    """Say which classes are neither mapped nor at a point, and how much of them there may be."""
    shown = set(_present(estimate))
    others = [item for k, item in enumerate(estimate.classes) if k not in shown]
    if not others:
        return ""
    most = max(item.area.high for item in others)
    names = ", ".join(item.name for item in others)
    return (
        f"Neither mapped nor at any labeled point: {names}. Of each there may be up to {100 * most:.1f} % of the area."
    )


def _points_note(sample: SampleRecord | None) -> str:
    if sample is None:
        return "The map"
    if len(sample.points) > _MOST_POINTS:
        return f"The map with the first {_MOST_POINTS:,} of {len(sample.points):,} points"
    return f"The map with the {len(sample.points):,} points of the sample"


def _audit(verified: VerifiedMap) -> list[tuple[str, str]]:
    """Return what somebody else needs to check the estimate."""
    estimate, sample = verified.estimate, verified.estimate.sample
    rows = [
        ("Map", f"{verified.entry.path.name}, digest of its ids {estimate.map.digest}"),
        ("Sample", f"{Path(sample.path).name}, {sample.sample_id}"),
        ("Seed", str(sample.seed)),
        ("Design", f"{sample.design}; strata of {', '.join(sample.strata_of) or 'nothing: one stratum'}"),
        ("Where interpreters differ", sample.resolution),
    ]
    if verified.sample is not None:
        record = verified.sample
        rows.append(("Record", "unchanged since the points were drawn (its digest holds)"))
        rows += (
            [("Allocation", f"{record.allocation}, at least {record.min_per_class} a class")]
            if record.allocation
            else []
        )
        rows += [("Planned", record.planned)] if record.planned else []
        rows += [("Positional tolerance", f"{record.tolerance_m:g} m")] if record.tolerance_m else []
    rows += [("Minimum mapping unit", f"{sample.min_unit_px} pixels")] if sample.min_unit_px else []
    return rows


def _files(verified: VerifiedMap) -> list[tuple[str, str]]:
    """Return the files that the page carries: name and data URI."""
    files = [(verified.path.name, verified.estimate.as_text())]
    if verified.sample is not None:
        files.append((Path(verified.estimate.sample.path).with_suffix(".json").name, verified.sample.as_text()))
    return [
        (name, f"data:application/json;base64,{base64.b64encode(text.encode()).decode('ascii')}")
        for name, text in files
    ]


def _cell(value: Measured) -> ValueCell:
    """Write a share in percent."""
    if value.value is None:
        return {"value": "-", "interval": _span(value.low, value.high) if (value.low, value.high) != (0, 1) else ""}
    return {"value": f"{100 * value.value:.1f} %", "interval": _span(value.low, value.high)}


def _km2(area: AreaKm2) -> ValueCell:
    return {"value": f"{area.value:,.2f}", "interval": f"{area.low:,.2f} to {area.high:,.2f}"}


def _span(low: float, high: float) -> str:
    return f"{100 * low:.1f} to {100 * high:.1f} %"


def _text(cell: ValueCell) -> str:
    return f"{cell['value']} ({cell['interval']})" if cell["interval"] else cell["value"]


def overall_text(verified: VerifiedMap) -> str:
    """Return the overall accuracy with its interval in a sentence."""
    overall = _text(_cell(verified.estimate.overall))
    return f"By a sample of {verified.estimate.sample.labeled:,} labeled points its overall accuracy is {overall}."
