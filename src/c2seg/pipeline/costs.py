"""What learning costs, as the record tells it."""

from __future__ import annotations

import time

__all__ = ["FOREST_COSTS", "STEP_COSTS", "Stopwatch"]

STEP_COSTS = "step_seconds", "step_processor_seconds"
"""Keys of the time that an iteration takes."""

FOREST_COSTS = "forest_seconds", "forest_processor_seconds"
"""Keys of the time that a forest beside the networks takes."""


class Stopwatch:
    """Runs from when it is made."""

    def __init__(self) -> None:
        self._begun = time.perf_counter(), time.process_time()

    def spent(self) -> tuple[float, float]:
        """Return the seconds and the processor seconds since then, to a thousandth."""
        return round(time.perf_counter() - self._begun[0], 3), round(time.process_time() - self._begun[1], 3)
