"""``c2seg assess``."""

from __future__ import annotations

from pathlib import Path

import typer

from c2seg.cli.console import JSON, OVERWRITE, QUIET, note, print_json, progress_bars

__all__ = ["command"]


def command(
    map_path: Path = typer.Argument(..., metavar="MAP", help="A map of c2seg predict, with --confidence."),
    out: Path = typer.Option(..., "--out", help="The raster of risk, a GeoTIFF; a JSON of the table lies beside it."),
    picture: Path = typer.Option(None, "--picture", help="Also write a PNG of the risk here."),
    confidence: Path = typer.Option(None, "--confidence", help="Its confidence (default: the file its record names)."),
    model: Path = typer.Option(None, "--model", help="Its model or run folder (default: that which holds the map)."),
    city: Path = typer.Option(None, "--city", help="The mapped city (default: where it was)."),
    others: list[Path] = typer.Option([], "--other", help="Map of another model on the same grid; may be repeated."),
    parts: bool = typer.Option(False, "--parts", help="Predict with each network and the forest alone, too."),
    zones: Path = typer.Option(None, "--zones", help="Vector file of zones for the table."),
    zone_field: str = typer.Option(None, "--zone-field", help="Its field of names (default: name)."),
    overwrite: bool = OVERWRITE,
    json: bool = JSON,
    quiet: bool = QUIET,
) -> None:
    """Estimate where a map is likely wrong, before any label of its city."""
    from c2seg.api.assessing import assess_map

    with progress_bars(quiet=quiet or json) as bars:
        result = assess_map(
            map_path,
            out,
            picture=picture,
            confidence=confidence,
            model=model,
            city=city,
            others=others,
            parts=parts,
            zones=zones,
            zone_field=zone_field,
            overwrite=overwrite,
            progress=bars,
        )
    if json:
        print_json(result.as_json())
        return
    for text in result.notes:
        note(text, quiet=quiet)
    head = "zone  class" if any(row.zone for row in result.rows) else "class"
    typer.echo(f"{head:<48} {'pixels':>12} {'error':>7} {'risk':>7} {'new':>7} {'disputed':>9}")
    for row in result.rows:
        name = f"{row.zone}  {row.name}" if row.zone else row.name
        cells = f"{_share(row.error):>7} {_share(row.risk):>7} {_share(row.new):>7} {_share(row.disagreement):>9}"
        typer.echo(f"{name:<48} {row.pixels:>12,} {cells}")


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
