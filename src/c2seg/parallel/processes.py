"""Workers that are processes of this machine."""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import Any

from c2seg.parallel.crew import Worker, WorkerLostError
from c2seg.process import keep_freed_memory, set_up

__all__ = ["LocalCrew", "ProcessExecutor"]


class ProcessExecutor(Executor):
    """An executor of one process, which a call may kill without harm to others.

    The standard pool dies with any of its processes, and waits forever for a result that a killed one was sending. Here a
    thread waits at the process's own pipe: its end is seen at once, also in the middle of a result.
    """

    def __init__(self, name: str, *, keep_memory: bool = False) -> None:
        self.name = name
        self._calls: queue.SimpleQueue[tuple[Future[Any], Any] | None] = queue.SimpleQueue()
        self._lost = False
        context = multiprocessing.get_context("spawn")  # a fork would copy the locks of threads of GDAL and networks
        ours, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, keep_memory), daemon=True)
        self._process.start()
        theirs.close()
        self._thread = threading.Thread(target=self._exchange, args=(ours,), daemon=True)
        self._thread.start()

    @property
    def pid(self) -> int | None:
        """The process."""
        return self._process.pid

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **options: Any) -> Future[Any]:
        """Compute a call; the future has WorkerLostError if the process dies before."""
        future: Future[Any] = Future()
        self._calls.put((future, (function, arguments, options)))
        if self._lost:
            self._refuse_all()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Let the process end after the calls that it has; drop those not begun if ``cancel_futures``."""
        if cancel_futures:
            self._refuse_all()
        self._calls.put(None)
        if wait:
            self._thread.join()
            self._process.join()

    def kill(self) -> None:
        """End the process now."""
        self._lost = True
        self._process.kill()
        self._refuse_all()
        self._calls.put(None)
        self._thread.join()
        self._process.join()

    def _exchange(self, connection: Connection) -> None:
        """Send calls one by one, and receive their results, until the process ends or ``shutdown``."""
        with connection:
            while (item := self._calls.get()) is not None:
                future, call = item
                if not future.set_running_or_notify_cancel():
                    continue
                try:
                    connection.send(call)
                    succeeded, content = connection.recv()
                except (EOFError, OSError):
                    self._lost = True
                    future.set_exception(WorkerLostError(f"{self.name} was killed"))
                    self._refuse_all()
                    return
                except Exception as error:  # what cannot be pickled; nothing, or all of it, was sent
                    succeeded, content = False, error
                if succeeded:
                    future.set_result(content)
                else:
                    future.set_exception(content)
            with suppress(OSError):
                connection.send(None)

    def _refuse_all(self) -> None:
        with suppress(queue.Empty):
            while True:
                item = self._calls.get_nowait()
                if item is not None:
                    item[0].cancel()


def _serve(connection: Connection, keep_memory: bool) -> None:
    """Compute calls that come through the connection until None comes."""
    set_up()
    if keep_memory:
        keep_freed_memory()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group: the parent decides
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=_follow, args=(parent.sentinel,), daemon=True).start()
    with suppress(EOFError):
        while (call := connection.recv()) is not None:
            function, arguments, options = call
            try:
                connection.send((True, function(*arguments, **options)))
            except (EOFError, OSError):
                raise
            except Exception as error:
                _send_error(connection, error)


def _send_error(connection: Connection, error: Exception) -> None:
    try:
        connection.send((False, error))
    except Exception:  # of a class that cannot be pickled
        connection.send((False, RuntimeError(f"{type(error).__name__}: {error}")))


def _follow(sentinel: int) -> None:
    """End this process when its parent is gone, however that came about."""
    wait([sentinel])
    os._exit(1)


class LocalCrew:
    """Processes of this machine, started with the first job; those that are replaced keep their names."""

    in_process = False

    def __init__(self, count: int, *, keep_memory: bool = False, depth: int = 2) -> None:
        self.size, self._keep_memory = count, keep_memory
        self.depth = depth  # of two, the result of one is stored while the next is computed; more would only be memory
        self._workers: list[ProcessExecutor] = []
        self.connected = True

    def open_job(self, blob: bytes, check: Callable[[], int] | None, most: int) -> None:
        """Start the processes, no more than there are tasks."""
        for number in range(len(self._workers), min(self.size, most)):
            self._workers.append(self._started(f"worker process {number + 1}"))

    def workers(self) -> Sequence[Worker]:
        """Return all processes."""
        return self._workers

    def replace(self, worker: Worker) -> None:
        """Kill a process and start another."""
        index = self._workers.index(worker)  # type: ignore[arg-type]
        self._workers[index].kill()
        self._workers[index] = self._started(worker.name)

    def __enter__(self) -> LocalCrew:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self._workers:
            worker.kill()  # its results are with the caller; what is under way is dropped

    def _started(self, name: str) -> ProcessExecutor:
        return ProcessExecutor(name, keep_memory=self._keep_memory)
