"""The runs of a benchmark, in parallel. A run whose ``result.json`` belongs to the same settings is not run again."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor, ThreadPoolExecutor, as_completed
from contextlib import ExitStack

from c2seg.artifacts.benchmark import BenchmarkKey, BenchmarkResult, PooledScores
from c2seg.artifacts.scores import ScoreRecord, class_names
from c2seg.benchmark.costs import equal_time
from c2seg.benchmark.plan import Benchmark, Run
from c2seg.benchmark.runner import Runner
from c2seg.benchmark.tasks import Trained, fit_task, predict_task, score_task
from c2seg.data import open_city
from c2seg.errors import C2SegError, InputError
from c2seg.progress import Progress, no_progress

__all__ = ["finished", "run_all", "run_one"]


def run_all(
    benchmark: Benchmark,
    runs: Sequence[Run],
    runner: Runner,
    progress: Progress = no_progress,
    executor: Executor | None = None,
) -> tuple[list[BenchmarkResult], dict[str, str]]:
    """Run what is not finished. Return one result per run (scores, seconds, memory, size), and the message of each failed
    run by name: it does not stop the others. An interrupt stops all of them.

    ``executor`` calls ``run_one`` for every run; without one, ``benchmark.jobs`` threads wait for the runner.
    """
    results: dict[int, BenchmarkResult] = {}
    failed: dict[str, str] = {}
    progress(0, len(runs), "")
    with ExitStack() as stack:
        pool = executor or stack.enter_context(ThreadPoolExecutor(benchmark.jobs))
        futures = {pool.submit(run_one, benchmark, run, runner): place for place, run in enumerate(runs)}
        try:
            for done, future in enumerate(as_completed(futures)):
                place = futures[future]
                try:
                    results[place] = future.result()
                except C2SegError as error:
                    failed[runs[place].name] = str(error)
                progress(done + 1, len(runs), runs[place].name)
        except BaseException:
            for future in futures:
                future.cancel()
            runner.stop()
            raise
    return [results[place] for place in sorted(results)], failed


def run_one(benchmark: Benchmark, run: Run, runner: Runner) -> BenchmarkResult:
    """Train, predict and score one run, unless that is done; write and return its result."""
    path = run.folder / "result.json"
    if finished(benchmark, run):
        return BenchmarkResult.read(path)
    overrides = equal_time(benchmark, run, runner)
    offline = _offline(benchmark, run, overrides, runner)
    trained = runner.fit(fit_task(run, benchmark.device, run.folder, overrides))
    if trained.record.few_shot:
        raise InputError(
            f"{run.folder} is few-shot: it was trained on labels of the target; a benchmark compares runs without any"
        )
    seconds, scored = (None, _inside(run, trained)) if run.pair.inside else _predict_and_score(benchmark, run, runner)
    result = BenchmarkResult(
        key=_key(benchmark, run),
        pair=run.pair.name,
        recipe=run.recipe,
        inputs=run.inputs,
        label=run.label,
        seed=run.seed,
        iterations=trained.record.iterations,
        fit_seconds=trained.seconds,
        map_seconds=seconds,
        peak_memory_mib=trained.record.peak_memory_mib,
        parameters=trained.record.parameters,
        gflops_128=trained.record.gflops_128,
        uses_target_images=trained.record.uses_target_images,
        commit=trained.record.commit,
        validation=trained.validation,
        scores=scored,
        offline=offline.validation if offline else None,
    )
    result.write(path)
    return result


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


def _offline(benchmark: Benchmark, run: Run, overrides: Sequence[str], runner: Runner) -> Trained | None:
    """Train on a random split of overlapping tiles: what published offline validation measured."""
    if not benchmark.offline:
        return None
    split = (*overrides, "validation={kind: random_tiles, final: false}")
    return runner.fit(fit_task(run, benchmark.device, run.folder / "offline", split))


def finished(benchmark: Benchmark, run: Run) -> bool:
    """Return True if the run's result is there and belongs to these settings."""
    path = run.folder / "result.json"
    if not path.exists():
        return False
    try:
        return _without_prose(BenchmarkResult.read(path).key) == _without_prose(_key(benchmark, run))
    except C2SegError:  # damaged, or of settings that this version does not have
        return False


def _key(benchmark: Benchmark, run: Run) -> BenchmarkKey:
    """Return what a result depends on."""
    return BenchmarkKey(
        recipe=run.settings(),
        seed=run.seed,
        equal_seconds=benchmark.equal_seconds,
        offline=benchmark.offline,
        device=benchmark.device,
        cities=tuple(open_city(path).fingerprint() for path in (run.pair.source, run.pair.target)),
        reference=str(run.pair.reference) if run.pair.reference else None,
    )


def _without_prose(key: BenchmarkKey) -> BenchmarkKey:
    """Return a key without the texts of its recipe, which change no result."""
    recipe = key.recipe.model_copy(update={"description": "", "citation": ""})
    return key.model_copy(update={"recipe": recipe})
