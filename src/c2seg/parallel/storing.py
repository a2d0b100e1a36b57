"""Results stored one at a time in a thread of their own, so that nobody waits for the disk."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Generic, TypeVar

__all__ = ["Storing"]

T = TypeVar("T")
S = TypeVar("S")


class Storing(Generic[T, S]):
    """Stores results one after the other; ``enter(result, stored)`` is called in the caller's thread once one is on disk.

    A context: what was handed over before an error or a stop is stored and entered, too.
    """

    def __init__(self, store: Callable[[T], S], enter: Callable[[T, S], None]) -> None:
        self._store, self._enter = store, enter
        self._pool = ThreadPoolExecutor(1)
        self._pending: tuple[T, Future[S]] | None = None

    def put(self, result: T) -> None:
        """Store a result, once the one before is stored and entered. Raises what storing that one raised."""
        self._settle()
        self._pending = result, self._pool.submit(self._store, result)

    def _settle(self) -> None:
        if self._pending is not None:
            (result, stored), self._pending = self._pending, None
            self._enter(result, stored.result())

    def __enter__(self) -> Storing[T, S]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._pool:
            self._settle()
