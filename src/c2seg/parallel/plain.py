"""An executor that the user has made, as a crew: how its processes are started, watched and replaced is its own affair."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from types import TracebackType
from typing import Any

from c2seg.errors import C2SegError, InputError, one_line
from c2seg.parallel.calls import forget
from c2seg.parallel.crew import Worker

__all__ = ["ExecutorCrew", "checked_executor"]

_RESUME = "finished parts are kept: repeat the call with a new executor to resume"


def checked_executor(executor: object) -> Executor:
    """Return an executor of ``concurrent.futures``. Raises InputError for anything else."""
    if not isinstance(executor, Executor):
        raise InputError(
            f"executor must be a concurrent.futures.Executor, found {type(executor).__name__}; of Dask give "
            "client.get_executor()"
        )
    return executor


class _Pool:
    """All processes of an executor as one worker, whose results come in any order."""

    name = "the executor"

    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    def submit(self, function: Callable[..., Any], /, *arguments: Any) -> Future[Any]:
        """Compute a call somewhere in the executor. Raises C2SegError if it takes none."""
        try:
            return self._executor.submit(function, *arguments)
        except Exception as error:  # it was shut down, or broke with one of its processes
            raise C2SegError(f"the executor takes no task: {one_line(error)}; {_RESUME}") from error


class ExecutorCrew:
    """The processes of an executor; ``workers`` of them, where it does not tell. It stays open.

    Each has ``ahead`` tasks at a time, with the one that it computes. They are not checked, and nobody is replaced: C2SegError
    in one line if the executor breaks or gives no result for long. ``in_process``: it is one of threads, for tasks that may be
    computed beside each other in one process.
    """

    connected = True

    def __init__(
        self, executor: Executor, workers: int | None = None, *, ahead: int = 2, in_process: bool = False
    ) -> None:
        self.size = workers or int(getattr(executor, "_max_workers", 0) or os.cpu_count() or 1)
        self.depth = ahead * self.size
        self.in_process = in_process
        self._pool = _Pool(executor)

    def open_job(self, blob: bytes, check: Callable[[], int] | None, most: int) -> None:
        """Begin a job."""

    def workers(self) -> Sequence[Worker]:
        """Return the whole executor as one worker."""
        return [self._pool]

    def replace(self, worker: Worker) -> None:
        """Raise C2SegError: only its owner can replace what an executor lost."""
        raise C2SegError(f"the executor broke, or one of its processes hangs; {_RESUME}")

    def __enter__(self) -> ExecutorCrew:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        forget()  # the job of this process, where the executor is one of threads
