"""What the steps of a training take, those before an interruption included."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["StepClock"]


@dataclass
class StepClock:
    """Counts steps, their seconds and processor seconds. The first step of each process warms up and is not counted."""

    steps: int = 0
    seconds: float = 0.0
    processor_seconds: float = 0.0
    _since: tuple[float, float] | None = field(default=None, init=False, repr=False)

    @classmethod
    def resumed(cls, saved: Mapping[str, float]) -> StepClock:
        """Return a clock that continues from what ``saved`` returned, or begins where a state has none."""
        return cls(int(saved.get("steps", 0)), saved.get("seconds", 0.0), saved.get("processor_seconds", 0.0))

    def saved(self) -> dict[str, float]:
        """Return what to keep in a state."""
        return {"steps": self.steps, "seconds": self.seconds, "processor_seconds": self.processor_seconds}

    def step(self) -> None:
        """Count a step, which is over now."""
        now = time.perf_counter(), time.process_time()
        if self._since is not None:
            self.steps += 1
            self.seconds += now[0] - self._since[0]
            self.processor_seconds += now[1] - self._since[1]
        self._since = now

    def skip(self) -> None:
        """Leave out the time since the last step."""
        self._since = time.perf_counter(), time.process_time()

    def costs(self) -> tuple[float | None, float | None]:
        """Return the seconds and processor seconds of a step; None where none was counted."""
        if not self.steps:
            return None, None
        return self.seconds / self.steps, self.processor_seconds / self.steps
