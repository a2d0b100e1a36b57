"""Calls in processes of their own: what dies, fails or is stopped there, and what is set before anything is imported."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from c2seg.benchmark.processes import Processes
from c2seg.errors import C2SegError
from helpers.process_calls import (
    THREADS,
    add,
    kill_itself,
    memory_after,
    print_and_exit,
    raise_input_error,
    raise_internal_error,
    threads_of_libraries,
    wait_until_stopped,
)


@pytest.fixture
def processes():
    return Processes({"OMP_WAIT_POLICY": "passive"})


def test_every_call_has_a_process_of_its_own(processes):
    calls = [processes.call(add, 1, 2) for _ in range(2)]
    assert [total for total, _ in calls] == [3, 3]
    assert len({os.getpid(), *(number for _, number in calls)}) == 3


def test_a_process_that_is_killed_fails_its_call_and_no_other(processes):
    with ThreadPoolExecutor(3) as pool:
        dead = pool.submit(processes.call, kill_itself, signal.SIGKILL)
        fault = pool.submit(processes.call, kill_itself, signal.SIGSEGV)
        alive = pool.submit(processes.call, add, 1, 2)
    assert alive.result()[0] == 3
    with pytest.raises(C2SegError, match=r"killed by SIGKILL \(out of memory\?\)"):
        dead.result()
    with pytest.raises(C2SegError, match="killed by SIGSEGV"):
        fault.result()
    assert processes.call(add, 1, 2)[0] == 3


def test_errors_come_back(processes, capfd):
    with pytest.raises(C2SegError, match="band 7 is missing"):
        processes.call(raise_input_error)
    with pytest.raises(C2SegError, match="KeyError: 'nothing'") as caught:
        processes.call(raise_internal_error)
    assert "raise_internal_error" in caught.value.__notes__[0]  # the traceback of the other process
    with pytest.raises(C2SegError, match="exit code 3: the library prints what it likes"):
        processes.call(print_and_exit)
    assert capfd.readouterr() == ("", "")


def test_threads_are_set_before_anything_is_imported(monkeypatch):
    for name in THREADS:
        monkeypatch.delenv(name, raising=False)
    variables = dict(zip(THREADS, ("1", "passive", "1"), strict=True))
    assert Processes(variables).call(threads_of_libraries) == ({1}, variables)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")  # what the user says goes before
    assert Processes(variables).call(threads_of_libraries) == ({2}, variables | {"OMP_NUM_THREADS": "2"})
    assert "LOKY_MAX_CPU_COUNT" not in os.environ


def test_peak_memory_is_the_call_s_own(processes):
    held = np.ones(400 * 2**20, np.uint8)
    small, _ = processes.call(memory_after, 1)
    large, _ = processes.call(memory_after, 200)
    assert held[-1] == 1
    assert small < 300
    assert 190 < large - small < 250


def test_a_stop_lets_processes_write_their_state_and_starts_no_other(processes, tmp_path):
    started, written = tmp_path / "started", tmp_path / "written"
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(processes.call, wait_until_stopped, started, written)
        while not started.exists():
            assert not waiting.done()
            threading.Event().wait(0.02)
        processes.stop()
        with pytest.raises(KeyboardInterrupt):
            waiting.result()
    assert written.read_text() == "state"
    with pytest.raises(KeyboardInterrupt):
        processes.call(add, 1, 2)


SCRIPT = """
from c2seg.benchmark.processes import Processes
from helpers.process_calls import add, wait_until_stopped
processes = Processes({})
print(processes.call(add, 1, 2)[0], flush=True)
if __import__("sys").argv[1:]:
    processes.call(wait_until_stopped, *__import__("sys").argv[1:])
"""


def script(tmp_path, *arguments):
    (tmp_path / "script.py").write_text(SCRIPT)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    return subprocess.Popen(
        [sys.executable, str(tmp_path / "script.py"), *arguments], env=environment, stdout=subprocess.PIPE, text=True
    )


def test_a_script_needs_no_guard(tmp_path):
    """The main module is not imported again: this one has no ``if __name__ == "__main__"``."""
    with script(tmp_path) as process:
        assert process.communicate()[0] == "3\n"
        assert process.returncode == 0


def test_processes_end_with_their_parent(tmp_path):
    """Whatever happens to it; and they write their state first."""
    started, written = tmp_path / "started", tmp_path / "written"
    with script(tmp_path, str(started), str(written)) as process:
        while not started.exists():
            assert process.poll() is None
            threading.Event().wait(0.02)
        process.kill()
    while not written.exists():
        threading.Event().wait(0.02)


def test_processes_travel_without_what_runs_here(processes):
    assert pickle.loads(pickle.dumps(processes)).call(add, 1, 2)[0] == 3
