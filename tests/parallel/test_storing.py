"""Storing: one at a time, in order, entered by the caller once stored; nothing handed over is lost."""

from __future__ import annotations

import threading

import pytest

from c2seg.parallel import Storing


def test_results_are_stored_in_order_and_entered_here():
    stored, entered = [], []

    def store(number):
        stored.append((number, threading.current_thread() is threading.main_thread()))
        return number * number

    def enter(number, square):
        assert threading.current_thread() is threading.main_thread()
        entered.append((number, square))

    with Storing(store, enter) as storing:
        for number in range(5):
            storing.put(number)
            assert len(entered) == number  # the last one is under way
    assert stored == [(n, False) for n in range(5)]
    assert entered == [(n, n * n) for n in range(5)]


def test_an_error_elsewhere_loses_nothing():
    entered = []

    def work():
        with Storing(str, lambda number, text: entered.append(text)) as storing:
            storing.put(1)
            storing.put(2)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    assert entered == ["1", "2"]


def test_an_error_of_storing_is_raised_at_the_next_result():
    def store(number):
        if number == 2:
            raise OSError("the disk is full")
        return number

    entered = []

    def work():
        with Storing(store, lambda number, _: entered.append(number)) as storing:
            for number in range(1, 9):
                storing.put(number)

    with pytest.raises(OSError, match="full"):
        work()
    assert entered == [1]
