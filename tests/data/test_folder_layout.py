from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from rasterio.crs import CRS

from c2seg.cli import run
from c2seg.data import open_city, open_labeled_city
from c2seg.errors import C2SegError, DataError
from c2seg.types import Window
from helpers.toy_cities import smooth, write_raster

MakeFolder = Callable[..., Path]


def city_yaml(path: Path, **content: object) -> None:
    (path / "city.yaml").write_text(yaml.safe_dump(content))


def test_plain_folder(folder: MakeFolder) -> None:
    path = folder()
    city = open_labeled_city(path)
    assert city.images.modality_names == ("msi", "sar", "hsi")
    assert city.images.scenes[0].modality("hsi").relation.ratio == 3
    assert city.class_counts()[1:4].sum() == 3600


def test_coarse_modality_may_overhang(folder: MakeFolder) -> None:
    path = folder()
    rng = np.random.default_rng(0)
    write_raster(path / "hsi.tif", smooth(rng, 5, 24, 24).astype(np.int16), size_m=30.0, x=500_000.0 - 20)
    stack = open_city(path).scenes[0].modality("hsi")
    assert (stack.relation.col_offset, stack.relation.row_offset) == (-2, 0)


def test_city_yaml_names_files_bands_scale_and_legend(folder: MakeFolder) -> None:
    path = folder()
    (path / "msi.tif").rename(path / "s2.tif")
    (path / "label.tif").rename(path / "reference.tif")
    city_yaml(
        path,
        name="Potsdam",
        modalities={
            "optical": {"file": "s2.tif", "keep": "1, 3-4", "bands": [{"role": "blue"}, {"name": "B4"}, {"role": "nir"}],
                        "scale": 0.5},
            "hsi": {"file": "hsi.tif", "wavelengths_nm": [400, 500, 600, 700, 800]},
        },
        label={"file": "reference.tif"},
    )  # fmt: skip
    city = open_labeled_city(path).images
    assert city.name == "Potsdam"
    optical = city.scenes[0].modality("optical")
    assert [band.role for band in optical.bands] == ["blue", None, "nir"]
    values, _ = city.scenes[0].read("optical", Window(0, 0, 4, 4))
    assert values.shape == (3, 4, 4)
    assert values.mean() < 1500  # half of 2000
    assert city.scenes[0].modality("hsi").bands[4].wavelength_nm == 800


def test_several_scenes(folder: MakeFolder) -> None:
    north, south = folder("city/north"), folder("city/south")
    city_yaml(north.parent, scenes=["north", "south"])
    city = open_labeled_city(south.parent)
    assert [scene.name for scene in city.images.scenes] == ["north", "south"]
    assert len(city.labels) == 2


def test_label_map_by_a_mapping_file(folder: MakeFolder) -> None:
    path = folder()
    (path / "codes.yaml").write_text("{1: 10, 2: 3, 3: 0}\n")
    city_yaml(path, label={"file": "label.tif", "label_map": "codes.yaml"})
    plain = open_labeled_city(path, "challenge").class_counts()
    mapped = open_labeled_city(path)
    counts = mapped.class_counts()
    assert (counts[10], counts[3], counts[0]) == (plain[1], plain[2], plain[3])
    assert mapped.images.legend.codes("codes") == {1: 10, 2: 3, 3: 0}


def test_opening_the_images_never_opens_the_label(folder: MakeFolder) -> None:
    path = folder()
    (path / "label.tif").write_bytes(b"poison")
    assert open_city(path).modality_names == ("msi", "sar", "hsi")
    with pytest.raises(DataError, match=r"label\.tif"):
        open_labeled_city(path)


def other_crs(path: Path) -> None:
    write_raster(path / "sar.tif", np.ones((2, 60, 60), np.float32), crs=CRS.from_epsg(32633))


def far_away(path: Path) -> None:
    write_raster(path / "sar.tif", np.ones((2, 60, 60), np.float32), x=900_000.0)


def without_crs(path: Path) -> None:
    write_raster(path / "sar.tif", np.ones((2, 60, 60), np.float32), crs=None)


def shifted(path: Path) -> None:
    write_raster(path / "sar.tif", np.ones((2, 60, 60), np.float32), x=500_004.0)


def odd_ratio(path: Path) -> None:
    write_raster(path / "hsi.tif", np.ones((2, 24, 24), np.int16), size_m=25.0)


def truncated_header(path: Path) -> None:
    (path / "hsi.tif").write_bytes((path / "hsi.tif").read_bytes()[:100])


def missing_modality(path: Path) -> None:
    city_yaml(path, modalities={"msi": {"file": "msi.tif"}, "hsi": {"file": "nowhere.tif"}})


def unknown_key(path: Path) -> None:
    city_yaml(path, modality={})


def bad_keep(path: Path) -> None:
    city_yaml(path, modalities={"hsi": {"file": "hsi.tif", "keep": "1-9"}})


def few_wavelengths(path: Path) -> None:
    city_yaml(path, modalities={"hsi": {"file": "hsi.tif", "wavelengths_nm": [400]}})


def no_legend(path: Path) -> None:
    city_yaml(path, legend="own.yaml")


def coarse_label(path: Path) -> None:
    write_raster(path / "label.tif", np.ones((1, 30, 30), np.uint8), size_m=20.0)


def label_outside_the_legend(path: Path) -> None:
    write_raster(path / "label.tif", np.full((1, 60, 60), 77, np.uint8))


def no_class(path: Path) -> None:
    write_raster(path / "label.tif", np.zeros((1, 60, 60), np.uint8))


def unknown_label_map(path: Path) -> None:
    city_yaml(path, label={"file": "label.tif", "label_map": "corine"})


def empty_band(path: Path) -> None:
    array = np.ones((4, 60, 60), np.uint16)
    array[2] = 0
    write_raster(path / "msi.tif", array, nodata=0)


def truncated_blocks(path: Path) -> None:
    data = (path / "msi.tif").read_bytes()
    (path / "msi.tif").write_bytes(data[: len(data) * 2 // 3])


def empty_folder(path: Path) -> None:
    shutil.rmtree(path)
    path.mkdir()


def nothing(path: Path) -> None:
    shutil.rmtree(path)


SPOILED: list[tuple[Callable[[Path], None], str]] = [
    (other_crs, "different CRS"),
    (far_away, "do not overlap"),
    (without_crs, "has no CRS while the other has"),
    (shifted, "shifted by"),
    (odd_ratio, "integer multiple"),
    (truncated_header, "hsi.tif"),
    (missing_modality, "nowhere.tif does not exist"),
    (unknown_key, "keys of city.yaml"),
    (bad_keep, "within 1-5"),
    (few_wavelengths, "has 5 bands, city.yaml gives 1"),
    (no_legend, "own.yaml"),
    (coarse_label, "coarser than the images"),
    (label_outside_the_legend, "[77]"),
    (no_class, "no pixel of any class"),
    (unknown_label_map, "unknown label mapping 'corine'"),
    (empty_band, "bands 3 have no valid value"),
    (truncated_blocks, "truncated or damaged"),
    (empty_folder, "is an empty folder"),
    (nothing, "does not exist"),
]


@pytest.mark.parametrize(("spoil", "message"), SPOILED, ids=lambda item: getattr(item, "__name__", ""))
def test_wrong_cities_are_refused_by_fit_in_one_line(
    spoil: Callable[[Path], None], message: str, folder: MakeFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = folder()
    spoil(path)
    code = run(["fit", "forest", "--source", str(path), "--out", str(tmp_path / "run"), "--quiet"])
    out, err = capsys.readouterr()
    assert code == 2
    assert out == ""
    assert err.startswith("c2seg: ")
    assert err.count("\n") == 1
    assert message in err
    assert not (tmp_path / "run" / "model.safetensors").exists()


def test_missing_modality_asked_by_a_recipe(
    folder: MakeFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = folder()
    code = run(["fit", "forest", "--source", str(path), "--out", str(tmp_path / "run"), "--set", "inputs=[msi, lidar]"])
    assert code == 2
    assert "lidar" in capsys.readouterr().err


def test_all_problems_are_listed_not_only_the_first(folder: MakeFolder, capsys: pytest.CaptureFixture[str]) -> None:
    path = folder()
    other_crs(path)
    truncated_header(path)
    with pytest.raises(C2SegError, match=r"1 more: c2seg inspect"):
        open_city(path)
    assert run(["inspect", str(path), "-q"]) == 2
    out = capsys.readouterr().out
    assert "hsi.tif" in out
    assert "different CRS" in out


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"modalities": {"msi": {"file": "msi.tif", "bands": [{"rol": "red"}]}}},
         r"modalities\.msi\.bands\.0\.rol: unknown key \(keys of a band: name, role, wavelength_nm, fwhm_nm\)"),
        ({"modalities": {"msi": {"file": "msi.tif", "bands": [{"role": "rod"}]}}},
         r"modalities\.msi\.bands\.0: unknown role 'rod'\. Did you mean 'red'"),
        ({"modalities": {"msi": {"file": "msi.tif", "bands": [{"wavelength_nm": -1}]}}}, "must be positive, found -1"),
        ({"modalities": {"msi": {"file": "msi.tif", "gain": 2}}}, r"\.gain: unknown key \(keys of a modality: file, files, "),
        ({"label": {"file": "label.tif", "map": "mat"}}, r"label\.map: unknown key \(keys of label: file, label_map, field\)"),
        ({"modality": {}}, r"modality: unknown key \(keys of city\.yaml: name, legend"),
    ],
)  # fmt: skip
def test_wrong_keys_are_named_with_their_place_and_the_valid_ones(
    content: dict[str, object], message: str, folder: MakeFolder
) -> None:
    path = folder()
    city_yaml(path, **content)
    with pytest.raises(DataError, match=message):
        open_city(path)


def test_the_old_key_of_the_label_mapping_is_read_with_a_warning(
    folder: MakeFolder, caplog: pytest.LogCaptureFixture
) -> None:
    path = folder()
    city_yaml(path, label={"file": "label.tif", "numbering": "mat"})
    assert open_labeled_city(path).labels[0].label_map == "mat"
    assert "the key numbering is now label_map" in caplog.text
