"""A whole benchmark: plan, estimate, runs, tables, differences, page."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path

from c2seg.artifacts.benchmark import BenchmarkResult, BenchmarkRow, BenchmarkTable, PairedDifference
from c2seg.benchmark.comparison import compare_recipes, comparison_text
from c2seg.benchmark.costs import estimate_seconds
from c2seg.benchmark.offline_tables import offline_rows, offline_text
from c2seg.benchmark.plan import Benchmark, PairLike, Run, parse_pairs, plan
from c2seg.benchmark.runner import Runner, SpawningRunner
from c2seg.benchmark.running import finished, run_all
from c2seg.benchmark.systems import is_system, system_variants
from c2seg.benchmark.tables import LEGEND, as_csv, as_html, as_text, modality_text, rows
from c2seg.errors import C2SegError, InputError, unknown_name
from c2seg.outputs import commit, make_folder, working_in
from c2seg.progress import Bars, ShowProgress, opened_bars
from c2seg.recipes import recipe_names, variants
from c2seg.report import ReportOptions, check_packages, make_report

__all__ = ["BenchmarkSummary", "run_benchmark"]

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class BenchmarkSummary:
    """The result of a benchmark, also in a notebook.

    ``rows`` is the table, ``differences`` are those of ``baseline`` to every other recipe, ``results`` the runs, ``failures``
    the messages of failed runs by name. ``page`` is None where only folds inside cities were run.
    """

    folder: Path
    baseline: str
    rows: tuple[BenchmarkRow, ...]
    differences: tuple[PairedDifference, ...]
    results: tuple[BenchmarkResult, ...]
    failures: dict[str, str]
    page: Path | None

    def text(self, offline: str | None = None) -> str:
        """Return every table for a terminal; ``offline`` (II or III) adds that published table of offline validation."""
        parts = [f"{as_text(self.rows, self.baseline)}\n{LEGEND}"]
        if self.differences:
            parts.append(comparison_text(self.baseline, self.differences))
        if offline:
            parts.append(offline_text(offline_rows(self.results), offline))
        return "\n\n".join([*parts, modality_text(self.results)])

    def table(self) -> BenchmarkTable:
        """Return what ``benchmark.json`` holds."""
        return BenchmarkTable(
            rows=self.rows,
            against=self.differences,
            results=self.results,
            failed=self.failures,
            offline=tuple(offline_rows(self.results)),
        )

    def _repr_html_(self) -> str:
        """Return the table for a notebook."""
        return as_html(self.rows, self.baseline)


def run_benchmark(
    pairs: str | Sequence[PairLike],
    recipes: str | Sequence[str] = ("forest", "unet"),
    *,
    out: str | os.PathLike[str],
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
            the ground truth.
        recipes: Names or files, also ``recipe@variant``; ``"all"`` for every shipped one.
        out: The benchmark's folder: runs, ``benchmark.json``, ``benchmark.csv``, ``benchmark.html``.
        preset: Preset of every recipe; ``paper`` is ``paper-ab`` or ``paper-bw``, by the pair.
        seeds: Number of seeds, 0, 1, ..., of every recipe.
        modalities: Also train each recipe on each modality alone.
        ablations: Also run every variant that the recipes' files describe.
        equal_seconds: Training time of every recipe of networks, seconds (on a CPU, of processors).
        offline: Also score a random split of overlapping tiles inside the source (leaks), as published tables do.
        baseline: Row with which the others are compared (default: ``forest`` if it is run, else the first).
        overrides: ``key.path=value`` for every recipe.
        device: ``auto``, ``cpu`` or ``cuda``.
        jobs: Runs at a time; each gets an equal part of the cores.
        progress: False, True for bars, or a callable.
        runner: What trains, predicts and scores (default: processes of this machine).
        executor: What calls the runner for every run (default: threads of this process).

    Raises:
        C2SegError: An input is wrong (raised before the first run), or every run failed.
    """
    benchmark = Benchmark(
        pairs=parse_pairs((pairs,) if isinstance(pairs, str) else pairs),
        recipes=_names((recipes,) if isinstance(recipes, str) else recipes, ablations),
        out=Path(out),
        preset=preset,
        seeds=seeds,
        single_modalities=modalities,
        equal_seconds=equal_seconds,
        offline=offline,
        device=device,
        overrides=tuple(overrides),
        jobs=jobs,
    )
    runs = plan(benchmark)
    baseline = _baseline(baseline, runs)
    if any(not run.pair.inside for run in runs):
        check_packages()  # the page of their maps is made at the end
    make_folder(benchmark.out)
    with working_in(benchmark.out), opened_bars(progress) as bars:
        results, failures = _run(benchmark, runs, runner or SpawningRunner(jobs), executor, bars)
        if not results:
            raise C2SegError(next(iter(failures.values())))
        done = [run for run in runs if run.name not in failures]
        return _summary(benchmark, done, baseline, results, failures, bars)


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


def _baseline(name: str | None, runs: Sequence[Run]) -> str:
    """Return the row with which the others are compared."""
    labels = list(dict.fromkeys(run.label for run in runs))
    name = name or ("forest" if "forest" in labels else labels[0])
    if name not in labels:
        raise InputError(unknown_name("baseline", name, labels))
    return name


def _run(
    benchmark: Benchmark, runs: Sequence[Run], runner: Runner, executor: Executor | None, bars: Bars
) -> tuple[list[BenchmarkResult], dict[str, str]]:
    """Estimate the time, then run what is not finished."""
    waiting = [run for run in runs if not finished(benchmark, run)]
    hours = estimate_seconds(benchmark, waiting, runner, bars("measuring")) / 3600 / benchmark.jobs
    _LOG.info("%d runs, %d of them to do: about %.1f hours of training", len(runs), len(waiting), hours)
    return run_all(benchmark, runs, runner, bars("benchmark"), executor)


def _summary(
    benchmark: Benchmark,
    runs: Sequence[Run],
    baseline: str,
    results: Sequence[BenchmarkResult],
    failures: dict[str, str],
    bars: Bars,
) -> BenchmarkSummary:
    """Make the tables and the page of finished runs, and write them."""
    across = [run for run in runs if not run.pair.inside]
    summary = BenchmarkSummary(
        folder=benchmark.out,
        baseline=baseline,
        rows=tuple(rows(results, baseline)),
        differences=tuple(_compare(runs, baseline, bars)),
        results=tuple(results),
        failures=failures,
        page=benchmark.out / "benchmark.html" if across else None,
    )
    with commit(overwrite=True) as files:
        files.text(benchmark.out / "benchmark.csv", as_csv(summary.rows))
        files.text(benchmark.out / "benchmark.json", summary.table().as_text(), main=True)
    if summary.page:
        _report(benchmark, across, summary.page, bars)
    return summary


def _compare(runs: Sequence[Run], baseline: str, bars: Bars) -> list[PairedDifference]:
    """Return the differences to the baseline; none, and a note, where the runs do not allow any."""
    try:
        return compare_recipes(runs, baseline, progress=bars("comparing"))
    except InputError as error:
        _LOG.warning("no intervals: %s", error)
        return []


def _report(benchmark: Benchmark, runs: Sequence[Run], page: Path, bars: Bars) -> None:
    """Write the page of the first seed's runs and its figure: with single modalities that of the challenge paper (figure 6),
    images, ground truth, a map from each modality alone, from all of them, and adapted ones.
    """
    options = ReportOptions(
        page,
        figure=benchmark.out / "benchmark.png",
        cities=tuple(dict.fromkeys(pair.target for pair in benchmark.pairs if not pair.inside)),
        references=tuple(dict.fromkeys(pair.reference for pair in benchmark.pairs if pair.reference)),
        reference_cities={pair.reference: pair.target for pair in benchmark.pairs if pair.reference},
        overwrite=True,
    )
    make_report([run.folder for run in runs if run.seed == 0], options, bars=bars)
