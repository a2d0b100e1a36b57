"""Calls on a pool of threads or processes, each when the calls are over that it comes after."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from typing import TypeVar

__all__ = ["in_order"]

T = TypeVar("T")


def in_order(
    pool: Executor, call: Callable[[Executor, int], Future[T]], count: int, after: Mapping[int, Sequence[int]]
) -> Iterator[tuple[int, Future[T]]]:
    """Yield the number and the future of every call as it ends, whether it failed or not; there are ``count``.

    ``call`` submits one by its number. ``after`` names those that must be over before: smaller numbers only. Calls that may
    start are submitted in the order of their numbers. What is not done when the iterator is closed is canceled.
    """
    waiting, over = list(range(count)), set[int]()
    running: dict[Future[T], int] = {}
    try:
        while waiting or running:
            ready = [number for number in waiting if over.issuperset(after.get(number, ()))]
            running |= {call(pool, number): number for number in ready}
            waiting = [number for number in waiting if number not in ready]
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in sorted(done, key=running.__getitem__):
                number = running.pop(future)
                over.add(number)
                yield number, future
    finally:
        for future in running:
            future.cancel()
