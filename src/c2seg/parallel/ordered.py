"""Tasks in the order of their numbers, each when those are over that it comes after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

__all__ = ["Ordered"]


class Ordered:
    """Tasks ``0 .. count-1`` for whoever asks: the smallest that waits and may begin.

    ``after`` names those that must be over before, whether they succeeded or not: smaller numbers only.
    """

    def __init__(self, count: int, after: Mapping[int, Sequence[int]]) -> None:
        self._waiting = dict.fromkeys(range(count))
        self._after = {number: frozenset(after.get(number, ())) for number in range(count)}
        self._over: set[int] = set()

    def next(self, worker: str) -> int | None:
        """Return the next task; None if none may begin now."""
        number = next((number for number in self._waiting if self._after[number] <= self._over), None)
        if number is not None:
            del self._waiting[number]
        return number

    def give_back(self, tasks: Sequence[int], worker: str) -> None:
        """Take tasks back from a worker that is lost."""
        self._waiting = dict.fromkeys(sorted({*self._waiting, *tasks}))

    def withdraw(self, task: int) -> None:
        """Give a task that came back to nobody."""
        self._waiting.pop(task, None)

    def over(self, task: int) -> None:
        """Note that a task is over."""
        self._over.add(task)
