"""What trains, predicts and scores for a benchmark: separate processes, or another runner."""

from __future__ import annotations

import os
from typing import Protocol

from c2seg.artifacts.scores import ScoreRecord
from c2seg.benchmark.leases import Lease
from c2seg.benchmark.processes import Processes
from c2seg.benchmark.tasks import (
    FitTask,
    FuseTask,
    PredictTask,
    ScoreTask,
    Trained,
    fit_city,
    fuse_city,
    predict_city,
    score_city,
)

__all__ = ["Runner", "SpawningRunner"]


class Runner(Protocol):
    """Does the parts of a run; called from several threads at once.

    Its methods raise C2SegError for what fails one run, and KeyboardInterrupt once they are stopped.
    """

    def fit(self, task: FitTask) -> Trained:
        """Train and write a run folder; a training that was stopped is resumed."""

    def predict(self, task: PredictTask) -> float:
        """Predict a city; return the seconds it took."""

    def fuse(self, task: FuseTask) -> float:
        """Make a map of other maps; return the seconds it took."""

    def score(self, task: ScoreTask) -> ScoreRecord:
        """Score a map."""

    def stop(self) -> None:
        """Let running tasks write their state and end; later ones must not start."""


class SpawningRunner:
    """Gives every task a process of its own, so that one that dies fails one run, and peak memory is the task's.

    ``jobs`` tasks run at a time: each gets an equal part of the cores, unless the environment says otherwise. Processes end
    with the ``lease`` of their run. Picklable: the copy starts its own processes.
    """

    def __init__(self, jobs: int = 1, lease: Lease | None = None) -> None:
        self._processes = Processes(thread_variables(jobs), lease)

    def fit(self, task: FitTask) -> Trained:
        """Train in a process of its own."""
        return self._processes.call(fit_city, task)

    def predict(self, task: PredictTask) -> float:
        """Predict in a process of its own."""
        return self._processes.call(predict_city, task)

    def fuse(self, task: FuseTask) -> float:
        """Fuse in a process of its own."""
        return self._processes.call(fuse_city, task)

    def score(self, task: ScoreTask) -> ScoreRecord:
        """Score in a process of its own."""
        return self._processes.call(score_city, task)

    def stop(self) -> None:
        """Let every process write its state and end; start no other."""
        self._processes.stop()

    def kill(self) -> None:
        """End every process now, also one that hangs; start no other."""
        self._processes.kill()


def thread_variables(jobs: int) -> dict[str, str]:
    """Return the environment of one of several tasks at a time: threads for its part of the cores.

    Threads that wait by spinning starve other processes: on two cores a second run made both many times slower.
    """
    waiting = {"OMP_WAIT_POLICY": "passive"}
    if jobs == 1:
        return waiting
    threads = str(max(1, (os.cpu_count() or 1) // jobs))
    return {"OMP_NUM_THREADS": threads, "LOKY_MAX_CPU_COUNT": threads, **waiting}
