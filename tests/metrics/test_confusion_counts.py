"""Counts: every pixel in the right cell, whatever the shape, layout or value range."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from c2seg.errors import DataError, InputError
from c2seg.metrics import Confusion, confusion_counts, joint_histogram

IDS = tuple(range(1, 14))


def slow_counts(reference, prediction, ids):
    counts = np.zeros((len(ids), len(ids) + 1), np.int64)
    for t, p in zip(reference.ravel().tolist(), prediction.ravel().tolist(), strict=True):
        if t in ids:
            counts[ids.index(t), ids.index(p) if p in ids else -1] += 1
    return counts


@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.lists(st.integers(0, 9), min_size=0, max_size=3),
    top=st.sampled_from([2, 14, 15, 16, 17, 256]),
)
def test_equals_the_slow_count(seed, shape, top):
    rng = np.random.default_rng(seed)
    reference = rng.choice(np.array([0, *IDS, 255], np.uint8), shape)
    prediction = rng.integers(0, top, shape).astype(np.uint8)
    reference, prediction = np.asarray(reference, np.uint8), np.asarray(prediction, np.uint8)
    assert np.array_equal(confusion_counts(reference, prediction, IDS).counts, slow_counts(reference, prediction, IDS))


@pytest.mark.parametrize("ids", [(1,), (5, 3), (254, 17, 1), (0, 1, 2)])
def test_any_legend(ids):
    rng = np.random.default_rng(1)
    reference = rng.choice(np.array([*ids, 255], np.uint8), (40, 41))
    prediction = rng.integers(0, 256, reference.shape, dtype=np.uint8)
    assert np.array_equal(confusion_counts(reference, prediction, ids).counts, slow_counts(reference, prediction, ids))


def test_several_chunks_and_odd_ends():
    rng = np.random.default_rng(2)
    reference = rng.integers(0, 14, 2 * (1 << 19) + 7, dtype=np.uint8)
    prediction = rng.integers(0, 14, reference.size, dtype=np.uint8)
    expected = np.bincount(reference.astype(int) * 256 + prediction, minlength=65536).reshape(256, 256)
    assert np.array_equal(joint_histogram(reference, prediction), expected)


def test_layout_in_memory_does_not_matter(maps):
    reference, prediction = maps
    whole = confusion_counts(reference, prediction, IDS)
    for cut in (np.s_[::-1], np.s_[:, ::-1]):
        assert confusion_counts(reference[cut], prediction[cut], IDS) == whole
    assert confusion_counts(np.asfortranarray(reference), prediction, IDS) == whole
    assert confusion_counts(reference.T, prediction.T, IDS) == whole


def test_sums_over_tiles_equal_the_whole(maps):
    reference, prediction = maps
    parts = [
        confusion_counts(reference[r : r + 17, c : c + 23], prediction[r : r + 17, c : c + 23], IDS)
        for r in range(0, 90, 17)
        for c in range(0, 70, 23)
    ]
    assert sum(parts, Confusion.empty(IDS)) == confusion_counts(reference, prediction, IDS)


def test_counts_do_not_overflow():
    many = Confusion((1,), np.array([[2**40, 2**39]], np.int64))
    assert (many + many).counts.tolist() == [[2**41, 2**40]]


def test_background_becomes_outside():
    counts = confusion_counts(np.array([0, 0, 1, 2], np.uint8), np.array([0, 1, 0, 2], np.uint8), (0, 1, 2))
    labeled = counts.without_background()
    assert labeled.ids == (1, 2)
    assert labeled.counts.tolist() == [[0, 0, 1], [0, 1, 0]]


def test_refuses_what_it_cannot_count():
    zeros = np.zeros((2, 3), np.uint8)
    with pytest.raises(DataError, match=r"\(2, 3\), the ground truth \(3, 2\)"):
        confusion_counts(zeros.T, zeros, IDS)
    with pytest.raises(DataError, match="int64"):
        confusion_counts(zeros, zeros.astype(int), IDS)
    with pytest.raises(DataError, match=r"values \[14, 200\] outside"):
        confusion_counts(np.array([1, 14, 200], np.uint8), np.ones(3, np.uint8), IDS)
    with pytest.raises(InputError, match="cannot be added"):
        Confusion.empty((1, 2)) + Confusion.empty((1, 3))
    with pytest.raises(InputError, match="int64"):
        Confusion((1, 2), np.zeros((2, 2), np.int64))


def test_json_round_trip(maps):
    counts = confusion_counts(*maps, IDS)
    assert Confusion.from_dict(counts.as_dict()) == counts
    with pytest.raises(DataError, match="not confusion counts"):
        Confusion.from_dict({"ids": [1, 2], "counts": [[1, 2]]})


@pytest.mark.parametrize("contiguous", [True, False])
def test_extra_memory_is_small(contiguous):
    reference = np.ones((4000, 4000), np.uint8)
    prediction = np.ones((4000, 4000), np.uint8)
    if not contiguous:
        reference, prediction = reference.T, prediction[:, ::-1]
    tracemalloc.start()
    confusion_counts(reference, prediction, IDS)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20e6
