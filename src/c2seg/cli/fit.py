"""``c2seg fit``."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path

import typer

from c2seg.artifacts import ScoreValues
from c2seg.cli.console import JSON, OVERWRITE, QUIET, SEED, note, print_json, progress_bar
from c2seg.recipes import load_recipe

__all__ = ["command"]


def command(
    recipe: str = typer.Argument("crosscity", help="Name of a recipe, or a YAML file."),
    source: list[Path] = typer.Option(..., "--source", help="A labeled city; may be given several times."),
    target: Path = typer.Option(None, "--target", help="The unlabeled city; its labels, if any, are never opened."),
    out: Path = typer.Option(..., "--out", help="The run folder to write."),
    preset: str = typer.Option(None, "--preset", help="tiny, small, paper-ab or paper-bw (default: tiny)."),
    set_: list[str] = typer.Option([], "--set", help="key.path=value, over recipe and preset; may be repeated."),
    seed: int = SEED,
    device: str = typer.Option("auto", "--device", help="auto, cpu or cuda."),
    label_map: str = typer.Option(None, "--label-map", help="Of the labels: a name, a mapping file, or auto."),
    cache: Path = typer.Option(None, "--cache", help="Folder for memory-mapped pixels of cities beyond --memory."),
    memory: float = typer.Option(4.0, "--memory", min=0, help="GiB of pixels to keep in memory."),
    resume: bool = typer.Option(False, "--resume", help="Go on with a run that was stopped."),
    overwrite: bool = OVERWRITE,
    json: bool = JSON,
    quiet: bool = QUIET,
) -> None:
    """Learn from labeled cities, and an unlabeled one if the recipe adapts; write a model file."""
    settings = load_recipe(recipe, preset, set_)
    from c2seg.api import Storage, fit

    with ExitStack() as stack:
        result = fit(
            settings,
            source,
            out,
            target=target,
            seed=seed,
            device=device,
            overwrite=overwrite,
            resume=resume,
            label_map=label_map,
            storage=Storage(cache, int(memory * 2**30)),
            bars=lambda label: stack.enter_context(progress_bar(label, quiet=quiet or json)),
            command=["c2seg", *sys.argv[1:]],
        )
    if json:
        print_json(
            {
                "model": str(result.model) if result.model else None,
                "seconds": result.seconds,
                "validation": result.validation.as_json() if result.validation else None,
                "notes": list(result.notes),
            }
        )
        return
    for text in result.notes:
        note(text, quiet=quiet)
    if result.validation:
        note(f"{result.validation.kind}: {summary(result.validation.scores)}", quiet=quiet)
    note(f"{result.seconds:.0f} s", quiet=quiet)
    typer.echo(result.model or out)


def summary(scores: ScoreValues) -> str:
    """Write the main scores in one line."""
    parts = (("OA", scores.oa), ("Kappa", scores.kappa), ("mF1", scores.mf1), ("mIoU", scores.miou))
    return "  ".join(f"{name} -" if value is None else f"{name} {value:.4f}" for name, value in parts)
