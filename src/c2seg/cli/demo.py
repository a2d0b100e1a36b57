"""``c2seg demo``."""

from __future__ import annotations

import sys
from pathlib import Path

import typer

from c2seg.api.tables import score_line
from c2seg.cli.console import JSON, OVERWRITE, QUIET, SEED, note, print_json, progress_bars
from c2seg.errors import MissingExtraError

__all__ = ["command"]


def command(
    out: Path = typer.Option(Path("demo"), "--out", help="The folder to write."),
    seed: int = SEED,
    overwrite: bool = OVERWRITE,
    json: bool = JSON,
    quiet: bool = QUIET,
) -> None:
    """See everything in minutes: simulate two cities, train on one, predict the other, score, write the report."""
    from c2seg.api.demo import DEMO_RECIPES, demo

    recipes: tuple[str, ...] = DEMO_RECIPES
    try:
        import torch  # noqa: F401  (asked before the work)
    except ModuleNotFoundError:
        recipes = ("forest",)
        note(f"the forest alone: {MissingExtraError('training the networks', 'train')}", quiet=quiet)
    with progress_bars(quiet=quiet or json) as bars:
        result = demo(out, seed=seed, recipes=recipes, overwrite=overwrite, bars=bars, command=["c2seg", *sys.argv[1:]])
    if json:
        print_json(
            {
                "source": str(result.source),
                "target": str(result.target),
                "maps": {name: str(path) for name, path in result.maps.items()},
                "report": str(result.page),
                "scores": {name: scores.as_json() for name, scores in result.scores.items()},
            }
        )
        return
    note(f"trained on {result.source}", quiet=quiet)
    note(f"predicted  {result.target}", quiet=quiet)
    for name, path in result.maps.items():
        typer.echo(f"{name:8} {score_line(result.scores[name])}   {path}")
    typer.echo(f"report: {result.page}")
