"""A few labels of a target: read from the files that people have, and refused in one line where they do not fit."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio

from c2seg.data import open_city
from c2seg.data.target_labels import read_target_labels
from c2seg.errors import C2SegError
from helpers.few_labels import places_of, write_points, write_table
from helpers.polygons import write_polygons

CRS = "urn:ogc:def:crs:EPSG::32633"

pytest.importorskip("pyogrio")


@pytest.fixture
def target(make_city):
    return make_city("target", seed=2)


def pixels(labels):
    (scene,) = labels.scenes
    return dict(zip(zip(scene.rows.tolist(), scene.cols.tolist(), strict=True), scene.ids.tolist(), strict=True))


def test_points_label_their_pixels(target, tmp_path):
    places, classes = places_of(target, 5)
    expected = dict(zip(map(tuple, places), classes, strict=True))
    city = open_city(target)
    table = read_target_labels(write_table(tmp_path / "t.csv", target / "label.tif", places, classes), city)
    vector = read_target_labels(write_points(tmp_path / "p.geojson", target / "label.tif", places, classes), city)
    assert pixels(table) == pixels(vector) == expected
    assert table.digest() == vector.digest()
    assert set(table.unit_counts(city.legend).values()) == {5}


def test_points_in_another_crs_are_transformed(target, tmp_path):
    from rasterio.warp import transform

    places, classes = places_of(target, 3)
    with rasterio.open(target / "label.tif") as dataset:
        xy = [dataset.xy(row, col) for row, col in places]
        degrees = transform(dataset.crs, "EPSG:4326", *zip(*xy, strict=True))
    lines = ["longitude,latitude,class"]
    lines += [f"{x!r},{y!r},{number}" for x, y, number in zip(*degrees, classes, strict=True)]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    labels = read_target_labels(tmp_path / "t.csv", open_city(target))
    assert pixels(labels) == dict(zip(map(tuple, places), classes, strict=True))


def test_polygons_label_the_pixels_whose_centers_they_cover(target, tmp_path):
    corners = [(500_050, 4_999_900), (500_150, 4_999_900), (500_150, 4_999_800), (500_050, 4_999_800)]
    square = {"type": "Polygon", "coordinates": [[*corners, corners[0]]]}
    path = write_polygons(tmp_path / "p.geojson", value="Forests", geometry=square, crs=CRS)
    labels = read_target_labels(path, open_city(target))
    (scene,) = labels.scenes
    assert labels.pixels == 100
    assert set(scene.ids.tolist()) == {10}
    assert len(np.unique(scene.units)) == 1


def test_what_is_not_labeled_is_left_out(target, tmp_path):
    places, _ = places_of(target, 2)
    values = ["Forests", "", "cannot tell", "10", "0", "255"]
    labels = read_target_labels(
        write_table(tmp_path / "t.csv", target / "label.tif", places, values), open_city(target)
    )
    assert pixels(labels) == {tuple(places[0]): 10, tuple(places[3]): 10}


def far(path, like, places, classes):
    return write_table(path, like, [(row + 5000, col) for row, col in places], classes)


def unknown(path, like, places, classes):
    return write_table(path, like, places, ["Volcano"] * len(classes))


def two_classes(path, like, places, classes):
    return write_table(path, like, [places[0]] * 2, [1, 3])


def none(path, like, places, classes):
    return write_table(path, like, places, [""] * len(classes))


def no_class(path, like, places, classes):
    path.write_text("x,y\n1,2\n")
    return path


def elsewhere(path, like, places, classes):
    return write_table(path, like, places, classes, longitude=0.0, latitude=0.0)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (far, "cover no pixel of 'target'"),
        (unknown, "'Volcano'"),
        (two_classes, "has two classes"),
        (none, "no labeled point"),
        (no_class, "no column class or reference"),
        (elsewhere, "longitude and latitude are elsewhere"),
    ],
)
def test_wrong_files_are_refused_in_one_line(target, tmp_path, make, words):
    places, classes = places_of(target, 2)
    path = make(tmp_path / "t.csv", target / "label.tif", places, classes)
    with pytest.raises(C2SegError) as caught:
        read_target_labels(path, open_city(target))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_vector_file_without_crs_is_refused(target, tmp_path):
    places, classes = places_of(target, 2)
    path = write_points(tmp_path / "p.shp.geojson", target / "label.tif", places, classes)
    import pyogrio.raw

    _, _, geometry, values = pyogrio.raw.read(path)
    shape = tmp_path / "bare.shp"
    with pytest.warns(UserWarning, match="crs"):
        pyogrio.raw.write(shape, geometry, values, ["class"], geometry_type="Point", crs=None)
    with pytest.raises(C2SegError, match="has no CRS"):
        read_target_labels(shape, open_city(target))
