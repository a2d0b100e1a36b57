"""``c2seg package``."""

from __future__ import annotations

from pathlib import Path

import typer

from c2seg.cli.console import JSON, OVERWRITE, QUIET, note, print_json, progress_bars

__all__ = ["command"]


def command(
    map_: Path = typer.Argument(..., metavar="MAP", help="A map, a GeoTIFF of class ids."),
    out: Path = typer.Option(..., "--out", metavar="FOLDER", help="The folder to write."),
    model: Path | None = typer.Option(
        None, "--model", help="The model that made the map, for the STAC item (file or run folder)."
    ),
    vector: bool = typer.Option(True, "--vector/--no-vector", help="Whether it holds polygons, a GeoPackage."),
    simplify: float | None = typer.Option(
        None, "--simplify", metavar="M", help="Simplify borders of polygons by M meters; neighbors keep one border."
    ),
    title: str | None = typer.Option(None, "--title", help="Title of the preview (default: the city's name)."),
    acquired: str | None = typer.Option(None, "--acquired", help="When the images were taken, such as 2024-06-30."),
    overwrite: bool = OVERWRITE,
    json: bool = JSON,
    quiet: bool = QUIET,
) -> None:
    """Write a folder with a map, its layers, styles, legend, preview, table of areas, polygons and a STAC item."""
    from c2seg.api.packaging import package_map

    with progress_bars(quiet=quiet or json) as bars:
        result = package_map(
            map_, out, model=model, vector=vector, simplify=simplify, title=title, acquired=acquired,
            overwrite=overwrite, progress=bars,
        )  # fmt: skip
    if json:
        print_json({"out": str(result.folder), "files": list(result.files)})
        return
    for name in result.files:
        note(f"  {name}", quiet=quiet)
    typer.echo(result.folder)
