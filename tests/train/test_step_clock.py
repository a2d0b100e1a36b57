"""The clock of a training's steps."""

from __future__ import annotations

import time

import pytest

from c2seg.train.clock import StepClock


@pytest.fixture
def now(monkeypatch):
    """The time, in seconds and processor seconds, which stands still."""
    values = {"perf_counter": 0.0, "process_time": 0.0}
    for name in values:
        monkeypatch.setattr(time, name, lambda name=name: values[name])

    def later(seconds: float) -> None:
        values["perf_counter"] += seconds
        values["process_time"] += seconds / 2

    return later


def steps(clock: StepClock, now, *seconds: float) -> None:
    for each in seconds:
        now(each)
        clock.step()


def test_the_first_step_warms_up_and_what_is_skipped_does_not_count(now):
    clock = StepClock()
    steps(clock, now, 100.0, 1.0, 2.0)
    now(50.0)
    clock.skip()
    steps(clock, now, 3.0)
    assert clock.costs() == (2.0, 1.0)


def test_steps_before_an_interruption_count(now):
    first = StepClock()
    steps(first, now, 9.0, 1.0)
    resumed = StepClock.resumed(first.saved())
    assert resumed.costs() == (1.0, 0.5), "also where no step was left"
    steps(resumed, now, 9.0, 2.0, 3.0)
    assert resumed.costs() == (2.0, 1.0)


def test_without_a_step_nothing_is_known(now):
    clock = StepClock.resumed({})
    assert clock.costs() == (None, None)
    steps(clock, now, 1.0)
    assert clock.costs() == (None, None)
