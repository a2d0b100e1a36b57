from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from c2seg.cli import run
from c2seg.data import LabeledCity, open_labeled_city, write_folder, write_mat
from c2seg.data.label_map import detect_label_map, load_label_map, resolve_label_maps
from c2seg.errors import DataError, InputError
from c2seg.legend import c2seg13
from c2seg.raster import ArrayRaster


def recoded(toy: LabeledCity, label_map: str) -> LabeledCity:
    """Return the city with its label written in another label mapping (and stated as ``auto``)."""
    back = {id_: value for value, id_ in c2seg13().codes(label_map).items()}
    ids = toy.labels[0].source.read(toy.images.scenes[0].grid.window)
    values = np.vectorize(back.__getitem__)(ids).astype(np.int16)
    return replace(toy, labels=(replace(toy.labels[0], source=ArrayRaster(values), label_map="auto"),))


@pytest.mark.parametrize("label_map", ["challenge", "mat", "china-raw"])
def test_label_maps_are_detected_and_lossless(label_map: str, toy: LabeledCity) -> None:
    city = recoded(toy, label_map)
    assert detect_label_map(city.images, 0, city.labels[0]) == label_map
    settled = resolve_label_maps(city.images, city.labels)
    window = toy.images.scenes[0].grid.window
    assert np.array_equal(settled.read_label(0, window), toy.read_label(0, window))


def without_water(toy: LabeledCity) -> LabeledCity:
    scene = toy.images.scenes[0]
    array = scene.modality("msi").source.read(scene.grid.window).copy()
    array[3] = 2000 + np.arange(130)
    msi = replace(scene.modality("msi"), source=ArrayRaster(array))
    images = replace(toy.images, scenes=(replace(scene, modalities={**scene.modalities, "msi": msi}),))
    return replace(toy, images=images)


def test_undecided_label_maps_are_asked_for(toy: LabeledCity) -> None:
    city = recoded(without_water(toy), "challenge")
    with pytest.raises(DataError, match=r"match the label mappings challenge, mat.*give one of them"):
        resolve_label_maps(city.images, city.labels)


def test_a_small_difference_in_the_near_infrared_decides_nothing(toy: LabeledCity) -> None:
    """Wetlands nearly as dark as water: a guess would be wrong half of the time."""
    window = toy.images.scenes[0].grid.window
    ids = toy.read_label(0, window)
    array = toy.images.scenes[0].modality("msi").source.read(window).copy()
    array[3] = np.where(ids == 1, 900, np.where(ids == 13, 1000, 2000))
    scene = toy.images.scenes[0]
    msi = replace(scene.modality("msi"), source=ArrayRaster(array))
    images = replace(toy.images, scenes=(replace(scene, modalities={**scene.modalities, "msi": msi}),))
    city = recoded(replace(toy, images=images), "challenge")
    with pytest.raises(DataError, match="give one of them"):
        resolve_label_maps(city.images, city.labels)


def test_unknown_label_maps_are_refused(toy: LabeledCity) -> None:
    values = np.full((1, 150, 130), 77, np.uint8)
    label = replace(toy.labels[0], source=ArrayRaster(values), label_map="auto")
    with pytest.raises(DataError, match=r"\[77\] match no label mapping.*mapping file"):
        resolve_label_maps(toy.images, (label,))


def test_a_mat_file_of_either_label_map_opens(toy: LabeledCity, tmp_path: Path) -> None:
    window = toy.images.scenes[0].grid.window
    for name in ("challenge", "mat"):
        # written ids stand for the values of that label mapping
        values = recoded(toy, name).labels[0].source.read(window).astype(np.uint8)
        stored = replace(toy, labels=(replace(toy.labels[0], source=ArrayRaster(values)),))
        write_mat(stored, tmp_path / f"{name}.mat", hdf5=name == "mat", states_ids=False)
        city = open_labeled_city(tmp_path / f"{name}.mat")
        assert city.labels[0].label_map == name
        assert np.array_equal(city.read_label(0, window), toy.read_label(0, window))


def test_a_label_map_given_overrides_detection(toy: LabeledCity, tmp_path: Path) -> None:
    write_mat(without_water(toy), tmp_path / "toy.mat", states_ids=False)
    with pytest.raises(DataError, match="give one of them"):
        open_labeled_city(tmp_path / "toy.mat")
    assert open_labeled_city(tmp_path / "toy.mat", "mat").labels[0].label_map == "mat"
    mapping = tmp_path / "own.yaml"
    mapping.write_text("".join(f"{i}: {i}\n" for i in range(14)))
    assert open_labeled_city(tmp_path / "toy.mat", str(mapping)).labels[0].label_map == "own"


@pytest.mark.parametrize(
    ("text", "message"),
    [("{1: 3, 2: 3}", "two values to one id"), ("{1: 99}", r"unknown ids \[99\]"), ("[1, 2]", "is not a label mapping"),
     ("{a: b}", "is not a label mapping"), (None, "cannot read")],
)  # fmt: skip
def test_wrong_mapping_files(text: str | None, message: str, tmp_path: Path) -> None:
    file = tmp_path / "codes.yaml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(InputError, match=message):
        load_label_map(file, c2seg13())


def test_inspect_says_what_the_label_looks_like(
    toy: LabeledCity, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    values = recoded(toy, "mat").labels[0].source.read(toy.images.scenes[0].grid.window).astype(np.uint8)
    write_folder(replace(toy, labels=(replace(toy.labels[0], source=ArrayRaster(values)),)), tmp_path / "city")
    assert run(["inspect", str(tmp_path / "city"), "-q"]) == 0
    assert "set --label-map mat" in capsys.readouterr().out
    assert run(["inspect", str(tmp_path / "city"), "-q", "--label-map", "mat"]) == 0
    out = capsys.readouterr().out
    assert "say --label-map" not in out
    water = int((toy.read_label(0, toy.images.scenes[0].grid.window) == 1).sum())
    assert f"Surface water                     {water:>12,}" in out
