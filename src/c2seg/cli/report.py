"""``c2seg report``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import typer

from c2seg.cli.console import JSON, OVERWRITE, QUIET, note, print_json, progress_bars

__all__ = ["command"]


def command(
    runs: list[Path] = typer.Argument(..., metavar="RUN...", help="Run folders (or single maps) to show side by side."),
    out: Path | None = typer.Option(None, "--out", metavar="PAGE.html", help="The page to write."),
    city: list[Path] = typer.Option(
        [], "--city", help="Predicted city, for its images (default: where it was at prediction time)."
    ),
    reference: list[Path] = typer.Option(
        [], "--reference", help="Label raster or labeled city: the maps are scored with it."
    ),
    label_map: str | None = typer.Option(
        None, "--label-map", metavar="NAME", help="Label mapping of the ground truth's values."
    ),
    figure: Path | None = typer.Option(None, "--figure", metavar="F.pdf", help="Also a figure: .png, .svg or .pdf."),
    palette: str = typer.Option("default", "--palette", help="Initial colors, such as colorblind."),
    title: str | None = typer.Option(None, "--title", help="Heading of the page."),
    overwrite: bool = OVERWRITE,
    json: bool = JSON,
    quiet: bool = QUIET,
) -> None:
    """Make a self-contained HTML page of runs: maps, ground truth, scores, curves, provenance.

    Maps are found in the run folders (RUN/*.tif and RUN/*/*.tif that c2seg predict wrote).
    """
    from c2seg.api.reporting import make_report

    with progress_bars(quiet=quiet or json) as bars:
        result = make_report(
            runs,
            out,
            figure=figure,
            cities=city,
            references=reference,
            label_map=label_map,
            palette=palette,
            title=title,
            overwrite=overwrite,
            progress=bars,
        )
    if json:
        scored = [
            {"title": panel.title, "run": entry.run, "scores": asdict(entry.scores)}
            for panel in result.panels
            for entry in panel.entries
        ]
        paths = {name: str(path) if path else None for name, path in (("out", result.out), ("figure", result.figure))}
        print_json({**paths, "size_bytes": result.size_bytes, "views": result.views, "scores": scored})
        return
    if result.hidden_views:
        note(f"{result.hidden_views} more predicted scenes are scored but not shown", quiet=quiet)
    for path in (result.out, result.figure):
        if path is not None:
            typer.echo(path)
