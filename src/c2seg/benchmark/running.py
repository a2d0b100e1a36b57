"""The runs of a benchmark, in parallel. A run whose ``result.json`` belongs to the same settings is not run again."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import replace
from pathlib import Path
from typing import Any

from c2seg.artifacts.benchmark import BenchmarkKey, BenchmarkResult, PooledScores
from c2seg.artifacts.scores import ScoreRecord, class_names
from c2seg.benchmark.costs import equal_time
from c2seg.benchmark.fused import Fusion
from c2seg.benchmark.fusing import fused_from_present_maps, run_fused
from c2seg.benchmark.jobs import RunJob, benchmark_crew, limits
from c2seg.benchmark.leases import Lease, Leases
from c2seg.benchmark.offline import is_scored_offline, run_offline
from c2seg.benchmark.plan import Benchmark, Run
from c2seg.benchmark.runner import Runner
from c2seg.benchmark.tasks import Trained, fit_task, predict_task, score_task
from c2seg.data import open_city
from c2seg.errors import C2SegError, InputError
from c2seg.parallel import Terms, run_tasks
from c2seg.progress import Progress, no_progress

__all__ = ["finished", "run_all", "run_one"]


def run_all(
    benchmark: Benchmark,
    runs: Sequence[Run],
    runner: Runner | None = None,
    progress: Progress = no_progress,
    executor: Executor | None = None,
    cluster: str | None = None,
) -> tuple[list[BenchmarkResult], dict[str, str]]:
    """Run what is not finished. Return one result per run (scores, seconds, memory, size), and the message of each failed
    run by name: it does not stop the others. An interrupt stops all of them.

    ``benchmark.jobs`` runs at a time, or as many as the ``cluster`` has workers, or the ``executor`` processes. A run whose
    worker dies or stalls is given to another, and resumes from its folder. Without a ``runner`` each part of a run has a
    process of its own.
    """
    results: dict[int, BenchmarkResult] = {}
    failed: dict[str, str] = {}
    job = RunJob(run_one, benchmark, runs, runner)

    def issued(place: int) -> tuple[int, Lease]:
        job.kill(place)  # where its worker was given up
        return place, leases.issue(place)

    def tell(place: int) -> None:
        progress(len(results) + len(failed), len(runs), runs[place].name)

    def finish(place: int, result: BenchmarkResult, _: str) -> None:
        results[place] = result
        tell(place)

    def fail(place: int, error: C2SegError) -> None:
        failed[runs[place].name] = str(error)
        tell(place)

    progress(0, len(runs), "")
    with (
        Leases(benchmark.out / "under-way") as leases,
        benchmark_crew(benchmark.jobs, cluster, executor) as crew,
    ):
        assert crew is not None
        places: Sequence[Any] = range(len(runs))  # as tasks they are issued, with a lease
        terms = Terms(after=_after(runs), issued=issued, sign=leases.sign, failed=fail)
        try:
            run_tasks(crew, job, places, finish, limits(runner), terms=terms)
        except BaseException:
            job.stop()
            raise
    return [results[place] for place in sorted(results)], failed


def _after(runs: Sequence[Run]) -> dict[int, list[int]]:
    """Return which runs follow which others: fused ones their parts, and those with a training in common the first of them.

    Fused ones that read the same maps follow each other, too: the first may have to predict them again.
    """
    places = {run.folder: place for place, run in enumerate(runs)}
    readers: dict[Path, int] = {}
    trained: dict[str, int] = {}
    after: dict[int, list[int]] = {}
    for place, run in enumerate(runs):
        folders = [part.folder for part in run.fusion.parts] if run.fusion else []
        after[place] = [
            *(places[folder] for folder in folders),
            *(readers[folder] for folder in folders if folder in readers),
        ]
        after[place] += [trained[key] for key in run.common if key in trained]
        readers |= dict.fromkeys(folders, place)
        trained = dict.fromkeys(run.common, place) | trained
    return after


def run_one(benchmark: Benchmark, run: Run, runner: Runner) -> BenchmarkResult:
    """Train, predict and score one run, or fuse and score it, unless that is done; write and return its result."""
    path = run.folder / "result.json"
    if finished(benchmark, run):
        return BenchmarkResult.read(path)
    if run.fusion is not None:
        fused = _fused(benchmark, run, run.fusion, runner)
        fused.write(path)
        return fused
    overrides = equal_time(benchmark, run, runner)
    offline, across = run_offline(benchmark, run, overrides, runner)
    task = fit_task(run, benchmark.device, run.folder, overrides)
    trained = runner.fit(replace(task, trainings=benchmark.out / "trainings") if run.common else task)
    if trained.record.few_shot:
        raise InputError(
            f"{run.folder} is few-shot: it was trained on labels of the target; a benchmark compares runs without any"
        )
    seconds, scored = (None, _inside(run, trained)) if run.pair.inside else _predict_and_score(benchmark, run, runner)
    shared = trained.record.shared_trainings
    result = BenchmarkResult(
        key=_key(benchmark, run),
        pair=run.pair.name,
        recipe=run.recipe,
        inputs=run.inputs,
        label=run.label,
        seed=run.seed,
        iterations=trained.record.iterations,
        fit_seconds=trained.seconds + sum(one.seconds for one in shared.values() if one.reused),
        map_seconds=seconds,
        peak_memory_mib=trained.record.peak_memory_mib,
        parameters=trained.record.parameters,
        gflops_128=trained.record.gflops_128,
        uses_target_images=trained.record.uses_target_images,
        commit=trained.record.commit,
        validation=trained.validation,
        scores=scored,
        shared_seconds={key: one.seconds for key, one in shared.items()},
        offline=offline,
        offline_across=across,
    )
    result.write(path)
    return result


def _fused(benchmark: Benchmark, run: Run, fusion: Fusion, runner: Runner) -> BenchmarkResult:
    """Fuse and score one run; InputError if a part has no result of these settings."""
    if missing := [part.label for part in fusion.parts if not finished(benchmark, part)]:
        raise InputError(f"{run.label} needs the map of {', '.join(missing)}, which has failed")
    return run_fused(run, fusion, _key(benchmark, run), benchmark.device, runner)


def _predict_and_score(benchmark: Benchmark, run: Run, runner: Runner) -> tuple[float, ScoreRecord | None]:
    """Predict the target; return the seconds, and the scores if there is a ground truth."""
    seconds = runner.predict(predict_task(run, benchmark.device))
    reference = run.pair.reference
    return seconds, None if reference is None else runner.score(score_task(run, reference))


def _inside(run: Run, trained: Trained) -> PooledScores:
    """Return the pooled scores of the folds, with the names of the classes."""
    assert trained.validation is not None
    classes = class_names(open_city(run.pair.source).legend)
    return PooledScores(**dict(trained.validation.scores), classes=classes)


def finished(benchmark: Benchmark, run: Run) -> bool:
    """Return True if the run's result is there and belongs to these settings."""
    path = run.folder / "result.json"
    if not path.exists():
        return False
    try:
        result = BenchmarkResult.read(path)
        same = _without_prose(result.key) == _without_prose(_key(benchmark, run))
        if run.fusion is not None:
            return same and fused_from_present_maps(result, run.fusion)
        return same and (not benchmark.offline or is_scored_offline(result))
    except C2SegError:  # damaged, or of settings that this version does not have
        return False


def _key(benchmark: Benchmark, run: Run) -> BenchmarkKey:
    """Return what a result depends on."""
    return BenchmarkKey(
        recipe=None if run.fusion else run.settings(),
        fusion=run.fusion.key() if run.fusion else None,
        seed=run.seed,
        equal_seconds=benchmark.equal_seconds,
        offline=benchmark.offline,
        device=benchmark.device,
        cities=tuple(open_city(path).fingerprint() for path in (run.pair.source, *run.pair.further, run.pair.target)),
        reference=str(run.pair.reference) if run.pair.reference else None,
        tile_px=run.pair.tile_px,
    )


def _without_prose(key: BenchmarkKey) -> BenchmarkKey:
    """Return a key without the texts of its recipes, which change no result."""
    prose = {"description": "", "citation": ""}
    if key.fusion is not None:
        recipes = {label: recipe.model_copy(update=prose) for label, recipe in key.fusion.recipes.items()}
        return key.model_copy(update={"fusion": key.fusion.model_copy(update={"recipes": recipes})})
    return key.model_copy(update={"recipe": key.recipe and key.recipe.model_copy(update=prose)})
