"""Stop between two steps, not in the middle of one."""

from __future__ import annotations

import signal
from types import FrameType, TracebackType
from typing import Any

from c2seg.process import stops_by_interrupt

__all__ = ["StopSignal"]


class StopSignal:
    """While active, SIGINT and SIGTERM only set ``requested`` to their name. A second one interrupts at once.

    That is so where they would raise KeyboardInterrupt: Ctrl-C in Python, both in our commands. Somebody's own handler stays,
    and SIGTERM ends a process that is not ours as it would without us.
    """

    def __init__(self) -> None:
        self.requested = ""
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> StopSignal:
        for number in filter(stops_by_interrupt, (signal.SIGINT, signal.SIGTERM)):
            try:
                self._previous[number] = signal.signal(number, self._note)
            except ValueError:  # not in the main thread: leave signals to whoever is
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
