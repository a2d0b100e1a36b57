"""Scores against hand-computed values, scikit-learn and the tables of the dataset paper."""

import json
import warnings
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, cohen_kappa_score, f1_score, jaccard_score

from c2seg.errors import InputError
from c2seg.metrics import PROTOCOLS, Confusion, confusion_counts, protocol_ids, scores

IDS = tuple(range(1, 14))

# Ground truth and prediction by hand, legend 1..6: class 3 never found, class 4 only predicted, 5 and 6 nowhere; one labeled
# pixel predicted 0, one 200; two pixels without label.
TRUTH = np.array([1, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 0, 0, 255], np.uint8)
PREDICTION = np.array([1, 1, 1, 2, 4, 2, 2, 1, 0, 1, 2, 200, 1, 0, 1], np.uint8)
BY_HAND = {
    "challenge": (5 / 12, 19 / 103, 1.1 / 3, 16 / 63),  # classes 1, 2, 3
    "all13": (5 / 12, 19 / 103, 1.1 / 6, 8 / 63),  # classes 1 to 6
    "highdan": (5 / 12, 19 / 103, 1.1 / 5, 16 / 105),  # classes 1, 2, 3, 4 and the values outside
    "mmseg": (5 / 12, 19 / 103, 1.1 / 2, 4 / 21),  # IoU over 1, 2, 3, 4; F1 over 1, 2
    "mrsn": (6 / 13, 34 / 146, (0.5 + 6 / 11 + 0.5) / 7, (1 / 3 + 3 / 8 + 1 / 3) / 7),  # classes 0 to 6
}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_by_hand(protocol):
    counts = confusion_counts(TRUTH, PREDICTION, protocol_ids((1, 2, 3, 4, 5, 6), protocol))
    result = scores(counts, protocol)
    assert (result.oa, result.kappa, result.mf1, result.miou) == pytest.approx(BY_HAND[protocol], abs=1e-14)
    assert result.pixels == (14 if protocol == "mrsn" else 12)


def test_per_class_by_hand():
    result = scores(confusion_counts(TRUTH, PREDICTION, (1, 2, 3, 4, 5, 6)))
    assert result.iou == pytest.approx((3 / 7, 1 / 3, 0.0, None, None, None))
    assert result.f1 == pytest.approx((0.6, 0.5, 0.0, None, None, None))
    assert result.precision == pytest.approx((3 / 5, 2 / 4, None, 0.0, None, None))
    assert result.recall == pytest.approx((3 / 5, 2 / 4, 0.0, None, None, None))
    assert result.support == (5, 4, 3, 0, 0, 0)
    assert result.quantity_disagreement == pytest.approx(6 / 24)
    assert result.allocation_disagreement == pytest.approx(4 / 12)


def test_other_protocols_ignore_a_background_row():
    with_background = confusion_counts(TRUTH, PREDICTION, (0, 1, 2, 3, 4, 5, 6))
    assert scores(with_background) == scores(confusion_counts(TRUTH, PREDICTION, (1, 2, 3, 4, 5, 6)))


def test_class_set_is_fixed_by_the_reference():
    reference = np.repeat(np.array([1, 2, 3], np.uint8), 100)
    prediction = reference.copy()
    clean = scores(confusion_counts(reference, prediction, IDS))
    prediction[0] = 9  # one stray pixel of a class that the ground truth does not have
    stray = scores(confusion_counts(reference, prediction, IDS))
    assert clean.miou == 1
    assert stray.miou == pytest.approx((0.99 + 1 + 1) / 3)
    assert stray.iou[8] is None


@given(
    seed=st.integers(0, 2**32 - 1),
    size=st.integers(0, 300),
    classes=st.integers(1, 13),
    predicted=st.sampled_from([1, 2, 13, 14, 15, 40]),
    labeled=st.floats(0, 1),
)
def test_equals_scikit_learn(seed, size, classes, predicted, labeled):
    rng = np.random.default_rng(seed)
    reference = rng.choice(rng.permutation(IDS)[:classes], size).astype(np.uint8)
    reference[rng.random(size) > labeled] = rng.choice([0, 255])
    prediction = rng.integers(0, predicted + 1, size).astype(np.uint8)
    result = scores(confusion_counts(reference, prediction, IDS))
    known = (reference > 0) & (reference < 255)
    t, p = reference[known], prediction[known]
    assert result.pixels == t.size
    if not t.size:
        assert (result.oa, result.kappa, result.mf1, result.miou) == (None,) * 4
        return
    present = np.unique(t)
    assert result.oa == pytest.approx(accuracy_score(t, p), abs=1e-12)
    assert result.mf1 == pytest.approx(f1_score(t, p, labels=present, average="macro", zero_division=0), abs=1e-12)
    assert result.miou == pytest.approx(
        jaccard_score(t, p, labels=present, average="macro", zero_division=0), abs=1e-12
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        kappa = cohen_kappa_score(t, p)
    assert (result.kappa is None) if np.isnan(kappa) else result.kappa == pytest.approx(kappa, abs=1e-12)


@given(seed=st.integers(0, 2**32 - 1), outside=st.booleans())
def test_highdan_equals_scikit_learn_without_labels(seed, outside):
    rng = np.random.default_rng(seed)
    reference = rng.integers(1, 6, 60).astype(np.uint8)
    prediction = rng.integers(0 if outside else 1, 10, 60).astype(np.uint8)
    result = scores(confusion_counts(reference, prediction, IDS), "highdan")
    assert result.mf1 == pytest.approx(f1_score(reference, prediction, average="macro", zero_division=0), abs=1e-12)
    assert result.miou == pytest.approx(
        jaccard_score(reference, prediction, average="macro", zero_division=0), abs=1e-12
    )


def test_degenerate_cases():
    empty = scores(Confusion.empty(IDS))
    assert (empty.oa, empty.kappa, empty.miou, empty.pixels) == (None, None, None, 0)
    ones = np.ones(10, np.uint8)
    single = scores(confusion_counts(ones, ones, IDS))
    assert (single.oa, single.kappa, single.miou) == (1.0, None, 1.0)
    nothing = scores(confusion_counts(ones, np.zeros(10, np.uint8), IDS))
    assert (nothing.oa, nothing.kappa, nothing.miou, nothing.precision[0]) == (0.0, 0.0, 0.0, None)
    json.dumps(asdict(empty), allow_nan=False)
    json.dumps(asdict(single), allow_nan=False)


def test_names_the_valid_protocols():
    with pytest.raises(InputError, match="Did you mean 'mmseg'"):
        scores(Confusion.empty(IDS), "mmsegs")
    with pytest.raises(InputError, match="background"):
        scores(Confusion.empty(IDS), "mrsn")


# Tables 2 and 3 of the dataset paper (Hong et al., RSE 299:113856, 2023): F1 in % of classes 1..13 (0 where it prints
# "-"), then its mIoU and mF1.
PAPER = {
    "AB DeepLabv3": ([0.31, 9.54, 56.58, 35.86, 0, 25.35, 53.28, 0, 1.69, 62.85, 0.59, 0, 0], 12.64, 18.93),
    "AB SegNet": ([18.53, 3.00, 58.08, 39.88, 5.72, 0.33, 58.34, 0, 34.91, 34.20, 1.60, 0, 0], 12.65, 19.59),
    "AB FastFCN": ([24.24, 13.00, 60.75, 41.48, 6.30, 16.21, 48.01, 0, 8.02, 51.47, 0.39, 0, 0], 13.33, 20.76),
    "AB AdaptSeg": ([22.96, 13.61, 66.00, 42.99, 6.90, 19.11, 48.47, 0, 0.83, 53.43, 11.23, 0, 0], 14.30, 21.96),
    "AB DSAN": ([12.20, 5.80, 71.66, 26.15, 15.96, 24.38, 55.85, 0, 21.49, 65.72, 17.64, 0, 0], 16.33, 24.37),
    "AB DualHR": ([38.49, 20.98, 62.73, 48.13, 17.72, 18.01, 61.14, 0, 0.23, 53.52, 2.34, 0, 0], 16.49, 24.87),
    "AB SegFormer": ([37.45, 0.79, 69.84, 57.98, 22.32, 26.56, 53.91, 0, 35.97, 70.87, 5.06, 0, 0], 20.16, 29.29),
    "AB HighDAN": ([52.06, 21.35, 72.52, 62.37, 21.95, 33.41, 65.92, 1.17, 37.87, 74.35, 14.51, 0, 0], 24.76, 35.19),
    "BW DeepLabv3": ([50.42, 16.30, 33.75, 2.48, 1.70, 8.97, 0, 0, 0, 1.68, 0.72, 0, 0], 5.45, 8.92),
    "BW SegNet": ([37.87, 6.17, 34.86, 1.87, 1.36, 2.23, 16.23, 1.57, 0, 13.31, 0, 0, 0], 5.17, 8.88),
    "BW FastFCN": ([45.39, 2.38, 38.44, 27.63, 0.86, 8.83, 0, 0, 0, 4.14, 0, 0, 0], 5.96, 9.82),
    "BW AdaptSeg": ([59.57, 17.05, 25.06, 32.77, 1.94, 8.99, 9.11, 0.30, 0, 32.98, 0, 0, 0], 8.92, 14.44),
    "BW DSAN": ([0, 0, 42.08, 25.68, 1.22, 9.55, 25.37, 0, 0, 46.85, 0, 0, 0], 7.09, 11.60),
    "BW DualHR": ([60.51, 0.29, 0.76, 24.19, 0.26, 4.19, 0, 0, 0, 32.70, 0.22, 0.33, 0.01], 6.17, 9.53),
    "BW SegFormer": ([78.49, 0.05, 30.90, 20.38, 2.52, 10.79, 18.01, 1.77, 0, 38.72, 10.48, 0.01, 0.01], 10.89, 16.32),
    "BW HighDAN": ([78.37, 0.58, 40.04, 43.67, 1.67, 9.28, 0.43, 0.10, 0, 47.22, 0.26, 0, 0], 11.92, 17.69),
}
CLASSES_GIVE = {"BW HighDAN": (11.90, 17.05), "BW DualHR": (6.14, 9.50)}  # where class scores and means disagree


@pytest.mark.parametrize("column", PAPER)
def test_dataset_paper_prints_macro_means_over_13_classes(column):
    f1, *printed = PAPER[column]
    miou, mf1 = CLASSES_GIVE.get(column, printed)
    counts = np.zeros((13, 14), np.int64)
    # TP = F and 2 (1 - F) misses give F1 = 2 TP / (2 TP + misses) = F.
    np.fill_diagonal(counts, np.round(np.array(f1) * 1e4).astype(np.int64))
    counts[:, -1] = 2 * (1_000_000 - np.diag(counts))
    result = scores(Confusion(IDS, counts), "all13")
    assert [100 * v for v in result.f1] == pytest.approx(f1, abs=1e-9)
    assert 100 * result.miou == pytest.approx(miou, abs=0.0101)
    assert 100 * result.mf1 == pytest.approx(mf1, abs=0.0101)
