"""``c2seg certify``: where a sample shows that at most a share of a map is wrong, and prediction sets."""

from __future__ import annotations

from pathlib import Path

import typer

from c2seg.api.certifying import certify_map
from c2seg.cli.console import JSON, OVERWRITE, QUIET, note, print_json, progress_bars
from c2seg.verify.records import CertificateRecord

__all__ = ["command"]


def command(
    map_path: Path = typer.Argument(..., metavar="MAP", help="The map that the sample was drawn from."),
    sample: list[Path] = typer.Argument(..., metavar="SAMPLE...", help="Labeled GeoPackage or CSV; one for each interpreter."),
    alpha: float = typer.Option(0.1, "--alpha", metavar="A", help="The share wrong that is still right enough."),
    delta: float = typer.Option(0.05, "--delta", metavar="D", help="The probability of a mistake."),
    legend: Path | None = typer.Option(None, "--legend", metavar="FILE", help="Legend (YAML); default: the map's."),
    zones: Path | None = typer.Option(None, "--zone", "--zones", metavar="FILE", help="Test zones instead of classes."),
    zone_field: str | None = typer.Option(None, "--zone-field", metavar="F", help="Attribute of the zones' names."),
    correction: str = typer.Option("holm", "--correction", metavar="HOW", help="For several tests: holm, bonferroni, none."),
    disputes: str = typer.Option("majority", "--disputes", metavar="HOW", help="Interpreters differ: majority, consensus."),
    probabilities: Path | None = typer.Option(None, "--probabilities", metavar="FILE", help="What predict wrote, for --sets."),
    sets: Path | None = typer.Option(None, "--sets", metavar="F.tif", help="Write prediction sets: a bit for each class."),
    out: Path | None = typer.Option(None, "--out", metavar="F.json", help="Write the certificate."),
    as_json: bool = JSON,
    overwrite: bool = OVERWRITE,
    quiet: bool = QUIET,
) -> None:  # fmt: skip
    """Tell where a labeled sample shows that at most a share of the map is wrong: as a whole, by class, or by zone.

    Points of "cannot tell" count as wrong.
    """
    with progress_bars(quiet=quiet) as bars:
        result = certify_map(
            map_path,
            sample,
            alpha=alpha,
            delta=delta,
            legend=legend,
            zones=zones,
            zone_field=zone_field,
            correction=correction,
            disputes=disputes,
            probabilities=probabilities,
            sets=sets,
            out=out,
            overwrite=overwrite,
            progress=bars,
        )
    if as_json:
        print_json(result.record.as_json())
    else:
        _print(result.record)
    for text in result.record.warnings:
        note(f"note: {text}", quiet=quiet)


def _print(record: CertificateRecord) -> None:
    width = max(5, *(len(item.name) for item in record.results))
    typer.echo(f"{'':<{width}} {'points':>7} {'wrong':>6} {'at most':>8}  wrong in at most {100 * record.alpha:g} %")
    for item in record.results:
        verdict = "shown" if item.shown else "not shown"
        typer.echo(
            f"{item.name:<{width}} {item.points:>7} {item.wrong:>6} {100 * item.limit:>6.1f} %  "
            f"{verdict} (p {item.adjusted:.3g})"
        )
    typer.echo(
        f'probability of a mistake at most {record.delta:g} over all tests ({record.correction}); "at most" is the limit of '
        "each alone"
        if record.correction != "none"
        else f"probability of a mistake at most {record.delta:g} for each test alone"
    )
    if record.sets:
        sets = record.sets
        coverage = "-" if sets.coverage is None else f"{100 * sets.coverage:.1f} %"
        typer.echo(
            f"{sets.path}: {sets.mean_size:.2f} classes a pixel; holds the right one at {coverage} of the points left out"
        )
