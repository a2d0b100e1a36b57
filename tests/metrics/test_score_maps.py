"""Counting files: alignment by georeference, tiles by number, streaming, bad input."""

import numpy as np
import pytest

from c2seg.errors import DataError, GridError, InputError
from c2seg.legend import LandClass, Legend, c2seg13
from c2seg.metrics import Confusion, ReferenceCode, confusion_counts, count_maps, find_tiles, pair_maps
from c2seg.metrics.maps import run_strips

CODE = ReferenceCode(c2seg13())
IDS = c2seg13().ids


def count(prediction, reference, code=CODE, protocol="challenge", **options):
    pairs = pair_maps(prediction, reference, legend=code.legend, label_map=code.label_map, **options)
    blocks = count_maps(pairs, protocol=protocol, workers=2)
    return sum(blocks[1:], blocks[0])


def test_files_equal_arrays(write_raster, maps):
    reference, prediction = maps
    paths = write_raster("p.tif", prediction), write_raster("t.tif", reference)
    assert count(*paths) == confusion_counts(reference, prediction, IDS)


@pytest.mark.parametrize("block_px", [1, 7, 64, 1000])
def test_blocks_sum_to_the_whole(write_raster, maps, block_px):
    reference, prediction = maps
    pairs = pair_maps(write_raster("p.tif", prediction), write_raster("t.tif", reference))
    blocks = count_maps(pairs, block_px=block_px, workers=2)
    assert len(blocks) == -(-90 // block_px) * -(-70 // block_px)
    assert sum(blocks, Confusion.empty(IDS)) == confusion_counts(reference, prediction, IDS)


def test_many_strips_give_the_same(write_raster, maps, monkeypatch):
    monkeypatch.setattr("c2seg.metrics.maps._STRIP_PX", 1)
    reference, prediction = (np.tile(m, (8, 1)) for m in maps)
    pairs = pair_maps(write_raster("p.tif", prediction), write_raster("t.tif", reference))
    seen = []
    blocks = count_maps(pairs, workers=3, progress=lambda done, total, text="": seen.append((done, total)))
    assert len(blocks) == 3
    assert seen[-1] == (720 * 70, 720 * 70)
    assert sum(blocks, Confusion.empty(IDS)) == confusion_counts(reference, prediction, IDS)


def test_folders_of_tiles_equal_the_whole(write_raster, maps):
    reference, prediction = maps
    names = ["{}_prediction.tif", "{}.tif", "{}.tiff", "00{}.tif", "{}.png"]
    for i, row in enumerate(range(0, 90, 10)):
        crs = None if names[i % 5].endswith("png") else "EPSG:32633"
        write_raster(f"pred/{names[i % 5].format(i)}", prediction[row : row + 10], crs=crs, origin=(row, 0))
        write_raster(f"reference/{i}.tiff", reference[row : row + 10], origin=(row, 0))
    folder = write_raster("reference/8.tiff", reference[80:90], origin=(80, 0)).parent.parent
    assert count(folder / "pred", folder / "reference") == confusion_counts(reference, prediction, IDS)
    assert list(find_tiles(folder / "pred")) == [str(i) for i in range(9)]
    (folder / "pred/7.tiff").unlink()
    with pytest.raises(DataError, match="lacks the predictions of tiles 7"):
        pair_maps(folder / "pred", folder / "reference")
    write_raster("pred/07.tif", prediction[:10])
    write_raster("pred/9_prediction.tif", prediction[:10])
    with pytest.raises(DataError, match="lacks the references of tiles 9"):
        pair_maps(folder / "pred", folder / "reference")
    write_raster("pred/9.tif", prediction[:10])
    with pytest.raises(DataError, match="two files for tile 9"):
        pair_maps(folder / "pred", folder / "reference")


def test_tiles_out_of_place_are_refused(write_raster, maps):
    reference, prediction = maps
    folder = write_raster("reference/0.tif", reference[:10]).parent.parent
    write_raster("pred/0.tif", prediction[:10], origin=(500, 0))
    with pytest.raises(GridError, match="do not overlap"):
        count(folder / "pred", folder / "reference")
    write_raster("pred/0.tif", prediction[:11], crs=None)
    with pytest.raises(GridError, match="sizes must be equal"):
        count(folder / "pred", folder / "reference")


def test_georeferenced_maps_are_aligned(write_raster, maps):
    reference, prediction = maps
    reference_path = write_raster("t.tif", reference)
    shifted = write_raster("p.tif", prediction[5:40, 10:30], origin=(5, 10))
    expected = np.zeros_like(prediction)
    expected[5:40, 10:30] = prediction[5:40, 10:30]
    assert count(shifted, reference_path) == confusion_counts(reference, expected, IDS)
    larger = write_raster("l.tif", np.pad(prediction, 4, constant_values=2), origin=(-4, -4))
    assert count(larger, reference_path) == confusion_counts(reference, prediction, IDS)
    coarse = write_raster("c.tif", prediction[:12, :9], origin=(-2, 3), step=50.0)
    expected = np.zeros((200, 200), np.uint8)
    expected[:60, 3:48] = prediction[:12, :9].repeat(5, 0).repeat(5, 1)
    expected = expected[2:92, :70]
    assert count(coarse, reference_path) == confusion_counts(reference, expected, IDS)


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ({"crs": "EPSG:32632"}, "different CRS"),
        ({"origin": (0.5, 0)}, "pixel edges are shifted"),
        ({"origin": (900, 0)}, "do not overlap"),
        ({"step": 7.0}, "integer multiple"),
    ],
)
def test_misfits_are_refused(write_raster, maps, place, words):
    reference, prediction = maps
    with pytest.raises(GridError, match=words):
        count(write_raster("p.tif", prediction, **place), write_raster("t.tif", reference))


def test_without_georeference_sizes_decide(write_raster, maps):
    reference, prediction = maps
    plain = write_raster("p.tif", prediction, crs=None)
    assert count(plain, write_raster("t.tif", reference, crs=None)) == confusion_counts(reference, prediction, IDS)
    assert count(plain, write_raster("g.tif", reference)) == confusion_counts(reference, prediction, IDS)
    with pytest.raises(GridError, match="sizes must be equal"):
        count(plain, write_raster("s.tif", reference[1:], crs=None))


def test_label_maps_types_and_nodata_of_the_reference(write_raster, maps):
    reference, prediction = maps
    expected = confusion_counts(reference, prediction, IDS)
    paths = write_raster("p.tif", prediction)
    mat = {v: k for k, v in c2seg13().label_maps["mat"].items()} | {255: 255}
    renumbered = np.vectorize(mat.get)(reference).astype(np.uint8)
    assert count(paths, write_raster("mat.tif", renumbered), ReferenceCode(c2seg13(), "mat")) == expected
    raw = {v: k for k, v in c2seg13().label_maps["china-raw"].items()} | {255: 255}
    codes = np.vectorize(raw.get)(reference).astype(np.int16)
    china = ReferenceCode(c2seg13(), "china-raw")
    assert count(paths, write_raster("raw.tif", codes), china) == expected
    assert count(paths, write_raster("rawn.tif", codes, nodata=-1), china) == expected
    assert count(paths, write_raster("f.tif", reference.astype(np.float32))) == expected
    gaps = np.where(reference == 0, np.float32(np.nan), reference)
    assert count(paths, write_raster("nan.tif", gaps, nodata=np.nan)) == expected
    moved = np.where(reference == 0, 77, reference).astype(np.uint8)
    assert count(paths, write_raster("n77.tif", moved, nodata=77)) == expected
    with pytest.raises(DataError, match=r"n88.tif: the ground truth contains values \[77\]"):
        count(paths, write_raster("n88.tif", moved))
    with pytest.raises(DataError, match=r"m88.tif: label values \[77\]"):
        count(paths, write_raster("m88.tif", moved), ReferenceCode(c2seg13(), "mat"))


def test_predictions_outside_the_legend(write_raster, maps):
    reference, prediction = maps
    reference_path = write_raster("t.tif", reference)
    wide = prediction.astype(np.int32)
    wide[3, 4], wide[5, 6], wide[7, 8] = 300, -1, 14
    outside = prediction.copy()
    outside[3, 4] = outside[5, 6] = outside[7, 8] = 99
    path = write_raster("p.tif", wide)
    assert count(path, reference_path, protocol="all13") == confusion_counts(reference, outside, IDS)
    with pytest.raises(DataError, match=r"p.tif contains values \[14, 255\] outside"):
        count(path, reference_path)
    nodata = np.where(prediction == 0, 255, prediction).astype(np.uint8)
    assert count(write_raster("n.tif", nodata, nodata=255), reference_path) == confusion_counts(
        reference, prediction, IDS
    )


def test_other_legends(write_raster):
    legend = Legend("three", tuple(LandClass(i, f"class {i}", "#112233") for i in (7, 40, 200)))
    reference = np.random.default_rng(0).choice(np.array([0, 7, 40, 200, 255], np.uint8), (20, 20))
    prediction = np.random.default_rng(1).choice(np.array([0, 7, 40, 200], np.uint8), (20, 20))
    counts = count(write_raster("p.tif", prediction), write_raster("t.tif", reference), ReferenceCode(legend))
    assert counts == confusion_counts(reference, prediction, (7, 40, 200))


def test_background_protocol_counts_reference_zero(write_raster, maps):
    reference, prediction = maps
    counts = count(write_raster("p.tif", prediction), write_raster("t.tif", reference), protocol="mrsn")
    assert counts == confusion_counts(reference, prediction, (0, *IDS))


def test_valid_raster_and_city_folder(write_raster, maps):
    reference, prediction = maps
    valid = (np.arange(90)[:, None] + np.arange(70)) % 3 > 0
    city = write_raster("city/label.tif", reference).parent
    path = write_raster("p.tif", prediction)
    mask = write_raster("v.tif", valid.astype(np.uint8))
    assert count(path, city, valid=mask) == confusion_counts(
        np.where(valid, reference, 0).astype(np.uint8), prediction, IDS
    )
    tiles = write_raster("tiles/0.tif", reference).parent
    with pytest.raises(InputError, match="single map"):
        pair_maps(tiles, tiles, valid=mask)


def test_bad_input_names_the_file(write_raster, maps, tmp_path):
    reference, _ = maps
    path = write_raster("t.tif", reference)
    (tmp_path / "empty").mkdir()
    for prediction, expected, words in (
        (tmp_path / "none.tif", path, "none.tif does not exist"),
        (path, tmp_path / "empty", "empty is an empty folder"),
        (tmp_path / "empty", path, "is a folder of tiles but the ground truth"),
        (tmp_path / "empty", tmp_path / "empty", "empty is an empty folder"),
    ):
        with pytest.raises(DataError, match=words):
            pair_maps(prediction, expected)
    damaged = write_raster("d.tif", np.random.default_rng(0).integers(0, 14, (300, 300), dtype=np.uint8))
    damaged.write_bytes(damaged.read_bytes()[:50_000])
    with pytest.raises(DataError, match=r"d\.tif"):
        count(damaged, write_raster("u.tif", np.ones((300, 300), np.uint8)))


def test_no_file_stays_open(write_raster, maps):
    reference, prediction = maps
    pairs = pair_maps(write_raster("p.tif", prediction), write_raster("t.tif", reference))
    jobs = [(pairs[0], pairs[0].reference.raster.grid.window)]
    open_files = [
        dict(pairs[0].reference.raster._local.__dict__)
        for _ in run_strips(lambda pair, window: 1, jobs, 1, lambda *_: None)
    ]
    assert open_files == [{}]
