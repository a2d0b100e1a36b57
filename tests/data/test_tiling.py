from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from c2seg.data.published import CITIES, city_of_tiles, published_means
from c2seg.data.splits import leak_report, published_split, random_split, third_place_split
from c2seg.data.tiling import TileGrid
from c2seg.errors import DataError, InputError
from c2seg.types import Window


@pytest.mark.parametrize(
    ("name", "rows", "cols", "count"),
    [("Augsburg", 13, 21, 273), ("Berlin", 20, 7, 140), ("Beijing", 105, 68, 7140), ("Wuhan", 25, 34, 850)],
)
def test_window_rule_gives_the_published_counts(name: str, rows: int, cols: int, count: int) -> None:
    for tiles in CITIES[name].tile_grids():
        assert (len(tiles.row_offsets), len(tiles.col_offsets), tiles.count) == (rows, cols, count)
        assert len(list(tiles.windows())) == count
    assert city_of_tiles(count, tiles.tile_px) is CITIES[name]


def test_last_windows_are_shifted_back() -> None:
    tiles = CITIES["Berlin"].tile_grids()[0]
    assert tiles.row_offsets[-2:] == (18 * 128, 2465 - 128)  # 95 rows of overlap
    assert tiles.col_offsets[-2:] == (5 * 128, 811 - 128)


def test_columns_are_the_outer_loop() -> None:
    windows = list(TileGrid(300, 200, 64, 32).windows())
    assert windows[:2] == [Window(0, 0, 64, 64), Window(32, 0, 64, 64)]
    by_rows = list(TileGrid(300, 200, 64, 32, "rows").windows())
    assert by_rows[:2] == [Window(0, 0, 64, 64), Window(0, 32, 64, 64)]
    assert set(windows) == set(by_rows)


@given(
    st.integers(1, 90), st.integers(1, 90), st.integers(1, 30), st.integers(1, 30), st.sampled_from(["columns", "rows"])
)
def test_tiles_cover_the_scene_and_cover_splits_windows(h: int, w: int, tile: int, step: int, order: str) -> None:
    if step > tile or min(h, w) < tile:
        with pytest.raises(DataError):
            TileGrid(h, w, tile, step)
        return
    tiles = TileGrid(h, w, tile, step, order)  # type: ignore[arg-type]
    places = list(tiles.windows())
    assert len(places) == tiles.count == len(set(places))
    for iy in range(len(tiles.row_offsets)):
        for ix in range(len(tiles.col_offsets)):
            assert places[tiles.index(iy, ix)] == tiles.place(iy, ix)
    window = Window(h // 3, w // 4, h - h // 3, w - w // 4)
    seen = np.zeros((h, w), int)
    for (iy, ix), part in tiles.cover(window):
        assert part.intersect(places[tiles.index(iy, ix)]) == part
        seen[part.slices] += 1
    assert (seen[window.slices] == 1).all()
    assert seen.sum() == window.height * window.width


def test_published_statistics_have_the_bands_of_the_datasets() -> None:
    for dataset, bands in (("C2Seg-AB", 242), ("C2Seg-BW", 116)):
        means = published_means(dataset)
        assert {name: len(mean) for name, (mean, _) in means.items()} == {"msi": 4, "sar": 2, "hsi": bands}
        assert all((std > 0).all() and len(std) == len(mean) for mean, std in means.values())
    assert published_means("C2Seg-AB")["sar"][0][1] == pytest.approx(-9.10781506)


# Team, city; tiles of training, of validation and left out; leaked pixels in percent.
RELEASED = [
    ("mrsn", "Augsburg", 245, 28, 0, 100.0),
    ("mrsn", "Beijing", 6426, 714, 0, 99.9),
    ("uda", "Augsburg", 238, 35, 0, 98.7),
    ("uda", "Beijing", 6385, 754, 1, 100.0),
]


@pytest.mark.parametrize(("team", "city", "training", "validation", "left_out", "leaked"), RELEASED)
def test_released_splits_leak(team, city, training, validation, left_out, leaked) -> None:
    grid = CITIES[city].tile_grids()[0]
    split = published_split(team, grid.count)
    assert (len(split.train), len(split.validation)) == (training, validation)
    assert len({*split.train, *split.validation}) == grid.count - left_out
    report = leak_report(split, grid)
    assert report.leaking_tiles == report.validation_tiles == validation
    assert round(100 * report.leaked_px / report.validation_px, 1) == leaked


def test_the_released_list_of_the_third_place_is_no_shuffle_of_ours() -> None:
    for count, common in ((273, 5), (7140, 66)):
        ours = random_split(count, count * 9 // 10, 0)
        assert len({*ours.validation} & {*published_split("mrsn", count).validation}) == common
    assert not third_place_split(100).is_released
    assert len(third_place_split(100).validation) == 10


def test_leaked_pixels_are_counted_once() -> None:
    # Three tiles of 4 px side by side, step 2: the middle one shares 2 columns with each neighbor.
    report = leak_report(random_split(3, 2, 0), TileGrid(4, 8, 4, 2))
    split = random_split(3, 2, 0)
    expected = {0: 8, 1: 16, 2: 8}[split.validation[0]]
    assert (report.validation_px, report.leaked_px, report.leaking_tiles) == (16, expected, 1)
    apart = leak_report(random_split(3, 2, 0), TileGrid(4, 12, 4, 4))
    assert (apart.leaked_px, apart.leaking_tiles) == (0, 0)


def test_unknown_splits_are_refused() -> None:
    with pytest.raises(InputError, match="Valid: "):
        published_split("mmglots", 273)
    with pytest.raises(InputError, match="not for 7141"):
        published_split("uda", 7141)
