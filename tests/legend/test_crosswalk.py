"""Classes of several legends as classes of one."""

from __future__ import annotations

import numpy as np
import pytest

from c2seg.api.converting import convert_city
from c2seg.data import open_labeled_city
from c2seg.errors import InputError
from c2seg.legend import LandClass, Legend, c2seg13
from c2seg.legend.crosswalk import land4, load_crosswalk

URBAN = Legend(
    "urban4", tuple(LandClass(i + 1, n, "#000000") for i, n in enumerate(("urban", "Low vegetation", "Trees", "Water")))
)


def test_several_classes_become_one_and_others_are_ignored():
    ids = np.array([[0, 1, 2, 3, 4], [5, 7, 10, 13, 255]], np.uint8)
    common = land4().apply(ids, c2seg13())
    np.testing.assert_array_equal(common, [[0, 4, 1, 1, 1], [255, 2, 3, 255, 255]])
    assert common.dtype == np.uint8


def test_names_are_compared_without_case():
    np.testing.assert_array_equal(land4().apply(np.arange(6, dtype=np.uint8), URBAN), [0, 1, 2, 3, 4, 255])


def test_an_unknown_legend_is_refused():
    other = Legend("somewhere", URBAN.classes)
    with pytest.raises(InputError, match="somewhere"):
        land4().table(other)


def test_a_class_that_is_not_named_is_refused():
    more = Legend("urban4", (*URBAN.classes, LandClass(9, "Ice", "#FFFFFF")))
    with pytest.raises(InputError, match="says nothing of its class 'Ice'"):
        land4().table(more)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("legend: {}", "not a crosswalk"),
        ("legend: {name: a, classes: [{id: 1, name: X, color: '#000000'}]}\nclasses: [1]", "by legend"),
        ("legend: {name: a, classes: [{id: 1, name: X, color: '#000000'}]}\nclasses: {b: {Y: Z}}", "'Z'"),
    ],
)
def test_a_damaged_file_is_named(tmp_path, text, message):
    file = tmp_path / "walk.yaml"
    file.write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        load_crosswalk(file)
    assert str(file) in str(caught.value)


def test_a_file_is_read(tmp_path):
    file = tmp_path / "walk.yaml"
    legend = "legend: {name: a, classes: [{id: 7, name: X, color: '#000000'}]}"
    file.write_text(f"{legend}\nclasses: {{urban4: {{Urban: X, Low vegetation: null, Trees: X, Water: null}}}}")
    np.testing.assert_array_equal(load_crosswalk(file).table(URBAN)[:5], [0, 7, 255, 7, 255])


def test_a_converted_city_has_the_common_classes(make_city, tmp_path):
    city = make_city("city")
    out = convert_city(city, tmp_path / "out", layout="folder", crosswalk="land4")
    before, after = open_labeled_city(city), open_labeled_city(out)
    window = before.images.scenes[0].grid.window
    expected = land4().apply(before.read_label(0, window), before.images.legend)
    np.testing.assert_array_equal(after.read_label(0, window), expected)
    assert after.images.legend.names == land4().legend.names
    assert set(np.unique(expected)) - {0, 255} == {1, 3, 4}, "classes 3, 10 and 1 of C2Seg"
