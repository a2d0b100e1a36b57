"""Stop between two steps, not in the middle of one."""

from __future__ import annotations

import signal
from types import FrameType, TracebackType
from typing import Any

from c2seg.process import stops_by_interrupt

__all__ = ["StopSignal"]


class StopSignal:
    """While active, SIGINT and SIGTERM only set ``requested`` to their name. A second one interrupts immediately.

    This holds for signals that would raise KeyboardInterrupt: SIGINT in Python, both in our commands. Other handlers stay
    in place. In other processes, SIGTERM has its usual effect.
    """

    def __init__(self) -> None:
        self.requested = ""
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> StopSignal:
        for number in filter(stops_by_interrupt, (signal.SIGINT, signal.SIGTERM)):
            try:
                self._previous[number] = signal.signal(number, self._note)
            except ValueError:  # not in the main thread, which alone handles signals
                break
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt(self.requested)
        self.requested = signal.Signals(number).name
