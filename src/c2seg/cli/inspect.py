"""``c2seg inspect``."""

from __future__ import annotations

from pathlib import Path

import typer

from c2seg.cli.console import JSON, QUIET, print_json, progress_bars
from c2seg.cli.options import with_options

__all__ = ["command"]


def command(
    path: Path = typer.Argument(
        ..., metavar="PATH", help="A city: a folder of rasters, a split of tiles, a .mat file."
    ),
    label_map: str = typer.Option(
        None, "--label-map", metavar="NAME", help="Label mapping of the label, or a mapping file."
    ),
    against: Path = typer.Option(None, "--against", metavar="CITY", help="Compare the HSI bands with another city's."),
    headers_only: bool = typer.Option(False, "--headers-only", help="Read no pixels: no counts, no statistics."),
    json: bool = JSON,
    quiet: bool = QUIET,
) -> int:
    """Show what a city holds and what is wrong, file by file. Exit code 2 if something is."""
    from c2seg.api.cities import inspect_city

    with progress_bars(quiet=quiet or json) as bars:
        inspection = inspect_city(path, label_map=label_map, against=against, headers_only=headers_only, progress=bars)
    if json:
        print_json(inspection.as_dict())
    else:
        typer.echo(with_options(str(inspection)))
    return 2 if inspection.problems else 0
