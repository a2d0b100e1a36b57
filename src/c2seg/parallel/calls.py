"""What a worker process executes: a job's function, made once in each process, called for one task after another."""

from __future__ import annotations

import os
import pickle
import platform
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Generic, Protocol, TypeVar

from c2seg._version import __version__
from c2seg.errors import C2SegError, MissingExtraError

__all__ = ["Facts", "Job", "Outcome", "TaskFunction", "call", "check_job", "facts", "forget", "outcome_of", "packed"]

T_contra = TypeVar("T_contra", contravariant=True)
R_co = TypeVar("R_co", covariant=True)
R = TypeVar("R")
T = TypeVar("T")

# Packages on which the pixels of results depend.
_PACKAGES = ("numpy", "scipy", "rasterio", "scikit-learn", "torch", "onnxruntime", "openvino", "sarsen")

TaskFunction = Callable[[T], R]


class Job(Protocol[T_contra, R_co]):
    """What the tasks have in common. Picklable: it travels to every worker."""

    def start(self) -> AbstractContextManager[Callable[[T_contra], R_co]]:
        """Return the function of the tasks, made in the worker, as a context that is left when the job ends there.

        If the function has a method ``check``, it returns a checksum of a small part of the work: the self-test.
        """


@dataclass(frozen=True)
class Outcome(Generic[R]):
    """What a task gave: its result, or the error to raise in the caller. Errors of any class survive the way."""

    result: R | None = None
    error: type[Exception] | None = None
    text: str = ""

    def value(self) -> R:
        """Return the result, or raise the error."""
        if self.error is not None:
            raise self.error(self.text)
        return self.result  # type: ignore[return-value]


@dataclass(frozen=True)
class Facts:
    """What a process says of itself: versions by package, and the checksum of the self-test, if the job has one."""

    versions: dict[str, str]
    check: int | None


def facts(check: Callable[[], int] | None) -> Facts:
    """Return the facts of this process."""
    versions = {"c2seg": __version__, "python": ".".join(platform.python_version_tuple()[:2])}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return Facts(versions, check() if check else None)


def packed(job: Job[Any, Any]) -> bytes:
    """Return a job as ``call`` takes it: pickled once, compared as bytes by the workers."""
    return pickle.dumps(job)


class _Started:
    """The job that this process works on, in a thread of its own: GDAL's settings belong to the thread that made them.

    Whoever calls may do so from any thread: a worker of a cluster has several, and so may an executor. One task at a time.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread: ThreadPoolExecutor | None = None
        self._process = os.getpid()
        self._blob: bytes | None = None
        self._context: AbstractContextManager[Callable[[Any], Any]] | None = None
        self._function: Callable[[Any], Any] | None = None

    def do(self, action: Callable[[], T]) -> T:
        """Return what an action returns in the job's thread."""
        with self._lock:
            if self._thread is None or self._process != os.getpid():  # a fork has no threads of its parent's
                self._thread, self._process = ThreadPoolExecutor(1, "c2seg job"), os.getpid()
            return self._thread.submit(action).result()

    def end(self) -> None:
        """Close the job, and end its thread."""
        with self._lock:
            thread, self._thread = self._thread, None
            if thread is not None:
                try:
                    thread.submit(self.close).result()
                finally:
                    thread.shutdown()

    def function(self, blob: bytes) -> Callable[[Any], Any]:
        """Return the function of a job, which is started if it is another one. In the job's thread, as ``close``."""
        if self._function is None or blob != self._blob:
            self.close()
            job: Job[Any, Any] = pickle.loads(blob)
            context = job.start()
            self._function = context.__enter__()
            self._context, self._blob = context, blob
        return self._function

    def close(self) -> None:
        """Leave the job's context."""
        context, self._context, self._function, self._blob = self._context, None, None, None
        if context is not None:
            context.__exit__(None, None, None)


_started = _Started()


def call(blob: bytes, task: Any) -> Outcome[Any]:
    """Compute a task of a job. After an error the job is started anew for the next task."""
    return _outcome(lambda: _started.function(blob)(task))


def check_job(blob: bytes) -> Outcome[Facts]:
    """Start a job and return the facts of this process with its self-test."""
    return _outcome(lambda: facts(getattr(_started.function(blob), "check", None)))


def _outcome(action: Callable[[], Any]) -> Outcome[Any]:
    def tried() -> Outcome[Any]:
        try:
            return Outcome(action())
        except Exception as error:
            outcome = _failure(error)
        with suppress(Exception):  # the first error is the one that matters
            _started.close()
        return outcome

    return _started.do(tried)


def outcome_of(function: Callable[[Any], Any], task: Any) -> Outcome[Any]:
    """Compute a task by the job's function itself, in a thread of this process."""
    try:
        return Outcome(function(task))
    except Exception as error:
        return _failure(error)


def forget() -> None:
    """End the job of this process: a worker of a cluster lives on without its memory."""
    _started.end()


def _failure(error: Exception) -> Outcome[Any]:
    if isinstance(error, C2SegError):  # some take other arguments than a text
        return Outcome(error=C2SegError if isinstance(error, MissingExtraError) else type(error), text=str(error))
    return Outcome(error=RuntimeError, text=f"in a worker process:\n{traceback.format_exc()}")
