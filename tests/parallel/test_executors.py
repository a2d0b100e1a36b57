"""Executors that the user has made: the results of one process; what they lose ends in one line."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import pytest

from c2seg.errors import C2SegError, DataError, InputError
from c2seg.parallel import open_crew, run_tasks
from helpers.parallel_jobs import Squares


def squares(executor, count=12, workers=1, **job):
    results = {}
    with open_crew(workers, None, executor=executor) as crew:
        run_tasks(crew, Squares({}, **job), range(count), lambda index, result, _: results.update({index: result[0]}))
    assert results == {n: n * n for n in range(count)}
    return crew


def pool(count):
    return ProcessPoolExecutor(count, multiprocessing.get_context("spawn"))


def test_a_pool_of_processes_and_one_of_threads():
    with pool(2) as executor:
        assert squares(executor).size == 2
        assert squares(executor, workers=3).size == 3
        assert executor.submit(pow, 2, 3).result() == 8  # it stays open
    with ThreadPoolExecutor(2) as executor:
        squares(executor)


def test_what_breaks_ends_in_one_line():
    with pool(1) as executor, open_crew(1, None, executor=executor) as crew:
        with pytest.raises(DataError, match="band 7 is missing"):
            run_tasks(crew, Squares({2: "refuse"}), range(4), lambda *_: None)
        with pytest.raises(C2SegError, match="executor") as caught:
            run_tasks(crew, Squares({2: "die"}), range(9), lambda *_: None)
    assert "\n" not in str(caught.value)
    assert "repeat the call with a new executor" in str(caught.value)
    with pytest.raises(C2SegError, match="the executor takes no task"):
        squares(executor)


def test_an_executor_is_one_and_the_only_one():
    with pytest.raises(InputError, match=r"must be a concurrent.futures.Executor, found int; of Dask give client"):
        open_crew(1, None, executor=2)
    with pytest.raises(InputError, match="`cluster` or executor=, not both"):
        open_crew(1, "local:2", executor=ThreadPoolExecutor(1))


def test_loky_s_executor():
    loky = pytest.importorskip("loky")
    executor = loky.ProcessPoolExecutor(2)
    try:
        squares(executor)
    finally:
        executor.shutdown()


@pytest.mark.slow
def test_dask_s_executor(tmp_path):
    pytest.importorskip("distributed")
    from distributed import Client

    from helpers.clusters import UserCluster

    with UserCluster(tmp_path) as cluster:
        for _ in range(2):
            cluster.start_worker()
        with Client(cluster.address, timeout=120, set_as_default=False) as client:
            squares(client.get_executor(), workers=2)
