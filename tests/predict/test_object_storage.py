"""Cities in object storage: read in place, by workers too; the bytes of the same city on a disk."""

from __future__ import annotations

import subprocess
import sys

import pytest
import rasterio

import c2seg
from c2seg.cli import run
from c2seg.data import open_city
from c2seg.data.city_lists import listed_cities
from c2seg.errors import DataError, InputError, OutputError
from c2seg.pipeline import fit
from c2seg.predict.parts import StripParts
from c2seg.raster import object_path
from c2seg.raster.objects import _client, _digests, object_folders, object_marks, put_object
from c2seg.recipes import load_recipe
from helpers.object_storage import environment_of, object_server, upload

pytest.importorskip("moto")
boto3 = pytest.importorskip("boto3")


@pytest.fixture(scope="module")
def server():
    with object_server() as address:
        yield address


@pytest.fixture
def bucket(server, monkeypatch):
    """Return a putter of files into a bucket."""
    for name, value in environment_of(server).items():
        monkeypatch.setenv(name, value)
    _client.cache_clear()
    client = boto3.client("s3")
    client.create_bucket(Bucket="cities")

    yield lambda folder, prefix: upload(client, folder, "cities", prefix)
    client.close()
    _client().close()
    _client.cache_clear()


@pytest.fixture
def forest(make_city, tmp_path):
    settings = ["model.trees=5", "validation.folds=0", "prediction.window_px=24"]
    fit(load_recipe("forest", "tiny", settings), [make_city("source", seed=1)], tmp_path / "run")
    return tmp_path / "run" / "model.safetensors"


def test_a_city_in_object_storage_gives_the_bytes_of_one_on_disk(bucket, forest, make_city, tmp_path):
    city = make_city("target", seed=2, valid=True, hsi_ratio=3)
    (city / "city.yaml").write_text("name: Target\n")
    bucket(city, "deep/target")
    assert open_city(object_path("s3://cities/deep/target")).fingerprint() == open_city(city).fingerprint()
    assert run(["predict", str(forest), str(city), "--out", str(tmp_path / "disk.tif"), "--quiet"]) == 0
    arguments = ["predict", str(forest), "s3://cities/deep/target", "--quiet", "--out"]
    assert run([*arguments, str(tmp_path / "one.tif")]) == 0
    assert run([*arguments, str(tmp_path / "two.tif"), "--workers", "2"]) == 0
    for name in ("one.tif", "two.tif"):
        assert (tmp_path / name).read_bytes() == (tmp_path / "disk.tif").read_bytes()
    assert "/vsis3/cities/deep/target" in (tmp_path / "one.json").read_text()


@pytest.fixture
def predict_to(bucket, forest, make_city, tmp_path):
    """Return what predicts with probabilities in a place; the confidence is a file."""
    city = make_city("target", seed=2)

    def predict(name, probabilities, *more):
        layers = ["--probabilities", probabilities, "--confidence", str(tmp_path / f"c {name}.tif"), *more]
        return run(["predict", str(forest), str(city), "--quiet", "--out", str(tmp_path / f"{name}.tif"), *layers])

    assert predict("disk", str(tmp_path / "p.tif")) == 0
    return predict


def read_elsewhere(path):
    """Return the pixels of a raster that another process reads: GDAL would keep the server's thread here from answering."""
    code = "import rasterio, sys; sys.stdout.buffer.write(rasterio.open(sys.argv[1]).read().tobytes())"
    return subprocess.run([sys.executable, "-c", code, path], check=True, capture_output=True, timeout=600).stdout


def is_as_on_disk(folder, name):
    return all(
        (folder / f"{prefix}{name}.tif").read_bytes() == (folder / f"{prefix}disk.tif").read_bytes()
        for prefix in ("", "c ")
    )


def test_layers_go_to_object_storage_in_parts(predict_to, tmp_path):
    assert predict_to("one", "s3://cities/maps/p.vrt", "--parts-folder", "s3://cities/work") == 0
    assert is_as_on_disk(tmp_path, "one")
    assert list(tmp_path.glob("*p.*")) == [tmp_path / "p.tif"]  # the caller has no copy
    assert object_folders(object_path("s3://cities/work")) == []  # parts on the way are removed
    with rasterio.open(tmp_path / "p.tif") as whole:
        assert read_elsewhere("/vsis3/cities/maps/p.vrt") == whole.read().tobytes()
    runs = object_folders(object_path("s3://cities/maps/p.parts"))
    assert predict_to("new", "s3://cities/maps/p.vrt") == 2
    assert predict_to("new", "s3://cities/maps/p.vrt", "--overwrite") == 0
    assert object_folders(object_path("s3://cities/maps/p.parts")) == runs


@pytest.mark.slow
def test_workers_write_parts_to_object_storage(predict_to, tmp_path):
    assert predict_to("one", "s3://cities/one/p.vrt") == 0
    assert predict_to("two", "s3://cities/two/p.vrt", "--parts-folder", "s3://cities/work", "--workers", "2") == 0
    assert is_as_on_disk(tmp_path, "two")
    assert object_marks(object_path("s3://cities/two")) == object_marks(object_path("s3://cities/one"))
    assert object_folders(object_path("s3://cities/work")) == []


def test_an_object_that_was_replaced_is_computed_again(bucket, forest, make_city, tmp_path, monkeypatch):
    """Storage tells by its tags, so that no part is read to know it."""
    options = {"probabilities": "s3://cities/p.vrt", "overwrite": True}
    city = make_city("target", seed=2)
    model = c2seg.load_model(forest)
    model.predict(city, tmp_path / "map.tif", **options)
    parts = object_path("s3://cities/p.parts")
    folder = parts / object_folders(parts)[0]
    before = object_marks(folder)
    real = StripParts.damaged
    calls = []

    def damaged(self, marks):
        if len(marks) == len(before) and not calls:
            calls.append(put_object(folder / "000001.tif", b"other"))
        return real(self, marks)

    monkeypatch.setattr(StripParts, "damaged", damaged)
    model.predict(city, tmp_path / "map.tif", **options)
    assert calls
    assert object_marks(folder) == before


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"out": "s3://cities/map.tif"}, "`out`: s3://cities/map.tif: only layers"),
        ({"preview": "s3://cities/map.png"}, "`preview`: s3://cities/map.png: only layers"),
        ({"confidence": "s3://cities/c.tif"}, "`confidence`: s3://cities/c.tif: .* must end in .vrt"),
        ({"confidence": "s3://nobody/c.vrt"}, "NoSuchBucket"),
        ({"confidence": "c.tif", "parts_folder": "s3://nobody/parts"}, "cannot write /vsis3/nobody/.*NoSuchBucket"),
    ],
)
def test_outputs_that_storage_does_not_take(bucket, forest, make_city, tmp_path, monkeypatch, options, said):
    monkeypatch.chdir(tmp_path)
    with pytest.raises((InputError, DataError, OutputError), match=said) as caught:
        c2seg.load_model(forest).predict(make_city("target", seed=2), **({"out": "map.tif"} | options))
    assert "\n" not in str(caught.value)


def test_an_object_that_changes_is_another_city(bucket, make_city):
    city = make_city("target", seed=2)
    bucket(city, "town")
    before = open_city(object_path("s3://cities/town")).fingerprint()
    bucket(make_city("other", seed=3), "town")
    assert open_city(object_path("s3://cities/town")).fingerprint() != before
    assert _digests


def test_lists_name_objects(tmp_path):
    (tmp_path / "l.txt").write_text("s3://cities/one\nnear\n")
    entries = listed_cities(tmp_path / "l.txt")
    assert [str(entry.path) for entry in entries] == ["/vsis3/cities/one", str(tmp_path / "near")]


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("s3://cities/nothing", "has no city: looked for"),
        ("s3://nobody/town", "cannot read /vsis3/nobody/town: .*NoSuchBucket"),
    ],
)
def test_what_is_not_there_is_told_in_one_line(bucket, place, said):
    with pytest.raises(DataError, match=said) as caught:
        c2seg.open_city(place)
    assert "\n" not in str(caught.value)


def test_only_geotiffs_are_read(bucket, make_city, tmp_path):
    city = make_city("target", seed=2)
    (city / "city.yaml").write_text("modalities: {msi: {file: all.vrt}}\n")
    bucket(city, "virtual")
    with pytest.raises(DataError, match="only GeoTIFF"):
        c2seg.open_city("s3://cities/virtual")


@pytest.mark.parametrize(
    "text", ["modalities: {msi: {file: /vsis3/b/msi.tif}}", "valid: /vsis3/b/v.tif", "scenes: [/vsis3/b]"]
)
def test_a_file_on_disk_leads_to_no_object(make_city, text):
    """A city.yaml that others wrote must not make requests with the user's credentials."""
    city = make_city("target", seed=2)
    (city / "city.yaml").write_text(f"{text}\n")
    with pytest.raises(DataError, match="which is not followed"):
        c2seg.open_city(city)
