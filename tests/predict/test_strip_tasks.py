"""Strips by several processes: the same bytes, one ledger, and errors that come back in one piece."""

from __future__ import annotations

import os
import signal
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_engine import CLASSES, Identity, scene_of
from test_mapping import LEGEND

from c2seg.artifacts import MapKey
from c2seg.errors import C2SegError, DataError
from c2seg.predict import MapOptions, WindowPlan, predict_scene
from c2seg.predict.strips import strip_tasks

PLAN = WindowPlan(230, 40, 16, 5)


class Fails(Identity):
    """Does something at the windows that hold a pixel of value 7."""

    def __init__(self, action):
        super().__init__()
        self.action = action

    def predict(self, patch, valid):
        if (patch["msi"] == 7).any():
            self.action()
        return super().predict(patch, valid)


def refuse():
    raise DataError("block 3 of the image is gone")


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def break_down():
    raise ZeroDivisionError("a fault of ours")


def array():
    values = np.random.default_rng(0).random((CLASSES, 230, 40)).astype(np.float32)
    values[0, 150, 20] = 7
    return values


def build(action=None):
    return scene_of(array()), Identity() if action is None else Fails(action)


def run(path, workers, action=None):
    reader, predictor = build(action)
    options = MapOptions(path, confidence=path.with_name(f"c-{path.name}"), workers=workers)
    return predict_scene(reader, predictor, PLAN, LEGEND, options, MapKey(model="m"), build=partial(build, action))


@given(missing=st.sets(st.integers(0, 300)))
def test_tasks_are_what_is_missing_with_the_ends_of_its_runs(missing):
    tasks = strip_tasks(sorted(missing))
    assert [task.index for task in tasks] == sorted(missing)
    assert all(set(range(task.index, task.stop)) <= missing and task.stop not in missing for task in tasks)


def test_a_run_ends_with_the_share_of_a_worker():
    assert [task.stop for task in strip_tasks(range(7), 3)] == [3, 3, 3, 6, 6, 6, 7]
    assert [task.stop for task in strip_tasks([0, 1, 4, 5, 6, 7], 2)] == [2, 2, 5, 8, 8, 8]
    assert strip_tasks([], 2) == []


def test_any_number_of_processes_gives_the_same_bytes(tmp_path):
    run(tmp_path / "one.tif", 1)
    for workers in (2, 3):
        result = run(tmp_path / f"{workers}.tif", workers)
        for prefix in ("", "c-"):
            assert (tmp_path / f"{prefix}{workers}.tif").read_bytes() == (tmp_path / f"{prefix}one.tif").read_bytes()
        assert set(result.stages) == {"read", "predict", "blend", "write", "publish"}


@pytest.mark.parametrize(("action", "error", "text"), [
    pytest.param(refuse, DataError, "block 3 of the image is gone", marks=pytest.mark.slow),
    (die, C2SegError, "a worker process was killed"),
    pytest.param(break_down, RuntimeError, "ZeroDivisionError", marks=pytest.mark.slow),
])  # fmt: skip
def test_an_error_in_a_worker_stops_all_and_keeps_what_is_finished(tmp_path, action, error, text):
    run(tmp_path / "one.tif", 1)
    out = tmp_path / "map.tif"
    with pytest.raises(error, match=text):
        run(out, 2, action)
    assert not out.exists()
    assert run(out, 2).resumed_strips > 0
    assert out.read_bytes() == (tmp_path / "one.tif").read_bytes()


@pytest.mark.slow
def test_workers_compute_damaged_strips_again(tmp_path):
    for name in ("whole", "map"):
        (tmp_path / name).mkdir()
    run(tmp_path / "whole" / "map.tif", 1)
    path = tmp_path / "map" / "map.tif"
    with pytest.raises(C2SegError):
        run(path, 2, die)
    rows = tmp_path / "map" / ".map.tif.scratch" / "ids.bin"
    rows.write_bytes(bytes(len(rows.read_bytes())))
    run(path, 2)
    assert path.read_bytes() == (tmp_path / "whole" / "map.tif").read_bytes()
