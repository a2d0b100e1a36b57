from __future__ import annotations

import numpy as np
import pytest

from c2seg.benchmark.plan import Benchmark, Pair, parse_pairs, plan
from c2seg.cli import run
from c2seg.errors import InputError
from helpers.rasters import write_raster


def test_pairs_are_parsed(tmp_path, make_city):
    with pytest.raises(InputError, match="SOURCE:TARGET"):
        parse_pairs(["one:"])
    with pytest.raises(InputError, match="one city twice"):
        parse_pairs(["one:one"])
    assert parse_pairs(["one"])[0].inside
    target = make_city("target")
    assert parse_pairs([f"{tmp_path}:{target}"])[0].reference == target / "label.tif"
    assert parse_pairs([f"{tmp_path}:{target}:x.tif"])[0].reference.name == "x.tif"
    same = parse_pairs([f"{tmp_path}/{k}/a:{tmp_path}/{k}/b" for k in (1, 2, 3)])
    assert [pair.name for pair in same] == ["a-b", "a-b-2", "a-b-3"]


def test_pairs_may_be_paths(tmp_path, make_city):
    """Also such with a colon in their names."""
    target = make_city("target")
    expected = parse_pairs([f"{tmp_path}:{target}"])
    assert parse_pairs([(tmp_path, target)]) == expected
    assert parse_pairs([(str(tmp_path), target, target / "label.tif")]) == expected
    assert parse_pairs(expected) == expected
    assert parse_pairs([("a:b", "c")]) == (
        Pair(source=type(tmp_path)("a:b"), target=type(tmp_path)("c"), reference=None),
    )


def test_what_is_wrong_is_told_before_any_run(make_city, tmp_path, capsys):
    """A ground truth that is missing or elsewhere would show only after the training."""
    source, target = make_city("s"), make_city("t")
    write_raster(tmp_path / "other.tif", np.ones((1, 5, 5), np.uint8), crs=32650)
    write_raster(tmp_path / "bands.tif", np.ones((2, 5, 5), np.uint8))
    (tmp_path / "file").write_text("")
    pair = f"{source}:{target}"
    assert plan(Benchmark(parse_pairs([f"{pair}:{target}"]), ("forest",), tmp_path / "b"))  # a city folder is one, too
    for reference, out, said in (
        (":none.tif", "b", "none.tif does not exist"),
        (f":{tmp_path / 'other.tif'}", "b", "other.tif"),
        (f":{tmp_path / 'bands.tif'}", "b", "bands.tif has 2 bands"),
        ("", "file", "it is a file"),
        ("", "file/b", "cannot write in the folder"),
    ):
        arguments = ["benchmark", "--pair", pair + reference, "--recipes", "forest", "--out", str(tmp_path / out)]
        assert run(arguments) == 2
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1
        assert said in lines[0]
    assert not (tmp_path / "b").exists()


def test_single_modalities_are_planned(make_city, tmp_path):
    pairs = parse_pairs([f"{make_city('s')}:{make_city('t')}"])
    runs = plan(Benchmark(pairs, ("forest", "unet"), tmp_path / "b", seeds=2, single_modalities=True))
    assert len(runs) == 2 * 4 * 2
    assert {r.label for r in runs} >= {"forest", "forest (msi)", "unet (hsi)"}
    assert {r.settings().inputs for r in runs} == {"all", ("msi",), ("sar",), ("hsi",)}
    assert len({r.folder for r in runs}) == len(runs)
