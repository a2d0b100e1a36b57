"""Runs whose process or worker is killed: they are run again, resume from their folder, and give what they would have given."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import threading
import time
from concurrent.futures import ProcessPoolExecutor

import pytest

from c2seg.benchmark.jobs import RunJob, benchmark_crew
from c2seg.benchmark.plan import Benchmark, parse_pairs, plan
from c2seg.benchmark.processes import Processes
from c2seg.benchmark.running import run_all, run_one
from c2seg.errors import InputError

FOREST = ("model.trees=5", "validation.folds=0", "prediction.window_px=24")
NETWORK = (
    "training.iterations=60",
    "training.checkpoint_every=10",
    "training.sampling.batch_size=2",
    "prediction.tta=false",
)


@pytest.fixture
def pair(make_city):
    return f"{make_city('s', seed=1)}:{make_city('t', seed=2)}"


def forests(pair, out, seeds=2):
    return Benchmark(parse_pairs([pair]), ("forest",), out, seeds=seeds, overrides=FOREST)


def measured(benchmark, **options):
    """Return what the results say but times and memory, and the maps' bytes."""
    results, failed = run_all(benchmark, plan(benchmark), **options)
    assert failed == {}
    assert not (benchmark.out / "under-way").exists()
    maps = [run.map.read_bytes() for run in plan(benchmark)]
    return [(result.label, result.seed, result.scores) for result in results], maps


def test_a_job_travels_without_what_runs_here(pair, tmp_path):
    benchmark = forests(pair, tmp_path / "b")
    job = RunJob(run_one, benchmark, plan(benchmark), None)
    job._under_way[0] = threading.Lock()
    assert pickle.loads(pickle.dumps(job))._under_way == {}


def test_runs_have_one_kind_of_workers(tmp_path):
    with pytest.raises(InputError, match="`jobs` or `cluster`, not both"):
        benchmark_crew(2, "local:2", None)
    with pytest.raises(InputError, match="`cluster` or executor=, not both"):
        benchmark_crew(1, "local:2", ProcessPoolExecutor(1))


@pytest.mark.slow
def test_each_first_process_is_killed(pair, tmp_path, monkeypatch, caplog):
    whole = measured(forests(pair, tmp_path / "whole"))
    start, killed = Processes._start, []

    def kill_some(self, theirs, printed):
        process = start(self, theirs, printed)
        if len(killed) < 2:
            killed.append(process.pid)
            process.kill()
        return process

    monkeypatch.setattr(Processes, "_start", kill_some)
    assert measured(forests(pair, tmp_path / "killed")) == whole
    assert len(killed) == 2
    assert "it is tried again" in caplog.text


@pytest.mark.slow
def test_a_network_resumes_from_its_state(pair, tmp_path, monkeypatch):
    """The training is killed once it has written a state."""
    settings = {"seeds": 1, "overrides": NETWORK}
    whole = measured(Benchmark(parse_pairs([pair]), ("unet",), tmp_path / "whole", **settings))
    out = tmp_path / "killed"
    start, killed = Processes._start, []

    def kill_later(self, theirs, printed):
        process = start(self, theirs, printed)
        if not killed:
            killed.append(process.pid)
            threading.Thread(target=kill_with_state, args=(process, out)).start()
        return process

    monkeypatch.setattr(Processes, "_start", kill_later)
    assert measured(Benchmark(parse_pairs([pair]), ("unet",), out, **settings)) == whole
    assert killed


def kill_with_state(process, out):
    while process.poll() is None and not list(out.rglob("state*")):
        time.sleep(0.02)
    process.kill()


@pytest.mark.slow
def test_workers_of_a_cluster_in_other_folders_and_one_is_killed(make_city, tmp_path, monkeypatch):
    """Paths are relative to the command's folder."""
    pytest.importorskip("distributed")
    from helpers.clusters import UserCluster

    make_city("s", seed=1), make_city("t", seed=2)
    monkeypatch.chdir(tmp_path)
    whole = measured(forests("s:t", tmp_path / "whole", seeds=3))
    out = tmp_path / "shared"
    with UserCluster(tmp_path / "cluster") as cluster:
        workers = [cluster.start_worker() for _ in range(2)]
        killer = threading.Thread(target=kill_under_way, args=(workers[0], out))
        killer.start()
        assert measured(forests("s:t", out, seeds=3), cluster=cluster.address) == whole
        killer.join()
    assert os.getcwd() == str(tmp_path)


def kill_under_way(worker, out):
    """Kill a worker once runs give signs of life."""
    while worker.poll() is None and not list(out.rglob("*.sign")):
        time.sleep(0.05)
    worker.kill()


@pytest.mark.slow
def test_an_executor_of_processes_has_the_runs(pair, tmp_path):
    whole = measured(forests(pair, tmp_path / "whole"))
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as executor:
        assert measured(forests(pair, tmp_path / "lent"), executor=executor) == whole
