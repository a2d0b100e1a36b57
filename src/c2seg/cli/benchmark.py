"""``c2seg benchmark``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from c2seg.cli.console import CLUSTER_HELP, JSON, QUIET, notes_on_stderr, print_json, progress_bars
from c2seg.errors import C2SegError

if TYPE_CHECKING:
    from c2seg.benchmark.summary import BenchmarkSummary

__all__ = ["command"]


def command(
    pair: list[str] = typer.Option(
        [], "--pair", help="SOURCE:TARGET[:REFERENCE], or CITY for pooled folds inside it; may be repeated."
    ),
    data: Path = typer.Option(
        None, "--data", metavar="ROOT", help="In the place of --pair: folder with the releases of C2Seg, at any depth."
    ),
    recipes: str | None = typer.Option(
        None,
        "--recipes",
        help="Names, separated by commas, or all (default: those of --table, else forest,unet).",
    ),
    out: Path = typer.Option(..., "--out", help="The benchmark's folder."),
    preset: str = typer.Option(
        "tiny", "--preset", help="Preset of every recipe; paper: paper-ab or paper-bw, by the pair."
    ),
    seeds: int = typer.Option(3, "--seeds", min=1, help="Seeds 0, 1, ... of every recipe."),
    modalities: bool = typer.Option(False, "--modalities", help="Also train each recipe on each modality alone."),
    ablations: bool = typer.Option(
        False, "--ablations", help="Also run every variant that the recipes' files describe."
    ),
    equal_time: float = typer.Option(
        None, "--equal-time", min=1, help="Training seconds of every recipe of networks (on a CPU, processor time)."
    ),
    table: str = typer.Option(
        None,
        "--table",
        help="Table of the challenge. I: its systems and ours, ranked. II: MRSN by the published offline protocol. III: MRSN "
        "and its reductions, trained alike.",
    ),
    figure: int = typer.Option(
        None,
        "--figure",
        help="6: a test tile from each modality alone, all of them, and adapted, as PNG and in the page. Without --table "
        "nothing else is run, and --recipes are a supervised and an adapting one.",
    ),
    baseline: str = typer.Option(
        None,
        "--baseline",
        help="Recipe with which the others are compared (default: of Table I the first; forest if it is run; the first run).",
    ),
    set_: list[str] = typer.Option([], "--set", help="key.path=value for every recipe; may be repeated."),
    jobs: int = typer.Option(1, "--jobs", min=1, help="Runs at a time; each gets an equal part of the cores."),
    cluster: str = typer.Option(None, "--cluster", help=CLUSTER_HELP.replace("--workers", "--jobs")),
    device: str = typer.Option("cpu", "--device", help="auto, cpu or cuda."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Print plan, runs, hours and memory; run and write nothing."),
    json: bool = JSON,
    quiet: bool = QUIET,
) -> None:
    """Compare recipes on pairs of cities: train, predict, score; one table. Run it again to resume after a stop."""
    from c2seg.benchmark import run_benchmark

    silent = quiet or json
    with notes_on_stderr("c2seg.benchmark", quiet=silent), progress_bars(quiet=silent) as bars:
        summary = run_benchmark(
            pair or None,
            [name.strip() for name in recipes.split(",")] if recipes else None,
            out=out,
            data=data,
            table=table,
            figure=figure,
            preset=preset,
            seeds=seeds,
            modalities=modalities,
            ablations=ablations,
            equal_seconds=equal_time,
            baseline=baseline,
            overrides=set_,
            device=device,
            jobs=jobs,
            cluster=cluster,
            dry_run=dry_run,
            progress=bars,
        )
    if dry_run:
        _say_costs(summary, f"preset {preset}, on {device}, {jobs} at a time, into {out}", json=json)
        return
    if json:
        content = summary.table().as_json()
        paths = {"page": summary.page, "figure": summary.figure}
        print_json(
            {
                **{name: path and str(path) for name, path in paths.items()},
                **{name: content[name] for name in ("rows", "against", "failed", "ranking", "offline")},
            }
        )
    else:
        typer.echo(summary.text(table if table in {"II", "III"} else None))
        for path in (summary.page or out / "benchmark.json", summary.figure):
            if path is not None:
                typer.echo(path)
    if summary.failures:
        name, why = next(iter(summary.failures.items()))
        runs = len(summary.failures) + len(summary.results)
        raise C2SegError(
            f"{len(summary.failures)} of {runs} runs failed and are not in the table ({out / 'benchmark.json'} says why): "
            f"{name}: {why}"
        )


def _say_costs(summary: BenchmarkSummary, where: str, *, json: bool) -> None:
    """Print what would be run, and what is known of the costs."""
    if json:
        print_json({"costs": [asdict(line) for line in summary.costs]})
        return
    runs = sum(line.runs for line in summary.costs)
    pairs, recipes = ({getattr(line, name) for line in summary.costs} for name in ("pair", "label"))
    counts = [(runs, "run"), (len(recipes), "recipe"), (len(pairs), "pair")]
    many = [f"{count} {name}{'' if count == 1 else 's'}" for count, name in counts]
    typer.echo(f"plan: {many[0]} of {many[1]} on {many[2]}, {where}; nothing was written")
    typer.echo(summary.text())
