"""``c2seg label``: reference labels from OpenStreetMap."""

from __future__ import annotations

from pathlib import Path

import typer

from c2seg.cli.console import JSON, OVERWRITE, QUIET, note, print_json, progress_bar
from c2seg.errors import InputError
from c2seg.types import Grid

__all__ = ["command"]


def _show_rules(wanted: bool) -> None:
    if wanted:
        from c2seg.labels import default_rules_text

        typer.echo(default_rules_text(), nl=False)
        raise typer.Exit(0)


def command(
    out: Path = typer.Argument(..., help="Label raster to write (GeoTIFF, uint8 class ids, 0 = unmapped)."),
    osm: Path = typer.Option(..., "--osm", help="OpenStreetMap extract: .osm.pbf, .osm, .osm.gz or .osm.bz2."),
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
    show_rules: bool = typer.Option(
        False, "--show-rules", is_eager=True, callback=_show_rules, help="Print the shipped rule table and stop."
    ),
    overwrite: bool = OVERWRITE,
    quiet: bool = QUIET,
    as_json: bool = JSON,
) -> None:
    """Make reference labels from OpenStreetMap.

    A pixel takes the class with the largest share of its area (25 samples); a street wins from a share of 0.3;
    ground that nobody mapped, or that the extract does not cover, is 0. OUT.qml, a QGIS style, and OUT.json, the
    report, are written beside OUT.tif.
    """
    from c2seg.labels import format_report, load_rules, make_labels, write_labels
    from c2seg.legend import load_legend
    from c2seg.outputs import check_output
    from c2seg.raster import write_qml

    if fractions is not None and fractions.resolve() == out.resolve():
        raise InputError(f"--fractions and OUT are the same file {out}; give two names")
    style, record = out.with_suffix(".qml"), out.with_suffix(".json")
    for path in (out, style, record, *([fractions] if fractions else [])):
        check_output(path, overwrite=overwrite)
    table = load_rules(rules, choices=_choices(switch), legend=load_legend(legend) if legend else None)
    grid = _grid(like, bounds, resolution, crs)
    with progress_bar("label", quiet=quiet) as progress:
        labels = make_labels(osm, table, grid, progress=progress)
        report = write_labels(labels, out, fractions=fractions, overwrite=overwrite, progress=progress)
    write_qml(style, table.legend)
    report.write(record, overwrite=overwrite)
    if as_json:
        print_json(report.as_json())
    else:
        typer.echo(format_report(report))
        note(f"labels: {out}", quiet=quiet)


def _grid(like: Path | None, bounds: str | None, resolution: float | None, crs: str | None) -> Grid:
    from c2seg.labels import grid_from_bounds, grid_like

    if (like is None) == (bounds is None):
        raise InputError("give either --like RASTER or --bounds W,S,E,N with --resolution")
    if like is not None:
        if resolution is not None or crs is not None:
            raise InputError("--resolution and --crs go with --bounds; --like takes them from the raster")
        return grid_like(like)
    if resolution is None:
        raise InputError("--bounds needs --resolution (pixel size in meters)")
    try:
        west, south, east, north = (float(part) for part in (bounds or "").split(","))
    except ValueError:
        raise InputError(f"--bounds {bounds!r} is not four numbers W,S,E,N separated by commas") from None
    return grid_from_bounds((west, south, east, north), resolution, crs)


def _choices(switches: list[str]) -> dict[str, str]:
    pairs = [text.partition("=") for text in switches]
    wrong = [text for text, (_, sign, _) in zip(switches, pairs, strict=True) if not sign]
    if wrong:
        raise InputError(f"--switch {wrong[0]!r} is not of the form NAME=OPTION")
    return {name: option for name, _, option in pairs}
