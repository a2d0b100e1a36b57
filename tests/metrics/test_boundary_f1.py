"""Boundary F1 against a slow direct version and hand-made cases."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import distance_transform_edt

from c2seg.legend import c2seg13
from c2seg.metrics import boundary_counts, count_boundaries, pair_maps

IDS = c2seg13().ids


def slow_edges(ids, known):
    edge = np.zeros(ids.shape, bool)
    for r, c in np.ndindex(ids.shape):
        for y, x in ((r - 1, c), (r + 1, c), (r, c - 1), (r, c + 1)):
            if 0 <= y < ids.shape[0] and 0 <= x < ids.shape[1] and known[r, c] and known[y, x]:
                edge[r, c] |= ids[r, c] != ids[y, x]
    return edge


def slow_counts(reference, prediction, ids, tolerance):
    known = np.isin(reference, ids)
    predicted = np.where(np.isin(prediction, ids), prediction, 99)
    edges = [(reference, slow_edges(reference, known)), (predicted, slow_edges(predicted, known))]
    counts = []
    for one, other in (edges, edges[::-1]):
        own = [one[1] & (one[0] == i) for i in ids]
        partner = [other[1] & (other[0] == i) for i in ids]
        near = [distance_transform_edt(~p) <= tolerance if p.any() else np.zeros(p.shape, bool) for p in partner]
        counts += [[int(o.sum()) for o in own], [int((o & n).sum()) for o, n in zip(own, near, strict=True)]]
    return counts


@given(
    seed=st.integers(0, 2**32 - 1),
    height=st.integers(1, 14),
    width=st.integers(1, 14),
    tolerance=st.integers(0, 5),
    ids=st.sampled_from([(1, 2, 3), IDS, tuple(range(1, 18)), (3, 250)]),
)
def test_equals_the_slow_version(seed, height, width, tolerance, ids):
    rng = np.random.default_rng(seed)
    reference = rng.choice(
        np.array([0, *ids[:3], 255], np.uint8),
        (height, width),
        p=np.array([1, *[4] * len(ids[:3]), 1]) / (2 + 4 * len(ids[:3])),
    )
    prediction = rng.choice(np.array([0, *ids, 77], np.uint8), (height, width))
    found = boundary_counts(reference, prediction, ids, tolerance)
    arrays = [found.reference, found.reference_matched, found.prediction, found.prediction_matched]
    assert [a.tolist() for a in arrays] == slow_counts(reference, prediction, ids, tolerance)


def test_shifted_edge_by_hand():
    reference = np.ones((10, 20), np.uint8)
    reference[:, 10:] = 2
    prediction = np.ones((10, 20), np.uint8)
    prediction[:, 13:] = 2
    assert boundary_counts(reference, prediction, (1, 2, 3), 2).f1() == (0.0, 0.0, None)
    assert boundary_counts(reference, prediction, (1, 2, 3), 3).f1() == (1.0, 1.0, None)
    assert boundary_counts(reference, prediction, (1, 2, 3), 3).mean_f1() == 1.0
    assert boundary_counts(np.ones((5, 5), np.uint8), reference[:5, :5], (1, 2), 1).mean_f1() is None


@pytest.mark.parametrize("tolerance", [0, 3])
def test_strips_equal_the_whole(write_raster, monkeypatch, tolerance):
    monkeypatch.setattr("c2seg.metrics.maps._STRIP_PX", 1)
    rng = np.random.default_rng(3)
    reference = rng.choice(np.array([0, 1, 2, 9, 13], np.uint8), (160, 12)).repeat(4, 0).repeat(3, 1)
    prediction = np.where(rng.random(reference.shape) < 0.9, reference, 5).astype(np.uint8)
    pairs = pair_maps(write_raster("p.tif", prediction), write_raster("t.tif", reference))
    streamed = count_boundaries(pairs, tolerance, workers=2)
    whole = boundary_counts(reference, prediction, IDS, tolerance)
    for name in ("reference", "reference_matched", "prediction", "prediction_matched"):
        assert np.array_equal(getattr(streamed, name), getattr(whole, name))
    assert whole.mean_f1() > 0.3
