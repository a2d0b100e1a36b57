"""``c2seg init``: a folder of rasters becomes a city.yaml that opens, with what is uncertain as comments."""

from __future__ import annotations

import json

import numpy as np
import pytest
import rasterio
import yaml

import c2seg
from c2seg.cli import run
from c2seg.data import open_labeled_city
from helpers.rasters import write_raster

RNG = np.random.default_rng(0)


def images(bands: int, low: int = 200, high: int = 4000, dtype=np.int16) -> np.ndarray:
    return RNG.integers(low, high, (bands, 40, 50)).astype(dtype)


def named(path, names, **tags) -> None:
    with rasterio.open(path, "r+") as dataset:
        dataset.descriptions = names
        dataset.update_tags(**tags)


@pytest.fixture
def folder(tmp_path):
    """Return a folder of rasters as colleagues send them: names that tell little, facts in the files."""
    place = tmp_path / "ulm"
    write_raster(place / "S2_20240601.tif", images(4), nodata=-9999)
    named(place / "S2_20240601.tif", ("B02", "B03", "B04", "B8A"))
    cube = images(40)
    cube[30:33] = -1
    write_raster(place / "cube.tif", cube, nodata=-1)
    (place / "wavelengths_um.txt").write_text("\n".join(f"{0.4 + 0.02 * k:.3f}" for k in range(40)))
    write_raster(place / "radar.tif", RNG.normal(-12, 3, (2, 40, 50)).astype(np.float32))
    named(place / "radar.tif", ("Sigma0_VV", "Sigma0_VH"))
    write_raster(place / "landuse_classes.tif", RNG.choice([0, 3, 21, 40], (1, 40, 50)).astype(np.uint8))
    write_raster(place / "mask.tif", np.ones((1, 40, 50), np.uint8))
    write_raster(place / "dem.tif", RNG.normal(400, 50, (1, 40, 50)).astype(np.float32))
    return place


def test_files_tell_what_they_are_and_the_city_opens(folder, capsys):
    described = c2seg.describe_city(folder)
    content = yaml.safe_load(described.text)
    msi, hsi, sar = (content["modalities"][name] for name in ("msi", "hsi", "sar"))
    assert msi["file"] == "S2_20240601.tif"
    assert [band.get("role") for band in msi["bands"]] == ["blue", "green", "red", "nir"]
    assert msi["nodata"] == -9999
    assert hsi["keep"] == "1-30, 34-40"
    assert hsi["wavelengths_nm"][:2] == [400.0, 420.0]
    assert hsi["wavelengths_nm"][30] == 1060.0  # the bands between hold nothing
    assert [band["role"] for band in sar["bands"]] == ["vv", "vh"]
    assert (content["label"], content["valid"]) == ("landuse_classes.tif", "mask.tif")
    assert "# not used: dem.tif: one band, which nothing names" in described.text
    city = open_labeled_city(folder, None)
    assert city.images.problems == ()
    assert city.images.legend.ids == (3, 21, 40)
    assert run(["inspect", str(folder), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)["scenes"][0]
    assert shown["modalities"]["msi"]["roles"] == ["blue", "green", "red", "nir"]
    assert shown["modalities"]["hsi"]["wavelengths_nm"] == hsi["wavelengths_nm"]
    assert shown["label"]["origin"].endswith("landuse_classes.tif")


def test_what_is_uncertain_is_told_line_by_line_and_in_the_file(folder, capsys):
    assert run(["init", str(folder)]) == 0
    out, err = capsys.readouterr()
    assert out.strip() == str(folder / "city.yaml")
    text = (folder / "city.yaml").read_text()
    told = [line.removeprefix("uncertain: ") for line in err.splitlines() if line.startswith("uncertain: ")]
    assert [line for line in told if f"# uncertain: {line}" not in text] == []
    assert any("scale: 0.0001" in line for line in told)
    assert any("legend.yaml calls them by their values" in line for line in told)
    assert "# scale: 0.0001" in text
    assert f"next: c2seg inspect {folder}" in err


def test_nothing_is_replaced(folder, capsys):
    (folder / "legend.yaml").write_text("not: a legend\n")
    assert run(["init", str(folder), "-q"]) == 2
    assert "legend.yaml" in capsys.readouterr().err
    assert not (folder / "city.yaml").exists()
    (folder / "legend.yaml").unlink()
    (folder / "city.yaml").write_text("name: mine\n")
    assert run(["init", str(folder), "-q"]) == 2
    assert "city.yaml exists and is not replaced" in capsys.readouterr().err
    assert (folder / "city.yaml").read_text() == "name: mine\n"
    assert not (folder / "legend.yaml").exists()


def test_single_bands_are_stacked_and_names_of_classes_are_read(tmp_path):
    place = tmp_path / "bands"
    for name in ("B04", "B02", "B03", "B11"):
        write_raster(place / f"{name}.tif", images(1, dtype=np.uint16))
    write_raster(place / "gt.tif", RNG.choice([1, 2], (1, 40, 50)).astype(np.uint8))
    with rasterio.open(place / "gt.tif", "r+") as dataset:
        dataset.update_tags(1, CLASS_1="Water", CLASS_2="Built-up")
    content = yaml.safe_load(c2seg.describe_city(place).text)
    assert content["modalities"]["msi"]["files"] == ["B02.tif", "B03.tif", "B04.tif", "B11.tif"]
    city = open_labeled_city(place, None)
    assert city.images.problems == ()
    assert city.images.legend.names == ("Water", "Built-up")


def test_a_folder_without_images_is_told_what_to_do(tmp_path):
    (tmp_path / "S2A.SAFE").mkdir()
    with pytest.raises(c2seg.DataError, match="c2seg prepare"):
        c2seg.describe_city(tmp_path)
    (tmp_path / "S2A.SAFE").rename(tmp_path / "north")
    with pytest.raises(c2seg.DataError, match="sub-folders: north"):
        c2seg.describe_city(tmp_path)
    (tmp_path / "bad.tif").write_text("no raster")
    with pytest.raises(c2seg.DataError, match=r"bad\.tif cannot be used"):
        c2seg.describe_city(tmp_path)
    with pytest.raises(c2seg.DataError, match="give a folder"):
        c2seg.describe_city(tmp_path / "bad.tif")


@pytest.mark.parametrize("name", ["enmap-potsdam", "potsdam-leipzig/potsdam", "c2seg-ab-quicklook/augsburg"])
def test_real_folders_open_as_described(real_data, tmp_path, name):
    place = tmp_path / "city"
    place.mkdir()
    for file in (real_data / name).iterdir():
        if file.name not in {"city.yaml", "legend.yaml"}:
            (place / file.name).symlink_to(file)
    described = c2seg.describe_city(place)
    city = open_labeled_city(place, None)
    assert city.images.problems == ()
    assert city.images.modality_names == tuple(yaml.safe_load(described.text)["modalities"])
    if name == "enmap-potsdam":
        entry = yaml.safe_load(described.text)["modalities"]["hsi"]
        assert entry["keep"] == "1-129, 136-224"
        assert entry["nodata"] == -32768
