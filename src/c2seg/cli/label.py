"""``c2seg label``: reference labels from OpenStreetMap."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from c2seg.cli.console import CLUSTER_HELP, JSON, OVERWRITE, QUIET, note, print_json, progress_bars, raise_for_cities
from c2seg.cli.options import with_options
from c2seg.errors import InputError

__all__ = ["command"]


def _show_rules(show: bool) -> None:
    if show:
        from c2seg.labels import default_rules_text

        typer.echo(default_rules_text(), nl=False)
        raise typer.Exit(0)


def command(
    out: Path = typer.Argument(
        ..., help="Label raster to write (GeoTIFF, uint8 class ids, 0 = unmapped); with --cities a folder."
    ),
    osm: Path | None = typer.Option(None, "--osm", help="OpenStreetMap extract: .osm.pbf, .osm, .osm.gz or .osm.bz2."),
    cities: list[Path] = typer.Option(
        [],
        "--cities",
        help="Label several cities on the grids of their images: a list as predict takes it, which may name an extract for "
        "each (osm), or a city; may be repeated.",
    ),
    like: Path | None = typer.Option(None, "--like", help="Raster whose grid (CRS, pixels) the labels take."),
    bounds: str | None = typer.Option(
        None, "--bounds", help="W,S,E,N instead of --like: degrees; with --crs, units of that CRS."
    ),
    resolution: float | None = typer.Option(None, "--resolution", help="Pixel size in meters, with --bounds."),
    crs: str | None = typer.Option(
        None, "--crs", help="Projected CRS of --bounds and of the raster; default: the UTM zone of the bounds' center."
    ),
    rules: Path | None = typer.Option(None, "--rules", help="Rule table (YAML); default: the one --show-rules prints."),
    switch: list[str] = typer.Option([], "--switch", help="NAME=OPTION of a contested tag; may be repeated."),
    legend: Path | None = typer.Option(None, "--legend", help="Legend (YAML) of the rule table; default: C2Seg-13."),
    fractions: Path | None = typer.Option(
        None, "--fractions", help="Also write the area share of every class (float32, one band per class)."
    ),
    workers: int = typer.Option(1, "--workers", min=1, help="Processes, each with a city at a time; with --cities."),
    cluster: str | None = typer.Option(None, "--cluster", help=CLUSTER_HELP),
    show_rules: bool = typer.Option(
        False, "--show-rules", is_eager=True, callback=_show_rules, help="Print the shipped rule table and stop."
    ),
    overwrite: bool = OVERWRITE,
    quiet: bool = QUIET,
    as_json: bool = JSON,
) -> None:
    """Make reference labels from OpenStreetMap.

    A pixel takes the class with the largest share of its area (25 samples); a street wins from a share of 0.3.
    Ground without OpenStreetMap data, or outside the extract, is 0. OUT.qml, a QGIS style, and OUT.json, the
    report, are written beside OUT.tif.
    """
    from c2seg.api.labeling import make_labels

    if cities:
        if any(given is not None for given in (like, bounds, resolution, crs)):
            raise InputError(
                "--cities are labeled on the grids of their images, without --like, --bounds, --resolution, --crs"
            )
        _label_cities(
            cities, out, osm=osm, rules=rules, switches=_choices(switch), legend=legend, fractions=fractions, workers=workers,
            cluster=cluster, overwrite=overwrite, quiet=quiet, as_json=as_json,
        )  # fmt: skip
        return
    if osm is None:
        raise InputError("give --osm, the OpenStreetMap extract")
    if workers != 1 or cluster is not None:
        raise InputError("--workers and --cluster label several cities: give --cities")
    with progress_bars(quiet=quiet) as bars:
        labels = make_labels(
            out,
            osm=osm,
            like=like,
            bounds=None if bounds is None else _box(bounds),
            resolution=resolution,
            crs=crs,
            rules=rules,
            switches=_choices(switch),
            legend=legend,
            fractions=fractions,
            overwrite=overwrite,
            progress=bars,
        )
    if as_json:
        print_json(labels.report.as_json())
    else:
        typer.echo(with_options(str(labels)))
        note(f"labels: {out}", quiet=quiet)


def _label_cities(cities: list[Path], out: Path, *, quiet: bool, as_json: bool, **options: Any) -> None:
    from c2seg.api.labeling import label_cities

    with progress_bars(quiet=quiet or as_json) as bars:
        labeled = label_cities(cities, out, progress=bars, **options)
    if as_json:
        reports = {
            name: [{"path": str(one.path), **one.report.as_json()} for one in ones]
            for name, ones in labeled.labels.items()
        }
        print_json({"out": str(out), "table": str(labeled.table), "labels": reports, "failed": labeled.failed})
    else:
        typer.echo(labeled.table)
    raise_for_cities(labeled.failed, len(labeled.labels), "no labels", labeled.table)


def _box(bounds: str) -> tuple[float, float, float, float]:
    try:
        west, south, east, north = (float(part) for part in bounds.split(","))
    except ValueError:
        raise InputError(f"--bounds {bounds!r} is not four numbers W,S,E,N separated by commas") from None
    return west, south, east, north


def _choices(switches: list[str]) -> dict[str, str]:
    pairs = [text.partition("=") for text in switches]
    wrong = [text for text, (_, sign, _) in zip(switches, pairs, strict=True) if not sign]
    if wrong:
        raise InputError(f"--switch {wrong[0]!r} is not of the form NAME=OPTION")
    return {name: option for name, _, option in pairs}
