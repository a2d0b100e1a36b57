"""``c2seg init``."""

from __future__ import annotations

from pathlib import Path

import typer

from c2seg.cli.console import JSON, QUIET, note, print_json

__all__ = ["command"]


def command(
    folder: Path = typer.Argument(..., metavar="FOLDER", help="A folder of rasters; city.yaml is written into it."),
    json: bool = JSON,
    quiet: bool = QUIET,
) -> None:
    """Write the city.yaml of a folder of rasters, from the files and what they say of themselves.

    It says which file is which modality and why, bands with roles and wavelengths, nodata, scale and offset, the label and its
    classes. What is uncertain stands in it as comments. An existing city.yaml is never replaced.
    """
    from c2seg.api.describing import describe_city

    described = describe_city(folder)
    if json:
        print_json(described.as_json())
        return
    for text in described.uncertain:
        note(f"uncertain: {text}", quiet=quiet)
    note(f"next: c2seg inspect {folder}", quiet=quiet)
    typer.echo(described.path)
