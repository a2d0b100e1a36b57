from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from c2seg.errors import DataError, InputError
from c2seg.legend import IGNORE, LandClass, Legend, c2seg13, load_legend


def test_the_default_legend_is_the_challenges() -> None:
    legend = c2seg13()
    assert legend.ids == tuple(range(1, 14))
    assert (legend.names[0], legend.names[1], legend.names[12]) == ("Surface water", "Street", "Inland wetlands")
    assert legend.colors("paper")[7] == (255, 255, 0)
    assert legend.colors("submission")[13] == (0, 168, 132)
    for palette in ("default", *legend.palettes):
        assert len(set(legend.colors(palette).values())) == 13  # all told apart


@pytest.mark.parametrize(("label_map", "water", "urban"), [("challenge", 1, 3), ("mat", 13, 1), ("china-raw", 5, 11)])
def test_label_maps(label_map: str, water: int, urban: int) -> None:
    legend = c2seg13()
    codes = legend.codes(label_map)
    assert (codes[water], codes[urban]) == (1, 3)
    assert sorted(codes.values()) == list(range(14))  # one to one, nothing lost


@given(st.sampled_from(["challenge", "mat", "china-raw"]), st.data())
def test_renumbering_is_lossless(label_map: str, data: st.DataObject) -> None:
    legend = c2seg13()
    codes = legend.codes(label_map)
    values = np.array(data.draw(st.lists(st.sampled_from([*codes, IGNORE]), min_size=1, max_size=40)), np.int16)
    ids = legend.apply_label_map(values, label_map)
    assert ids.dtype == np.uint8
    back = {id_: value for value, id_ in codes.items()} | {IGNORE: IGNORE}
    assert [back[int(i)] for i in ids] == values.tolist()


@pytest.mark.parametrize("bad", [14, -1, 200, 1.5, np.nan])
def test_values_outside_a_label_map_are_refused(bad: float) -> None:
    with pytest.raises(DataError, match="are not in label mapping 'challenge'"):
        c2seg13().apply_label_map(np.array([1, bad]), "challenge")


def test_unknown_names_list_the_valid_ones() -> None:
    with pytest.raises(InputError, match="challenge, china-raw, mat"):
        c2seg13().apply_label_map(np.zeros(1, np.uint8), "corine")
    with pytest.raises(InputError, match="colorblind, default"):
        c2seg13().colors("rainbow")


def test_tables_are_inverse() -> None:
    legend = Legend("three", tuple(LandClass(i, f"c{i}", "#010203") for i in (4, 9, 2)))
    table, ids = legend.index_table(), legend.id_table()
    assert ids.tolist() == [4, 9, 2]
    assert table[ids].tolist() == [0, 1, 2]
    assert (np.delete(table, ids) == 255).all()


def test_files_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "legend.yaml"
    path.write_text(yaml.safe_dump(c2seg13().as_dict()))
    assert load_legend(path) == c2seg13()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classes": ()}, "has no class"),
        ({"classes": (LandClass(0, "a", "#000000"),)}, r"within 1\.\.254"),
        ({"classes": (LandClass(255, "a", "#000000"),)}, r"within 1\.\.254"),
        ({"classes": (LandClass(1, "a", "#000000"), LandClass(1, "b", "#000000"))}, "must be different"),
        ({"classes": (LandClass(1, "a", "red"),)}, "not of the form"),
        ({"palettes": {"p": ("#000000",)}}, "1 colors for 13 classes"),
        ({"label_maps": {"n": {1: 3, 2: 3}}}, "maps two values to one id"),
        ({"label_maps": {"n": {1: 77}}}, r"unknown ids \[77\]"),
    ],
)
def test_wrong_legends_are_refused(change: dict[str, object], message: str) -> None:
    base = replace(c2seg13(), palettes={}, label_maps={})
    with pytest.raises(InputError, match=message):
        replace(base, **change)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["[]", "name: x", "classes: 3", "{name: x, classes: [{id: a}]}", "{", "\xff"])
def test_what_is_no_legend_file_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match=r"own\.yaml"):
        load_legend(path)
    with pytest.raises(InputError, match="cannot read the legend"):
        load_legend(tmp_path / "none.yaml")


def test_a_legend_file_of_the_first_version_is_read_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    content = {
        "name": "one", "classes": [{"id": 1, "name": "Water", "colour": "#0000FF"}], "numberings": {"swapped": {9: 1}},
    }  # fmt: skip
    (tmp_path / "old.yaml").write_text(yaml.safe_dump(content))
    legend = load_legend(tmp_path / "old.yaml")
    assert (legend.classes[0].color, legend.codes("swapped")) == ("#0000FF", {9: 1})
    assert "`numberings:`" in caplog.text
    caplog.clear()
    (tmp_path / "new.yaml").write_text(yaml.safe_dump(legend.as_dict()))
    load_legend(tmp_path / "new.yaml")
    assert not caplog.text
