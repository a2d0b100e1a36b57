"""Who computes tasks: workers, each an executor of one process, and the crew that replaces them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Protocol

from c2seg.errors import C2SegError

__all__ = ["Crew", "Limits", "Worker", "WorkerLostError"]


class WorkerLostError(C2SegError):
    """A worker, or a process that it had started for a task, died or was lost before it gave a result."""


@dataclass(frozen=True)
class Limits:
    """When a worker counts as stalled, and how often a task is tried.

    A worker that gives no result for ``deadline_s`` seconds, or ``slowest`` times the longest wait for one so far, is replaced;
    its first result may take ``start_s`` seconds. Each further try of a task waits twice as long. Without any worker the run
    waits ``absent_s`` seconds for one.
    """

    deadline_s: float = 600.0
    start_s: float = 900.0
    slowest: float = 20.0
    tries: int = 3
    absent_s: float = 1800.0


class Worker(Protocol):
    """One process, with the ``submit`` of ``concurrent.futures.Executor``: calls are computed one by one, in order."""

    @property
    def name(self) -> str:
        """What tells it from others, in messages too."""

    def submit(self, function: Callable[..., Any], /, *arguments: Any) -> Future[Any]:
        """Compute a call. The future has WorkerLostError, or is cancelled, if the worker is lost before."""


class Crew(Protocol):
    """Workers that come and go."""

    @property
    def size(self) -> int:
        """Workers that are expected; 1 where that is not known."""

    @property
    def depth(self) -> int:
        """Tasks that a worker has at a time, with the one that it computes: so many results wait in the caller at most."""

    @property
    def connected(self) -> bool:
        """False while nobody answers for the workers: what is lost then is no task's fault."""

    @property
    def in_process(self) -> bool:
        """True if the workers are threads of this process: they get the job itself."""

    def open_job(self, blob: bytes, check: Callable[[], int] | None, most: int) -> None:
        """Begin a job of ``most`` tasks; ``check`` computes its self-test here, for crews that compare."""

    def workers(self) -> Sequence[Worker]:
        """Return those that take tasks now. Called often."""

    def replace(self, worker: Worker) -> None:
        """End a worker that is dead or stalled, and put another in its place if the crew can."""
