from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from c2seg.data.tiling import TileGrid
from c2seg.errors import InputError
from c2seg.predict import WindowPlan
from c2seg.predict.plan import suitable_plan, taper, window_plan
from c2seg.recipes.schema import Prediction


@st.composite
def plans(draw):
    snap = draw(st.sampled_from([1, 2, 3, 8]))
    window = snap * draw(st.integers(1, 6))
    overlap = draw(st.integers(0, window - snap))
    return WindowPlan(draw(st.integers(1, 70)), draw(st.integers(1, 70)), window, overlap, snap)


@given(plans())
def test_every_pixel_is_covered_and_offsets_snap(plan: WindowPlan):
    height, width = plan.window_hw
    covered = np.zeros((plan.height, plan.width), int)
    for index in range(len(plan.rows)):
        for window in plan.windows(index):
            assert window.row % plan.snap_px == window.col % plan.snap_px == 0
            assert (window.height, window.width) == (height, width)
            covered[window.row : window.row_end, window.col : window.col_end] += 1
    assert covered.min() >= 1
    assert plan.rows[-1] + height - plan.height < plan.snap_px
    assert plan.cols[-1] + width - plan.width < plan.snap_px


@given(plans())
def test_strips_tile_the_rows(plan: WindowPlan):
    rows = [row for first, last in plan.strips for row in range(first, last)]
    assert rows == list(range(plan.height))


@given(plans())
def test_neighbors_share_at_least_the_overlap(plan: WindowPlan):
    for offsets, size in ((plan.rows, plan.window_hw[0]), (plan.cols, plan.window_hw[1])):
        for first, second in pairwise(offsets):
            assert first < second
            assert first + size - second >= plan.overlap_px


@given(plans())
def test_weight_sums_are_those_of_the_windows(plan: WindowPlan):
    total = np.zeros((plan.height + plan.window_px, plan.width + plan.window_px))
    height, width = plan.window_hw
    weight = np.outer(taper(height, plan.overlap_px), taper(width, plan.overlap_px))
    for index in range(len(plan.rows)):
        for window in plan.windows(index):
            total[window.row : window.row_end, window.col : window.col_end] += weight
    rows, cols = plan.weight_sums()
    np.testing.assert_allclose(np.outer(rows, cols), total[: plan.height, : plan.width], rtol=1e-5)


def test_the_published_tile_grids():
    for (height, width, size, overlap), count in {
        (886, 1360, 128, 64): 273, (2465, 811, 128, 0): 140, (13474, 8706, 256, 128): 7140, (6225, 8670, 256, 0): 850,
    }.items():  # fmt: skip
        plan = WindowPlan(height, width, size, overlap)
        assert len(plan.rows) * len(plan.cols) == count


def test_wrong_plans_are_refused():
    with pytest.raises(InputError, match="multiple of 8"):
        WindowPlan(100, 100, 20, 0, 8)
    with pytest.raises(InputError, match="leaves no step"):
        WindowPlan(100, 100, 16, 12, 8)


@pytest.mark.parametrize(("height", "width", "count"), [(2465, 811, 140), (2456, 811, 140)])
def test_windows_as_tiles_are_those_of_the_release(height, width, count):
    """Berlin's, by a network of stride 32, whose usual windows overhang the last row."""
    scene = SimpleNamespace(grid=SimpleNamespace(height=height, width=width))
    network = SimpleNamespace(stride_px=32)
    tiles = TileGrid(height, width, 128, 128, order="rows")
    plan = window_plan(scene, Prediction(window_px=128, windows="tiles", overlap_px=43), network)
    windows = [window for row in range(len(plan.rows)) for window in plan.windows(row)]
    assert windows == list(tiles.windows())
    assert len(windows) == count
    usual = window_plan(scene, Prediction(window_px=128, overlap_px=0), network)
    assert usual.rows[-1] + 128 > height
    small = SimpleNamespace(grid=SimpleNamespace(height=100, width=811))
    assert window_plan(small, Prediction(window_px=128, windows="tiles"), network).window_hw == (128, 128)


@given(st.integers(8, 300), st.integers(0, 100), st.sampled_from([1, 8, 32, 48]))
def test_any_window_of_the_settings_suits_any_stride(window_px, overlap_px, stride):
    settings = Prediction(window_px=window_px, overlap_px=min(overlap_px, window_px - 1))
    plan = suitable_plan(500, 400, settings, SimpleNamespace(stride_px=stride))
    assert plan.window_px % stride == 0
    assert window_px <= plan.window_px < settings.window_px + 2 * stride
    assert plan.overlap_px == settings.overlap
    if window_px % stride == 0 and settings.overlap + stride <= window_px:
        assert plan.window_px == window_px


def test_tiles_have_their_size_or_are_refused():
    scene = SimpleNamespace(grid=SimpleNamespace(height=300, width=300))
    settings = Prediction(window_px=100, windows="tiles")
    with pytest.raises(InputError, match=r"100 px\) must be a multiple of 8"):
        window_plan(scene, settings, SimpleNamespace(stride_px=8))
    assert window_plan(scene, settings, SimpleNamespace(stride_px=4)).window_px == 100
