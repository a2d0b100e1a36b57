"""Who trains, maps and scores for a benchmark: processes of their own, or whoever else does it."""

from __future__ import annotations

import os
from typing import Protocol

from c2seg.artifacts.scores import ScoreRecord
from c2seg.benchmark.processes import Processes
from c2seg.benchmark.tasks import FitTask, PredictTask, ScoreTask, Trained, fit_city, predict_city, score_city

__all__ = ["Runner", "SpawningRunner"]


class Runner(Protocol):
    """Does the parts of a run; called from several threads at once.

    Its methods raise C2SegError for what fails one run, and KeyboardInterrupt once they are stopped.
    """

    def fit(self, task: FitTask) -> Trained:
        """Train, and leave a run folder; what was stopped before is resumed."""

    def predict(self, task: PredictTask) -> float:
        """Map a city; return the seconds it took."""

    def score(self, task: ScoreTask) -> ScoreRecord:
        """Score a map."""

    def stop(self) -> None:
        """Let running tasks write what can be resumed and end; later ones must not start."""


class SpawningRunner:
    """Gives every task a process of its own, so that one that dies fails one run, and peak memory is the task's.

    ``jobs`` tasks run at a time: each is given its share of the cores, unless the environment says otherwise. Picklable: where
    it is unpickled it starts processes of its own.
    """

    def __init__(self, jobs: int = 1) -> None:
        self._processes = Processes(thread_variables(jobs))

    def fit(self, task: FitTask) -> Trained:
        """Train in a process of its own."""
        return self._processes.call(fit_city, task)

    def predict(self, task: PredictTask) -> float:
        """Map in a process of its own."""
        return self._processes.call(predict_city, task)

    def score(self, task: ScoreTask) -> ScoreRecord:
        """Score in a process of its own."""
        return self._processes.call(score_city, task)

    def stop(self) -> None:
        """End every process, once it has written what can be resumed; start no other."""
        self._processes.stop()


def thread_variables(jobs: int) -> dict[str, str]:
    """Return the environment of one of several tasks at a time: threads for its share of the cores.

    Threads that wait by spinning starve other processes: on two cores a second run made both many times slower.
    """
    waiting = {"OMP_WAIT_POLICY": "passive"}
    if jobs == 1:
        return waiting
    share = str(max(1, (os.cpu_count() or 1) // jobs))
    return {"OMP_NUM_THREADS": share, "LOKY_MAX_CPU_COUNT": share, **waiting}
