"""The costs of training, as the run record holds them."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from c2seg.artifacts import TrainingFacts
from c2seg.artifacts.runs import SharedTraining

if TYPE_CHECKING:
    from c2seg.train import TrainingResult

__all__ = ["COSTS", "Stopwatch", "device_memory_mib", "summed", "training_facts"]

COSTS = ("step_seconds", "step_processor_seconds", "forest_seconds", "forest_processor_seconds")
"""Fields of ``TrainingFacts`` that are times."""


class Stopwatch:
    """Measures time from its creation."""

    def __init__(self) -> None:
        self._begun = time.perf_counter(), time.process_time()

    def spent(self) -> tuple[float, float]:
        """Return the seconds and the processor seconds since its creation, to a thousandth."""
        return round(time.perf_counter() - self._begun[0], 3), round(time.process_time() - self._begun[1], 3)


def device_memory_mib() -> float | None:
    """Return the largest memory that torch has reserved on a CUDA device in this process, MiB; None if it used none.

    Torch is not imported for it: what did not import torch used no device.
    """
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available() or not torch.cuda.is_initialized():
        return None
    return float(torch.cuda.max_memory_reserved()) / 2**20


def training_facts(
    iterations: int,
    trainings: Sequence[tuple[TrainingResult, int]],
    ensemble: Sequence[TrainingResult],
    forest: tuple[float, float] | None,
) -> TrainingFacts:
    """Sum up the trainings of a run, given with their iterations.

    ``iterations`` are the recipe's, ``ensemble`` the results whose networks predict, ``forest`` the seconds and processor
    seconds of the forest beside them, if there is one.
    """
    last = trainings[-1][0]
    pretrained = next((result.pretrained for result, _ in reversed(trainings) if result.pretrained), None)
    seconds = sum((result.step_seconds or 0.0) * steps for result, steps in trainings)
    processor = sum((result.step_processor_seconds or 0.0) * steps for result, steps in trainings)
    return TrainingFacts(
        iterations=iterations,
        trainings=len(trainings),
        precision=last.precision,
        parameters=sum(result.parameters for result in ensemble),
        gflops_128=sum(result.gflops_128 for result in ensemble),
        pretrained=pretrained.record() if pretrained else None,
        step_seconds=round(seconds / iterations, 6),
        step_processor_seconds=round(processor / iterations, 6),
        forest_seconds=forest[0] if forest else None,
        forest_processor_seconds=forest[1] if forest else None,
        shared_trainings={
            one.key: SharedTraining(seconds=round(one.seconds, 3), reused=one.reused)
            for one in (result.shared for result, _ in trainings) if one
        },
    )  # fmt: skip


def summed(facts: TrainingFacts, other: TrainingFacts | None) -> TrainingFacts:
    """Return facts with the times of other trainings added; sizes stay."""
    if other is None:
        return facts
    times = {}
    for name in COSTS:
        known = [value for value in (getattr(facts, name), getattr(other, name)) if value is not None]
        times[name] = round(sum(known), 6) if known else None
    return facts.model_copy(update=times)
