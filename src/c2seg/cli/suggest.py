"""``c2seg suggest``: what to label next for training."""

from __future__ import annotations

from pathlib import Path

import typer

from c2seg.cli.console import JSON, OVERWRITE, QUIET, SEED, note, notes_on_stderr, print_json, progress_bars
from c2seg.cli.options import with_options

__all__ = ["command"]


def command(
    map: Path = typer.Argument(..., help="Map of classes, such as one of c2seg predict."),
    out: Path = typer.Argument(..., help="Points to write (.gpkg); .csv, .json and .html are written beside it."),
    n: int = typer.Option(20, "--n", min=1, help="Number of points."),
    exclude: list[Path] = typer.Option(
        [], "--exclude", help="Points of an earlier round, or of a sample to stay apart from; may be repeated."
    ),
    apart_px: int = typer.Option(10, "--apart-px", min=0, help="Least distance of points, in pixels."),
    confidence: Path | None = typer.Option(
        None, "--confidence", help="Confidence layer; default: the one that predict wrote beside the map."
    ),
    runner_up: Path | None = typer.Option(None, "--runner-up", help="Runner-up layer; its margin tells more."),
    legend: Path | None = typer.Option(None, "--legend", help="Legend (YAML); default: the map's, else C2Seg-13."),
    city: Path | None = typer.Option(None, "--city", help="City that was mapped; default: where it was then."),
    backdrop: Path | None = typer.Option(None, "--backdrop", help="Finer georeferenced picture for the page."),
    page: Path | None = typer.Option(None, "--page", help="Page to label the points; default: OUT.html."),
    no_page: bool = typer.Option(False, "--no-page", help="Write no page."),
    seed: int = SEED,
    overwrite: bool = OVERWRITE,
    quiet: bool = QUIET,
    as_json: bool = JSON,
) -> None:
    """Pick points to label for training with a few labels.

    They are uncertain, differ from each other in the images, and belong to rare classes, too. Label them on OUT.html,
    then train with c2seg fit --target-labels. Nothing can be estimated from them: for that, draw points with c2seg sample.
    """
    from c2seg.api.suggesting import suggest_points

    with notes_on_stderr("c2seg.verify", quiet=quiet), progress_bars(quiet=quiet) as bars:
        points = suggest_points(
            map, out, n=n, exclude=exclude, apart_px=apart_px, confidence=confidence, runner_up=runner_up, seed=seed,
            legend=legend, city=city, backdrop=backdrop, page=False if no_page else page, overwrite=overwrite,
            progress=bars,
        )  # fmt: skip
    if as_json:
        print_json(points.as_json())
        return
    typer.echo(with_options(str(points)))
    note(f"points: {points.path}, {points.csv.name}", quiet=quiet)
    if points.page is not None:
        note(f"page:   {points.page}, open it in a browser", quiet=quiet)
    note("then:   c2seg fit RECIPE --target-labels LABELS.csv ...", quiet=quiet)
