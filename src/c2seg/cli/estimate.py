"""``c2seg estimate``: accuracy and area of a map from a labeled sample, with intervals."""

from __future__ import annotations

from pathlib import Path

import typer

from c2seg.api.estimating import estimate_accuracy, percent
from c2seg.cli.console import JSON, OVERWRITE, QUIET, note, print_json, progress_bars
from c2seg.verify.records import AreaKm2, EstimateRecord, Measured

__all__ = ["command"]


def command(
    map_path: Path = typer.Argument(..., metavar="MAP", help="The map that the sample was drawn from."),
    sample: list[Path] = typer.Argument(..., metavar="SAMPLE...", help="Labeled GeoPackage or CSV; one for each interpreter."),
    legend: Path | None = typer.Option(None, "--legend", metavar="FILE", help="Legend (YAML); default: the map's."),
    zones: Path | None = typer.Option(None, "--zone", "--zones", metavar="FILE", help="Polygons: estimates for each zone."),
    zone_field: str | None = typer.Option(None, "--zone-field", metavar="F", help="Attribute of the zones' names."),
    compare: Path | None = typer.Option(None, "--compare", metavar="MAP", help="Another map on the same points."),
    probabilities: Path | None = typer.Option(None, "--probabilities", metavar="FILE", help="Prediction-powered, too."),
    half_width: float | None = typer.Option(None, "--half-width", metavar="W", help="How many more points reach this."),
    level: float = typer.Option(0.95, "--level", "--confidence", metavar="L", help="Level of the intervals."),
    disputes: str = typer.Option("majority", "--disputes", metavar="HOW", help="Interpreters differ: majority, consensus."),
    out: Path | None = typer.Option(None, "--out", metavar="F.json", help="Write all; the report finds MAP.estimate.json."),
    csv: Path | None = typer.Option(None, "--csv", metavar="F.csv", help="Write a table."),
    as_json: bool = JSON,
    overwrite: bool = OVERWRITE,
    quiet: bool = QUIET,
) -> None:  # fmt: skip
    """Estimate accuracy and area from a labeled sample: overall, by class, by zone, each with an interval.

    Points without a label are left out; points of "cannot tell" widen the limits for the worst case.
    """
    with progress_bars(quiet=quiet) as bars:
        result = estimate_accuracy(
            map_path,
            sample,
            legend=legend,
            zones=zones,
            zone_field=zone_field,
            compare=compare,
            probabilities=probabilities,
            level=level,
            half_width=half_width,
            disputes=disputes,
            out=out,
            csv=csv,
            overwrite=overwrite,
            progress=bars,
        )
    if as_json:
        print_json(result.record.as_json())
    else:
        for line in lines(result.record):
            typer.echo(line)
    for text in result.warnings:
        note(f"note: {text}", quiet=quiet)


def lines(record: EstimateRecord) -> list[str]:
    """Return the estimates as text."""
    sample = record.sample
    head = f"{sample.labeled} labeled points of {sample.drawn}, {sample.design}; {sample.estimator}"
    parts = [head, f"overall accuracy  {percent(record.overall)}", *_worst(record.overall)]
    if record.predicted_overall:
        parts.append(f"  with the model's probabilities  {percent(record.predicted_overall)}")
    return [*parts, "", *_classes(record), *_zones(record), *_comparison(record), *_rest(record)]


def _worst(value: Measured) -> list[str]:
    if (value.worst_low, value.worst_high) == (value.low, value.high):
        return []
    return [f"  whatever undecided points are  [{100 * value.worst_low:.1f}, {100 * value.worst_high:.1f}]"]


def _classes(record: EstimateRecord) -> list[str]:
    there = [item for item in record.classes if item.mapped_share or item.area.value or item.users.points]
    width = max(len("class"), *(len(item.name) for item in there))
    titles = (
        f"{'class':<{width}}",
        *(f"{title:>22}" for title in ("user's", "producer's", "IoU", "area")),
        f"{'mapped':>8}",
    )
    rows = [" ".join(titles)]
    for item in there:
        cells = [f"{percent(part):>22}" for part in (item.users, item.producers, item.iou, item.area)]
        rows.append(f"{item.name:<{width}} {' '.join(cells)} {100 * item.mapped_share:>6.1f} %")
    rest = [item for item in record.classes if item not in there]
    if rest:
        most = 100 * max(item.area.high for item in rest)
        rows.append(
            f"neither mapped nor seen, at most {most:.1f} % of the area each: {', '.join(item.name for item in rest)}"
        )
    if record.pixel_km2 is not None:
        rows += ["", f"{'class':<{width}} {'area km2':>30} {'mapped km2':>11}"]
        rows += [f"{item.name:<{width}} {_area(item.area_km2):>30} {item.mapped_km2 or 0:>11.2f}" for item in there]
    return rows


def _area(area: AreaKm2 | None) -> str:
    return "-" if area is None else f"{area.value:.2f} [{area.low:.2f}, {area.high:.2f}]"


def _zones(record: EstimateRecord) -> list[str]:
    if not record.zones:
        return []
    width = max(len("zone"), *(len(zone.name) for zone in record.zones))
    rows = [f"{zone.name:<{width}} {percent(zone.overall):>22} {zone.points:>7}" for zone in record.zones]
    return ["", f"{'zone':<{width}} {'overall accuracy':>22} {'points':>7}", *rows]


def _comparison(record: EstimateRecord) -> list[str]:
    result = record.comparison
    if result is None:
        return []
    return [
        "",
        f"overall accuracy minus that of {result.against}: {100 * result.value:+.1f} % "
        f"[{100 * result.low:+.1f}, {100 * result.high:+.1f}]; "
        f"only this map is right at {result.only_this} points, only the other at {result.only_other} "
        f"(McNemar p {result.mcnemar_p:.3f})",
    ]


def _rest(record: EstimateRecord) -> list[str]:
    rows = []
    if record.agreement:
        result = record.agreement
        kappa = "-" if result.kappa is None else f"{result.kappa:.2f}"
        rows.append(
            f"interpreters agree at {100 * result.percent:.1f} % of {result.points} points (kappa {kappa}); disputed: "
            f"{', '.join(map(str, result.disputed)) or 'none'}"
        )
    if record.half_width is not None:
        rows.append(
            f"{record.more_points} more points for plus or minus {100 * record.half_width:g} % of overall accuracy"
        )
    return ["", *rows] if rows else []
