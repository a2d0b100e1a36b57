"""Tasks that wait for others, fail alone, give signs of life, or lose processes of their own; in threads of this process."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager

import pytest

from c2seg.errors import C2SegError, DataError
from c2seg.parallel import Limits, Terms, ThreadCrew, WorkerLostError, run_tasks
from c2seg.parallel.ordered import Ordered


class Calls:
    """A job of functions, by number; it notes which have begun."""

    def __init__(self, *functions):
        self.functions, self.begun = functions, []

    @contextmanager
    def start(self):
        yield self.call

    def call(self, number):
        self.begun.append(number)
        return self.functions[number]()


def run(job, workers=2, limits=Limits(), **terms):  # noqa: B008
    """Return results, errors and the order in which tasks were over."""
    results, errors, order = {}, {}, []

    def finished(index, result, _):
        results[index] = result
        order.append(index)

    def failed(index, error):
        errors[index] = error
        order.append(index)

    with ThreadCrew(workers) as crew:
        run_tasks(
            crew,
            job,
            range(len(job.functions)),
            finished,
            limits,
            terms=Terms(**{"failed": failed, "after": {}} | terms),
        )
    return results, errors, order


def refuse():
    raise DataError("band 7 is missing")


def test_tasks_begin_when_those_before_them_are_over():
    """Whether these failed or not; two at a time, in the order of their numbers."""
    job = Calls(lambda: 0, refuse, lambda: 2, lambda: 3)
    results, errors, order = run(job, after={2: [0, 1], 3: [2]})
    assert results == {0: 0, 2: 2, 3: 3}
    assert str(errors[1]) == "band 7 is missing"
    assert order[2:] == job.begun[2:] == [2, 3]


def test_workers_are_under_way_together():
    together = threading.Barrier(2, timeout=300)
    assert run(Calls(together.wait, together.wait))[1] == {}


def test_what_a_task_lost_is_tried_again_and_then_the_task_fails_alone():
    times = []

    def lose():
        times.append(0)
        raise WorkerLostError("the process of fit was killed by SIGKILL")

    results, errors, _ = run(Calls(lose, lambda: 1), workers=1, limits=Limits(tries=2))
    assert (len(times), results) == (2, {1: 1})
    assert str(errors[0]).startswith("the process of fit was killed by SIGKILL, 2 times at the same task")
    with pytest.raises(C2SegError, match="2 times at the same task"):
        run(Calls(lose), limits=Limits(tries=2), failed=None)


def test_signs_of_life_keep_a_slow_task_and_their_end_gives_it_to_another():
    """The first try gives signs for a while, longer than its deadline, then hangs; a try has a task of its own."""
    tries, hanging = [], threading.Event()

    def work():
        tries.append(time.monotonic())
        if len(tries) == 1:
            hanging.wait()
        return len(tries)

    def issued(index):
        if tries:
            hanging.set()
        return index

    def sign(index):
        return min(time.monotonic(), tries[0] + 6) if tries else None

    results, errors, _ = run(Calls(work), limits=Limits(deadline_s=2, start_s=2), issued=issued, sign=sign)
    assert (results, errors) == ({0: 2}, {})
    assert tries[1] - tries[0] > 6


def test_what_comes_back_keeps_its_place():
    tasks = Ordered(4, {3: [1]})
    assert [tasks.next("a"), tasks.next("b"), tasks.next("a"), tasks.next("b")] == [0, 1, 2, None]
    tasks.give_back([1, 0], "b")
    assert [tasks.next("a"), tasks.next("a")] == [0, 1]
    tasks.over(1)
    tasks.give_back([0], "a")
    tasks.withdraw(0)
    assert [tasks.next("a"), tasks.next("a")] == [3, None]
