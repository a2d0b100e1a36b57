"""Workers of a cluster: the bytes of one process, whoever is killed, cut off or restarted; odd workers are refused."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from functools import partial

import pytest

from c2seg.artifacts import MapKey
from c2seg.errors import C2SegError, InputError, MissingExtraError
from c2seg.legend import LandClass, Legend
from c2seg.parallel import Limits, open_crew, run_tasks
from c2seg.predict import MapOptions, WindowPlan, predict_scene
from helpers.clusters import PATHS, SLOW_SCENE, UserCluster, slow_scene
from helpers.parallel_jobs import Squares

pytest.importorskip("distributed")

LEGEND = Legend("three", tuple(LandClass(k, f"class {k}", "#0000FF") for k in (1, 2, 5)))
PLAN = WindowPlan(*SLOW_SCENE, 16, 4)


def predict(path, cluster=None, seconds=0.0, progress=lambda *_: None):
    """Return the record of a map of noise by a predictor that takes its time in the cluster."""
    options = MapOptions(path, confidence=path.with_name(f"c-{path.name}"), cluster=cluster)
    return predict_scene(
        *slow_scene(), PLAN, LEGEND, options, MapKey(model="m"), build=partial(slow_scene, seconds), progress=progress
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "map.tif"
    predict(path)
    return path


def same(path, whole):
    return all(
        path.with_name(f"{prefix}{path.name}").read_bytes() == whole.with_name(f"{prefix}map.tif").read_bytes()
        for prefix in ("", "c-")
    )


class After:
    """A progress callable that does things once so many strips are finished."""

    def __init__(self, actions):
        self.actions = dict(actions)

    def __call__(self, done, total, text=""):
        for count in [count for count in self.actions if done >= count]:
            self.actions.pop(count)()


def test_two_of_four_workers_are_killed_in_the_middle(tmp_path, whole):
    with UserCluster(tmp_path) as cluster:
        workers = [cluster.start_worker() for _ in range(4)]
        kills = After({8: workers[0].kill, 20: workers[1].kill})
        predict(tmp_path / "map.tif", cluster.address, 0.02, kills)
        assert not kills.actions
        assert same(tmp_path / "map.tif", whole)


def squares(crew, count, limits=Limits(), **job):  # noqa: B008
    results = {}
    run_tasks(crew, Squares({}, **job), range(count), lambda index, result, _: results.update({index: result}), limits)
    assert {index: square for index, (square, _) in results.items()} == {n: n * n for n in range(count)}
    return {pid for _, pid in results.values()}


@contextmanager
def standing_still(process, seconds):
    """Stop a process after three seconds of the block, for so long."""

    def stop():
        time.sleep(3)
        process.send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        process.send_signal(signal.SIGCONT)

    thread = threading.Thread(target=stop)
    thread.start()
    try:
        yield
    finally:
        thread.join()


@pytest.mark.slow
def test_a_worker_that_is_cut_off(tmp_path):
    """Its process stops, with all its connections open; what it says later does not count."""
    with UserCluster(tmp_path) as cluster:
        workers = [cluster.start_worker() for _ in range(2)]

        with open_crew(1, cluster.address) as crew:
            squares(crew, 4)
            with standing_still(workers[0], seconds=30):
                squares(crew, 400, Limits(deadline_s=10), seconds=0.03)


@pytest.mark.slow
def test_a_worker_computes_neighbors_in_order(tmp_path):
    """Strips beside each other share a row of windows; of tasks that are sent at once Dask alone would take any first."""
    order = []
    with UserCluster(tmp_path) as cluster:
        cluster.start_worker()
        with open_crew(1, cluster.address) as crew:
            run_tasks(crew, Squares({}, seconds=0.05), range(12), lambda index, value, worker: order.append(index))
    assert order == list(range(12))


@pytest.mark.slow
def test_the_only_worker_may_be_slow_once(tmp_path):
    """Counted lost while it stood still, it gets tasks again when it goes on."""
    with UserCluster(tmp_path) as cluster:
        worker = cluster.start_worker()
        with open_crew(1, cluster.address) as crew:
            squares(crew, 4)
            with standing_still(worker, seconds=15):
                squares(crew, 400, Limits(deadline_s=5, absent_s=120), seconds=0.03)


@pytest.mark.slow
def test_a_scheduler_that_is_restarted(tmp_path, whole):
    """It forgets its tasks, and its workers leave: new ones get what is missing."""
    with UserCluster(tmp_path) as cluster:
        cluster.start_worker()

        def restart():
            cluster.scheduler.kill()
            cluster.scheduler.wait()
            cluster.workers[0].kill()
            cluster.workers[0].wait()
            cluster.start_scheduler()
            cluster.start_worker()

        restarts = After({10: restart})
        predict(tmp_path / "map.tif", cluster.address, 0.02, restarts)
        assert not restarts.actions
        assert same(tmp_path / "map.tif", whole)


@pytest.mark.slow
def test_without_workers_it_ends_in_one_line_and_resumes(tmp_path, whole, monkeypatch):
    with UserCluster(tmp_path) as cluster, open_crew(1, cluster.address) as crew:
        with pytest.raises(C2SegError, match=r"no worker has joined for 1 s.* resume"):
            run_tasks(crew, Squares({}), range(3), print, Limits(absent_s=1))
        cluster.start_worker()
        squares(crew, 3)


@pytest.mark.slow
def test_a_worker_of_other_versions_is_refused(tmp_path, caplog):
    other = tmp_path / "other" / "numpy-0.1.dist-info"
    other.mkdir(parents=True)
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: numpy\nVersion: 0.1\n")
    with UserCluster(tmp_path) as cluster, open_crew(1, cluster.address) as crew:
        cluster.start_worker(other.parent)
        with pytest.raises(InputError, match=r"has numpy 0\.1, this process .* install the same versions"):
            squares(crew, 3)
        pid = cluster.start_worker().pid
        while len(crew._client.nthreads()) < 2:
            time.sleep(0.1)
        assert squares(crew, 30) == {pid}
        assert "is refused" in caplog.text


@pytest.mark.slow
def test_a_worker_whose_self_test_differs_is_refused(tmp_path, whole):
    with UserCluster(tmp_path) as cluster:
        cluster.start_worker(C2SEG_TEST_SHIFT="1")
        with pytest.raises(InputError, match="another result in the self-test"):
            predict(tmp_path / "map.tif", cluster.address)
        assert not (tmp_path / "map.tif").exists()


@pytest.mark.slow
def test_the_scheduler_forgets_what_is_done(tmp_path):
    """Its memory after 10,000 tasks more is that of the first 500, and it knows no task but the last ones."""

    def tasks_there(dask_scheduler):
        import psutil

        return len(dask_scheduler.tasks), psutil.Process().memory_info().rss / 2**20

    with UserCluster(tmp_path) as cluster:
        cluster.start_worker()
        with open_crew(1, cluster.address) as crew:
            squares(crew, 500)
            _, before = crew._client.run_on_scheduler(tasks_there)
            squares(crew, 10_000)
            count, after = crew._client.run_on_scheduler(tasks_there)
    print(f"scheduler: {before:.1f} MiB after 500 tasks, {after:.1f} MiB after 10,000 more; {count} tasks known")
    assert count < 20
    assert after < before + 40


@pytest.mark.parametrize(
    ("cluster", "text"),
    [
        ("tcp://127.0.0.1:1", "cannot use tcp://127.0.0.1:1"),
        ("local:none", "has no number of processes"),
        ("nowhere", "names no cluster; give tcp://HOST:PORT"),
    ],
)
def test_a_cluster_that_cannot_be_used(cluster, text, monkeypatch):
    monkeypatch.setattr("c2seg.parallel.opening._CONNECT_S", 1)
    with pytest.raises(InputError, match=text) as caught:
        open_crew(1, cluster)
    assert "\n" not in str(caught.value)


def test_without_dask_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(MissingExtraError, match=r"pip install '\.\[cluster\]'"):
        open_crew(1, "local:2")


def test_workers_and_cluster_are_not_both_given():
    with pytest.raises(InputError, match="`workers` or `cluster`, not both"):
        open_crew(2, "local:2")


@pytest.mark.slow
def test_a_cluster_of_a_file_and_one_of_this_machine(tmp_path):
    """In a script of its own: processes of the cluster import the main module."""
    spec = tmp_path / "two.yaml"
    spec.write_text(
        "module: distributed\nclass: LocalCluster\nworkers: 2\n"
        "kwargs: {n_workers: 0, threads_per_worker: 1, dashboard_address: null}\n"
    )
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\nfrom c2seg.parallel import open_crew, run_tasks\nfrom helpers.parallel_jobs import Squares\n"
        "if __name__ == '__main__':\n"
        "    results = []\n"
        "    with open_crew(1, sys.argv[1]) as crew:\n"
        "        run_tasks(crew, Squares({}, seconds=.05), range(40), lambda i, result, w: results.append((i, *result)))\n"
        "    assert sorted(item[:2] for item in results) == [(n, n * n) for n in range(40)]\n"
        "    print(len({pid for *_, pid in results}))\n"
    )
    for cluster in (str(spec), "local:2"):
        done = subprocess.run(
            [sys.executable, script, cluster], capture_output=True, text=True, cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(PATHS)},
        )  # fmt: skip
        assert (done.returncode, done.stdout) == (0, "2\n"), done.stderr
