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
            lanes.over(done[-1])
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
    for task in range(10):
        lanes.over(task)
    assert lanes.next("b") == 10
    assert [lanes.next("a") for _ in range(3)] == [15, 16, 17]
    assert lanes.next("late") == 13


def test_the_last_strip_stays_with_its_neighbors():
    """Two workers, six strips, each half of the rows of windows of its neighbor: who took the last one would end later."""
    ended, spent = simulated(6, 2, begin=1, depth=2)
    assert (ended, spent) == (4, 7)
    assert simulated(6, 2, begin=0, depth=2) == (3, 6)


@given(st.integers(1, 80), st.integers(1, 6), st.integers(0, 3), st.integers(1, 3))
def test_taking_from_others_never_makes_a_run_longer(count, workers, begin, depth):
    share = -(-count // workers)
    alone = min(share, count) if count <= share else share + begin
    assert simulated(count, workers, begin, depth)[0] <= alone


def simulated(count: int, workers: int, begin: int, depth: int) -> tuple[int, int]:
    """Return when equally quick workers end, and what they spend together, in tasks."""
    lanes = Lanes(count, workers, begin)
    held: dict[str, list[int]] = {f"w{number}": [] for number in range(workers)}
    last, free = dict.fromkeys(held, -1), dict.fromkeys(held, 0)
    ends: dict[str, int] = {}
    now = ended = spent = 0

    def feed(worker: str) -> None:
        nonlocal spent
        while len(held[worker]) < depth and (task := lanes.next(worker)) is not None:
            held[worker].append(task)
        if held[worker] and worker not in ends:
            first = held[worker][0]
            takes = 1 + (begin if first and last[worker] != first - 1 else 0)
            spent += takes
            ends[worker] = max(free[worker], now) + takes
            last[worker] = first

    for worker in held:
        feed(worker)
    while ends:
        worker = min(ends, key=lambda name: ends[name])
        now = ended = free[worker] = ends.pop(worker)
        lanes.over(held[worker].pop(0))
        for name in (worker, *held):
            feed(name)
    return ended, spent
