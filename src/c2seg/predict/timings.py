"""Seconds that the stages of a map were busy."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

__all__ = ["Timings"]


class Timings:
    """Busy seconds by stage, from several threads; stages overlap, so that their sum may exceed the time that passed."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}
        self._lock = threading.Lock()

    @contextmanager
    def time(self, stage: str) -> Iterator[None]:
        """Add the time of the block to a stage."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            self.add({stage: time.perf_counter() - begun})

    def add(self, seconds: Mapping[str, float]) -> None:
        """Add seconds by stage."""
        with self._lock:
            for stage, value in seconds.items():
                self._seconds[stage] = self._seconds.get(stage, 0.0) + value

    def drain(self) -> dict[str, float]:
        """Return seconds by stage since the last call."""
        with self._lock:
            seconds, self._seconds = self._seconds, {}
        return seconds

    def as_dict(self) -> dict[str, float]:
        """Return seconds by stage, to the millisecond."""
        with self._lock:
            return {stage: round(value, 3) for stage, value in self._seconds.items()}
