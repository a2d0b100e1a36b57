"""Workers of a Dask cluster. Each is used through an executor of its own, so that neighbors among the tasks stay together."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Executor, Future
from contextlib import ExitStack, suppress
from types import TracebackType
from typing import Any

from c2seg.errors import C2SegError, InputError, needs_extra, one_line
from c2seg.parallel.calls import Facts, Outcome, facts, forget
from c2seg.parallel.crew import Worker

__all__ = ["ClusterCrew", "ClusterWorker"]

_log = logging.getLogger(__name__)

_LOOK_S = 1.0
_ANSWER_S = 5.0
_LOSSES = 3
"""A worker that was lost so often in a job gets no task of it any more."""

Connect = Callable[[ExitStack], Any]
"""Returns a ``distributed.Client``; the stack closes what belongs to it."""


class ClusterWorker:
    """One worker process, by its address in the cluster; an executor of the client that asks this worker alone."""

    def __init__(self, name: str, executor: Executor) -> None:
        self.name = name
        self._executor = executor

    def submit(self, function: Callable[..., Any], /, *arguments: Any) -> Future[Any]:
        """Compute a call there."""
        try:
            # Without a pause in which tasks rank alike: neighbors share work only if they are computed in order.
            return self._executor.submit(function, *arguments, fifo_timeout=0)
        except Exception:  # the client has lost its scheduler in this moment
            future: Future[Any] = Future()
            future.cancel()
            future.set_running_or_notify_cancel()
            return future


class ClusterCrew:
    """Workers of a cluster that joined and passed the check; they come and go. Get one with ``open_crew``.

    A worker must have the versions of the caller and give the same self-test: else it is refused, with a warning, or with
    InputError if there is no other. A scheduler that is restarted is connected to again.
    """

    size = 1
    in_process = False

    def __init__(self, connect: Connect, where: str, *, depth: int = 3) -> None:
        self._connect, self._where = connect, where
        self.depth = depth  # of three, one is computed, one waits, one is on its way
        self._opened = ExitStack()
        self._blob = b""
        self._expected: Facts | None = None
        self._looked = 0.0
        self._workers: dict[str, ClusterWorker] = {}
        self._checks: dict[str, Future[Outcome[Facts]]] = {}
        self._refused: dict[str, str] = {}
        self._losses: Counter[str] = Counter()
        self._client = self._connected()
        self.connected = True

    def open_job(self, blob: bytes, check: Callable[[], int] | None, most: int) -> None:
        """Begin a job: workers are checked before they get its tasks."""
        self._blob, self._expected = blob, facts(check)
        self._workers, self._checks, self._refused, self._looked = {}, {}, {}, 0.0
        self._losses = Counter()

    def workers(self) -> Sequence[Worker]:
        """Return the workers that joined and passed. Raises InputError if all that joined were refused."""
        if time.monotonic() - self._looked > _LOOK_S:
            self._looked = time.monotonic()
            self._look()
        return list(self._workers.values())

    def replace(self, worker: Worker) -> None:
        """Let the cluster restart a worker. Restarted or only slow, it gets tasks again once it passes the check anew."""
        self._workers.pop(worker.name, None)
        self._losses[worker.name] += 1
        if self._losses[worker.name] == _LOSSES:
            self._refuse(worker.name, f"was lost {_LOSSES} times")
        client = self._client

        def restart() -> None:
            with suppress(Exception):  # it may be gone for good
                client.restart_workers([worker.name], timeout=30, raise_for_error=False)

        threading.Thread(target=restart, daemon=True).start()

    def _look(self) -> None:
        """Ask the scheduler who is there."""
        try:
            if self._client.status in ("closed", "closing"):
                self._client = self._connected()
                self._workers, self._checks = {}, {}
            present = set(self._client.nthreads(callback_timeout=_ANSWER_S))
            self.connected = True
        except Exception as error:  # of the network, in many classes
            if self.connected:
                _log.warning("the scheduler of %s does not answer: %s", self._where, one_line(error))
            self.connected, present = False, set()
        self._workers = {name: worker for name, worker in self._workers.items() if name in present}
        self._checks = {name: check for name, check in self._checks.items() if name in present}
        for name in sorted(present - set(self._workers) - set(self._refused)):
            self._check(name)
        if present and present <= set(self._refused) and not self._workers:
            name = min(present)
            if self._losses[name] < _LOSSES:  # else others may join
                raise InputError(f"the workers of {self._where} are refused: {name} {self._refused[name]}")

    def _check(self, name: str) -> None:
        """Let a new worker say what it is; take it over once it has, and is like the caller."""
        check = self._checks.get(name)
        if check is None:
            executor = self._client.get_executor(workers=[name], allow_other_workers=False, pure=False)
            worker = ClusterWorker(name, executor)
            self._checks[name] = worker.submit(_checked, self._blob)
            return
        if not check.done():
            return
        del self._checks[name]
        try:
            reason = self._difference(check.result().value())
        except CancelledError:
            return  # asked again
        except C2SegError:
            raise
        except Exception as error:
            reason = f"cannot run c2seg: {one_line(error)[-300:]}"
        if reason:
            self._refuse(name, reason)
            return
        self._workers[name] = ClusterWorker(
            name, self._client.get_executor(workers=[name], allow_other_workers=False, pure=False)
        )

    def _refuse(self, name: str, reason: str) -> None:
        """Give a worker no task of this job any more."""
        self._refused[name] = reason
        _log.warning("worker %s is refused: it %s", name, reason)

    def _difference(self, there: Facts) -> str | None:
        here = self._expected
        assert here is not None
        for package in sorted({*here.versions, *there.versions}):
            ours, theirs = here.versions.get(package, "none"), there.versions.get(package, "none")
            if ours != theirs:
                return f"has {package} {theirs}, this process {ours}; install the same versions on both"
        if here.check != there.check:
            return (
                "gives another result in the self-test than this process: other data under the same path, or a processor that "
                "rounds otherwise; run the command on a machine of the cluster's kind"
            )
        return None

    def _connected(self) -> Any:
        self._opened.close()
        self._opened = ExitStack()
        with needs_extra("`cluster`", "cluster"):
            import distributed  # noqa: F401
        try:
            return self._connect(self._opened)
        except C2SegError:
            raise
        except Exception as error:
            raise InputError(f"`cluster`: cannot use {self._where}: {one_line(error)}") from error

    def __enter__(self) -> ClusterCrew:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(Exception):
            if self._workers and error is None:
                self._client.run(forget, workers=list(self._workers), on_error="ignore", callback_timeout=_ANSWER_S)
        with suppress(Exception):
            self._opened.close()


def _checked(blob: bytes) -> Outcome[Facts]:
    from c2seg.parallel.calls import check_job

    return check_job(blob)
