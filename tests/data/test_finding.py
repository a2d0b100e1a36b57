"""What a folder of downloads holds: cities in both releases, what is missing, what is broken."""

from __future__ import annotations

import json
import shutil
import zipfile
from dataclasses import replace

import numpy as np
import pytest

import c2seg
from c2seg.cli import run
from c2seg.data import open_city, write_mat
from c2seg.data.finding import find_data
from c2seg.data.pairing import data_pairs, same_place
from c2seg.data.published import RELEASE_PAGE
from c2seg.errors import DataError
from c2seg.raster import ArrayRaster
from helpers.releases import toy_pair, write_release
from helpers.toy_cities import make_city, small_augsburg, write_raster

PAGE = "<!DOCTYPE html><html><head><title>Google Drive - Virus scan warning</title>"


@pytest.mark.parametrize("layout", ["tiles", "mat", "folder"])
def test_a_pair_lies_at_any_depth(tmp_path, layout):
    source, target = write_release(tmp_path / "downloads" / "of" / "today", layout)
    data = find_data(tmp_path, thorough=True)
    assert [(c.role, c.path, c.dataset, c.simulated) for c in sorted(data.cities, key=lambda c: c.role)] == [
        ("source", source, "C2Seg-AB", True), ("target", target, "C2Seg-AB", True)
    ]  # fmt: skip
    assert not data.problems
    (pair,) = data_pairs(data)
    assert (pair.dataset, pair.source.path, pair.target.path) == ("AB", source, target)
    assert pair.reference == (None if layout == "tiles" else target)
    assert [line for line in data.missing if "Beijing" in line]
    assert all(RELEASE_PAGE in line for line in data.missing)


def test_tiles_are_scored_with_the_labels_of_the_whole_scene(tmp_path, caplog):
    source, target = write_release(tmp_path / "tiles", "tiles")
    _, whole = write_release(tmp_path / "mat", "mat")
    (pair,) = data_pairs(find_data(tmp_path))
    assert (pair.source.path, pair.target.path, pair.reference) == (source, target, whole)
    turned = toy_pair()[1]
    scene = turned.images.scenes[0]
    flipped = {
        name: replace(stack, source=ArrayRaster(stack.source.read(scene.grid.window)[:, ::-1].copy()))
        for name, stack in scene.modalities.items()
    }
    images = replace(turned.images, scenes=(replace(scene, modalities=flipped, valid=None),))
    write_mat(replace(turned, images=images), whole, overwrite=True)
    (pair,) = data_pairs(find_data(tmp_path))
    assert pair.reference == whole  # the whole scenes are a pair of their own
    assert pair.target.path == whole
    assert "its labels are not used" in caplog.text


def test_one_place_is_told_from_another():
    one, other = (city.images for city in toy_pair())
    assert same_place(one, one)
    assert not same_place(one, other)


def test_a_published_city_is_recognized_by_its_tiles(tmp_path, monkeypatch):
    path = small_augsburg(tmp_path / "any", monkeypatch)
    (city,) = find_data(tmp_path).cities
    assert (city.name, city.role, city.path, city.simulated, city.usable) == ("Augsburg", "source", path, False, True)


def test_what_is_missing_says_what_to_unpack(tmp_path):
    with zipfile.ZipFile(tmp_path / "C2Seg_AB.zip", "w") as archive:
        archive.writestr("C2Seg_AB/train/msi/0.tiff", b"")
    data = find_data(tmp_path)
    assert data.archives == (tmp_path / "C2Seg_AB.zip",)
    assert [line for line in data.missing if "Augsburg" in line] == [
        f"C2Seg-AB: source Augsburg: unpack {tmp_path / 'C2Seg_AB.zip'}"
    ]


def broken_release(root):
    """Every way in which a download breaks."""
    train, _ = write_release(root, "tiles")
    (train / "msi/3.tiff").unlink()
    (root / "C2Seg_AB.zip").write_text(PAGE)
    with zipfile.ZipFile(root / "whole.zip", "w") as archive:
        archive.writestr("train/msi/0.tiff", bytes(1000))
    (root / "C2Seg_BW.zip").write_bytes((root / "whole.zip").read_bytes()[:600])
    (root / "whole.zip").unlink()
    (root / "beijing.mat").write_text(PAGE)
    write_mat(make_city(), root / "berlin_multimodal.mat")
    content = (root / "berlin_multimodal.mat").read_bytes()
    (root / "berlin_multimodal.mat").write_bytes(content[: len(content) // 2])
    (root / "wuhan_label.mat").write_bytes(content)
    (root / "c2seg.zip.crdownload").write_bytes(b"PK")


def test_broken_downloads_are_named_in_a_line_each(tmp_path):
    broken_release(tmp_path)
    problems = find_data(tmp_path).problems
    for said in (
        "C2Seg_AB.zip is a web page",
        "C2Seg_BW.zip is incomplete",
        "c2seg.zip.crdownload is an unfinished download",
        "beijing.mat is a web page",
        "berlin_multimodal.mat: truncated or damaged",
        "wuhan_label.mat lies alone: wuhan.mat is missing",
        "1 of 16 msi tiles are missing: 3",
    ):
        (line,) = [text for text in problems if said in text]
        assert "\n" not in line
    assert len(problems) == 7


def test_inspect_tells_what_lies_under_a_folder(tmp_path, capsys):
    write_release(tmp_path / "good", "mat")
    assert run(["inspect", str(tmp_path / "good"), "-q"]) == 0
    out = capsys.readouterr().out
    assert "tables take here_multimodal.mat -> there_multimodal.mat" in out
    assert "C2Seg-BW: target Wuhan" in out
    assert run(["inspect", str(tmp_path / "good"), "--json", "--headers-only"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [pair["dataset"] for pair in report["pairs"]] == ["AB"]
    broken_release(tmp_path / "bad")
    assert run(["inspect", str(tmp_path / "bad"), "-q"]) == 2
    assert "is a web page" in capsys.readouterr().out
    assert c2seg.find_data(tmp_path / "good")._repr_html_().count("<tr>") == 3


def test_a_city_is_inspected_as_before(make_city, capsys):
    assert run(["inspect", str(make_city("one")), "-q"]) == 0
    assert "folder of rasters" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("berlin.mat", PAGE, "is a web page"),
        ("berlin.mat", "", "is empty; download it again"),
        ("C2Seg_AB.zip", PAGE, "is a web page"),
        ("C2Seg_AB.zip", "PK but no end", "is incomplete"),
        ("C2Seg_AB.zip", "no archive", "is no zip archive"),
        ("C2Seg_AB.zip.part", "PK", "is an unfinished download"),
        ("msi.tif", "version https://git-lfs.github.com/spec/v1\noid sha256:1", "is a pointer of Git LFS"),
    ],
)
def test_whatever_opens_data_says_what_a_download_is(tmp_path, name, content, said):
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(DataError, match=said):
        open_city(tmp_path if name == "msi.tif" else path)


def test_an_archive_is_not_opened_as_a_city(tmp_path):
    with zipfile.ZipFile(tmp_path / "C2Seg_AB.zip", "w") as archive:
        archive.writestr("train/msi/0.tiff", b"")
    with pytest.raises(DataError, match="is an archive; unpack it"):
        open_city(tmp_path / "C2Seg_AB.zip")


def test_tiles_with_other_bands_are_refused_in_one_line(tmp_path, monkeypatch):
    path = small_augsburg(tmp_path, monkeypatch)
    for file in (path / "hsi/hsi").iterdir():
        write_raster(file, np.ones((8, 128, 128), np.uint16))
    (city,) = find_data(tmp_path).cities
    (problem,) = city.problems
    assert "has 8 bands; hsi of C2Seg-AB has 6" in problem


def renumbered(path):
    """Give labels of tiles the numbers of the other release: water is 13 there."""
    import rasterio

    codes = c2seg.open_city(path).legend.label_maps["mat"]
    table = np.zeros(256, np.uint8)
    for value, number in codes.items():
        table[number] = value
    for file in (path / "label").iterdir():
        with rasterio.open(file, "r+") as dataset:
            dataset.write(table[dataset.read()])


def test_labels_in_another_numbering_are_refused_in_one_line(tmp_path, monkeypatch):
    path = small_augsburg(tmp_path, monkeypatch)
    assert not find_data(tmp_path).problems
    renumbered(path)
    (city,) = find_data(tmp_path).cities
    (problem,) = city.problems
    assert "numbered as 'mat', not as 'challenge'" in problem
    (path / "tiles.yaml").write_text("label_map: mat")
    (city,) = find_data(tmp_path).cities
    assert city.usable
    (path / "tiles.yaml").write_text("label_map: challenge")  # who says so is believed
    (city,) = find_data(tmp_path).cities
    assert city.usable
    for file in (path / "label").iterdir():
        write_raster(file, np.full((1, 128, 128), 41, np.uint8))
    (path / "tiles.yaml").unlink()
    (city,) = find_data(tmp_path).cities
    assert city.problems[0].endswith(
        "values [41] are not in the label mapping 'challenge'; those of 'china-raw' fit: write label_map: china-raw into "
        "tiles.yaml, or into the label of city.yaml, beside the folders"
    )


def test_results_and_links_in_circles_are_not_looked_into(tmp_path):
    source, _ = write_release(tmp_path / "data", "folder")
    shutil.copytree(source, tmp_path / "runs/seed0/here")
    (tmp_path / "runs/seed0/record.json").write_text("{}")
    (tmp_path / "data/again").symlink_to(tmp_path, target_is_directory=True)
    assert len(find_data(tmp_path).cities) == 2
    with pytest.raises(DataError, match="is not a folder"):
        find_data(tmp_path / "none")
