"""``c2seg fit``."""

from __future__ import annotations

import sys
from pathlib import Path

import typer

from c2seg.api.tables import score_line
from c2seg.cli import completion
from c2seg.cli.console import JSON, OVERWRITE, QUIET, SEED, note, notes_on_stderr, print_json, progress_bars

__all__ = ["command"]


def command(
    recipe: str = typer.Argument(
        "crosscity", help="Name of a recipe, or a YAML file.", autocompletion=completion.recipe
    ),
    source: list[Path] = typer.Option(..., "--source", help="A labeled city; may be given several times."),
    target: Path = typer.Option(None, "--target", help="The unlabeled city; its labels, if any, are never opened."),
    out: Path = typer.Option(..., "--out", help="The run folder to write."),
    preset: str = typer.Option(
        None,
        "--preset",
        help="tiny, small, paper-ab or paper-bw (default: tiny).",
        autocompletion=completion.preset,
    ),
    set_: list[str] = typer.Option([], "--set", help="key.path=value, over recipe and preset; may be repeated."),
    no_validation: bool = typer.Option(
        False, "--no-validation", help="Train no model on folds of the sources: forests take a fraction of the time."
    ),
    seed: int = SEED,
    device: str = typer.Option("auto", "--device", help="auto, cpu or cuda.", autocompletion=completion.device),
    label_map: str = typer.Option(None, "--label-map", help="Of the labels: a name, a mapping file, or auto."),
    target_labels: Path = typer.Option(
        None,
        "--target-labels",
        metavar="FILE",
        help="A few labels of the target: points or polygons, or a table of the labeling page. Such runs are few-shot.",
    ),
    label_field: str = typer.Option(
        None, "--label-field", help="Their field of classes (default: class or reference)."
    ),
    cache: Path = typer.Option(None, "--cache", help="Folder for memory-mapped pixels of cities beyond --memory."),
    memory: float = typer.Option(4.0, "--memory", min=0, help="GiB of pixels to keep in memory."),
    resume: bool = typer.Option(False, "--resume", help="Resume a run that was stopped."),
    overwrite: bool = OVERWRITE,
    json: bool = JSON,
    quiet: bool = QUIET,
) -> None:
    """Train on labeled cities, and adapt to an unlabeled one if the recipe says so; write a model file."""
    from c2seg.api.fitting import fit
    from c2seg.pipeline.summary import closing_lines

    silent = quiet or json
    with notes_on_stderr("c2seg.fit", quiet=silent), progress_bars(quiet=silent) as bars:
        run = fit(
            recipe,
            source=source,
            target=target,
            out=out,
            preset=preset,
            overrides=set_,
            validation=not no_validation,
            seed=seed,
            device=device,
            label_map=label_map,
            target_labels=target_labels,
            label_field=label_field,
            cache=cache,
            memory_gib=memory,
            resume=resume,
            overwrite=overwrite,
            progress=bars,
            command=["c2seg", *sys.argv[1:]],
        )
    if json:
        print_json(
            {
                "model": str(run.model) if run.model else None,
                "seconds": run.seconds,
                "validation": run.result.validation.as_json() if run.result.validation else None,
                "notes": list(run.notes),
                "summary": run.summary.as_json() if run.summary else None,
            }
        )
        return
    note(f"{run.result.trained}, in {run.seconds:.0f} s", quiet=quiet)
    if run.scores:
        note(f"{run.folds}: {score_line(run.scores)}", quiet=quiet)
    for text in closing_lines(run.summary) if run.summary else []:
        note(text, quiet=quiet)
    typer.echo(run.model or out)
