"""The folder of a map: what GDAL reads, a STAC item by the schemas, tables, pictures; and the same from ``predict``."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import rasterio

from c2seg import package_map
from c2seg.artifacts import Header
from c2seg.data import Band, BandStatistics
from c2seg.errors import DataError, InputError, OutputError
from c2seg.gis.stac import Asset, ModelFacts, StacFacts, instant, stac_text
from c2seg.legend import c2seg13
from c2seg.recipes import load_recipe
from helpers import report_make as make

SCHEMAS = Path(__file__).parent / "schemas"
EXTENSIONS = "https://stac-extensions.github.io"


def validate(item):
    """Validate an item with the schema of STAC and of each extension that it names."""
    from referencing import Registry, Resource

    core = "https://schemas.stacspec.org/v1.1.0/item-spec/json-schema/"
    places = {f"{core}{path.name}": path for path in (SCHEMAS / "stac").iterdir()}
    places |= {f"https://geojson.org/schema/{path.name}": path for path in (SCHEMAS / "geojson").iterdir()}
    versions = {
        "mlm": "mlm/v1.5.2", "classification": "classification/v1.1.0", "raster": "raster/v2.0.0",
        "raster-1.1": "raster/v1.1.0", "projection": "projection/v2.0.0",
    }  # fmt: skip
    places |= {f"{EXTENSIONS}/{name}/schema.json": SCHEMAS / f"{file}.json" for file, name in versions.items()}
    schemas = {uri: json.loads(path.read_text()) for uri, path in places.items()}
    registry = Registry().with_resources((uri, Resource.from_contents(schema)) for uri, schema in schemas.items())
    for uri in (f"{core}item.json", *item["stac_extensions"]):
        jsonschema.Draft7Validator({"$ref": uri}, registry=registry).validate(item)


def header():
    bands = {"msi": (Band("B4", "red", 665.0), Band("B8", "nir", 842.0))}
    flat = BandStatistics.from_dict({"count": 9, "mean": [1, 1], "std": [1, 1], "minimum": [0, 0], "maximum": [2, 2]})
    return Header(recipe=load_recipe("forest"), inputs=bands, statistics={"msi": flat}, legend=c2seg13())


@pytest.fixture
def berlin(tmp_path):
    place = make.grid(48, 36)
    city = make.make_city(tmp_path / "berlin", place)
    return make.make_map(
        tmp_path / "maps/berlin.tif", make.labels(place), place, city="Berlin", confidence=True, city_path=city
    )


def test_a_package_holds_everything(berlin, tmp_path):
    result = package_map(berlin, tmp_path / "out", simplify=15.0, acquired="2024-06-30", title="Berlin in June")
    assert result.files == (
        "berlin.areas.csv", "berlin.json", "berlin.legend.png", "berlin.polygons.gpkg", "berlin.preview.png", "berlin.qml",
        "berlin.stac.json", "berlin.tif", "berlin.tif.aux.xml", "berlin_confidence.qml", "berlin_confidence.tif",
    )  # fmt: skip
    out = tmp_path / "out"
    assert (out / "berlin.tif").read_bytes() == berlin.read_bytes()
    with rasterio.open(berlin) as dataset:
        counts = np.bincount(dataset.read(1).ravel(), minlength=14)
    table = csv.DictReader((out / "berlin.areas.csv").read_text().splitlines())
    rows = {int(row["class_id"]): row for row in table}
    assert [int(rows[i]["pixels"]) for i in range(1, 14)] == counts[1:].tolist()
    assert float(rows[3]["area_km2"]) == pytest.approx(counts[3] * 1e-4)
    assert sum(float(row["share"]) for row in rows.values()) == pytest.approx(1.0, abs=1e-5)
    record = json.loads((out / "berlin.json").read_text())
    assert (out / record["city"]["path"]).resolve() == (tmp_path / "berlin").resolve()
    item = json.loads((out / "berlin.stac.json").read_text())
    validate(item)
    assert item["properties"]["datetime"] == "2024-06-30T00:00:00Z"
    assert all((out / asset["href"]).is_file() for asset in item["assets"].values())
    west, south, east, north = item["bbox"]
    assert (west < east, south < north, item["properties"]["proj:code"]) == (True, True, "EPSG:32633")


def test_gdalinfo_shows_names_and_table(berlin, tmp_path):
    if (program := shutil.which("gdalinfo")) is None:
        pytest.skip("needs gdalinfo: apt-get install gdal-bin")
    package_map(berlin, tmp_path / "out", vector=False)
    environment = {k: v for k, v in os.environ.items() if k not in {"GDAL_DATA", "PROJ_DATA", "PROJ_LIB"}}
    done = subprocess.run([program, tmp_path / "out/berlin.tif"], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert "Categories:\n      0: no data\n      1: Surface water\n" in done.stdout
    assert "<GDALRasterAttributeTable" in done.stdout


def test_the_attribute_table_says_what_the_map_holds(berlin, tmp_path):
    from xml.etree import ElementTree

    package_map(berlin, tmp_path / "out", vector=False)
    root = ElementTree.parse(tmp_path / "out/berlin.tif.aux.xml").getroot()
    names = [item.text or "" for item in root.iter("Category")]
    assert names == ["no data", *c2seg13().names]
    columns = [item.findtext("Name") for item in root.iter("FieldDefn")]
    rows = [dict(zip(columns, [cell.text for cell in row], strict=True)) for row in root.iter("Row")]
    with rasterio.open(berlin) as dataset:
        counts = np.bincount(dataset.read(1).ravel(), minlength=14)
    for row, item in zip(rows, c2seg13().classes, strict=True):
        color = tuple(int(row[name]) for name in ("Red", "Green", "Blue"))
        assert (int(row["Value"]), row["Class"], int(row["Count"])) == (item.id, item.name, counts[item.id])
        assert color == c2seg13().colors()[item.id]
    with rasterio.open(tmp_path / "out/berlin.tif") as dataset:  # and GDAL takes the file as it is
        assert dataset.tags(ns="C2SEG")["SOFTWARE"] == "c2seg"


def test_an_item_with_the_model_that_made_the_map(tmp_path):
    place = make.grid()
    facts = StacFacts(
        "berlin", place, c2seg13(), instant("2024-06-30"), None, ModelFacts(tmp_path / "model.safetensors", header())
    )
    map_ = Asset(
        tmp_path / "berlin.tif",
        "Map",
        "image/tiff",
        ("data", "classification"),
        ({"name": "m", "raster:sampling": "area"},),
    )
    item = json.loads(stac_text(tmp_path / "berlin.stac.json", facts, {"map": map_}))
    validate(item)
    properties = item["properties"]
    assert (properties["mlm:architecture"], properties["mlm:tasks"]) == ("forest", ["semantic-segmentation"])
    assert properties["mlm:input"][0]["bands"] == ["msi-1", "msi-2"]
    assert properties["mlm:output"][0]["result"]["shape"][1] == 13
    del item["properties"]["mlm:output"]
    with pytest.raises(jsonschema.ValidationError):
        validate(item)


def test_a_map_without_a_crs_has_no_place(tmp_path):
    place = make.grid(crs=None)
    path = make.make_map(tmp_path / "m.tif", make.labels(place), place)
    package_map(path, tmp_path / "out", vector=False)
    item = json.loads((tmp_path / "out/m.stac.json").read_text())
    validate(item)
    assert item["geometry"] is None
    assert "Area_km2" not in (tmp_path / "out/m.tif.aux.xml").read_text()


def test_wrong_input_is_one_line(berlin, tmp_path):
    with pytest.raises(InputError, match="no date"):
        package_map(berlin, tmp_path / "out", acquired="June")
    with pytest.raises(InputError, match="above 0"):
        package_map(berlin, tmp_path / "out", simplify=0.0)
    with pytest.raises(InputError, match="simplify"):
        package_map(berlin, tmp_path / "out", simplify=2.0, vector=False)
    with pytest.raises(DataError, match="one of uint8"):
        package_map(tmp_path / "berlin/msi.tif", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    package_map(berlin, tmp_path / "out", vector=False)
    with pytest.raises(OutputError, match="overwrite"):
        package_map(berlin, tmp_path / "out", vector=False)
    with pytest.raises(InputError, match="never replaced"):
        package_map(tmp_path / "out/berlin.tif", tmp_path / "out", vector=False, overwrite=True)
