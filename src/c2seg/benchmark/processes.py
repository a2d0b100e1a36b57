"""Calls of functions in fresh processes: memory and threads are the call's own, and a process that dies fails its call only."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import IO, Any, TypeVar

from c2seg.benchmark.leases import Lease
from c2seg.errors import C2SegError
from c2seg.parallel import WorkerLostError

__all__ = ["Processes"]

T = TypeVar("T")


class Processes:
    """Runs calls in processes of their own, at most one at a time for every thread that asks.

    ``variables`` are set in the environment of every process unless the user has set them. Processes give signs of life for the
    ``lease``, and end when it is withdrawn or passed on.
    """

    def __init__(self, variables: Mapping[str, str], lease: Lease | None = None) -> None:
        self._variables, self._lease = dict(variables), lease
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self._stopped = False

    def __reduce__(self) -> tuple[type[Processes], tuple[dict[str, str], Lease | None]]:
        """Pickle without the running processes."""
        return Processes, (self._variables, self._lease)

    def call(self, function: Callable[..., T], *arguments: Any) -> T:
        """Return what the function returns there; function, arguments and result must be picklable.

        C2SegError if the function raises one, or fails, or its process dies (WorkerLostError if it was killed);
        KeyboardInterrupt if it was stopped.
        """
        work = pickle.dumps((function, arguments, self._lease))
        ours, theirs = Pipe()
        with ours, tempfile.TemporaryFile() as printed:
            process = self._start(theirs, printed)
            try:
                answer = _exchange(ours, work)
            except BaseException:
                process.terminate()
                raise
            finally:
                process.wait()
                with self._lock:
                    self._running.discard(process)
            if answer is None and self._stopped:
                raise KeyboardInterrupt
            return _result(answer, f"the process of {function.__name__}", process.returncode, printed)  # type: ignore[no-any-return]

    def stop(self) -> None:
        """Let every process write its state and end; start no other."""
        self._end(subprocess.Popen.terminate)

    def kill(self) -> None:
        """End every process now, also one that hangs; start no other."""
        self._end(subprocess.Popen.kill)

    def _end(self, how: Callable[[subprocess.Popen[bytes]], None]) -> None:
        with self._lock:
            self._stopped = True
            for process in self._running:
                how(process)

    def _start(self, theirs: Connection, printed: IO[bytes]) -> subprocess.Popen[bytes]:
        code = f"import sys; from c2seg.benchmark.child import main; sys.exit(main({theirs.fileno()}))"
        with self._lock, theirs:
            if self._stopped:
                raise KeyboardInterrupt
            process = subprocess.Popen(
                [sys.executable, "-P", "-c", code],
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=subprocess.STDOUT,
                env=self._environment(),
                pass_fds=[theirs.fileno()],
                process_group=0,  # Ctrl-C reaches this process only, which then sends each of them one signal
            )
            self._running.add(process)
        return process

    def _environment(self) -> dict[str, str]:
        """Return the child's environment: modules are imported from the same folders."""
        return self._variables | os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


def _exchange(connection: Connection, work: bytes) -> tuple[str, Any] | None:
    """Send the work, return the answer; None if the process died."""
    try:
        connection.send_bytes(work)
        answer: tuple[str, Any] = pickle.loads(connection.recv_bytes())
    except (EOFError, ConnectionError):
        return None
    return answer


def _result(answer: tuple[str, Any] | None, who: str, code: int, printed: IO[bytes]) -> Any:
    if answer is None:
        raise (WorkerLostError if code < 0 else C2SegError)(f"{who} {_death(code, printed)}")
    kind, content = answer
    if kind == "stopped":
        raise KeyboardInterrupt
    if kind == "failed":
        raise C2SegError(content)
    if kind == "broken":
        error = C2SegError(content.strip().splitlines()[-1])
        error.add_note(content)
        raise error
    return content


def _death(code: int, printed: IO[bytes]) -> str:
    """Describe how a process ended that gave no answer."""
    printed.seek(0)
    last = printed.read().decode(errors="replace").strip().splitlines()[-1:]
    how = f"ended with exit code {code}"
    if code < 0:
        how = f"was killed by {signal.Signals(-code).name}" + (" (out of memory?)" if code == -signal.SIGKILL else "")
    return how + (f": {last[0]}" if last else "")
