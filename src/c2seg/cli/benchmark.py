"""``c2seg benchmark``."""

from __future__ import annotations

from pathlib import Path

import typer

from c2seg.cli.console import JSON, QUIET, notes_on_stderr, print_json, progress_bars
from c2seg.errors import C2SegError, InputError, unknown_name

__all__ = ["command"]

_TABLES = {
    "I": "the challenge's systems across cities",
    "II": "a random split of overlapping tiles inside the source (leaks) beside the score across cities",
    "III": "the same for MRSN and its reductions",
}
_RECIPES = {"II": "mrsn", "III": "mrsn-1b,mrsn-2b,mrsn-3b,mrsn"}


def command(
    pair: list[str] = typer.Option(
        ..., "--pair", help="SOURCE:TARGET[:REFERENCE], or CITY for pooled folds inside it; may be repeated."
    ),
    recipes: str | None = typer.Option(
        None,
        "--recipes",
        help="Names, separated by commas, or all (default: forest,unet; II: mrsn; III: MRSN and its reductions).",
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
        "I",
        "--table",
        help="I: across cities. II: with the published offline protocol beside. III: MRSN and its reductions, trained alike.",
    ),
    baseline: str = typer.Option(
        None,
        "--baseline",
        help="Recipe with which the others are compared (default: forest if it is run, else the first).",
    ),
    set_: list[str] = typer.Option([], "--set", help="key.path=value for every recipe; may be repeated."),
    jobs: int = typer.Option(1, "--jobs", min=1, help="Runs at a time; each gets an equal part of the cores."),
    device: str = typer.Option("cpu", "--device", help="auto, cpu or cuda."),
    json: bool = JSON,
    quiet: bool = QUIET,
) -> None:
    """Compare recipes on pairs of cities: train, predict, score; one table. Run it again to resume after a stop."""
    from c2seg.benchmark import run_benchmark
    from c2seg.benchmark.equal import equal_preset

    if table not in _TABLES:
        raise InputError(unknown_name("table", table, _TABLES))
    offline = table in {"II", "III"}
    names = [name.strip() for name in (recipes or _RECIPES.get(table, "forest,unet")).split(",")]
    if table == "III":
        preset = equal_preset(names, preset, set_)
    silent = quiet or json
    with notes_on_stderr("c2seg.benchmark", quiet=silent), progress_bars(quiet=silent) as bars:
        summary = run_benchmark(
            pair,
            names,
            out=out,
            preset=preset,
            seeds=seeds,
            modalities=modalities,
            ablations=ablations,
            equal_seconds=equal_time,
            offline=offline,
            baseline=baseline,
            overrides=set_,
            device=device,
            jobs=jobs,
            progress=bars,
        )
    if json:
        content = summary.table().as_json()
        page = str(summary.page) if summary.page else None
        print_json({"page": page, **{name: content[name] for name in ("rows", "against", "failed")}})
    else:
        typer.echo(summary.text(table if offline else None))
        typer.echo(summary.page or out / "benchmark.json")
    if summary.failures:
        name, why = next(iter(summary.failures.items()))
        runs = len(summary.failures) + len(summary.results)
        raise C2SegError(
            f"{len(summary.failures)} of {runs} runs failed and are not in the table ({out / 'benchmark.json'} says why): "
            f"{name}: {why}"
        )
