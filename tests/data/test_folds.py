from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from c2seg.data import BlockFolds
from c2seg.errors import InputError
from c2seg.types import Window

FOLDS = st.integers(2, 9)
BLOCK = st.integers(3, 17)


@given(FOLDS, BLOCK, st.integers(1, 60), st.integers(1, 60))
def test_every_pixel_is_tested_in_exactly_one_fold(folds: int, block: int, height: int, width: int) -> None:
    plan = BlockFolds(folds, block)
    whole = plan.fold(Window(0, 0, height, width))
    tested = sum((whole == fold).astype(int) for fold in range(folds))
    assert (tested == 1).all()
    # a window sees the same folds as the whole
    part = Window(height // 3, width // 4, height - height // 3, width - width // 4)
    assert np.array_equal(plan.fold(part), whole[part.slices])


@given(FOLDS, BLOCK, st.data())
def test_training_keeps_more_than_the_guard_from_tested_pixels(folds: int, block: int, data: st.DataObject) -> None:
    guard = data.draw(st.integers(0, block - 1))
    plan = BlockFolds(folds, block, guard)
    margin = guard + 1
    window = Window(margin, margin, 40, 40)
    around = plan.fold(window.expand(margin))
    for fold in range(folds):
        near = np.zeros((40, 40), bool)
        for row in range(-guard, guard + 1):
            for col in range(-guard, guard + 1):
                near |= around[margin + row : margin + row + 40, margin + col : margin + col + 40] == fold
        assert np.array_equal(plan.training(window, fold), ~near)


@given(FOLDS, BLOCK)
def test_blocks_that_share_an_edge_are_never_of_one_fold(folds: int, block: int) -> None:
    blocks = BlockFolds(folds, block).fold(Window(0, 0, block * 12, block * 12))[::block, ::block]
    assert (blocks[1:] != blocks[:-1]).all()
    assert (blocks[:, 1:] != blocks[:, :-1]).all()


@pytest.mark.parametrize(("folds", "block", "guard"), [(1, 8, 0), (4, 8, 8), (4, 8, -1)])
def test_impossible_plans_are_refused(folds: int, block: int, guard: int) -> None:
    with pytest.raises(InputError):
        BlockFolds(folds, block, guard)
