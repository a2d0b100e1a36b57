"""Which worker computes which task: neighbors by one worker, as long as there is enough for all."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from contextlib import suppress

__all__ = ["Lanes"]


class Lanes:
    """Tasks ``0 .. count-1`` as contiguous lanes, one a worker. Who has finished a lane takes half of the longest one.

    Tasks beside each other share work (rows of windows, blocks of files), which a worker saves that computes them in order.
    """

    def __init__(self, count: int, workers: int) -> None:
        self._share = max(1, -(-count // max(1, workers)))
        self._rest = range(count)
        self._again: deque[int] = deque()
        self._lanes: dict[str, range] = {}

    def next(self, worker: str) -> int | None:
        """Return the next task of a worker; None if no task waits."""
        if self._again:
            return self._again.popleft()
        lane = self._lanes.get(worker) or self._new_lane()
        if not lane:
            return None
        self._lanes[worker] = lane[1:]
        return lane[0]

    def give_back(self, tasks: Sequence[int], worker: str) -> None:
        """Take tasks back from a worker that is lost, with its lane."""
        lane = self._lanes.pop(worker, range(0))
        if lane:
            self._lanes[f"lost {worker} {lane.start}"] = lane  # nobody's: the others share it
        self._again.extend(tasks)

    def withdraw(self, task: int) -> None:
        """Give a task that came back to nobody."""
        with suppress(ValueError):
            self._again.remove(task)

    def over(self, task: int) -> None:
        """Note that a task is over: no other waits for it."""

    def _new_lane(self) -> range:
        if self._rest:
            lane, self._rest = self._rest[: self._share], self._rest[self._share :]
            return lane
        longest = max(self._lanes, key=lambda name: len(self._lanes[name]), default=None)
        if longest is None:
            return range(0)
        lane = self._lanes[longest]
        middle = len(lane) // 2
        self._lanes[longest] = lane[:middle]
        return lane[middle:]
