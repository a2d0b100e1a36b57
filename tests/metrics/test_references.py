"""The reference of a score: what a city states of its labels holds, legends must agree, grids may differ by a whole ratio."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import yaml
from affine import Affine

import c2seg
from c2seg.data import write_folder
from c2seg.errors import C2SegError, DataError, InputError
from c2seg.legend import LandClass, Legend, c2seg13
from c2seg.metrics.pairs import pair_maps
from c2seg.metrics.references import open_references
from c2seg.raster import write_map
from c2seg.types import Grid
from helpers.odd_rasters import NORTH_UP, write_odd
from helpers.toy_cities import make_city

IDS = np.kron(np.random.default_rng(0).choice([1, 4, 8], (10, 15)), np.ones((2, 2))).astype(np.uint8)[None]
ROOFS = Legend("roofs", tuple(LandClass(i, name, "#112233") for i, name in ((1, "Roof"), (4, "Tree"), (8, "Soil"))))


def write_prediction(path, ids=IDS, legend=ROOFS):
    grid = Grid(*ids.shape[1:], NORTH_UP, __import__("rasterio").crs.CRS.from_epsg(32632).to_wkt())
    path.parent.mkdir(parents=True, exist_ok=True)
    write_map(path, lambda first, last: ids[:, first:last], grid, legend, overwrite=True)
    return path


def city(folder, truth, **content):
    write_odd(folder / "msi.tif", np.ones((2, 20, 30), np.uint16))
    write_odd(folder / "gt.tif", truth)
    (folder / "city.yaml").write_text(yaml.safe_dump({"modalities": {"msi": {"file": "msi.tif"}}, **content}))
    return folder


def test_a_citys_own_description_of_its_label_holds(tmp_path):
    plain = write_odd(tmp_path / "map.tif", IDS)
    (tmp_path / "city").mkdir()
    (tmp_path / "city/m.yaml").write_text("10: 1\n20: 4\n30: 8\n")
    renumbered = np.vectorize({1: 10, 4: 20, 8: 30}.get)(IDS).astype(np.uint8)
    folder = city(tmp_path / "city", renumbered, label={"file": "gt.tif", "label_map": "m.yaml"})
    assert c2seg.score(plain, folder).oa == 1
    assert c2seg.score(plain, folder / "gt.tif", label_map=str(folder / "m.yaml")).oa == 1
    with pytest.raises(DataError):
        c2seg.score(plain, folder, label_map="challenge")


def test_classes_are_named_by_the_map_or_by_the_city(tmp_path):
    roofs = write_prediction(tmp_path / "map.tif")
    truth = write_odd(tmp_path / "truth.tif", IDS)
    assert list(c2seg.score(roofs, truth).iou) == ["Roof", "Tree", "Soil"]
    (tmp_path / "city").mkdir()
    (tmp_path / "city/roofs.yaml").write_text(yaml.safe_dump(ROOFS.as_dict()))
    folder = city(tmp_path / "city", IDS, label="gt.tif", legend="roofs.yaml")
    assert list(c2seg.score(truth, folder).iou) == ["Roof", "Tree", "Soil"]
    assert c2seg.score(roofs, folder).oa == 1


def test_legends_that_differ_are_refused(tmp_path):
    (tmp_path / "city").mkdir()
    (tmp_path / "city/roofs.yaml").write_text(yaml.safe_dump(ROOFS.as_dict()))
    folder = city(tmp_path / "city", IDS, label="gt.tif", legend="roofs.yaml")
    water = write_prediction(tmp_path / "map.tif", legend=c2seg13())
    for reference, legend in ((folder, None), (folder / "gt.tif", ROOFS), (folder, c2seg13())):
        with pytest.raises(InputError, match="different legends"):
            c2seg.score(water, reference, legend=legend)
    assert c2seg.score(water, folder / "gt.tif").oa == 1


@pytest.mark.parametrize("on", ["reference", "map"])
def test_a_reference_may_be_coarser_or_finer(tmp_path, on):
    prediction = write_odd(tmp_path / "map.tif", IDS)
    coarse = write_odd(tmp_path / "coarse.tif", IDS[:, ::2, ::2], transform=NORTH_UP @ NORTH_UP.scale(2))
    fine = write_odd(tmp_path / "fine.tif", IDS.repeat(2, 1).repeat(2, 2), transform=NORTH_UP @ NORTH_UP.scale(0.5))
    pixels = {("coarse", "reference"): 150, ("coarse", "map"): 600, ("fine", "reference"): 2400, ("fine", "map"): 600}
    for reference in (coarse, fine):
        scores = c2seg.score(prediction, reference, on=on)
        assert scores.oa == 1
        assert scores.pixels == pixels[reference.stem, on]


def test_the_most_frequent_class_of_a_coarser_pixel_counts(tmp_path):
    ids = np.zeros((1, 4, 4), np.uint8)
    ids[0] = [[1, 1, 4, 4], [1, 4, 8, 8], [0, 0, 8, 0], [0, 8, 0, 0]]
    prediction = write_odd(tmp_path / "map.tif", ids)
    truth = np.array([[[1, 4], [8, 8]]], np.uint8)
    coarse = write_odd(tmp_path / "coarse.tif", truth, transform=NORTH_UP @ NORTH_UP.scale(2))
    scores = c2seg.score(prediction, coarse)
    # 1 of three 1 and one 4; 4 before the equally frequent 8; twice nothing, the most frequent
    assert scores.confusion.counts.sum(0)[[0, 3, 7, -1]].tolist() == [1, 1, 0, 2]
    assert scores.record.uncovered == 0.5
    assert "no class at 50.0% of the labeled pixels" in " ".join(scores.record.notes)


def test_masks_of_maps_and_references_count(tmp_path):
    half = np.arange(20)[:, None] * np.ones(30) >= 10
    masked = write_odd(tmp_path / "masked.tif", IDS, mask=half)
    whole = write_odd(tmp_path / "whole.tif", IDS)
    assert c2seg.score(whole, masked).pixels == 300
    assert c2seg.score(masked, whole).record.uncovered == 0.5


def test_maps_of_scenes_are_matched_by_name(tmp_path):
    for name in ("north", "south"):
        city(tmp_path / "city" / name, IDS if name == "north" else IDS[:, ::-1], label="gt.tif")
        write_odd(tmp_path / "maps" / f"{name}.tif", IDS)
    (tmp_path / "city/city.yaml").write_text("scenes: [north, south]\n")
    assert [item.scene for item in open_references(tmp_path / "city")] == ["north", "south"]
    pairs = pair_maps(tmp_path / "maps", tmp_path / "city")
    assert [(p.prediction.path.stem, p.reference.path.parent.name) for p in pairs] == [
        ("north", "north"),
        ("south", "south"),
    ]
    assert c2seg.score(tmp_path / "maps/north.tif", tmp_path / "city").oa == 1
    (tmp_path / "maps/south.tif").unlink()
    with pytest.raises(DataError, match="no map of the scenes south"):
        c2seg.score(tmp_path / "maps", tmp_path / "city")


def test_polygons_are_a_reference(tmp_path):
    pytest.importorskip("pyogrio")
    from helpers.polygons import write_polygons

    truth = write_polygons(tmp_path / "ref.geojson", field="kind", value=4)
    prediction = write_odd(tmp_path / "map.tif", np.full((1, 20, 30), 4, np.uint8))
    scores = c2seg.score(prediction, truth, label_field="kind")
    assert (scores.oa, scores.pixels) == (1, 100)
    with pytest.raises(C2SegError, match="unknown field 'class'"):
        c2seg.score(prediction, truth)


def test_swapped_arguments_are_recognized(tmp_path):
    prediction = write_odd(tmp_path / "map.tif", IDS)
    folder = city(tmp_path / "city", IDS, label="gt.tif")
    with pytest.raises(InputError, match="is a city; the map comes first"):
        c2seg.score(folder, prediction)
    with pytest.raises(InputError, match="is a city; the model comes first"):
        c2seg.load_model(folder)


def test_a_map_of_the_city_that_its_model_was_trained_on_says_so(make_city, tmp_path):
    source = make_city("source", seed=1)
    fast = ["model.trees=3", "validation.folds=0"]
    run = c2seg.fit("forest", source=source, target=source, out=tmp_path / "run", overrides=fast)
    assert any("nothing is adapted" in note for note in run.notes)
    c2seg.load_model(tmp_path / "run").predict(source, tmp_path / "map.tif")
    notes = c2seg.score(tmp_path / "map.tif", source).record.notes
    assert any("was trained on the labels of this city (source)" in note for note in notes)


@pytest.mark.parametrize("layout", ["tiles", "mat"])
def test_cities_in_other_layouts_hold_their_own_ground_truth(tmp_path, layout):
    toy = make_city()
    labels = toy.read_label(0, toy.images.scenes[0].grid.window)[None]
    grid = toy.images.scenes[0].grid
    write_folder(toy, tmp_path / "toy")
    city = c2seg.convert_city(
        tmp_path / "toy", tmp_path / "toy.mat" if layout == "mat" else tmp_path / "t", layout=layout
    )
    placed, plain = tmp_path / "placed.tif", tmp_path / "plain.tif"
    wrong = np.where(labels == 7, 8, labels).astype(np.uint8)
    for path, place in ((placed, grid), (plain, replace(grid, crs=None, transform=Affine.identity()))):
        write_map(path, lambda first, last: wrong[:, first:last], place, c2seg13(), overwrite=True)
    results = [c2seg.score(path, truth) for path in (placed, plain) for truth in (tmp_path / "toy", city)]
    assert len({result.miou for result in results}) == 1
    assert results[0].miou < 1
    by_rows = [result.record.matched_by == "rows and columns" for result in results]
    assert by_rows == [False, layout == "mat", True, True]
    noted = [any("no georeference" in note for note in result.record.notes) for result in results]
    assert noted == by_rows


def test_grids_of_other_sizes_need_a_crs_on_both_sides(tmp_path):
    plain = write_odd(tmp_path / "map.tif", IDS, crs=None)
    truth = write_odd(tmp_path / "truth.tif", IDS[:, 1:])
    with pytest.raises(c2seg.GridError, match="sizes must be equal"):
        c2seg.score(plain, truth)
