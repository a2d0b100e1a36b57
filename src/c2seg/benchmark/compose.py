"""A whole benchmark: plan, estimate, runs, tables, differences, page."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path

from c2seg.artifacts.benchmark import BenchmarkResult, PairedDifference
from c2seg.benchmark.comparison import compare_recipes
from c2seg.benchmark.figure6 import Figure6, figure_recipes, figure_runs, make_figure6
from c2seg.benchmark.jobs import check_workers
from c2seg.benchmark.offline_tables import offline_csv, offline_html, offline_rows
from c2seg.benchmark.pairs import Pair, PairLike, parse_pairs
from c2seg.benchmark.plan import Benchmark, Run, plan
from c2seg.benchmark.published_pairs import pairs_under
from c2seg.benchmark.published_tables import check_table, is_offline, preset_of, recipes_of
from c2seg.benchmark.runner import Runner, SpawningRunner
from c2seg.benchmark.running import finished, run_all
from c2seg.benchmark.statement import CostLine, cost_lines, cost_text, total_hours
from c2seg.benchmark.summary import BenchmarkSummary
from c2seg.benchmark.systems import is_system, system_variants
from c2seg.benchmark.table_one import first_row, ranking, ranking_csv, ranking_html, ranking_notes
from c2seg.benchmark.tables import as_csv, rows
from c2seg.errors import C2SegError, InputError, unknown_name
from c2seg.outputs import commit, make_folder, working_in
from c2seg.progress import Bars, ShowProgress, opened_bars
from c2seg.recipes import recipe_names, variants
from c2seg.report import ReportOptions, check_packages, make_report

__all__ = ["BenchmarkSummary", "run_benchmark"]

_LOG = logging.getLogger(__name__)


def run_benchmark(
    pairs: str | Sequence[PairLike] | None = None,
    recipes: str | Sequence[str] | None = None,
    *,
    out: str | os.PathLike[str],
    data: str | os.PathLike[str] | None = None,
    table: str | None = None,
    figure: int | None = None,
    preset: str = "tiny",
    seeds: int = 3,
    modalities: bool = False,
    ablations: bool = False,
    equal_seconds: float | None = None,
    offline: bool = False,
    baseline: str | None = None,
    overrides: Sequence[str] = (),
    device: str = "cpu",
    jobs: int = 1,
    cluster: str | None = None,
    dry_run: bool = False,
    progress: ShowProgress = False,
    runner: Runner | None = None,
    executor: Executor | None = None,
) -> BenchmarkSummary:
    """Compare recipes on pairs of cities: train, predict, score, each in its own process.

    A run that fails stops no other and is missing in the table. Called again with the same folder, finished runs are
    reused, and stopped ones are resumed.

    Args:
        pairs: Each ``(source, target)`` or ``(source, target, reference)``, or text: ``"SOURCE:TARGET[:REFERENCE]"``, or
            ``"CITY"`` for pooled folds inside one city. Without a reference the target's ``label.tif``, if it is there, is
            the ground truth. None with ``data``.
        recipes: Names or files, also ``recipe@variant``, and systems; ``"all"`` for every shipped recipe. None: those of
            ``table``, else forest and unet.
        out: The benchmark's folder: runs, ``benchmark.json``, ``benchmark.csv``, ``benchmark.html``; ``table1.csv`` of Table I.
        data: A folder with the published data of C2Seg, at any depth, in the place of ``pairs``.
        table: A table of the challenge: ``I`` ranks its systems and ours, ``II`` and ``III`` show the offline protocol.
        figure: 6 also draws a test tile as the challenge's paper does, ``figure6.png``: false color, each modality alone, all
            of them, adapted. Without ``table``, ``recipes`` are two, a supervised and an adapting one, and nothing else is run.
        preset: Preset of every recipe; ``paper`` is ``paper-ab`` or ``paper-bw``, by the pair.
        seeds: Number of seeds, 0, 1, ..., of every recipe.
        modalities: Also train each recipe on each modality alone.
        ablations: Also run every variant that the recipes' files describe.
        equal_seconds: Training time of every recipe of networks, seconds (on a CPU, of processors).
        offline: Also score a random split of overlapping tiles inside the source (leaks), as published tables do.
        baseline: Row with which the others are compared (default: of Table I the one that leads it; ``forest`` if it is run,
            else the first).
        overrides: ``key.path=value`` for every recipe.
        device: ``auto``, ``cpu`` or ``cuda``.
        jobs: Runs at a time; each gets an equal part of the cores.
        cluster: A Dask cluster in the place of ``jobs``, as in ``Model.predict``, a run at a time for each worker; data and
            ``out`` are on storage that all see (``docs/scaling.md``).
        dry_run: Run and write nothing; ``costs`` says what is known of hours and memory.
        progress: False, True for bars, or a callable.
        runner: What trains, predicts and scores (default: processes of this machine).
        executor: A ``concurrent.futures.Executor`` that has the runs in their place.

    Raises:
        C2SegError: An input is wrong (raised before the first run), or every run failed.
    """
    check_table(table)
    names = recipes_of(table) if recipes is None else (recipes,) if isinstance(recipes, str) else tuple(recipes)
    shown = figure_recipes(figure, table, [recipes] if isinstance(recipes, str) else recipes)
    names = () if shown and table is None else _names(names, ablations)
    check_workers(jobs, cluster, executor)
    with opened_bars(progress) as bars:
        benchmark = Benchmark(
            pairs=parse_pairs(_pairs(pairs, data, bars)),
            recipes=names,
            out=Path(out),
            preset=preset_of(table, preset, names, overrides),
            seeds=seeds,
            single_modalities=modalities,
            equal_seconds=equal_seconds,
            offline=offline or is_offline(table),
            device=device,
            overrides=tuple(overrides),
            jobs=jobs,
            figure=shown,
        )
        runs = plan(benchmark)
        figured = figure_runs(runs, shown) if shown else []
        _check_baseline(baseline, runs)
        if dry_run:
            return _stated(benchmark, runs, bars)
        if any(not run.pair.inside for run in runs):
            check_packages()  # the page of their maps is made at the end
        make_folder(benchmark.out)
        with working_in(benchmark.out):
            costs, results, failures = _run(benchmark, runs, runner, executor, cluster, bars)
            if not results:
                raise C2SegError(next(iter(failures.values())))
            done = [run for run in runs if run.name not in failures]
            drawn = _figure(benchmark, [run for run in figured if run.name not in failures])
            return _summary(benchmark, done, table, baseline, _Outcome(costs, results, failures, drawn), bars)


@dataclass(frozen=True)
class _Outcome:
    """What was stated before the runs, their results, and the messages of those that failed."""

    costs: Sequence[CostLine]
    results: Sequence[BenchmarkResult]
    failures: dict[str, str]
    figure: Figure6 | None = None


def _figure(benchmark: Benchmark, runs: Sequence[Run]) -> Figure6 | None:
    """Draw figure 6; None, and a note, where its runs failed or none was asked for."""
    if not runs:
        return None
    try:
        return make_figure6(benchmark.out / "figure6.png", runs)
    except InputError as error:
        _LOG.warning("no figure 6: %s", error)
        return None


def _pairs(
    pairs: str | Sequence[PairLike] | None, data: str | os.PathLike[str] | None, bars: Bars
) -> Sequence[PairLike]:
    """Return the pairs that are given, or those of the published data under a folder."""
    if (pairs is None or not pairs) == (data is None):
        raise InputError("give `pairs` or `data`, one of them")
    if data is not None:
        return pairs_under(Path(data), bars("looking for data"))
    assert pairs is not None
    return (pairs,) if isinstance(pairs, str) else pairs


def _names(recipes: Sequence[str], ablations: bool) -> tuple[str, ...]:
    """Return the recipes asked for, each followed by its variants with ``ablations``."""
    names = recipe_names() if tuple(recipes) == ("all",) else tuple(recipes)
    if not ablations:
        return names
    return tuple(part for name in names for part in (name, *(f"{name}@{v}" for v in _variants(name))))


def _variants(name: str) -> tuple[str, ...]:
    """Return the variants of a recipe or a system; none of a variant."""
    if "@" in name:
        return ()
    return system_variants(name) if is_system(name) else variants(name)


def _check_baseline(name: str | None, runs: Sequence[Run]) -> None:
    """Raise InputError if the row with which the others are to be compared is none."""
    labels = list(dict.fromkeys(run.label for run in runs))
    if name is not None and name not in labels:
        raise InputError(unknown_name("baseline", name, labels))


def _baseline(name: str | None, table: str | None, runs: Sequence[Run], results: Sequence[BenchmarkResult]) -> str:
    """Return the row with which the others are compared."""
    labels = list(dict.fromkeys(run.label for run in runs))
    if name in labels:
        return str(name)
    if table == "I":
        return first_row(rows(results), _pairs_of(runs))
    return "forest" if "forest" in labels else labels[0]


def _pairs_of(runs: Sequence[Run]) -> list[Pair]:
    """Return the pairs across cities, with what was recognized of them."""
    return list(dict.fromkeys(run.pair for run in runs if not run.pair.inside))


def _run(
    benchmark: Benchmark,
    runs: Sequence[Run],
    runner: Runner | None,
    executor: Executor | None,
    cluster: str | None,
    bars: Bars,
) -> tuple[list[CostLine], list[BenchmarkResult], dict[str, str]]:
    """State the costs, then run what is not finished."""
    waiting = [run for run in runs if not finished(benchmark, run)]
    costs = cost_lines(benchmark, waiting, runner or SpawningRunner(benchmark.jobs), bars("measuring"))
    hours = total_hours(costs) / benchmark.jobs
    _LOG.info("%d runs, %d of them to do: about %.1f hours of training", len(runs), len(waiting), hours)
    for line in cost_text(costs, benchmark.jobs).splitlines() if costs else ():
        _LOG.info("%s", line)
    return costs, *run_all(benchmark, runs, runner, bars("benchmark"), executor, cluster)


def _stated(benchmark: Benchmark, runs: Sequence[Run], bars: Bars) -> BenchmarkSummary:
    """Return what is known of the costs; nothing is measured."""
    waiting = [run for run in runs if not finished(benchmark, run)]
    costs = cost_lines(benchmark, waiting, None, bars("costs"))
    return BenchmarkSummary(benchmark.out, "", (), (), (), {}, None, costs=tuple(costs))


def _summary(
    benchmark: Benchmark, runs: Sequence[Run], table: str | None, baseline: str | None, outcome: _Outcome, bars: Bars
) -> BenchmarkSummary:
    """Make the tables and the page of finished runs, and write them."""
    across = [run for run in runs if not run.pair.inside]
    baseline = _baseline(baseline, table, runs, outcome.results)
    lines = tuple(rows(outcome.results, baseline))
    differences = tuple(_compare(runs, baseline, bars))
    pairs = _pairs_of(runs)
    behind = differences if table == "I" and pairs and baseline == first_row(lines, pairs) else ()
    summary = BenchmarkSummary(
        folder=benchmark.out,
        baseline=baseline,
        rows=lines,
        differences=differences,
        results=tuple(outcome.results),
        failures=outcome.failures,
        page=benchmark.out / "benchmark.html" if across else None,
        ranking=ranking(lines, pairs, behind) if table == "I" and pairs else (),
        notes=tuple(ranking_notes(pairs)),
        costs=tuple(outcome.costs),
        figure=outcome.figure.path if outcome.figure else None,
    )
    with commit(overwrite=True) as files:
        files.text(benchmark.out / "benchmark.csv", as_csv(summary.rows))
        if summary.ranking:
            files.text(benchmark.out / "table1.csv", ranking_csv(summary.ranking))
        if table and is_offline(table):
            files.text(benchmark.out / f"table{len(table)}.csv", offline_csv(offline_rows(summary.results), table))
        files.text(benchmark.out / "benchmark.json", summary.table().as_text(), main=True)
    if summary.page:
        _report(benchmark, across, summary, _tables(summary, table), outcome.figure, bars)
    return summary


def _tables(summary: BenchmarkSummary, table: str | None) -> tuple[tuple[str, str], ...]:
    """Return the challenge's table for the page: its title and HTML."""
    if summary.ranking:
        return (("Table I", ranking_html(summary.ranking, summary.notes)),)
    if table and is_offline(table):
        return ((f"Table {table}", offline_html(offline_rows(summary.results), table)),)
    return ()


def _compare(runs: Sequence[Run], baseline: str, bars: Bars) -> list[PairedDifference]:
    """Return the differences to the baseline; none, and a note, where the runs do not allow any."""
    try:
        return compare_recipes(runs, baseline, progress=bars("comparing"))
    except InputError as error:
        _LOG.warning("no intervals: %s", error)
        return []


def _report(
    benchmark: Benchmark,
    runs: Sequence[Run],
    summary: BenchmarkSummary,
    tables: tuple[tuple[str, str], ...],
    figure: Figure6 | None,
    bars: Bars,
) -> None:
    """Write the page of the first seed's runs and its figure of whole cities; tables and figure 6 are in the page, too."""
    options = ReportOptions(
        summary.page,
        figure=benchmark.out / "benchmark.png",
        cities=tuple(dict.fromkeys(pair.target for pair in benchmark.pairs if not pair.inside)),
        references=tuple(dict.fromkeys(pair.reference for pair in benchmark.pairs if pair.reference)),
        reference_cities={pair.reference: pair.target for pair in benchmark.pairs if pair.reference},
        overwrite=True,
        pictures=((figure.title, figure.uri),) if figure else (),
        tables=tables,
    )
    make_report([run.folder for run in runs if run.seed == 0], options, bars=bars)
