"""What training costs, as the run record tells it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from c2seg.models import PretrainedReport
    from c2seg.train import TrainingResult

__all__ = ["Costs", "Stopwatch"]


@dataclass(frozen=True)
class Costs:
    """Sizes and times of the networks of a run, and of the forest beside them; None: not measured, or no forest."""

    iterations: int
    """Of the recipe; stages may have others."""
    trainings: int = 0
    parameters: int | None = None
    """Of all networks that predict."""
    gflops_128: float | None = None
    """Of their forward passes over 128 x 128 pixels."""
    precision: str | None = None
    step_seconds: float | None = None
    """Of all trainings, by iteration of the recipe."""
    step_processor_seconds: float | None = None
    forest_seconds: float | None = None
    forest_processor_seconds: float | None = None
    pretrained: PretrainedReport | None = None

    @classmethod
    def of(
        cls,
        iterations: int,
        trainings: Sequence[tuple[TrainingResult, int]],
        ensemble: Sequence[TrainingResult],
        forest_seconds: float | None = None,
        forest_processor_seconds: float | None = None,
    ) -> Costs:
        """Sum up trainings, given with their iterations; ``ensemble``: those whose networks predict."""
        results = [result for result, _ in trainings]
        seconds = sum((result.step_seconds or 0.0) * steps for result, steps in trainings)
        processor = sum((result.step_processor_seconds or 0.0) * steps for result, steps in trainings)
        return cls(
            iterations,
            len(results),
            sum(result.parameters for result in ensemble),
            sum(result.gflops_128 for result in ensemble),
            results[-1].precision,
            round(seconds / iterations, 6),
            round(processor / iterations, 6),
            forest_seconds,
            forest_processor_seconds,
            results[-1].pretrained,
        )

    def plus(self, other: Costs) -> Costs:
        """Return these costs with the times of other trainings added; sizes stay."""
        names = ("step_seconds", "step_processor_seconds", "forest_seconds", "forest_processor_seconds")
        times = {name: _sum(getattr(self, name), getattr(other, name)) for name in names}
        return replace(self, **times)


class Stopwatch:
    """Runs from when it is made."""

    def __init__(self) -> None:
        self._begun = time.perf_counter(), time.process_time()

    def spent(self) -> tuple[float, float]:
        """Return the seconds and the processor seconds since then, to a thousandth."""
        return round(time.perf_counter() - self._begun[0], 3), round(time.process_time() - self._begun[1], 3)


def _sum(one: float | None, other: float | None) -> float | None:
    known = [value for value in (one, other) if value is not None]
    return round(sum(known), 6) if known else None
