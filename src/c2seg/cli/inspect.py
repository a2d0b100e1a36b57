"""``c2seg inspect``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from c2seg.cli.console import JSON, QUIET, print_json, progress_bars
from c2seg.cli.options import with_options
from c2seg.progress import Bars

if TYPE_CHECKING:
    from c2seg.api.finding import DataReport

__all__ = ["command"]


def command(
    path: Path = typer.Argument(
        ...,
        metavar="PATH",
        help="A city (folder of rasters, split of tiles, .mat file), or a folder with the releases.",
    ),
    label_map: str | None = typer.Option(
        None, "--label-map", metavar="NAME", help="Label mapping of the label, or a mapping file."
    ),
    against: Path | None = typer.Option(
        None, "--against", metavar="CITY", help="Compare the HSI bands with another city's."
    ),
    headers_only: bool = typer.Option(False, "--headers-only", help="Read no pixels: no counts, no statistics."),
    json: bool = JSON,
    quiet: bool = QUIET,
) -> int:
    """Show what a city holds and what is wrong, file by file. Exit code 2 if something is.

    Of a folder that is no city: which cities of C2Seg lie in it at any depth, what is missing and from where.
    """
    from c2seg.api.cities import inspect_city

    with progress_bars(quiet=quiet or json) as bars:
        if label_map is None and against is None and (report := _data(path, bars, headers_only=headers_only)):
            if json:
                print_json(report.as_dict())
            else:
                typer.echo(with_options(str(report)))
            return 0 if report.pairs and not report.problems else 2
        inspection = inspect_city(path, label_map=label_map, against=against, headers_only=headers_only, progress=bars)
    if json:
        print_json(inspection.as_dict())
    else:
        typer.echo(with_options(str(inspection)))
    return 2 if inspection.problems else 0


def _data(path: Path, bars: Bars, *, headers_only: bool) -> DataReport | None:
    """Return what a folder that is no city holds of the published data; None if that is nothing."""
    from c2seg.api.finding import find_data
    from c2seg.data.layouts import is_city

    if not path.is_dir() or is_city(path):
        return None
    report = find_data(path, thorough=not headers_only, progress=bars)
    return report if report.cities or report.data.archives or report.problems else None
