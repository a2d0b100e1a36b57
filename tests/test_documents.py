"""YAML and JSON are read with limits: what is no plain content of a bounded size is refused in one line with its place."""

from __future__ import annotations

import json
import math
import os
from typing import Literal

import pytest

from c2seg.documents import json_text, parse_json, parse_yaml, read_json, read_text, read_yaml
from c2seg.errors import DataError, InputError, RecipeError
from c2seg.recipes import load_recipe, presets
from c2seg.records import Artifact

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{below}'] * 9)}]\n" for below, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[" * 5000, "more than 64 levels (line 1, column 65)"),
        ("- " * 5000, "more than 64 levels"),
        (BOMB, "aliases expanded"),
        ("a: &a [*a]", "stands within what it names (line 1, column 8)"),
        ("a: 1\nb: 2\na: 3", "the key 'a' occurs twice (line 3, column 1)"),
        ("a: !!binary aGk=", "the tag !!binary is not read"),
        ("a: !!python/name:os.system", "the tag !!python/name:os.system"),
        ("a: !!set {b}", "the tag !!set"),
        ("a: !!int x", "'x' does not fit its tag !!int (line 1, column 4)"),
        ("a: 99999999999999999999", "exceeds 64 bits"),
        ("a: " + "9" * 5000, "exceeds 64 bits"),
        ("a: 1.0e+999", "too large"),
        ("[a]: 1", "a key must be"),
        ("1.5: 1", "a key must be"),
        ('a: "\\ud800"', "half a character"),
        ("a: [1", "line 1"),
        ("a: \x00", "unacceptable character"),
    ],
)
def test_yaml_that_is_refused(text, problem):
    with pytest.raises(RecipeError) as caught:
        parse_yaml(text, "f.yaml", RecipeError)
    assert str(caught.value).startswith("f.yaml is not valid YAML: ")
    assert problem in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_yaml_that_is_read():
    text = "date: 2020-01-01\nbase: &b {x: 1, y: .nan}\nmore: {<<: *b, x: 2}\n7: [.inf, null, true]"
    content = parse_yaml(text, "f.yaml")
    assert content["date"] == "2020-01-01"
    assert content["more"]["x"] == 2
    assert math.isnan(content["more"]["y"])
    assert content[7] == [math.inf, None, True]
    assert parse_yaml("", "f.yaml") is None


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[" * 100_000, "nested too deeply"),
        ("[" * 500 + "]" * 500, "more than 64 levels"),
        ('{"a": 1, "a": 2}', "the key 'a' occurs twice"),
        ("NaN", "no number of JSON"),
        ("[1e999]", "too large"),
        ("[9223372036854775808]", "64 bits"),
        ('["\\ud800"]', "half a character"),
        ("", "Expecting value"),
    ],
)
def test_json_that_is_refused(text, problem):
    with pytest.raises(DataError) as caught:
        parse_json(text, "f.json")
    assert str(caught.value).startswith("f.json is damaged: ")
    assert problem in str(caught.value)


def test_only_regular_files_of_bounded_size_are_read(tmp_path):
    pipe, large, latin = tmp_path / "pipe.yaml", tmp_path / "large.yaml", tmp_path / "latin.yaml"
    os.mkfifo(pipe)
    with large.open("wb") as stream:
        stream.truncate(1 << 40)
    latin.write_bytes(b"name: \xe9")
    for path, problem in (
        (pipe, "it is a pipe"), ("/dev/zero", "it is a device"), (tmp_path, "it is a folder"), (large, "more than 256 KiB"),
        (latin, "not a text in UTF-8: .* at byte 6"), (tmp_path / "none.yaml", "No such file"), ("a\0b", "null byte"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=problem):
            read_yaml(path)
    with pytest.raises(DataError, match="it is a pipe"):
        read_json(pipe)
    with pytest.raises(DataError, match="more than 0 KiB"):
        read_text(latin, 3)


class Numbers(Artifact):
    artifact: Literal["numbers"] = "numbers"
    values: tuple[float, ...]


def test_infinite_values_are_texts_in_json_and_come_back(tmp_path):
    record = Numbers(values=(1.5, math.inf, -math.inf, math.nan))
    record.write(tmp_path / "n.json")
    for text in ((tmp_path / "n.json").read_text(encoding="utf-8"), record.as_line(), json_text(record.as_json())):
        values = Numbers.parse(json.loads(text, parse_constant=pytest.fail), "n.json").values
        assert values[:3] == record.values[:3]
        assert math.isnan(values[3])
    assert Numbers.read(tmp_path / "n.json").values[:3] == record.values[:3]


def test_older_files_of_wrong_content_are_told_in_one_line():
    class Older(Numbers):
        schema_number: int = 2

        @classmethod
        def upgraded(cls, content):
            return {"values": content["old"]["values"]}

    with pytest.raises(DataError, match=r"n.json does not fit 'numbers' of c2seg"):
        Older.parse({"old": 3}, "n.json")


def test_recipes_above_each_other_end(tmp_path):
    for name, base in (("a", "b"), ("b", "a")):
        (tmp_path / f"{name}.yaml").write_text(f"base: {tmp_path / base}.yaml\n", encoding="utf-8")
    with pytest.raises(RecipeError, match="names itself as its base, or its base does"):
        load_recipe(str(tmp_path / "a.yaml"))
    (tmp_path / "c.yaml").write_text("name: c\npresets: [1]\n", encoding="utf-8")
    with pytest.raises(RecipeError, match="presets must be a mapping of names"):
        presets(str(tmp_path / "c.yaml"))
