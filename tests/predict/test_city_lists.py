"""Lists of cities: manifests and STAC item collections in, a map each, one table; a bad city stops no other."""

from __future__ import annotations

import csv
import json
from concurrent.futures import ThreadPoolExecutor

import pytest
import rasterio

import c2seg
from c2seg.cli import run
from c2seg.data.city_lists import listed_cities
from c2seg.errors import DataError, InputError
from c2seg.pipeline import fit
from c2seg.recipes import load_recipe


@pytest.fixture
def forest(make_city, tmp_path):
    settings = ["model.trees=5", "validation.folds=0", "prediction.window_px=24"]
    fit(load_recipe("forest", "tiny", settings), [make_city("source", seed=1)], tmp_path / "run")
    return tmp_path / "run" / "model.safetensors"


def item(name, **links):
    return {"type": "Feature", "id": name, "assets": {key: {"href": link} for key, link in links.items()}}


def listed(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    return [(entry.name, entry.path) for entry in listed_cities(tmp_path / name)]


def test_lists_in_three_forms(tmp_path):
    one, two = tmp_path / "one", tmp_path / "deep" / "two"
    pair = [("one", one), ("two", two)]
    assert listed(tmp_path, "l.txt", f"# cities\none\n\n{two}\n") == pair
    assert listed(tmp_path, "l.csv", "name,path\n,one\nBerlin (east),deep/two\n") == [pair[0], ("Berlin-east", two)]
    stac = {"type": "FeatureCollection", "features": [
        item("one", city="./one"), item("two", msi=f"file://{two}/msi.tif", sar="deep/two/sar.tif", thumbnail="x/y.png"),
    ]}  # fmt: skip
    entries = listed(tmp_path, "l.json", json.dumps(stac))
    assert [(name, path.resolve()) for name, path in entries] == pair
    assert listed_cities(tmp_path) is None
    assert listed_cities(tmp_path / "city.mat") is None


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("l.txt", "# nothing\n", "lists no city"),
        ("l.txt", "a/one\nb/one\n", "two cities named one"),
        ("l.csv", "city\none\n", "no column path; it has city"),
        ("l.json", "[]", "no STAC item collection"),
        ("l.json", '{"features": [{"id": "a"}]}', "no STAC item"),
        ("l.json", json.dumps({"features": [item("a", msi="x/msi.tif", sar="y/sar.tif")]}), "in one folder"),
        ("l.json", json.dumps({"features": [item("a", city="https://host/a")]}), "neither on a file system"),
    ],
)
def test_a_damaged_list_is_told(tmp_path, name, text, said):
    with pytest.raises(DataError, match=said):
        listed(tmp_path, name, text)


def test_a_list_gives_maps_and_a_table(forest, make_city, tmp_path, capsys):
    for name, seed in (("a", 2), ("b", 3)):
        make_city(name, seed=seed, label=False)
    (tmp_path / "cities.txt").write_text("a\nmissing\nb\n")
    arguments = ["predict", str(forest), str(tmp_path / "cities.txt"), "--out", str(tmp_path / "maps"), "--quiet"]
    assert run(arguments) == 2
    assert "1 of 3 cities have no map: missing: " in capsys.readouterr().err
    rows = list(csv.DictReader((tmp_path / "maps" / "cities.csv").read_text().splitlines()))
    assert [(row["name"], row["map"]) for row in rows] == [("a", "a.tif"), ("missing", ""), ("b", "b.tif")]
    assert "does not exist" in rows[1]["error"]
    assert int(rows[0]["pixels"]) == 70 * 91
    assert run(["predict", str(forest), str(tmp_path / "b"), "--out", str(tmp_path / "alone.tif"), "--quiet"]) == 0
    assert (tmp_path / "maps" / "b.tif").read_bytes() == (tmp_path / "alone.tif").read_bytes()

    make_city("missing", seed=4)
    before = (tmp_path / "maps" / "a.tif").stat().st_mtime_ns
    (tmp_path / "maps" / "b.json").unlink()  # stands no more: a map without its record is somebody else's
    capsys.readouterr()
    assert run(arguments) == 2
    assert "b: " in capsys.readouterr().err
    assert (tmp_path / "maps" / "a.tif").stat().st_mtime_ns == before
    assert (tmp_path / "maps" / "missing.tif").is_file()


def test_workers_serve_all_cities(forest, make_city, tmp_path):
    cities = [make_city(name, seed=seed) for name, seed in (("a", 2), ("b", 3))]
    result = c2seg.predict_cities(forest, cities, tmp_path / "two", workers=2)
    assert result.failed == {}
    single = c2seg.predict_cities(forest, cities, tmp_path / "one")
    assert list(single.maps) == ["a", "b"]
    for name in ("a.tif", "b.tif"):
        assert (tmp_path / "two" / name).read_bytes() == (tmp_path / "one" / name).read_bytes()
    with rasterio.open(tmp_path / "one" / "index.vrt") as index, rasterio.open(tmp_path / "one" / "b.tif") as last:
        assert (index.read(1) == last.read(1)).all()  # both cities lie at one place
    with ThreadPoolExecutor(2) as executor:
        lent = c2seg.predict_cities(forest, cities, tmp_path / "lent", executor=executor)
    assert lent.failed == {}
    assert (tmp_path / "lent" / "b.tif").read_bytes() == (tmp_path / "one" / "b.tif").read_bytes()
    with pytest.raises(InputError, match="two cities have one name"):
        c2seg.predict_cities(forest, [cities[0], cities[0]], tmp_path / "more")


@pytest.mark.parametrize("settings", [{"decision": "expected_iou"}, {"min_area_px": 20}])
def test_maps_stand_for_the_settings_that_they_were_made_with(forest, make_city, tmp_path, settings):
    city = make_city("a", seed=2)
    made = c2seg.predict_cities(forest, city, tmp_path / "maps", **settings)
    assert made.failed == {}
    before = (tmp_path / "maps/a.tif").stat().st_mtime_ns
    assert c2seg.predict_cities(forest, city, tmp_path / "maps", **settings).failed == {}
    assert (tmp_path / "maps/a.tif").stat().st_mtime_ns == before
    plain = c2seg.predict_cities(forest, city, tmp_path / "maps")
    assert "exists" in plain.failed["a"]  # it was left alone without a word


def test_layers_need_one_city(forest, make_city, tmp_path, capsys):
    cities = [str(make_city(name, seed=2)) for name in "ab"]
    arguments = ["predict", str(forest), *cities, "--out", str(tmp_path / "m"), "--preview", str(tmp_path / "p.png")]
    assert run(arguments) == 2
    assert "need one city" in capsys.readouterr().err
