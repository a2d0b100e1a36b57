"""Pairs on disk, through the library and the command line."""

import hashlib
import json

import numpy as np
import pytest
import rasterio
import yaml

from c2seg.cli import run
from c2seg.data import open_city, open_labeled_city
from c2seg.errors import DataError, InputError, OutputError
from c2seg.simulate import simulate_pair

SCALE = 0.06


def _digests(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def ab(tmp_path_factory):
    return simulate_pair(tmp_path_factory.mktemp("ab") / "pair", "ab", SCALE, 5)


@pytest.fixture(scope="module")
def bw(tmp_path_factory):
    return simulate_pair(tmp_path_factory.mktemp("bw") / "pair", "bw", 0.012, 5)


def test_same_seed_gives_the_same_bytes_and_another_seed_does_not(ab, tmp_path) -> None:
    again = simulate_pair(tmp_path / "again", "ab", SCALE, 5)
    assert _digests(again.out) == _digests(ab.out)
    other = simulate_pair(tmp_path / "other", "ab", SCALE, 6)
    differing = _digests(other.out)
    same = {name for name, digest in _digests(ab.out).items() if differing[name] == digest}
    assert {name.split("/")[-1] for name in same} == {"city.yaml", "valid.tif"}


def test_shift_zero_and_one_share_the_source_layout(ab, tmp_path) -> None:
    far = simulate_pair(tmp_path / "far", "ab", SCALE, 5, 1.0)
    with rasterio.open(ab.source.path / "reference.tif") as a, rasterio.open(far.source.path / "reference.tif") as b:
        np.testing.assert_array_equal(a.read(), b.read())
    assert far.target.label_agreement < ab.target.label_agreement


def test_ab_layout(ab) -> None:
    assert ab.family == 0
    assert (ab.source.height, ab.source.width) == (round(886 * SCALE), round(1360 * SCALE))
    kinds = {"msi": (4, "uint16"), "hsi": (242, "int16"), "sar": (2, "float32"), "label": (1, "uint8")}
    for city in (ab.source, ab.target):
        with rasterio.open(city.path / "valid.tif") as file:
            valid = file.read(1) > 0
        for name, (count, dtype) in kinds.items():
            with rasterio.open(city.path / f"{name}.tif") as file:
                assert (file.count, file.dtypes[0], file.shape) == (count, dtype, valid.shape)
                values = file.read()
                assert np.isfinite(values[:, valid]).all()
                assert np.isnan(values[:, ~valid]).all() if name == "sar" else (values[:, ~valid] == 0).all()
                assert name == "label" or not (values[:, valid] == 0).any()
        assert valid.all() == (city.role == "source")
    with rasterio.open(ab.source.path / "msi.tif") as a, rasterio.open(ab.target.path / "msi.tif") as b:
        assert (a.crs.to_epsg(), b.crs.to_epsg()) == (32632, 32633)
        assert a.res == (10, 10)


def test_hsi_of_ab_comes_in_blocks_of_30_m(ab) -> None:
    with rasterio.open(ab.source.path / "hsi.tif") as file:
        values = file.read([1, 100])[:, :48, :78]
    np.testing.assert_array_equal(values, values[:, ::3, ::3].repeat(3, 1).repeat(3, 2))


def test_bw_has_a_coarse_hsi_that_overhangs(bw) -> None:
    with rasterio.open(bw.source.path / "hsi.tif") as hsi, rasterio.open(bw.source.path / "msi.tif") as msi:
        assert hsi.count == 116
        assert hsi.res == (30, 30)
        assert hsi.shape == (-(-msi.height // 3), -(-msi.width // 3))
        assert hsi.bounds.right > msi.bounds.right  # 104 columns are no multiple of three
        assert hsi.crs.to_epsg() == 3857


def test_cities_open_as_cities(ab, bw) -> None:
    for info in (ab, bw):
        for city in (info.source, info.target):
            opened = open_city(city.path)
            assert opened.name == city.name
            assert not opened.problems
            assert set(opened.modality_names) == {"msi", "hsi", "sar"}
            open_labeled_city(city.path)


def test_descriptions_name_roles_and_wavelengths(ab, bw) -> None:
    content = yaml.safe_load((ab.source.path / "city.yaml").read_text())
    assert [b["role"] for b in content["modalities"]["msi"]["bands"]] == ["blue", "green", "red", "nir"]
    assert [b["role"] for b in content["modalities"]["sar"]["bands"]] == ["vh", "vv"]
    assert len(content["modalities"]["hsi"]["wavelengths_nm"]) == 242
    content = yaml.safe_load((bw.source.path / "city.yaml").read_text())
    assert [b["role"] for b in content["modalities"]["sar"]["bands"]] == ["hh", "hv"]
    pair = yaml.safe_load((ab.out / "pair.yaml").read_text())
    assert (pair["source"], pair["target"], pair["seed"]) == (ab.source.name, ab.target.name, 5)
    assert set(pair["parameters"].values()) == {0.5}


def test_shares_and_agreement_are_those_of_the_files(ab) -> None:
    with rasterio.open(ab.target.path / "reference.tif") as t, rasterio.open(ab.target.path / "label.tif") as file:
        reference, label = t.read(1), file.read(1)
        assert file.tags(1)["CLASS_1"]
    counts = np.bincount(reference[reference > 0], minlength=14)[1:]
    assert list(ab.target.shares.values()) == pytest.approx(list(counts / counts.sum()))
    assert ab.target.label_agreement == pytest.approx((label == reference)[label > 0].mean())
    assert label.max() <= 13


def test_existing_cities_are_refused_before_any_work(ab) -> None:
    before = _digests(ab.out)
    with pytest.raises(OutputError, match="exists already"):
        simulate_pair(ab.out, "ab", SCALE, 5)
    (ab.out / "pair.yaml").rename(ab.out / "moved.yaml")
    with pytest.raises(OutputError, match="exists already"):
        simulate_pair(ab.out, "ab", SCALE, 5)
    (ab.out / "moved.yaml").rename(ab.out / "pair.yaml")
    assert _digests(ab.out) == before


def test_an_interrupted_run_leaves_no_half_file(tmp_path) -> None:
    def stop(done: float, total: float, text: str = "") -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate_pair(tmp_path / "x", "ab", SCALE, progress=stop)
    assert not [p for p in (tmp_path / "x").rglob("*") if p.is_file()]


def test_progress_ends_at_the_total(tmp_path) -> None:
    seen = []
    simulate_pair(tmp_path / "x", "bw", 0.008, progress=lambda done, total, text="": seen.append(done / total))
    assert seen == sorted(seen)
    assert seen[-1] == pytest.approx(1)


def test_a_class_raster_can_be_the_layout(ab, tmp_path) -> None:
    info = simulate_pair(tmp_path / "x", "ab", SCALE, 9, 0.0, layouts={"target": ab.source.path / "reference.tif"})
    with rasterio.open(ab.source.path / "reference.tif") as a, rasterio.open(info.target.path / "reference.tif") as b:
        layout, reference = a.read(1), b.read(1)
        assert (a.crs, a.transform) == (b.crs, b.transform)
    assert (layout[: reference.shape[0], : reference.shape[1]] == reference).mean() > 0.999
    with pytest.raises(DataError, match=r"must contain class ids 0\.\.13"):
        simulate_pair(tmp_path / "y", "ab", SCALE, layouts={"target": ab.source.path / "msi.tif"})


def test_command_line(tmp_path, capsys) -> None:
    out = tmp_path / "cities"
    arguments = ["simulate", str(out), "--scale", str(SCALE), "--parameter", "season=0", "--json"]
    assert run(arguments) == 0
    captured = capsys.readouterr()
    content = json.loads(captured.out)
    assert [city["role"] for city in content["cities"]] == ["source", "target"]
    assert captured.err == ""
    assert yaml.safe_load((out / "pair.yaml").read_text())["parameters"]["season"] == 0
    assert run(arguments) == 2
    assert "exists already" in capsys.readouterr().err


def test_command_line_prints_which_city_is_which(tmp_path, capsys) -> None:
    assert run(["simulate", str(tmp_path / "x"), "--pair", "bw", "--scale", "0.008"]) == 0
    captured = capsys.readouterr()
    assert [line.split(":")[0] for line in captured.out.splitlines()] == ["source", "target"]
    assert "simulate: 100 %" in captured.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--pair", "xy"], "unknown pair 'xy'"),
        (["--scale", "2"], "scale must be within"),
        (["--shift", "2"], "shift must be within"),
        (["--parameter", "season"], "NAME=VALUE"),
        (["--parameter", "season=much"], "NAME=VALUE"),
        (["--parameter", "sun=1"], "unknown parameter 'sun'"),
        (["--source-layout", "missing.tif"], "missing.tif does not exist"),
    ],
)
def test_command_line_refuses(arguments, message, tmp_path, capsys) -> None:
    assert run(["simulate", str(tmp_path / "x"), *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_an_output_that_is_a_file_is_refused(tmp_path, capsys) -> None:
    (tmp_path / "x").write_text("")
    assert run(["simulate", str(tmp_path / "x")]) == 2
    assert "is not a folder" in capsys.readouterr().err


def test_unknown_role_of_a_layout_is_refused(ab, tmp_path) -> None:
    with pytest.raises(InputError, match="unknown role"):
        simulate_pair(tmp_path / "x", "ab", SCALE, layouts={"targets": ab.source.path / "reference.tif"})
