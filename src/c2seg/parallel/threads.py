"""Workers that are threads of this process, for tasks whose work is done by processes that they start."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any

from c2seg.parallel.crew import Worker

__all__ = ["ThreadCrew"]


class _Thread:
    def __init__(self, name: str) -> None:
        self.name = name
        self.pool = ThreadPoolExecutor(1)

    def submit(self, function: Callable[..., Any], /, *arguments: Any) -> Future[Any]:
        return self.pool.submit(function, *arguments)


class ThreadCrew:
    """Threads, each with one task at a time. One that is replaced is waited for by nobody: end what it waits for.

    On leaving, all others are waited for.
    """

    depth = 1
    connected = True
    in_process = True

    def __init__(self, count: int) -> None:
        self.size = count
        self._workers: list[_Thread] = []

    def open_job(self, blob: bytes, check: Callable[[], int] | None, most: int) -> None:
        """Start the threads, no more than there are tasks."""
        for number in range(len(self._workers), min(self.size, most)):
            self._workers.append(_Thread(f"job {number + 1}"))

    def workers(self) -> Sequence[Worker]:
        """Return all threads."""
        return self._workers

    def replace(self, worker: Worker) -> None:
        """Put another thread in the place of one."""
        index = self._workers.index(worker)  # type: ignore[arg-type]
        self._workers[index].pool.shutdown(wait=False, cancel_futures=True)
        self._workers[index] = _Thread(worker.name)

    def __enter__(self) -> ThreadCrew:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self._workers:
            worker.pool.shutdown(cancel_futures=True)
