"""Small areas are merged, streets and nodata are left alone, and a map that goes on is cleaned once."""

from __future__ import annotations

import json

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.image import imread
from scipy.ndimage import binary_dilation, label
from test_engine import Identity, scene_of
from test_mapping import DiesAt

import c2seg.predict.cleanup as cleaning
import c2seg.predict.publish as publish
from c2seg.artifacts import MapKey, MapRecord
from c2seg.cli import run
from c2seg.errors import C2SegError, InputError
from c2seg.gis import write_preview
from c2seg.legend import LandClass, Legend, c2seg13
from c2seg.pipeline import fit
from c2seg.predict import MapOptions, WindowPlan, predict_scene
from c2seg.predict.cleanup import Cleanup, clean_rows, requested_cleanup, sieved
from c2seg.raster import CheckedRaster, RasterFile
from c2seg.recipes import load_recipe

LEGEND = Legend(
    "three", (LandClass(2, "Water", "#0000FF"), LandClass(5, "Street network", "#00FF00"), LandClass(9, "Fields", "#FF0000"))
)  # fmt: skip
WATER, STREET, FIELDS = LEGEND.classes
PLAN = WindowPlan(70, 50, 16, 4)


def rows_of(ids):
    return lambda first, last: ids[first:last]


def clean(ids, min_area_px, kept=()):
    return clean_rows(rows_of(ids), ids.shape, Cleanup(min_area_px, kept))


def scene_ids():
    """Fields and water with specks of both, streets one pixel wide, nodata with a speck inside."""
    ids = np.full((70, 50), 9, np.uint8)
    ids[40:] = 2
    rng = np.random.default_rng(0)
    specks = rng.random(ids.shape) < 0.02
    ids[specks] = 11 - ids[specks]
    ids[:, 25] = ids[20] = 5
    ids[5, 5] = 5
    ids[50:60, :20] = 0
    ids[55, 10] = 2
    return ids


def build(ids=None):
    ids = scene_ids() if ids is None else ids
    chance = np.where(ids == np.array(LEGEND.ids)[:, None, None], 0.8, 0.1).astype(np.float32)
    return scene_of(chance, valid=ids != 0), Identity()


def map_to(path, predictor=None, **options):
    reader, identity = build()
    return predict_scene(
        reader, predictor or identity, PLAN, LEGEND, MapOptions(path, **options), MapKey(model="m"), build=build
    )


def read(path):
    with rasterio.open(path) as dataset:
        return dataset.read(1)


def test_specks_go_and_areas_of_the_least_size_stay():
    ids = np.full((20, 20), 9, np.uint8)
    ids[3, 3] = 2
    ids[8, 8:11] = 2
    ids[12:14, 12:14] = 2
    expected = np.where(np.arange(20)[:, None] >= 12, ids, 9)
    found = clean(ids, 4)
    np.testing.assert_array_equal(found.ids, expected)
    assert found.changed_pixels == 4
    assert found.counts[2] == 4
    assert found.counts[9] == 396


def test_pixels_that_touch_at_a_corner_are_one_area():
    ids = np.full((9, 9), 9, np.uint8)
    np.fill_diagonal(ids, 2)
    np.testing.assert_array_equal(clean(ids, 9).ids, ids)
    assert (clean(ids, 10).ids == 9).all()


def test_the_largest_neighbor_takes_it_over_a_small_one_as_well():
    ids = np.full((12, 12), 9, np.uint8)
    ids[:, 8:] = 2
    ids[4, 7], ids[4, 6] = 5, 3
    assert (clean(ids, 3).ids[4] == [9] * 8 + [2] * 4).all()


def test_kept_classes_neither_lose_nor_gain():
    ids = scene_ids()
    found = clean(ids, 10, (STREET,))
    np.testing.assert_array_equal(found.ids == 5, ids == 5)
    np.testing.assert_array_equal(found.ids == 0, ids == 0)
    np.testing.assert_array_equal(np.bincount(found.ids.ravel(), minlength=256), found.counts)
    assert found.changed_pixels == (found.ids != ids).sum() > 20
    assert found.ids[55, 10] == 2  # alone in nodata: it has no neighbor
    assert (clean(ids, 10).ids[5, 5]) == 9


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(1, 24), width=st.integers(1, 24), least=st.integers(2, 60), ids=st.integers(2, 5),
    coarse=st.integers(1, 4), seed=st.integers(0, 99), rows=st.sampled_from([1, 7, 512]),
)  # fmt: skip
def test_small_areas_take_the_class_of_their_largest_neighbor(height, width, least, ids, coarse, seed, rows):
    values = np.random.default_rng(seed).integers(0, ids, (height, width)).astype(np.uint8)
    values = values.repeat(coarse, 0).repeat(coarse, 1)[:height, :width]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(cleaning, "_ROWS", rows)
        found = clean(values, least, (LandClass(1, "kept", "#000000"),))
    for fixed in (0, 1):
        np.testing.assert_array_equal(found.ids == fixed, values == fixed)
    np.testing.assert_array_equal(np.bincount(found.ids.ravel(), minlength=256), found.counts)
    assert found.changed_pixels == (found.ids != values).sum()
    corners = np.ones((3, 3))
    areas = []
    for value in range(2, ids):
        numbered, count = label(values == value, corners)
        areas += [(value, numbered == number) for number in range(1, count + 1)]
    for value, area in areas:
        after = np.unique(found.ids[area])
        assert len(after) == 1
        if area.sum() >= least:
            assert after[0] == value
            continue
        near = binary_dilation(area, corners) & ~area
        sizes = [(int(other.sum()), number) for number, other in areas if (near & other).any()]
        largest = max(sizes, default=(0, 0))[0]
        if largest >= least:
            assert (largest, after[0]) in sizes


def test_an_area_larger_than_the_map_leaves_it_alone():
    ids = scene_ids()
    np.testing.assert_array_equal(clean(ids, ids.size + 1).ids, ids)


def test_the_input_of_the_filter_is_not_changed_and_memory_that_runs_out_is_told(monkeypatch):
    ids = scene_ids()
    before = ids.copy()
    assert (sieved(ids, 10) != ids).any()
    np.testing.assert_array_equal(ids, before)
    monkeypatch.setattr(cleaning, "sieve", lambda *_args, **_kwargs: None)
    with pytest.raises(C2SegError, match="out of memory"):
        sieved(ids, 10)


def test_which_classes_are_kept():
    def kept(keep, legend=LEGEND):
        return requested_cleanup(4, keep, legend).excluded

    assert kept(None) == (STREET,)
    assert [item.name for item in kept(None, c2seg13())] == ["Street"]
    assert kept(None, Legend("none", (WATER, LandClass(3, "Broadleaf", "#000000")))) == ()
    assert kept(()) == ()
    assert kept(("fields", "2", "2")) == (WATER, FIELDS)
    assert requested_cleanup(None, None, LEGEND) is None
    with pytest.raises(InputError, match=r"`min_area_keep`: unknown class 'Feilds'\. Did you mean 'Fields'\?"):
        kept(("Feilds",))
    with pytest.raises(InputError, match="at least 2, found 1"):
        requested_cleanup(1, None, LEGEND)
    with pytest.raises(InputError, match="give `min_area_px`"):
        requested_cleanup(None, ("Water",), LEGEND)


def test_the_map_its_numbers_and_its_preview_are_cleaned_and_the_layers_are_not(tmp_path):
    plain = map_to(tmp_path / "plain.tif", confidence=tmp_path / "pc.tif", runner_up=tmp_path / "ps.tif")
    np.testing.assert_array_equal(read(tmp_path / "plain.tif"), scene_ids())
    layers = {"confidence": tmp_path / "c.tif", "runner_up": tmp_path / "s.tif", "preview": tmp_path / "map.png"}
    result = map_to(tmp_path / "map.tif", min_area_px=10, **layers)
    found = read(tmp_path / "map.tif")
    np.testing.assert_array_equal(found, clean(scene_ids(), 10, (STREET,)).ids)
    assert (result.pixels, result.nodata_pixels) == (plain.pixels, plain.nodata_pixels)
    for item in LEGEND.classes:
        assert result.class_pixels[item.name] == (found == item.id).sum()
    changed = int((found != scene_ids()).sum())
    noted = {"min_area_px": 10, "connectivity": 8, "kept": ["Street network"], "changed_pixels": changed}
    assert json.loads((tmp_path / "map.json").read_text())["cleanup"] == noted
    assert "clean" in result.stages
    for name in ("c.tif", "s.tif"):
        assert (tmp_path / name).read_bytes() == (tmp_path / f"p{name}").read_bytes()
    for name in ("map", "plain"):
        place = RasterFile(tmp_path / f"{name}.tif").grid
        write_preview(
            tmp_path / f"{name}-shown.png", tmp_path / f"{name}.tif", place, LEGEND, title="Land cover of map"
        )
    assert (imread(layers["preview"]) == imread(tmp_path / "map-shown.png")).all()
    assert not np.array_equal(imread(tmp_path / "map-shown.png"), imread(tmp_path / "plain-shown.png"))


@pytest.mark.slow
def test_stops_and_workers_do_not_change_the_bytes(tmp_path, monkeypatch):
    map_to(tmp_path / "whole.tif", min_area_px=10)
    whole = (tmp_path / "whole.tif").read_bytes()
    map_to(tmp_path / "two.tif", min_area_px=10, workers=2)
    assert (tmp_path / "two.tif").read_bytes() == whole
    path = tmp_path / "map.tif"
    for calls in (1, 5):
        with pytest.raises(KeyboardInterrupt):
            map_to(path, DiesAt(calls), min_area_px=10)

    def interrupted(*_args, **_kwargs):
        raise KeyboardInterrupt

    for module, name in ((cleaning, "sieve"), (publish, "write_map"), (CheckedRaster, "verify")):
        with monkeypatch.context() as patched:
            patched.setattr(module, name, interrupted)
            with pytest.raises(KeyboardInterrupt):
                map_to(path, min_area_px=10)
        assert not path.exists()
    predictor = Identity()
    result = map_to(path, predictor, min_area_px=10)
    assert predictor.calls == 0
    assert result.resumed_strips == len(PLAN.rows)
    assert path.read_bytes() == whole
    assert result.cleanup.changed_pixels > 0


@pytest.mark.parametrize("other", [{}, {"min_area_px": 9}, {"min_area_px": 10, "min_area_keep": ()}])
def test_other_options_do_not_go_on_with_a_stopped_run(tmp_path, other):
    path = tmp_path / "map.tif"
    with pytest.raises(KeyboardInterrupt):
        map_to(path, DiesAt(10), min_area_px=10)
    assert map_to(path, **other).resumed_strips == 0


def test_without_the_option_nothing_changes(tmp_path):
    result = map_to(tmp_path / "map.tif")
    np.testing.assert_array_equal(read(tmp_path / "map.tif"), scene_ids())
    assert MapRecord.read(tmp_path / "map.json").cleanup is None
    assert set(result.stages) == {"read", "predict", "blend", "write", "publish"}


@pytest.mark.slow
def test_the_command(make_city, tmp_path, capsys):
    recipe = ["model.trees=10", "validation.folds=0", "prediction.window_px=24"]
    fit(load_recipe("forest", "tiny", recipe), [make_city("source", seed=1)], tmp_path / "run")
    city, out = make_city("target", seed=2, valid=True), tmp_path / "map.tif"
    command = ["predict", str(tmp_path / "run" / "model.safetensors"), str(city), "--out"]
    assert run([*command, str(tmp_path / "plain.tif"), "--quiet"]) == 0
    plain = read(tmp_path / "plain.tif")
    capsys.readouterr()
    few = [*command, str(out), "--min-area-px", "12"]
    for keep in (["--min-area-keep", "Forest"], ["--min-area-keep", "none", "--min-area-keep", "Street"]):
        assert run([*few, *keep]) == 2
        error = capsys.readouterr().err
        assert "--min-area-keep: unknown class" in error
        assert len(error.splitlines()) == 1
    assert run([*command, str(out), "--min-area-keep", "Forests"]) == 2
    assert run([*command, str(out), "--min-area-px", "1"]) == 2
    assert not out.exists()
    capsys.readouterr()
    assert run([*few, "--min-area-keep", "Forests", "--min-area-keep", "3"]) == 0
    assert "areas below 12 pixels merged" in capsys.readouterr().err
    found, written = read(out), json.loads((tmp_path / "map.json").read_text())
    kept = tuple(item for item in c2seg13().classes if item.id in (3, 10))
    expected = clean(plain, 12, kept)
    np.testing.assert_array_equal(found, expected.ids)
    assert written["cleanup"]["changed_pixels"] == expected.changed_pixels
    assert written["key"]["cleanup"]["kept"] == ["Urban fabric", "Forests"]
    assert run([*few, "--min-area-keep", "none", "--overwrite", "--quiet", "--workers", "2"]) == 0
    np.testing.assert_array_equal(read(out), clean(plain, 12).ids)
    assert (read(out) != plain).any()
