"""``c2seg sample`` as a command."""

from __future__ import annotations

import json

import pytest

from c2seg.cli import run as c2seg
from helpers import verify_make


@pytest.fixture
def map_path(tmp_path):
    return verify_make.make_map(tmp_path, verify_make.patchy(), city=True)


def test_files_and_what_is_printed(map_path, tmp_path, capsys):
    out = tmp_path / "out" / "sample.gpkg"
    arguments = ["sample", str(map_path), str(out), "--n", "40", "--strata", "class", "--city", str(tmp_path / "city")]
    assert c2seg([*arguments, "--min-per-class", "4"]) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith("40 points, stratified, seed 0, sample ")
    assert "then:   c2seg estimate" in printed.err
    assert sorted(path.name for path in out.parent.iterdir()) == [
        "sample.csv",
        "sample.gpkg",
        "sample.html",
        "sample.json",
    ]
    assert c2seg([*arguments, "--json", "--overwrite", "--no-page", "-q"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["design"] == "stratified"
    assert content["page"] is None
    assert sum(stratum["points"] for stratum in content["strata"]) == 40


def test_messages_name_options(map_path, tmp_path, capsys):
    out = str(tmp_path / "s.gpkg")
    assert c2seg(["sample", str(map_path), out, "--n", "40", "--half-width", ".05"]) == 2
    assert "--n and --half-width both say how many points" in capsys.readouterr().err
    assert c2seg(["sample", str(map_path), out, "--strata", "confidence", "--bands", "x"]) == 2
    assert "--bands 'x' is not numbers" in capsys.readouterr().err
    assert c2seg(["sample", str(map_path), str(tmp_path / "s.shp")]) == 2
    assert "the name must end in .gpkg" in capsys.readouterr().err


def test_the_map_is_never_replaced(map_path, tmp_path, capsys):
    before = map_path.with_suffix(".json").read_bytes()
    assert c2seg(["sample", str(map_path), str(tmp_path / "map.gpkg"), "--n", "40", "--overwrite", "-q"]) == 2
    assert "is one of the inputs" in capsys.readouterr().err
    assert map_path.with_suffix(".json").read_bytes() == before
