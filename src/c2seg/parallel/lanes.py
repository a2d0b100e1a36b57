"""Which worker computes which task: neighbors by one worker, as long as there is enough for all."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from math import floor

__all__ = ["Lanes"]


class Lanes:
    """Tasks ``0 .. count-1`` as contiguous lanes, one a worker. Who has finished a lane takes the end of the longest one.

    Tasks beside each other share work (rows of windows, blocks of files), which a worker saves that computes them in order.
    ``begin`` is what that work takes, in tasks: where a lane is begun, it is done a second time. So an end of a lane is count
    only if both workers are then expected to be done earlier.
    """

    def __init__(self, count: int, workers: int, begin: int = 0) -> None:
        self._share = max(1, -(-count // max(1, workers)))
        self._begin = begin
        self._rest = range(count)
        self._again: deque[int] = deque()
        self._lanes: dict[str, range] = {}
        self._lost: list[range] = []
        self._holders: dict[int, str] = {}

    def next(self, worker: str) -> int | None:
        """Return the next task of a worker; None if no task waits, or none that it had better take."""
        if self._again:
            task = self._again.popleft()
        else:
            lane = self._lanes.get(worker) or self._new_lane(worker)
            if not lane:
                return None
            task, self._lanes[worker] = lane[0], lane[1:]
        self._holders[task] = worker
        return task

    def give_back(self, tasks: Sequence[int], worker: str) -> None:
        """Take tasks back from a worker that is lost, with its lane: the others share it."""
        if lane := self._lanes.pop(worker, range(0)):
            self._lost.append(lane)
        for task in tasks:
            self._holders.pop(task, None)
        self._again.extend(tasks)

    def withdraw(self, task: int) -> None:
        """Give a task that came back to nobody."""
        with suppress(ValueError):
            self._again.remove(task)

    def over(self, task: int) -> None:
        """Note that a task is over: its worker has one fewer."""
        self._holders.pop(task, None)

    def _new_lane(self, worker: str) -> range:
        if self._rest:
            if self._ahead(worker):
                return range(0)  # it is for a worker that has nothing yet
            lane, self._rest = self._rest[: self._share], self._rest[self._share :]
            return lane
        if self._lost:
            lane = self._lost.pop()
            if remaining := lane[: len(lane) // 2]:
                self._lost.append(remaining)
            return lane[len(remaining) :]
        longest = max(self._lanes, key=lambda name: len(self._lanes[name]), default=None)
        if longest is None:
            return range(0)
        lane = self._lanes[longest]
        remaining = lane[: len(lane) - self._taken(len(lane), self._ahead(longest), self._ahead(worker))]
        self._lanes[longest] = remaining
        return lane[len(remaining) :]

    def _ahead(self, worker: str) -> float:
        """Return how many tasks a worker has; the one that it is at counts half."""
        held = sum(holder == worker for holder in self._holders.values())
        return max(0.0, held - 0.5)

    def _taken(self, waiting: int, owner: float, taker: float) -> int:
        """Return how many of the tasks waiting in a lane another takes, so that it and the lane's worker end together."""
        alone = owner + waiting
        count = min(waiting, max(1, floor((alone - taker - self._begin) / 2 + 0.5)))
        return count if max(alone - count, taker + self._begin + count) < alone else 0
