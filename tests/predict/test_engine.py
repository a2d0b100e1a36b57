from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st

from c2seg.data import Modality, Normalizer, Scene, SceneReader
from c2seg.data.city import Layer
from c2seg.predict import WindowPlan, predict_rows
from c2seg.predict.backends.ensemble import WeightedEnsemble
from c2seg.predict.backends.tta import AveragedTransforms
from c2seg.predict.engine import predict_parts
from c2seg.predict.memory import ArrayPool
from c2seg.predict.plan import taper
from c2seg.raster import ArrayRaster, GridRelation
from c2seg.types import Grid

CLASSES = 3


@dataclass
class Identity:
    """Scores are the bands themselves: mapping must give the input back."""

    halo_px: int = 0
    num_classes: int = CLASSES
    calls: int = 0

    def predict(self, patch, valid):
        self.calls += 1
        values = patch["msi"]
        end = values.shape[2] - self.halo_px, values.shape[3] - self.halo_px
        return values[:, :, self.halo_px : end[0], self.halo_px : end[1]]


def scene_of(array: np.ndarray, ratio: int = 1, offset=(0, 0), size=None, valid=None) -> SceneReader:
    height, width = size or (array.shape[1] * ratio, array.shape[2] * ratio)
    relation = GridRelation(ratio, *offset)
    stack = Modality(ArrayRaster(array), relation, "array", "msi")
    layer = Layer(ArrayRaster(valid[None].astype(np.uint8))) if valid is not None else None
    scene = Scene("scene", Grid(height, width, Affine.scale(10, -10)), {"msi": stack}, layer)
    plain = Normalizer({"msi": np.zeros(len(array), np.float32)}, {"msi": np.ones(len(array), np.float32)})
    return SceneReader(scene, ("msi",), plain)


def assemble(reader, predictor, plan, batch_size=1):
    grid = reader.scene.grid
    scores = np.full((CLASSES, grid.height, grid.width), np.nan, np.float32)
    valid = np.zeros((grid.height, grid.width), bool)
    for strip in predict_rows(reader, predictor, plan, batch_size=batch_size):
        scores[:, strip.first : strip.last] = strip.scores
        valid[strip.first : strip.last] = strip.valid
    return scores, valid


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(1, 40), width=st.integers(1, 40), snap=st.sampled_from([1, 2, 4]), windows=st.integers(1, 5),
    share=st.floats(0, 0.9), halo=st.integers(0, 3), batch=st.integers(1, 4), ratio=st.sampled_from([1, 2, 3]),
    seed=st.integers(0, 99),
)  # fmt: skip
def test_the_identity_predictor_gives_the_input_back(height, width, snap, windows, share, halo, batch, ratio, seed):
    rng = np.random.default_rng(seed)
    coarse = rng.random((CLASSES, -(-height // ratio) + 1, -(-width // ratio) + 1)).astype(np.float32)
    offset = (-int(rng.integers(ratio)), -int(rng.integers(ratio)))  # the coarse raster may overhang
    usable = rng.random((height, width)) < 0.8
    reader = scene_of(coarse, ratio, offset, (height, width), usable)
    window = snap * windows
    overlap = min(int(share * window), window - snap)
    scores, valid = assemble(reader, Identity(halo), WindowPlan(height, width, window, overlap, snap), batch)
    rows = (np.arange(height) - offset[0]) // ratio
    cols = (np.arange(width) - offset[1]) // ratio
    expected = coarse[:, rows[:, None], cols]
    np.testing.assert_array_equal(valid, usable)
    tolerance = 1e-6 if overlap else 0
    np.testing.assert_allclose(scores[:, usable], expected[:, usable], rtol=tolerance, atol=tolerance)


class Placed(Identity):
    """Scores differ from window to window, as those of a network do."""

    def predict(self, patch, valid):
        scores = super().predict(patch, valid)
        down, across = (np.linspace(0.5, 1.5, size, dtype=np.float32) for size in scores.shape[2:])
        return scores * down[:, None] * across


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(1, 40), width=st.integers(1, 40), snap=st.sampled_from([1, 2, 4]), windows=st.integers(1, 5),
    share=st.floats(0, 0.9), halo=st.integers(0, 2), batch=st.integers(1, 4), gaps=st.booleans(), seed=st.integers(0, 99),
)  # fmt: skip
def test_sums_have_the_bits_of_windows_added_one_after_the_other(
    height, width, snap, windows, share, halo, batch, gaps, seed
):
    rng = np.random.default_rng(seed)
    array = rng.random((CLASSES, height, width)).astype(np.float32)
    usable = np.kron(rng.random((8, 8)) < 0.4, np.ones((5, 5), bool))[:height, :width] if gaps else None
    window = snap * windows
    plan = WindowPlan(height, width, window, min(int(share * window), window - snap), snap)
    reader, predictor = scene_of(array, valid=usable), Placed(halo)
    row_weights, col_weights = plan.weight_sums()
    rows, cols = plan.window_hw
    weight = taper(rows, plan.overlap_px)[:, None] * taper(cols, plan.overlap_px)
    expected = np.zeros((CLASSES, plan.rows[-1] + rows, plan.cols[-1] + cols), np.float32)
    for place in (window for index in range(len(plan.rows)) for window in plan.windows(index)):
        patch, valid = reader(place.expand(halo))
        scores = predictor.predict({"msi": patch["msi"][None]}, valid[None])[0]
        if plan.overlap_px:
            expected[:, *place.slices] += scores * weight
        else:
            expected[:, *place.slices] = scores
    for strip in predict_rows(reader, predictor, plan, batch_size=batch):
        part = expected[:, strip.first : strip.last, :width]
        np.testing.assert_array_equal(strip.sums[:, strip.valid], part[:, strip.valid])
        assert np.isfinite(strip.scores).all()
        if plan.overlap_px:
            np.testing.assert_array_equal(strip.row_weights, row_weights[strip.first : strip.last])
            np.testing.assert_array_equal(strip.col_weights, col_weights)


def test_parts_of_a_strip_lie_train_in_parallel():
    reader = scene_of(np.ones((CLASSES, 30, 50), np.float32))
    plan = WindowPlan(30, 50, 16, 4)
    place = 0, 0
    for part in predict_parts(reader, Identity(), plan, batch_size=3):
        assert (part.index, part.col) == place
        assert part.sums.shape[1:] == part.valid.shape == (part.last - part.first, part.end - part.col)
        place = (part.index, part.end) if part.end < 50 else (part.index + 1, 0)
    assert place == (len(plan.rows), 0)


def test_a_strip_alone_has_the_bits_of_the_strip_in_sequence():
    rng = np.random.default_rng(1)
    array = rng.random((CLASSES, 97, 61)).astype(np.float32)
    usable = rng.random((97, 61)) < 0.3
    usable[20:60] = False
    reader = scene_of(array, valid=usable)
    plan = WindowPlan(97, 61, 24, 10)
    whole = {s.index: (s.scores.copy(), s.valid.copy()) for s in predict_rows(reader, Identity(), plan, batch_size=2)}
    for index in range(len(plan.rows)):
        alone = next(predict_rows(reader, Identity(), plan, batch_size=2, strips=range(index, index + 1)))
        np.testing.assert_array_equal(alone.scores, whole[index][0])
        np.testing.assert_array_equal(alone.valid, whole[index][1])


def test_windows_without_valid_pixels_are_not_predicted():
    array = np.ones((CLASSES, 32, 32), np.float32)
    usable = np.zeros((32, 32), bool)
    usable[:8, :8] = True
    predictor = Identity()
    _, valid = assemble(scene_of(array, valid=usable), predictor, WindowPlan(32, 32, 8, 0))
    assert predictor.calls == 1
    np.testing.assert_array_equal(valid, usable)


def test_nothing_valid_gives_an_empty_map():
    predictor = Identity()
    reader = scene_of(np.ones((CLASSES, 9, 9), np.float32), valid=np.zeros((9, 9), bool))
    _, valid = assemble(reader, predictor, WindowPlan(9, 9, 4, 1))
    assert predictor.calls == 0
    assert not valid.any()


def test_nan_is_never_valid():
    array = np.ones((CLASSES, 12, 12), np.float32)
    array[1, 5, 6] = np.nan
    scores, valid = assemble(scene_of(array), Identity(), WindowPlan(12, 12, 5, 2))
    assert not valid[5, 6]
    assert valid.sum() == 143
    assert np.isfinite(scores[:, valid]).all()


class Lending(Identity):
    """Lends its scores from a pool and spoils what comes back."""

    def __init__(self) -> None:
        super().__init__()
        self.pool, self.lent, self.returned = ArrayPool(), [], []

    def predict(self, patch, valid):
        scores = super().predict(patch, valid)
        array = self.pool.acquire(scores.shape)
        array[:] = scores
        self.lent.append(array)
        return array

    def release(self, scores):
        scores[:] = np.nan
        self.returned.append(scores)
        self.pool.release(scores)


@pytest.mark.parametrize(("overlap", "batch"), [(0, 1), (10, 1), (10, 3)])
def test_scores_go_back_once_when_nobody_looks_at_them_any_more(overlap, batch):
    rng = np.random.default_rng(1)
    array = rng.random((CLASSES, 97, 90)).astype(np.float32)
    usable = rng.random((97, 90)) < 0.3
    usable[20:60] = False
    reader = scene_of(array, valid=usable)
    plan = WindowPlan(97, 90, 24, overlap)
    plain, lending = Identity(), Lending()
    expected, valid = assemble(reader, plain, plan, batch)
    scores, seen = assemble(reader, lending, plan, batch)
    np.testing.assert_array_equal(scores[:, seen], expected[:, valid])
    assert lending.calls == plain.calls
    assert sorted(map(id, lending.lent)) == sorted(map(id, lending.returned))
    assert len({id(one) for one in lending.lent}) < lending.calls


def test_a_pool_lends_an_array_to_one_at_a_time_and_only_of_the_shape_asked_for():
    pool = ArrayPool()
    first, second = pool.acquire((2, 3)), pool.acquire((2, 3))
    assert first is not second
    pool.release(first)
    pool.release(first)  # a mistake that must not lend it twice
    third = pool.acquire((2, 3))
    assert third is first
    assert pool.acquire((2, 3)) is not first
    pool.release(third)
    assert pool.acquire((3, 2)).shape == (3, 2)
    assert third.dtype == np.float32


def test_predictors_of_several_give_back_what_they_were_lent():
    lending = [Lending(), Lending()]
    patch = {"msi": np.random.default_rng(0).random((2, CLASSES, 8, 8)).astype(np.float32)}
    valid = np.ones((2, 8, 8), bool)
    averaged = AveragedTransforms(lending[0]).predict(patch, valid)
    np.testing.assert_allclose(averaged, patch["msi"], rtol=1e-6)
    mean = WeightedEnsemble(tuple(lending), (0.25, 0.75)).predict(patch, valid)
    np.testing.assert_allclose(mean, patch["msi"], rtol=1e-6)
    for one in lending:
        assert len(one.lent) == len(one.returned) == one.calls
