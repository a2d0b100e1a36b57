"""``c2seg benchmark``."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from c2seg.cli.console import JSON, QUIET, note, print_json, progress_bar
from c2seg.errors import C2SegError, InputError, unknown_name

if TYPE_CHECKING:
    from c2seg.benchmark.comparison import PairedDifference
    from c2seg.benchmark.runner import Benchmark, Run

__all__ = ["command"]

_TABLES = {
    "I": "the challenge's systems across cities",
    "II": "a random split of overlapping tiles inside the source (leaks) beside the score across cities",
    "III": "the same for MRSN and its reductions",
}
_RECIPES = {"III": "mrsn-1b,mrsn-2b,mrsn-3b,mrsn"}


def command(
    pair: list[str] = typer.Option(
        ..., "--pair", help="SOURCE:TARGET[:TRUTH], or CITY for pooled folds inside it; may be repeated."
    ),
    recipes: str = typer.Option(
        None, "--recipes", help="Names, separated by commas, or all (default: forest,unet; table III: MRSN's branches)."
    ),
    out: Path = typer.Option(..., "--out", help="The benchmark's folder."),
    preset: str = typer.Option("tiny", "--preset", help="Preset of every recipe."),
    seeds: int = typer.Option(3, "--seeds", min=1, help="Seeds 0, 1, ... of every recipe."),
    modalities: bool = typer.Option(False, "--modalities", help="Also learn each recipe from each modality alone."),
    ablations: bool = typer.Option(
        False, "--ablations", help="Also run every variant that the recipes' files describe."
    ),
    equal_time: float = typer.Option(
        None, "--equal-time", min=1, help="Training seconds of every recipe of networks (on a CPU, processor time)."
    ),
    table: str = typer.Option(
        "I",
        "--table",
        help="I: across cities. II: with the published offline protocol beside. III: MRSN and its reductions.",
    ),
    baseline: str = typer.Option(
        None,
        "--baseline",
        help="Recipe with which the others are compared (default: forest if it is run, else the first).",
    ),
    set_: list[str] = typer.Option([], "--set", help="key.path=value for every recipe; may be repeated."),
    jobs: int = typer.Option(1, "--jobs", min=1, help="Runs at a time; each gets its share of the cores."),
    device: str = typer.Option("cpu", "--device", help="auto, cpu or cuda."),
    json: bool = JSON,
    quiet: bool = QUIET,
) -> None:
    """Compare recipes on pairs of cities: train, map, score; one table. Run it again to go on after a stop."""
    from c2seg.artifacts.benchmark import BenchmarkTable
    from c2seg.benchmark.runner import Benchmark, parse_pairs, plan
    from c2seg.benchmark.tables import as_csv, rows
    from c2seg.outputs import make_folder, write_text

    if table not in _TABLES:
        raise InputError(unknown_name("table", table, _TABLES))
    benchmark = Benchmark(
        pairs=parse_pairs(pair),
        recipes=_names(recipes or _RECIPES.get(table, "forest,unet"), ablations),
        out=out,
        preset=preset,
        seeds=seeds,
        single_modalities=modalities,
        equal_seconds=equal_time,
        offline=table in {"II", "III"},
        device=device,
        overrides=tuple(set_),
        jobs=jobs,
    )
    runs = plan(benchmark)
    baseline = _baseline(baseline, runs)
    make_folder(out)
    silent = quiet or json
    results, failed = _run(benchmark, runs, silent)
    runs = [run for run in runs if run.name not in failed]
    if not runs:
        raise C2SegError(next(iter(failed.values())))
    summary = rows(results, baseline)
    paired = _compare(runs, baseline, silent)
    against = [item.as_dict() for item in paired]
    BenchmarkTable.model_validate({"rows": summary, "against": against, "results": results, "failed": failed}).write(
        out / "benchmark.json"
    )
    write_text(out / "benchmark.csv", as_csv(summary))
    across = [run for run in runs if not run.pair.inside]
    page = _report(benchmark, across, silent) if across else None
    if json:
        print_json({"rows": summary, "against": against, "page": str(page) if page else None, "failed": failed})
    else:
        _print(summary, baseline, paired, results, table if benchmark.offline else None)
        typer.echo(page or out / "benchmark.json")
    if failed:
        name, why = next(iter(failed.items()))
        raise C2SegError(
            f"{len(failed)} of {len(failed) + len(results)} runs failed and are not in the table ({out / 'benchmark.json'} "
            f"says why): {name}: {why}"
        )


def _baseline(name: str | None, runs: Sequence[Run]) -> str:
    """Return the row with which the others are compared."""
    labels = list(dict.fromkeys(run.label for run in runs))
    name = name or ("forest" if "forest" in labels else labels[0])
    if name not in labels:
        raise InputError(unknown_name("baseline", name, labels))
    return name


def _run(benchmark: Benchmark, runs: Sequence[Run], silent: bool) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Say how long it will take, then run what is not finished."""
    from c2seg.benchmark.runner import estimate_seconds, finished, run_all

    waiting = [run for run in runs if not finished(benchmark, run)]
    with progress_bar("measuring", quiet=silent) as progress:
        hours = estimate_seconds(benchmark, waiting, progress) / 3600 / benchmark.jobs
    note(f"{len(runs)} runs, {len(waiting)} of them left: about {hours:.1f} hours of training", quiet=silent)
    with progress_bar("benchmark", quiet=silent) as progress:
        return run_all(benchmark, runs, progress)


def _compare(runs: Sequence[Run], baseline: str, silent: bool) -> list[PairedDifference]:
    """Return the differences to the baseline; none, and a note, where the runs do not allow any."""
    from c2seg.benchmark.comparison import compare_recipes

    try:
        with progress_bar("comparing", quiet=silent) as progress:
            return compare_recipes(runs, baseline, progress=progress)
    except InputError as error:
        note(f"no intervals: {error}", quiet=silent)
        return []


def _print(
    summary: list[dict[str, Any]],
    baseline: str,
    paired: list[PairedDifference],
    results: list[dict[str, Any]],
    offline: str | None,
) -> None:
    """Print every table of a benchmark."""
    from c2seg.benchmark.comparison import comparison_text
    from c2seg.benchmark.tables import as_text, modality_text, offline_text

    typer.echo(as_text(summary, baseline))
    typer.echo(
        "target: * trained on target images, + standardized by their statistics; spread: standard deviation over seeds"
    )
    if paired:
        typer.echo("")
        typer.echo(comparison_text(baseline, paired))
    if offline:
        typer.echo("")
        typer.echo(offline_text(summary, offline))
    typer.echo("")
    typer.echo(modality_text(results))


def _names(recipes: str, ablations: bool) -> tuple[str, ...]:
    """Return the recipes asked for, each followed by its variants with ``ablations``."""
    from c2seg.recipes import recipe_names, variants

    names = recipe_names() if recipes == "all" else tuple(name.strip() for name in recipes.split(","))
    if not ablations:
        return names
    return tuple(part for name in names for part in (name, *(f"{name}@{v}" for v in variants(name) if "@" not in name)))


def _report(benchmark: Benchmark, runs: Sequence[Run], silent: bool) -> Path:
    """Write the page of the first seed's runs and its figure: with --modalities that of the challenge paper (figure 6),
    images, ground truth, a map from each modality alone, from all of them, and adapted ones. Return where the page is.
    """
    from c2seg.report import ReportOptions, make_report

    page = benchmark.out / "benchmark.html"
    options = ReportOptions(
        page,
        figure=benchmark.out / "benchmark.png",
        cities=tuple(dict.fromkeys(pair.target for pair in benchmark.pairs if not pair.inside)),
        references=tuple(dict.fromkeys(pair.reference for pair in benchmark.pairs if pair.reference)),
        reference_cities={pair.reference: pair.target for pair in benchmark.pairs if pair.reference},
        overwrite=True,
    )
    with ExitStack() as stack:
        make_report(
            [run.folder for run in runs if run.seed == 0],
            options,
            bars=lambda label: stack.enter_context(progress_bar(label, quiet=silent)),
        )
    return page
