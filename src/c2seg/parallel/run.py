"""Tasks of a job given to a crew's workers; results come back to the calling thread."""

from __future__ import annotations

import logging
import queue
import time
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

from c2seg.errors import C2SegError, one_line
from c2seg.parallel.calls import Job, Outcome, call, outcome_of, packed
from c2seg.parallel.crew import Crew, Limits, Worker, WorkerLostError
from c2seg.parallel.lanes import Lanes
from c2seg.parallel.ordered import Ordered
from c2seg.parallel.terms import Terms

__all__ = ["run_tasks"]

T = TypeVar("T")
R = TypeVar("R")

_log = logging.getLogger(__name__)

_SAY_S = 20
_LOOK_S = 0.5  # how often stalls and new workers are looked for


def run_tasks(
    crew: Crew,
    job: Job[T, R],
    tasks: Sequence[T],
    finished: Callable[[int, R, str], None],
    limits: Limits = Limits(),  # noqa: B008 (frozen)
    check: Callable[[], int] | None = None,
    terms: Terms = Terms(),  # noqa: B008 (frozen)
) -> None:
    """Compute all tasks; call ``finished(index, result, worker)`` here, once for each, in the order of arrival.

    Neighbors among the tasks go to the same worker in their order where possible. A worker has at most ``crew.depth`` tasks and
    results under way. A task whose worker is lost or stalls is given to another. An error in a task stops all, after results
    that are here were stored. Raises that error, RuntimeError for one that is not of c2seg, and C2SegError where workers are
    lost again and again. ``check`` computes the job's self-test here, for crews that compare their workers with this process.
    ``terms``: for tasks that take long, wait for each other, or fail alone.
    """
    if not tasks:
        return
    with ExitStack() as stack:
        blob = b"" if crew.in_process else packed(job)
        sent: tuple[Callable[..., Any], Any] = (call, blob)
        if crew.in_process:
            sent = (outcome_of, stack.enter_context(job.start()))
        crew.open_job(blob, check, len(tasks))
        _Run(crew, sent, tasks, finished, limits, terms).run()


@dataclass
class _Post:
    """What a worker has to do: its tasks by index, in order, and when it last gave a sign."""

    worker: Worker
    pending: dict[int, Future[Outcome[Any]]] = field(default_factory=dict)
    since: float = field(default_factory=time.monotonic)
    has_started: bool = False
    sign: object = None


class _Run:
    def __init__(
        self,
        crew: Crew,
        sent: tuple[Callable[..., Any], Any],
        tasks: Sequence[Any],
        finished: Callable[[int, Any, str], None],
        limits: Limits,
        terms: Terms,
    ) -> None:
        self._crew, self._sent, self._tasks, self._finished, self._limits = crew, sent, tasks, finished, limits
        self._terms = terms
        self._lanes: Lanes | Ordered = (
            Lanes(len(tasks), len(crew.workers()), terms.begin)
            if terms.after is None
            else Ordered(len(tasks), terms.after)
        )
        self._posts: dict[str, _Post] = {}
        self._open = set(range(len(tasks)))
        self._losses = [0] * len(tasks)
        self._longest = 0.0
        self._arrivals: queue.SimpleQueue[tuple[_Post, int, Future[Outcome[Any]]]] = queue.SimpleQueue()
        self._staffed = time.monotonic()
        self._looked = 0.0
        self._has_said = False

    def run(self) -> None:
        try:
            while self._open:
                if time.monotonic() - self._looked > _LOOK_S:
                    self._looked = time.monotonic()
                    self._look_after_workers()
                with suppress(queue.Empty):
                    self._receive(*self._arrivals.get(timeout=_LOOK_S))
        except Exception:
            self._store_arrived()
            raise
        finally:
            for post in self._posts.values():
                for future in post.pending.values():
                    future.cancel()

    def _look_after_workers(self) -> None:
        """Give tasks to workers that are new, and take those back of workers that are gone or stalled."""
        workers = {worker.name: worker for worker in self._crew.workers()}
        for name, post in list(self._posts.items()):
            if workers.get(name) is not post.worker:
                self._lose(post, "was lost", to_blame=self._crew.connected)
            elif post.pending and self._silence(post) > self._deadline(post):
                self._lose(post, f"gave no result for {time.monotonic() - post.since:.0f} s")
        for worker in self._crew.workers():
            if worker.name not in self._posts:
                self._posts[worker.name] = _Post(worker)
            self._feed(self._posts[worker.name])
        self._wait_for_workers()

    def _silence(self, post: _Post) -> float:
        """Return the seconds since a worker gave its last result or sign."""
        if self._terms.sign is not None:
            sign = [self._terms.sign(index) for index in post.pending]
            if sign != post.sign:
                post.sign, post.since = sign, time.monotonic()
        return time.monotonic() - post.since

    def _wait_for_workers(self) -> None:
        """Say once that there is no worker; raise C2SegError when none has come for long."""
        if self._posts:
            self._staffed, self._has_said = time.monotonic(), False
            return
        absent = time.monotonic() - self._staffed
        if absent > self._limits.absent_s:
            raise C2SegError(
                f"no worker has joined for {self._limits.absent_s:.0f} s; finished parts are kept: start workers and run the "
                "same command to resume"
            )
        if absent > _SAY_S and not self._has_said:
            self._has_said = True
            _log.warning("no worker has joined yet; waiting up to %.0f s", self._limits.absent_s)

    def _feed(self, post: _Post) -> None:
        while len(post.pending) < self._crew.depth and (index := self._lanes.next(post.worker.name)) is not None:
            if not post.pending:
                post.since = time.monotonic()
            task = self._terms.issued(index) if self._terms.issued else self._tasks[index]
            future = post.worker.submit(*self._sent, task)
            post.pending[index] = future
            future.add_done_callback(lambda done, index=index: self._arrivals.put((post, index, done)))  # type: ignore[misc]

    def _receive(self, post: _Post, index: int, future: Future[Outcome[Any]]) -> None:
        if self._posts.get(post.worker.name) is not post or index not in post.pending:
            return  # of a worker that was replaced
        fault = CancelledError() if future.cancelled() else future.exception()
        if fault is not None:  # not of the task: those are outcomes
            lost = isinstance(fault, WorkerLostError | CancelledError)
            what = "was killed (out of memory?)" if lost else f"failed ({one_line(fault)})"
            self._lose(post, what, to_blame=not isinstance(fault, CancelledError))
            return
        now = time.monotonic()
        if post.has_started:
            self._longest = max(self._longest, now - post.since)
        post.since = now
        post.has_started = True
        del post.pending[index]
        try:
            value = future.result().value()
        except WorkerLostError as lost:  # a process that the task had started; the worker lives
            self._lanes.give_back([index], post.worker.name)
            _log.warning("%s; it is tried again", lost)
            self._blame(index, str(lost))
        except C2SegError as error:
            self._fail(index, error)
        else:
            self._close(index)
            self._feed(post)
            self._finished(index, value, post.worker.name)
            return
        self._feed(post)

    def _close(self, index: int) -> None:
        self._open.discard(index)
        self._lanes.over(index)

    def _fail(self, index: int, error: C2SegError) -> None:
        if self._terms.failed is None:
            raise error
        self._close(index)
        self._terms.failed(index, error)

    def _blame(self, index: int, what: str) -> None:
        """Count a loss at a task; after several it is the task that fails."""
        self._losses[index] += 1
        if self._losses[index] >= self._limits.tries:
            self._lanes.withdraw(index)
            text = (
                f"{what}, {self._limits.tries} times at the same task; finished parts are kept: run the same command to "
                "resume, with fewer `workers` if memory is short"
            )
            self._fail(index, C2SegError(text))

    def _deadline(self, post: _Post) -> float:
        limit = self._limits.deadline_s if post.has_started else self._limits.start_s
        seconds = max(limit, self._limits.slowest * self._longest)
        return float(seconds * 2 ** self._losses[next(iter(post.pending))])

    def _lose(self, post: _Post, what: str, *, to_blame: bool = True) -> None:
        """Take the tasks of a worker back and have it replaced; the task that it was at may be to blame."""
        name = post.worker.name
        del self._posts[name]
        indexes = list(post.pending)
        self._lanes.give_back(indexes, name)
        for future in post.pending.values():
            future.cancel()
        if to_blame and any(worker is post.worker for worker in self._crew.workers()):
            self._crew.replace(post.worker)
        if not indexes:
            return
        _log.warning("%s %s; its tasks are given to others", name, what)
        self._looked = 0.0  # at once
        if to_blame:
            self._blame(indexes[0], f"a worker process {what}")

    def _store_arrived(self) -> None:
        """Store the results that are here: an error elsewhere does not lose them."""
        with suppress(queue.Empty, Exception):
            while True:
                post, index, future = self._arrivals.get_nowait()
                if index in self._open and not future.cancelled() and future.exception() is None:
                    self._open.discard(index)
                    self._finished(index, future.result().value(), post.worker.name)
