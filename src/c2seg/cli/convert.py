"""``c2seg convert``."""

from __future__ import annotations

from pathlib import Path

import typer

from c2seg.cli.console import JSON, OVERWRITE, QUIET, note, print_json, progress_bars

__all__ = ["command"]


def command(
    city: Path = typer.Argument(..., metavar="CITY", help="City in any layout."),
    out: Path = typer.Argument(..., metavar="OUT", help="Folder to write; for mat a file NAME.mat."),
    layout: str = typer.Option(
        ..., "--layout", help="folder (rasters), tiles (challenge release) or mat (full scenes)."
    ),
    tile_px: int | None = typer.Option(None, "--tile-px", help="Side of the tiles; default: the city's own, else 128."),
    step_px: int | None = typer.Option(
        None, "--step-px", help="Distance of tiles; default: the city's own, else the side."
    ),
    order: str = typer.Option(
        "columns", "--order", help="How tiles are numbered: down the columns (as released) or rows."
    ),
    label_map: str | None = typer.Option(
        None, "--label-map", help="Label mapping of the labels; class ids are written."
    ),
    crosswalk: str | None = typer.Option(
        None, "--crosswalk", help="Classes in common with other cities: land4 (four classes), or a YAML file."
    ),
    overwrite: bool = OVERWRITE,
    quiet: bool = QUIET,
    as_json: bool = JSON,
) -> None:
    """Write a city in another layout, with its labels where it has some.

    Values do not change, and a large city is streamed. Tiles and .mat files mark nodata by 0 in all bands.
    """
    from c2seg.api.converting import convert_city

    with progress_bars(quiet=quiet or as_json) as bars:
        path = convert_city(
            city,
            out,
            layout=layout,  # type: ignore[arg-type]  # checked there
            tile_px=tile_px,
            step_px=step_px,
            order=order,  # type: ignore[arg-type]  # checked there
            label_map=label_map,
            crosswalk=crosswalk,
            overwrite=overwrite,
            progress=bars,
        )
    if as_json:
        print_json({"city": str(path), "layout": layout})
    else:
        note(f"city: {path}", quiet=quiet)
