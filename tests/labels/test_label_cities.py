"""Labels of many cities: a list in, a raster each, one table; a bad city stops no other; what stands is left alone."""

from __future__ import annotations

import csv
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import rasterio
from affine import Affine

import c2seg
from c2seg.cli import run
from helpers.label_maps import ORIGIN, UTM


@pytest.fixture
def extract(osm, tmp_path):
    osm.bounds = (-100, -100, 1100, 1100)
    osm.box(100, 100, 600, 600, landuse="forest")
    osm.way([(0, 800), (1000, 800)], highway="primary")
    return osm.write(tmp_path / "map.osm")


@pytest.fixture
def city(tmp_path):
    """Return a function that makes a city, so many meters east of the map's corner."""

    def make(name, east=0):
        folder = tmp_path / name
        folder.mkdir()
        place = Affine(10, 0, ORIGIN[0] + east, 0, -10, ORIGIN[1] + 900)
        with rasterio.open(
            folder / "msi.tif",
            "w",
            driver="GTiff",
            width=90,
            height=90,
            count=2,
            dtype="uint16",
            crs=UTM,
            transform=place,
        ) as file:
            file.write(np.ones((2, 90, 90), np.uint16))
        return folder

    return make


def table(out):
    return list(csv.DictReader((out / "labels.csv").read_text().splitlines()))


def test_a_list_gives_labels_and_a_table(extract, city, tmp_path, capsys):
    city("a"), city("b", 100), city("far", 100_000)
    (tmp_path / "cities.csv").write_text("path,osm\na,map.osm\nmissing,map.osm\nb,\nfar,map.osm\n")
    out = tmp_path / "labels"
    command = ["label", str(out), "--cities", str(tmp_path / "cities.csv"), "--osm", str(extract), "--quiet"]
    assert run(command) == 2
    assert "2 of 4 cities have no labels: missing: " in capsys.readouterr().err
    rows = table(out)
    assert [(row["name"], row["label"]) for row in rows] == [
        ("a", "a.tif"),
        ("missing", ""),
        ("b", "b.tif"),
        ("far", ""),
    ]
    assert float(rows[0]["Forests"]) == pytest.approx(0.25, rel=0.02)
    assert "does not exist" in rows[1]["error"]
    assert "do not overlap" in rows[3]["error"]
    single = [
        "label",
        str(tmp_path / "one.tif"),
        "--osm",
        str(extract),
        "--like",
        str(tmp_path / "b" / "msi.tif"),
        "-q",
    ]
    assert run(single) == 0
    assert (tmp_path / "one.tif").read_bytes() == (out / "b.tif").read_bytes()

    city("missing", 50)  # the same command makes what is missing, and leaves alone what stands
    before = {name: (out / name).stat().st_mtime_ns for name in ("a.tif", "b.tif")}
    assert run(command) == 2
    assert {name: (out / name).stat().st_mtime_ns for name in before} == before
    assert [row["label"] for row in table(out)] == ["a.tif", "missing.tif", "b.tif", ""]
    capsys.readouterr()
    assert run([*command, "--switch", "allotments=unmapped"]) == 2  # other labels than those that stand
    assert "exists already" in capsys.readouterr().err


def test_workers_write_the_same_labels(extract, city, tmp_path):
    cities = [city("a"), city("b", 100), city("c", 200)]
    alone = c2seg.label_cities(cities, tmp_path / "one", osm=extract, fractions=tmp_path / "shares")
    shared = c2seg.label_cities(cities, tmp_path / "two", osm=extract, workers=2)
    with ThreadPoolExecutor(2) as executor:
        lent = c2seg.label_cities(cities, tmp_path / "three", osm=extract, executor=executor)
    assert alone.failed == shared.failed == lent.failed == {}
    assert list(shared.labels) == ["a", "b", "c"]
    assert (tmp_path / "shares" / "c.tif").is_file()
    assert "c.tif" in shared._repr_html_()
    for name in ("a.tif", "b.json", "c.tif", "labels.csv"):
        content = (tmp_path / "one" / name).read_bytes()
        assert content == (tmp_path / "two" / name).read_bytes() == (tmp_path / "three" / name).read_bytes()


@pytest.mark.parametrize(
    ("more", "text"),
    [
        (["--cities", "a", "--resolution", "10"], "labeled on the grids of their images"),
        (["--bounds", "0,0,1,1"], "give --osm"),
        (["--osm", "x.osm", "--workers", "2"], "label several cities: give --cities"),
    ],
)
def test_what_does_not_go_together_is_told(more, text, tmp_path, capsys):
    assert run(["label", str(tmp_path / "out"), *more]) == 2
    assert text in capsys.readouterr().err


def test_a_city_without_an_extract_is_told(city, tmp_path):
    result = c2seg.label_cities(city("a"), tmp_path / "labels")
    assert "a has no extract: give `osm`" in result.failed["a"]
    assert result.table == tmp_path / "labels" / "labels.csv"
