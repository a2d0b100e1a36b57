"""Cities in other layouts: values and labels stay, what a layout cannot hold is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import c2seg
from c2seg.cli import run
from c2seg.data import open_city, open_labeled_city, write_folder, write_mat
from c2seg.legend import LandClass, Legend
from helpers.toy_cities import make_city


@pytest.fixture(scope="module")
def city(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cities") / "toy"
    write_folder(make_city(), folder)
    return folder


def same_city(one, other):
    """Assert that two labeled cities have the same pixels on the fine grid, valid ones alone."""
    first, second = (open_labeled_city(path) for path in (one, other))
    window = first.images.scenes[0].grid.window
    names = first.images.modality_names
    # A coarse cell that is partly valid is whole in a .mat file; all modalities together tell the pixels apart.
    valid, as_valid = (city.images.scenes[0].read_valid(names, window) for city in (first, second))
    np.testing.assert_array_equal(valid, as_valid)
    for name in names:
        a, b = (city.images.scenes[0].read(name, window)[0] for city in (first, second))
        np.testing.assert_array_equal(a[:, valid], b[:, valid])
    np.testing.assert_array_equal(first.read_label(0, window), second.read_label(0, window))


@pytest.mark.parametrize(("layout", "name"), [("tiles", "tiles"), ("mat", "toy.mat"), ("folder", "again")])
def test_a_round_trip_is_bit_identical(city, tmp_path, layout, name):
    options = ["--tile-px", "64", "--step-px", "48", "--order", "rows"] if layout == "tiles" else []
    assert run(["convert", str(city), str(tmp_path / name), "--layout", layout, *options, "--quiet"]) == 0
    same_city(city, tmp_path / name)
    c2seg.convert_city(tmp_path / name, tmp_path / "back", layout="folder")
    same_city(city, tmp_path / "back")


def test_tiles_to_tiles_keep_their_numbers(city, tmp_path):
    first = c2seg.convert_city(city, tmp_path / "a", layout="tiles", tile_px=64, step_px=32)
    second = c2seg.convert_city(first, tmp_path / "b", layout="tiles")
    files = sorted(path.relative_to(first) for path in first.rglob("*.tiff"))
    assert len(files) == 4 * open_city(first).scenes[0].tiles.count
    assert all((first / file).read_bytes() == (second / file).read_bytes() for file in files)


def test_a_mat_file_says_which_label_mapping_it_has(tmp_path):
    # A city of one class, without water: the images cannot tell the two label mappings of the release apart.
    toy = make_city()
    label = replace(toy.labels[0], source=replace(toy.labels[0].source, array=np.full((1, 150, 130), 5, np.uint8)))
    for hdf5 in (False, True):
        file = tmp_path / f"{hdf5}.mat"
        write_mat(replace(toy, labels=(label,)), file, hdf5=hdf5)
        assert (open_labeled_city(file).read_label(0, toy.images.scenes[0].grid.window) == 5).all()


def test_a_legend_goes_with_a_folder_and_is_refused_elsewhere(tmp_path):
    toy = make_city()
    legend = Legend("letters", tuple(LandClass(i, chr(96 + i), "#112233") for i in range(1, 14)))
    write_folder(replace(toy, images=replace(toy.images, legend=legend)), tmp_path / "city")
    again = c2seg.convert_city(tmp_path / "city", tmp_path / "again", layout="folder")
    assert open_city(again).legend == legend
    for layout, name in (("tiles", "t"), ("mat", "m.mat")):
        with pytest.raises(c2seg.InputError, match="no place"):
            c2seg.convert_city(again, tmp_path / name, layout=layout)
        assert not (tmp_path / name).exists()


def test_wrong_requests_are_one_line(city, tmp_path):
    with pytest.raises(c2seg.InputError, match=r"no suffix \.mat"):
        c2seg.convert_city(city, tmp_path / "x", layout="mat")
    with pytest.raises(c2seg.InputError, match="layout"):
        c2seg.convert_city(city, tmp_path / "x", layout="tile")
    with pytest.raises(c2seg.InputError, match="of the layout tiles"):
        c2seg.convert_city(city, tmp_path / "x", layout="folder", tile_px=64)
    with pytest.raises(c2seg.C2SegError, match="never replaced"):
        c2seg.convert_city(city, city, layout="folder", overwrite=True)


@pytest.mark.parametrize("layout", ["tiles", "mat"])
def test_simulated_pairs_are_arranged_as_the_releases(tmp_path, layout):
    pair, scale = "bw", 0.006
    info = c2seg.simulate_pair(tmp_path / layout, pair=pair, scale=scale, layout=layout)
    plain = c2seg.simulate_pair(tmp_path / "plain", pair=pair, scale=scale)
    window = open_city(plain.source.path).scenes[0].grid.window
    same_label = (open_labeled_city(item.source.path).read_label(0, window) for item in (info, plain))
    np.testing.assert_array_equal(*same_label)
    if layout == "tiles":
        assert info.target.path == tmp_path / "tiles" / "C2Seg_BW" / "test"
        with pytest.raises(c2seg.DataError, match="no labels"):
            open_labeled_city(info.target.path)
    else:
        assert open_labeled_city(info.target.path).images.name == plain.target.name
    assert (tmp_path / layout / "pair.yaml").read_text() == (tmp_path / "plain" / "pair.yaml").read_text()
    assert not list((tmp_path / layout).glob(".c2seg*"))
    with pytest.raises(c2seg.OutputError):
        c2seg.simulate_pair(tmp_path / layout, pair=pair, scale=scale, layout=layout)
