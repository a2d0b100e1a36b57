"""Lanes: every task once, neighbors together, work for all."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from c2seg.parallel.lanes import Lanes


@given(count=st.integers(0, 60), turns=st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=200))
def test_every_task_is_computed_by_somebody(count, turns):
    """Workers ask in any order and some are lost with what they hold: in the end every task was done once."""
    lanes = Lanes(count, 3)
    held: dict[str, list[int]] = {}
    done: list[int] = []
    for number, is_lost in [*turns, *((k % 6, False) for k in range(6 * count + 6))]:
        worker = f"w{number}"
        if is_lost:
            lanes.give_back(held.pop(worker, []), worker)
            continue
        if len(held.get(worker, [])) == 2:
            done.append(held[worker].pop(0))
        task = lanes.next(worker)
        if task is not None:
            held.setdefault(worker, []).append(task)
    done += [task for tasks in held.values() for task in tasks]
    assert sorted(done) == list(range(count))


def test_a_worker_gets_neighbors():
    lanes = Lanes(30, 3)
    orders = {name: [lanes.next(name) for _ in range(10)] for name in "abc"}
    assert orders == {"a": [*range(10)], "b": [*range(10, 20)], "c": [*range(20, 30)]}
    assert lanes.next("a") is None


def test_who_is_quick_takes_half_of_the_longest_lane():
    lanes = Lanes(20, 2)
    assert [lanes.next("a") for _ in range(10)] == [*range(10)]
    assert lanes.next("b") == 10
    assert [lanes.next("a") for _ in range(3)] == [15, 16, 17]
    assert lanes.next("late") == 13
