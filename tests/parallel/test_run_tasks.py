"""Tasks on local processes: results once each, losses and stalls made up for, errors of tasks in one piece."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from c2seg.errors import C2SegError, DataError
from c2seg.parallel import Limits, LocalCrew, run_tasks
from c2seg.parallel.processes import ProcessExecutor
from helpers.parallel_jobs import Blocks, Squares, break_down, give_what_cannot_travel


def squares(count, workers=2, limits=Limits(), **job):  # noqa: B008
    """Return squares of numbers by their order, and the processes that computed them."""
    results = {}

    def finished(index, result, worker):
        assert index not in results
        assert threading.current_thread() is threading.main_thread()
        results[index] = result

    with LocalCrew(workers) as crew:
        run_tasks(crew, Squares(**{"trouble": {}} | job), range(count), finished, limits)
    assert [results[index][0] for index in range(count)] == [n * n for n in range(count)]
    return [results[index][1] for index in range(count)]


def test_workers_share_the_tasks_and_start_the_job_once(tmp_path):
    pids = squares(40, seconds=0.02, started=tmp_path)
    assert len(set(pids)) == 2
    assert os.getpid() not in pids
    assert {path.name for path in tmp_path.iterdir()} == {str(pid) for pid in pids}


@pytest.mark.parametrize(("trouble", "deadline_s"), [("die", 600.0), ("stall", 3.0), ("sleep", 3.0)])
def test_a_worker_that_dies_or_stalls_is_replaced(tmp_path, trouble, deadline_s, caplog):
    pids = squares(12, trouble={4: trouble}, notes=tmp_path, limits=Limits(deadline_s=deadline_s))
    assert len(set(pids)) >= 2
    assert "its tasks are given to others" in caplog.text


def test_a_task_that_always_kills_ends_in_one_line():
    with pytest.raises(C2SegError, match=r"^a worker process was killed .*2 times at the same task.* resume") as caught:
        squares(8, trouble={5: "die"}, limits=Limits(tries=2))
    assert "\n" not in str(caught.value)


def test_a_kill_in_the_middle_of_a_result_is_noticed():
    """The standard pool would wait forever for the rest."""
    executor = ProcessExecutor("worker")
    future = executor.submit(Blocks.start, Blocks(1))
    assert future.exception(timeout=60) is not None  # a context cannot travel: the error does, and the process lives
    assert executor.submit(os.getpid).result(timeout=60) == executor.pid
    executor.kill()
    assert executor.submit(os.getpid).cancelled()
    sizes = []
    with LocalCrew(1) as crew:

        def finished(index, result, _):
            sizes.append(len(result))
            if index == 2:
                [worker] = crew.workers()
                threading.Timer(0.01, os.kill, (worker.pid, signal.SIGKILL)).start()

        run_tasks(crew, Blocks(24), range(8), finished)
    assert sizes == [24 * 2**20] * 8


@pytest.mark.parametrize(
    ("trouble", "error", "text"),
    [
        ("refuse", DataError, "^band 7 is missing$"),
        ("lack", C2SegError, "pip install"),
        ("break", RuntimeError, "ZeroDivisionError: a fault of ours"),
        ("odd", RuntimeError, "nobody can unpickle this"),
    ],
)
def test_an_error_of_a_task_stops_all_and_keeps_what_arrived(trouble, error, text):
    arrived = []
    with LocalCrew(1) as crew, pytest.raises(error, match=text):
        # The task after it is under way already: if it ended, its result would be stored, too.
        run_tasks(crew, Squares({3: trouble, 4: "stall"}), range(6), lambda index, *_: arrived.append(index))
    assert arrived == [0, 1, 2]


def test_results_do_not_pile_up(tmp_path):
    """While the caller stores a result, a worker is at most as many tasks ahead as the crew says."""
    begun = []
    with LocalCrew(1) as crew:

        def finished(index, result, _):
            if index == 0:
                time.sleep(0.5)
                begun.extend(int(path.name.split()[1]) for path in tmp_path.iterdir())

        run_tasks(crew, Squares(dict.fromkeys(range(30), "note"), notes=tmp_path), range(30), finished)
    assert begun
    assert max(begun) <= crew.depth


def test_processes_end_with_the_crew():
    with LocalCrew(2) as crew:
        crew.open_job(b"", None, 2)
        pids = [worker.submit(os.getpid).result(timeout=60) for worker in crew.workers()]
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


@pytest.mark.parametrize(("function", "kind"), [(break_down, ZeroDivisionError), (give_what_cannot_travel, Exception)])
def test_an_executor_raises_what_a_call_raises(function, kind):
    executor = ProcessExecutor("worker")
    with pytest.raises(kind):
        executor.submit(function).result(timeout=60)
    assert executor.submit(pow, 2, 10).result(timeout=60) == 1024
    executor.shutdown()


def test_shutdown_finishes_what_was_submitted():
    executor = ProcessExecutor("worker")
    futures = [executor.submit(pow, 2, n) for n in range(5)]
    executor.shutdown()
    assert [future.result(timeout=0) for future in futures] == [1, 2, 4, 8, 16]
