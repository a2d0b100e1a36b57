"""Networks of one phase learnt at once on a processor."""

from __future__ import annotations

import json
import os
import signal
import threading

import pytest
import torch

from c2seg.errors import TrainingError
from c2seg.models import limit_threads
from c2seg.pipeline import fit
from c2seg.recipes import load_recipe
from c2seg.train import max_parallel, train_in_parallel
from train.test_training import assert_same

SMALL = [
    "model.widths=[4, 8]", "training.iterations=30", "training.sampling={patch_px: 16, batch_size: 4}",
    "training.checkpoint_every=5", "forest.model.trees=5", "prediction.window_px=64", "training.precision=bf16",
    "stages.teachers.networks=3", "stages.students.networks=2",
]  # fmt: skip


@pytest.fixture
def threads():
    """Set the number of torch's threads for one test."""
    before = torch.get_num_threads()
    yield limit_threads
    limit_threads(before)


def crosscity(*more):
    return load_recipe("crosscity", "demo", [*SMALL, *more])


@pytest.mark.slow
@pytest.mark.parametrize("more", [(), ("model.dropout=0.3",)], ids=["no random layers", "dropout"])
def test_networks_max_parallel_have_the_bits_of_networks_in_turn(cities, tmp_path, threads, more):
    for count in (1, 2):
        threads(count)
        fit(crosscity(*more), [cities[0]], tmp_path / str(count), target=cities[1])
    assert torch.get_num_threads() == 2
    assert_same(tmp_path / "1", tmp_path / "2")
    record = json.loads((tmp_path / "2" / "record.json").read_text())
    assert record["trainings"] == 5
    assert record["step_seconds"] > 0


def test_two_do_run_max_parallel(threads):
    threads(2)
    both = threading.Barrier(2)

    def training(stop):
        both.wait(300)
        return torch.get_num_threads()

    assert train_in_parallel([training, training], "cpu") == [1, 1]
    assert torch.get_num_threads() == 2
    assert max_parallel(5, "cpu") == 2


def test_a_stop_reaches_all_and_a_resumed_run_ends_with_the_same_bits(cities, tmp_path, threads):
    threads(2)
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"

    def bars(label):
        def show(done, total, text=""):
            if label == "teachers/1" and done == 10:
                os.kill(os.getpid(), signal.SIGINT)

        return show

    fit(crosscity(), [cities[0]], whole, target=cities[1])
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt, match="SIGINT"):
        fit(crosscity(), [cities[0]], stopped, target=cities[1], bars=bars)
    assert signal.getsignal(signal.SIGINT) == handler
    assert not (stopped / "model.safetensors").exists()
    fit(crosscity(), [cities[0]], stopped, target=cities[1], resume=True)
    assert_same(whole, stopped)


def test_an_error_stops_the_others_and_is_what_is_told(threads):
    threads(2)
    begun = threading.Event()

    def failing(stop):
        begun.wait(300)
        raise TrainingError("the loss is not finite")

    def other(stop):
        begun.set()
        while not stop.requested:
            pass
        raise KeyboardInterrupt(stop.requested)

    with pytest.raises(TrainingError, match="not finite"):
        train_in_parallel([other, failing], "cpu")
    assert torch.get_num_threads() == 2
