from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import rasterio
import yaml
from affine import Affine
from scipy import ndimage

from c2seg.cli import run
from helpers.label_maps import degrees_box

BOUNDS = ",".join(map(str, degrees_box(0, 0, 1000, 1000)))


@pytest.fixture
def extract(osm, tmp_path):
    osm.bounds = (-100, -100, 1100, 1100)
    osm.box(100, 100, 600, 600, landuse="forest")
    osm.way([(0, 800), (1000, 800)], highway="primary")
    return osm.write(tmp_path / "map.osm")


def _command(extract, out, *more, grid=("--bounds", BOUNDS, "--resolution", "10")):
    return ["label", str(out), "--osm", str(extract), *grid, *map(str, more)]


def _fails(capsys, arguments) -> str:
    assert run(arguments) == 2
    output = capsys.readouterr()
    assert output.out == ""
    lines = output.err.strip().splitlines()
    assert "Traceback" not in output.err
    return lines[-1]


def test_writes_raster_style_report_and_fractions(capsys, extract, tmp_path):
    out = tmp_path / "out" / "label.tif"
    assert run(_command(extract, out, "--fractions", tmp_path / "f.tif")) == 0
    text = capsys.readouterr()
    for expected in ("Forests", "primary roads", "allotments = artificial_vegetated", "coastline: none", "ODbL"):
        assert expected in text.out
    with rasterio.open(out) as dataset:
        assert set(np.unique(dataset.read())) == {0, 2, 10}
        assert dataset.crs.to_epsg() == 32632
    assert json.loads(out.with_suffix(".json").read_text())["classes"][9]["km2"] == pytest.approx(0.25, rel=0.02)
    assert "Forests" in out.with_suffix(".qml").read_text()
    assert (tmp_path / "f.tif").exists()
    assert sorted(p.name for p in out.parent.iterdir()) == ["label.json", "label.qml", "label.tif"]


def test_json_is_one_object_and_nothing_else(capsys, extract, tmp_path):
    assert run(_command(extract, tmp_path / "l.tif", "--json")) == 0
    report = json.loads(capsys.readouterr().out)
    assert {"coverage", "classes", "rules", "switches", "unmatched", "skipped", "coastline"} <= set(report)


def test_like_takes_the_grid(capsys, extract, tmp_path):
    assert run(_command(extract, tmp_path / "a.tif", "--quiet")) == 0
    assert run(_command(extract, tmp_path / "b.tif", "--quiet", grid=("--like", str(tmp_path / "a.tif")))) == 0
    with rasterio.open(tmp_path / "a.tif") as a, rasterio.open(tmp_path / "b.tif") as b:
        assert a.transform == b.transform
        assert np.array_equal(a.read(), b.read())
    assert capsys.readouterr().err == ""


def test_existing_outputs_are_refused_and_nothing_is_touched(capsys, extract, tmp_path):
    out = tmp_path / "l.tif"
    assert run(_command(extract, out, "-q")) == 0
    capsys.readouterr()
    before = out.read_bytes()
    assert "exists already" in _fails(capsys, _command(extract, out, "--switch", "allotments=unmapped"))
    assert out.read_bytes() == before
    assert run(_command(extract, out, "-q", "--overwrite")) == 0


def test_switch_and_own_rules(capsys, extract, tmp_path):
    rules = {"name": "t", "rules": [{"name": "w", "class": 11, "priority": 1, "tags": {"landuse": "forest"}}]}
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(rules), encoding="utf-8")
    assert run(_command(extract, tmp_path / "l.tif", "-q", "--rules", tmp_path / "r.yaml")) == 0
    with rasterio.open(tmp_path / "l.tif") as dataset:
        assert set(np.unique(dataset.read())) == {0, 11}
        assert dataset.tags()["RULES"].startswith("t ")


def test_show_rules_prints_a_table_that_works(capsys, extract, tmp_path):
    assert run(["label", "--show-rules"]) == 0
    (tmp_path / "r.yaml").write_text(capsys.readouterr().out, encoding="utf-8")
    assert run(_command(extract, tmp_path / "l.tif", "-q", "--rules", tmp_path / "r.yaml")) == 0
    assert run(_command(extract, tmp_path / "default.tif", "-q")) == 0
    with rasterio.open(tmp_path / "l.tif") as shown, rasterio.open(tmp_path / "default.tif") as default:
        assert len(np.unique(shown.read())) > 1
        np.testing.assert_array_equal(shown.read(), default.read())


def test_each_mistake_is_one_clear_line(capsys, extract, tmp_path):
    out = tmp_path / "l.tif"
    rules = tmp_path / "r.yaml"
    rules.write_text(
        yaml.safe_dump({"name": "t", "rules": [{"name": "w", "class": 99, "priority": 1, "tags": {"a": "b"}}]})
    )
    plain = tmp_path / "plain.tif"
    with rasterio.open(
        plain, "w", driver="GTiff", height=2, width=2, count=1, dtype="uint8", transform=Affine(1, 0, 5, 0, -1, 5)
    ) as dataset:
        dataset.write(np.ones((1, 2, 2), np.uint8))
    truncated = tmp_path / "cut.osm"
    truncated.write_bytes(extract.read_bytes()[:-200])
    far = ("--bounds", "20,50,20.1,50.1", "--resolution", "10")
    mistakes = [
        (_command(extract, out, "--rules", rules), "rule 'w' has class 99"),
        (_command(extract, out, grid=far), "do not overlap"),
        (_command(truncated, out), "cut.osm as OpenStreetMap data"),
        (_command(tmp_path / "none.pbf", out), "none.pbf: No such file or directory"),
        (_command(extract, out, grid=("--like", str(plain))), "has no CRS"),
        (_command(extract, out, grid=()), "either like (a raster) or bounds"),
        (_command(extract, out, grid=("--bounds", BOUNDS)), "needs resolution"),
        (_command(extract, out, grid=("--bounds", "1,2,3", "--resolution", "10")), "not four numbers"),
        (_command(extract, out, "--crs", "EPSG:4326"), "not projected"),
        (_command(extract, out, "--switch", "allotments"), "NAME=OPTION"),
        (_command(extract, out, "--switch", "allotment=unmapped"), "Did you mean 'allotments'"),
        (_command(extract, out, "--fractions", out), "same file"),
        (_command(extract, out, "--legend", tmp_path / "none.yaml"), "cannot read the legend"),
    ]  # fmt: skip
    for arguments, message in mistakes:
        assert message in _fails(capsys, arguments)
        assert not out.exists()


@pytest.fixture
def real():
    folder = os.environ.get("C2SEG_REAL_DATA")
    if not folder or not (Path(folder) / "osm").is_dir():
        pytest.skip("C2SEG_REAL_DATA names no folder with osm/ extracts")
    return Path(folder) / "osm"


def _run_real(real, capsys, tmp_path, name, bounds):
    out = tmp_path / f"{name}.tif"
    grid = ("--bounds", bounds, "--resolution", "10")
    assert run(_command(real / f"{name}.osm.pbf", out, "--json", "-q", grid=grid)) == 0
    report = json.loads(capsys.readouterr().out)
    with rasterio.open(out) as dataset:
        return report, dataset.read(1), dataset


def test_liechtenstein(real, capsys, tmp_path):
    report, label, _ = _run_real(real, capsys, tmp_path, "liechtenstein", "9.471,47.047,9.637,47.272")
    km2 = {c["id"]: c["km2"] for c in report["classes"]}
    assert max(km2, key=km2.get) == 10
    assert 0.15 < km2[8] < 0.35
    pieces, _ = ndimage.label(label == 1)
    largest = np.sort(np.bincount(pieces.ravel())[1:])[-8:]  # the Rhine between its bridges
    assert largest.sum() * 100e-6 > 2
    streets, _ = ndimage.label(label == 2, np.ones((3, 3)))
    sizes = np.bincount(streets.ravel())[1:]
    assert sizes.max() / sizes.sum() > 0.9  # connected
    assert ndimage.binary_erosion(label == 2, np.ones((3, 3))).sum() < 0.02 * sizes.sum()  # thin
    assert {c["id"] for c in report["closed"]} == {"relation 61508", "relation 282409", "relation 3998328"}  # forests
    assert report["skipped"] == []


def test_baltimore(real, capsys, tmp_path):
    report, label, dataset = _run_real(real, capsys, tmp_path, "baltimore", "-76.6081,39.2586,-76.5288,39.3065")
    assert report["coastline"]["state"] == "closed"
    assert _class_at(label, dataset, -76.580, 39.277) == 1  # the harbour
    assert _class_at(label, dataset, -76.5805, 39.2905) == 6  # Patterson Park
    assert {r["name"]: r["km2"] for r in report["rules"]}["sea"] > 4


def test_helsinki(real, capsys, tmp_path):
    bounds = "24.9351762,60.164155,24.9534145,60.179113"
    report, label, dataset = _run_real(real, capsys, tmp_path, "helsinki", bounds)
    assert report["coastline"]["state"] == "closed"
    assert report["coastline"]["led_to_edge"] == 8  # the extract was cut at nodes
    assert _class_at(label, dataset, 24.9425, 60.1780) == 1  # Kaisaniemi bay
    assert _class_at(label, dataset, 24.9400, 60.1740) == 4  # the railway yard
    incomplete = [s for s in report["skipped"] if "incomplete" in s["reason"]]
    assert 1 <= len(incomplete) < len(report["closed"])
    assert all("--strategy smart" in s["reason"] for s in incomplete)


def _class_at(label, dataset, longitude, latitude):
    from rasterio.warp import transform

    (x,), (y,) = transform("EPSG:4326", dataset.crs, [longitude], [latitude])
    col, row = ~dataset.transform @ (x, y)
    return int(label[int(row), int(col)])
