"""The runs of a benchmark as tasks of a crew: one result a run, whoever computes it and however often a worker is lost."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AbstractContextManager, chdir, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from c2seg.artifacts.benchmark import BenchmarkResult
from c2seg.benchmark.leases import Lease
from c2seg.benchmark.plan import Benchmark, Run
from c2seg.benchmark.runner import Runner, SpawningRunner
from c2seg.errors import C2SegError, InputError, OutputError
from c2seg.outputs import working_in
from c2seg.parallel import Crew, ExecutorCrew, Limits, ThreadCrew, checked_executor, open_crew

__all__ = ["RunJob", "benchmark_crew", "check_workers", "limits"]

Task = tuple[int, Lease]

RunFunction = Callable[[Benchmark, Run, Runner], BenchmarkResult]

_FREE_S = 60.0  # in which whoever lost a run leaves its folder
_LOOK_S = 0.5


class RunJob:
    """Runs by their place. Each part of a run has a process of its own, unless another ``runner`` is given.

    In this process it knows what is under way and can end it; a copy elsewhere ends what has lost its lease.
    """

    def __init__(self, function: RunFunction, benchmark: Benchmark, runs: Sequence[Run], runner: Runner | None) -> None:
        self._function, self._benchmark, self._runs, self._runner = function, benchmark, tuple(runs), runner
        self._folder = os.getcwd() if _has_relative_paths(benchmark) else None
        self._under_way: dict[int, SpawningRunner] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_under_way": {}}

    @contextmanager
    def start(self) -> Iterator[Callable[[Task], BenchmarkResult]]:
        """Return the function of the tasks."""
        yield self._run

    def kill(self, place: int) -> None:
        """End what works at a run here, at once: its worker was given up."""
        if runner := self._under_way.get(place):
            runner.kill()

    def stop(self) -> None:
        """Let all that runs here write its state and end."""
        for runner in [self._runner] if self._runner else list(self._under_way.values()):
            runner.stop()

    def _run(self, task: Task) -> BenchmarkResult:
        place, lease = task
        run = self._runs[place]
        with self._in_folder():
            try:
                if self._runner is not None:
                    return self._function(self._benchmark, run, self._runner)
                return self._spawned(place, lease)
            except KeyboardInterrupt:
                raise C2SegError(f"{run.name} was stopped; run the same command to resume") from None

    def _spawned(self, place: int, lease: Lease) -> BenchmarkResult:
        run = self._runs[place]
        runner = SpawningRunner(self._benchmark.jobs, lease)
        self._under_way[place] = runner
        try:
            _wait_until_free(run.folder)
            return self._function(self._benchmark, run, runner)
        finally:
            if self._under_way.get(place) is runner:
                del self._under_way[place]

    def _in_folder(self) -> AbstractContextManager[None]:
        """Be where the command was started, so that relative paths mean the same."""
        if self._folder is None or os.getcwd() == self._folder:
            return nullcontext()
        try:
            return chdir(self._folder)
        except OSError as error:
            raise InputError(f"a worker has no folder {self._folder}; give absolute paths on shared storage") from error


def _has_relative_paths(benchmark: Benchmark) -> bool:
    pairs = [path for pair in benchmark.pairs for path in (pair.source, pair.target, pair.reference)]
    return any(path is not None and not Path(path).is_absolute() for path in (benchmark.out, *pairs))


def _wait_until_free(folder: Path) -> None:
    """Wait for a process that lost this run to leave its folder; what remains after a minute is told by the training."""
    end = time.monotonic() + _FREE_S
    while folder.is_dir() and time.monotonic() < end:
        try:
            with working_in(folder):
                return
        except OutputError:
            time.sleep(_LOOK_S)


def benchmark_crew(jobs: int, cluster: str | None, executor: Executor | None) -> AbstractContextManager[Crew | None]:
    """Return who waits for the processes of runs: threads here, workers of a cluster, or an executor of the user's.

    Raises InputError for more than one of them.
    """
    check_workers(jobs, cluster, executor)
    if isinstance(executor, ThreadPoolExecutor):
        return ExecutorCrew(checked_executor(executor), ahead=1, in_process=True)
    if cluster is None and executor is None:
        return ThreadCrew(jobs)
    return open_crew(jobs, cluster, executor=executor, ahead=1)


def check_workers(jobs: int, cluster: str | None, executor: Executor | None) -> None:
    """Raise InputError if runs are given to more than one kind of workers."""
    if cluster is not None and jobs != 1:
        raise InputError("give `jobs` or `cluster`, not both")
    if cluster is not None and executor is not None:
        raise InputError("give `cluster` or executor=, not both")


def limits(runner: Runner | None) -> Limits:
    """Return when a run counts as stalled: never, with a runner of the caller's, which gives no signs of life."""
    return Limits() if runner is None else Limits(deadline_s=math.inf, start_s=math.inf)
