"""Leases of runs: processes end with them, give signs of life, and what is killed or hangs is run again."""

from __future__ import annotations

import signal
import threading
import time

import pytest

from c2seg.benchmark.leases import Leases
from c2seg.benchmark.processes import Processes
from c2seg.errors import C2SegError
from c2seg.parallel import WorkerLostError
from helpers.process_calls import kill_itself, wait_until_stopped


@pytest.fixture
def leases(tmp_path):
    with Leases(tmp_path / "under-way") as opened:
        yield opened


def wait_for(condition):
    while not condition():
        time.sleep(0.05)


def under_way(lease, tmp_path):
    """Return a call that waits as a training does, in a thread, once it has begun; and what it raises."""
    started, written, raised = tmp_path / "started", tmp_path / "written", []

    def call():
        try:
            Processes({}, lease).call(wait_until_stopped, started, written)
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    wait_for(started.exists)
    return thread, written, raised


def test_signs_come_while_it_works_and_a_withdrawn_lease_lets_it_write_its_state(leases, tmp_path):
    thread, written, raised = under_way(leases.issue(3), tmp_path)
    wait_for(lambda: leases.sign(3))
    first = leases.sign(3)
    wait_for(lambda: leases.sign(3) != first)
    assert leases.sign(4) == ""
    leases.__exit__(None, None, None)
    thread.join()
    assert written.read_text() == "state"
    assert isinstance(raised[0], KeyboardInterrupt)


def test_who_lost_the_lease_writes_nothing_more(leases, tmp_path):
    thread, written, raised = under_way(leases.issue(0), tmp_path)
    again = leases.issue(0)
    thread.join()
    assert not written.exists()
    assert isinstance(raised[0], C2SegError)
    assert again.state() == "held"


def test_a_killed_process_is_a_loss(leases):
    with pytest.raises(WorkerLostError, match="killed by SIGKILL"):
        Processes({}, leases.issue(0)).call(kill_itself, signal.SIGKILL)


def test_a_process_that_hangs_is_ended(leases):
    processes = Processes({}, leases.issue(0))
    raised = []

    def call():
        try:
            processes.call(kill_itself, signal.SIGSTOP)
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    wait_for(lambda: any(_is_stopped(process.pid) for process in list(processes._running)))
    processes.kill()
    thread.join()
    assert isinstance(raised[0], KeyboardInterrupt)  # it starts nothing more, and nobody waits for it


def _is_stopped(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().rpartition(")")[2].split()[0] == "T"
    except OSError:
        return False


def test_the_folder_is_there_as_long_as_the_runs(tmp_path):
    folder = tmp_path / "under-way"
    with Leases(folder) as leases:
        lease = leases.issue(1)
        assert (lease.state(), lease.claim.parent) == ("held", folder)
    assert lease.state() == "withdrawn"
    assert not folder.exists()
