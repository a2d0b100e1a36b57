from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from c2seg.cli import run
from c2seg.data import LabeledCity, city_statistics, open_city, write_folder, write_tiles
from c2seg.data.inspection import inspect_city
from c2seg.data.published import published_means
from c2seg.data.spectra import compare_landmarks, find_landmarks, wavelength_notes
from c2seg.data.tiling import TileGrid
from c2seg.raster import ArrayRaster
from helpers.toy_cities import small_augsburg, write_raster


def test_json_is_one_object_with_every_count(
    toy: LabeledCity, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_folder(toy, tmp_path / "city")
    assert run(["inspect", str(tmp_path / "city"), "--json"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    report = json.loads(captured.out)
    assert report["layout"] == "folder of rasters"
    scene = report["scenes"][0]
    assert (scene["height"], scene["width"], scene["crs"]) == (150, 130, "EPSG:32632")
    assert scene["valid_pixels"] == 150 * 130 - 20 * 31
    ids = toy.read_label(0, toy.images.scenes[0].grid.window)
    for entry in scene["label"]["classes"]:
        assert entry["pixels"] == (ids == entry["id"]).sum()
    assert scene["label"]["background"] == (ids == 0).sum()
    assert sum(c["share"] for c in scene["label"]["classes"]) == pytest.approx(1)
    statistics = city_statistics(toy.images, ["hsi"])["hsi"]
    np.testing.assert_allclose(scene["modalities"]["hsi"]["statistics"]["mean"], statistics.mean, rtol=1e-12)
    assert scene["modalities"]["hsi"]["ratio"] == 3


def test_nan_pixels_are_counted_and_shown_and_are_no_problem(
    toy: LabeledCity, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_folder(toy, tmp_path / "city")
    array = toy.images.scenes[0].modality("sar").source.read(toy.images.scenes[0].grid.window).copy()
    array[1, 107, 85] = np.nan
    array[0, 140, :3] = np.nan
    write_raster(tmp_path / "city" / "sar.tif", array)
    assert run(["inspect", str(tmp_path / "city"), "-q"]) == 0
    out = capsys.readouterr().out
    assert "4 pixels contain NaN" in out
    assert "of which NaN 4" in out
    assert "valid in every modality: 18,876 of 19,500" in out  # 620 outside valid.tif, 4 NaN


def test_headers_only_reads_no_pixels(folder: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    path = folder()
    data = (path / "msi.tif").read_bytes()
    (path / "msi.tif").write_bytes(data[: len(data) * 2 // 3])
    assert run(["inspect", str(path), "--headers-only", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert "statistics" not in report["scenes"][0]["modalities"]["msi"]
    assert run(["inspect", str(path), "--json"]) == 2
    report = json.loads(capsys.readouterr().out)
    assert len(report["problems"]) == 1
    assert "msi.tif" in report["problems"][0]
    # the other modalities are still described
    assert report["scenes"][0]["modalities"]["sar"]["valid_pixels"] == 3600


def test_an_empty_band_and_wrong_labels_are_problems_train_in_parallel(folder: Callable[..., Path]) -> None:
    path = folder()
    array = np.ones((4, 60, 60), np.uint16)
    array[2] = 0
    write_raster(path / "msi.tif", array, nodata=0)
    write_raster(path / "label.tif", np.full((1, 60, 60), 99, np.uint8))
    problems = inspect_city(path)["problems"]
    assert len(problems) == 2
    assert any("bands 3 have no valid value" in text for text in problems)
    assert any("[99]" in text and "label.tif" in text for text in problems)


@pytest.mark.parametrize("make", ["empty", "missing", "file"])
def test_nothing_recognized_is_one_line(make: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "here"
    if make == "empty":
        path.mkdir()
    elif make == "file":
        path.write_text("text")
    assert run(["inspect", str(path)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert {"empty": "empty folder", "missing": "does not exist", "file": "contains no supported dataset"}[make] in err


def test_published_statistics_are_put_beside_their_own_kind(
    toy: LabeledCity, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = small_augsburg(tmp_path, monkeypatch)
    city = open_city(path)
    here = city_statistics(city, ["msi"], kind="tiles")["msi"]
    report = inspect_city(path)
    published = report["scenes"][0]["modalities"]["msi"]["published"]
    assert published["mean"] == published_means("C2Seg-AB")["msi"][0].tolist()
    np.testing.assert_allclose(published["mean_here"], here.mean, rtol=1e-12)
    assert any("msi: tile-averaged statistics differ from the published" in note for note in report["notes"])


def spectrum(bands: int = 242) -> np.ndarray:
    return published_means("C2Seg-AB")["hsi"][0][:bands]


def test_landmarks_of_the_published_spectrum() -> None:
    found = find_landmarks(spectrum())
    assert found is not None
    assert found.red_edge == 54
    assert {84, 93} <= set(found.dips)  # 940 nm, seen by both spectrometers


def test_shifted_bands_are_noticed_and_equal_ones_are_not() -> None:
    reference = find_landmarks(spectrum())
    assert reference is not None
    rng = np.random.default_rng(0)
    other_cover = find_landmarks(spectrum() * np.linspace(1.4, 0.7, 242) + rng.normal(0, 4, 242))
    assert other_cover is not None
    assert compare_landmarks(other_cover, reference, "Augsburg") == []
    shifted = find_landmarks(np.concatenate([spectrum()[3:], spectrum()[-3:]]))
    assert shifted is not None
    notes = compare_landmarks(shifted, reference, "Augsburg")
    assert any("red edge is at band 52, in Augsburg at band 55" in note for note in notes)
    assert any("absorption dips" in note for note in notes)


def test_inspect_compares_the_bands_of_two_cities(
    toy: LabeledCity, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scene = toy.images.scenes[0]
    for name, shift in (("a", 0), ("b", 4)):
        values = np.roll(spectrum(), -shift)[:, None, None] * np.linspace(0.9, 1.1, 50 * 44).reshape(50, 44)
        hsi = replace(
            scene.modality("hsi"),
            source=ArrayRaster(values.astype(np.float32)),
            bands=(scene.modality("hsi").bands[0],) * 242,
        )
        write_folder(
            replace(toy.images, scenes=(replace(scene, modalities={"hsi": hsi, "msi": scene.modality("msi")}),)),
            tmp_path / name,
        )
    assert run(["inspect", str(tmp_path / "a"), "--against", str(tmp_path / "b"), "-q"]) == 0
    assert "the red edge is at band 55" in capsys.readouterr().out
    assert run(["inspect", str(tmp_path / "a"), "--against", str(tmp_path / "a"), "-q"]) == 0
    assert "red edge is" not in capsys.readouterr().out


def test_wavelengths_that_step_back_are_noted() -> None:
    assert wavelength_notes([400, 500, 993.1, 902.3, 950]) != []
    assert "band 4" in wavelength_notes([400, 500, 993.1, 902.3, 950])[0]
    assert wavelength_notes([400, 500, None, 600]) == []


def test_progress_goes_to_stderr_only(toy: LabeledCity, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_tiles(toy, tmp_path / "t", TileGrid(150, 130, 64, 32))
    assert run(["inspect", str(tmp_path / "t")]) == 0
    out, err = capsys.readouterr()
    assert "inspect: 100 %" in err
    assert "inspect:" not in out


@pytest.mark.skipif("C2SEG_REAL_DATA" not in os.environ, reason="C2SEG_REAL_DATA names the folder of real imagery")
def test_real_quicklooks(capsys: pytest.CaptureFixture[str]) -> None:
    root = Path(os.environ["C2SEG_REAL_DATA"]) / "c2seg-ab-quicklook"
    assert run(["inspect", str(root / "berlin"), "--json"]) == 0
    berlin = json.loads(capsys.readouterr().out)["scenes"][0]
    assert berlin["valid_pixels"] == 96_091
    assert "label" not in berlin
    assert run(["inspect", str(root / "augsburg"), "--json"]) == 0
    classes = {c["id"]: c["pixels"] for c in json.loads(capsys.readouterr().out)["scenes"][0]["label"]["classes"]}
    assert (classes[1], classes[12]) == (440, 22)
