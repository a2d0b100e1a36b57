"""Fusion of maps: means, rules, what is refused, and the command."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
import rasterio

from c2seg.artifacts.maps import FusedRule
from c2seg.cli import run
from c2seg.errors import DataError, GridError, InputError
from c2seg.fusion import FuseOptions, Rule, Rules, fuse, open_map
from c2seg.legend import c2seg13
from c2seg.pipeline import fit
from c2seg.recipes import load_recipe
from helpers.rasters import write_raster

LEGEND = c2seg13()
K = LEGEND.num_classes
WATER, STREET, URBAN, ARABLE = 1, 2, 3, 7


def write_scores(path, scores, valid=None, **options):
    """Write float [K, H, W] as predict does: 0..200, 255 without data."""
    steps = np.rint(np.asarray(scores) * 200).astype(np.uint8)
    if valid is not None:
        steps[:, ~valid] = 255
    write_raster(path, steps, nodata=255, **options)
    with rasterio.open(path, "r+") as dataset:
        for band, name in enumerate(LEGEND.names, 1):
            dataset.set_band_description(band, name)
    return path


def pixels(*vectors):
    """Return [K, 1, N]: per pixel a mapping from class id to probability."""
    scores = np.zeros((K, 1, len(vectors)))
    for column, vector in enumerate(vectors):
        for class_id, probability in vector.items():
            scores[class_id - 1, 0, column] = probability
    return scores


def random_scores(seed, height=40, width=37):
    # Whole steps of half a percent that sum to 1, so that nothing is lost on disk.
    rng = np.random.default_rng(seed)
    return rng.multinomial(200, rng.dirichlet(np.full(K, 0.3), (height, width))).transpose(2, 0, 1) / 200


def read(path):
    with rasterio.open(path) as dataset:
        return dataset.read()


def fused(tmp_path, maps, rules=(), *, weights=None, **how):
    out = tmp_path / "fused.tif"
    chosen = Rules(tuple(Rule(class_id - 1, open_map(path, LEGEND)) for class_id, path in rules), **how)
    options = FuseOptions(out, tmp_path / "fused-p.tif", overwrite=True)
    result = fuse([open_map(path, LEGEND) for path in maps], chosen, LEGEND, options, weights=weights)
    return read(out)[0], read(options.probabilities), result


# Means


def test_the_mean_is_the_weighted_mean_of_what_is_there(tmp_path):
    scores = [random_scores(seed) for seed in range(3)]
    valid = [np.random.default_rng(seed).random(scores[0].shape[1:]) > 0.3 for seed in range(3)]
    paths = [write_scores(tmp_path / f"{i}.tif", s, v) for i, (s, v) in enumerate(zip(scores, valid, strict=True))]
    weights = (1.0, 2.0, 0.5)
    ids, probabilities, result = fused(tmp_path, paths, weights=weights)
    total = np.sum([w * v for w, v in zip(weights, valid, strict=True)], axis=0)
    mean = np.sum([w * v * s for w, v, s in zip(weights, valid, scores, strict=True)], axis=0) / np.maximum(total, 1e-9)
    some = total > 0
    near = np.sort(mean, axis=0)
    clear = some & (near[-1] - near[-2] > 1e-6)
    np.testing.assert_array_equal(ids[clear], mean.argmax(0)[clear] + 1)
    assert (ids[~some] == 0).all()
    assert np.abs(probabilities[:, some] / 200 - mean[:, some]).max() <= 0.0025 + 1e-6
    assert (probabilities[:, ~some] == 255).all()
    assert (result.pixels, result.nodata_pixels) == (some.sum(), (~some).sum())
    assert sum(result.area_km2.values()) == pytest.approx(some.sum() * 1e-4)


def test_one_map_alone_comes_back_as_it_is(tmp_path):
    scores = random_scores(5)
    path = write_scores(tmp_path / "a.tif", scores)
    ids, probabilities, _ = fused(tmp_path, [path])
    np.testing.assert_array_equal(probabilities, read(path))
    np.testing.assert_array_equal(ids, scores.argmax(0) + 1)


def test_class_maps_vote_and_the_lowest_class_wins_a_tie(tmp_path):
    votes = [[[1, 2, 3, 0, 9]], [[1, 3, 2, 5, 0]], [[2, 2, 1, 0, 255]]]
    paths = [write_raster(tmp_path / f"{i}.tif", np.array([v], np.uint8)) for i, v in enumerate(votes)]
    ids, probabilities, _ = fused(tmp_path, paths)
    assert ids[0].tolist() == [1, 2, 1, 5, 9]
    assert probabilities[:3, 0, 0].tolist() == [133, 67, 0]


# Rules


def test_an_expert_decides_where_its_class_is_its_first(tmp_path):
    base = write_scores(tmp_path / "base.tif", pixels({URBAN: 1}, {URBAN: 1}, {WATER: 1}, {URBAN: 0.6, STREET: 0.4}))
    expert = write_scores(
        tmp_path / "e.tif", pixels({STREET: 0.4, URBAN: 0.3}, {STREET: 0.4, URBAN: 0.6}, {STREET: 1}, {STREET: 0.8})
    )
    ids, probabilities, result = fused(tmp_path, [base], [(STREET, expert)])
    assert ids[0].tolist() == [STREET, URBAN, STREET, STREET]
    assert probabilities[:3, 0, 0].tolist() == [0, 80, 60]  # the expert's, where it decided
    (rule,) = result.fusion.rules
    assert rule == FusedRule(class_id=2, name=LEGEND.names[1], expert=expert.name, held=3, changed=3)
    ids, _, result = fused(tmp_path, [base], [(STREET, expert)], threshold=0.5)
    assert ids[0].tolist() == [URBAN, URBAN, STREET, STREET]
    assert (result.fusion.rules[0].held, result.fusion.rules[0].changed) == (2, 2)


def test_the_threshold_itself_is_enough(tmp_path):
    base = write_scores(tmp_path / "base.tif", pixels({URBAN: 1}, {URBAN: 1}))
    expert = write_scores(tmp_path / "e.tif", pixels({STREET: 0.5}, {STREET: 0.495}))
    assert fused(tmp_path, [base], [(STREET, expert)], threshold=0.5)[0][0].tolist() == [STREET, URBAN]


def test_later_rules_win_over_earlier_ones(tmp_path):
    base = write_scores(tmp_path / "base.tif", pixels({URBAN: 1}))
    street = write_scores(tmp_path / "s.tif", pixels({STREET: 1}))
    water = write_scores(tmp_path / "w.tif", pixels({WATER: 1}))
    ids, _, result = fused(tmp_path, [base], [(WATER, water), (STREET, street)])
    assert ids[0].tolist() == [STREET]
    assert [rule.changed for rule in result.fusion.rules] == [1, 1]
    assert fused(tmp_path, [base], [(STREET, street), (WATER, water)])[0][0].tolist() == [WATER]


def test_soft_rules_take_the_mean_for_their_class(tmp_path):
    base = write_scores(tmp_path / "base.tif", pixels({URBAN: 0.6, STREET: 0.4}, {URBAN: 0.6, STREET: 0.4}))
    expert = write_scores(tmp_path / "e.tif", pixels({STREET: 0.9, URBAN: 0.1}, {STREET: 0.7, URBAN: 0.3}))
    ids, probabilities, result = fused(tmp_path, [base], [(STREET, expert)], soft=True)
    assert ids[0].tolist() == [STREET, URBAN]  # 0.65 and 0.55 against 0.6
    assert probabilities[1, 0].tolist() == [round(200 * 0.65 / 1.25), round(200 * 0.55 / 1.15)]
    assert (result.fusion.rules[0].held, result.fusion.rules[0].changed) == (2, 1)


def test_without_data_nothing_is_decided(tmp_path):
    known = np.array([[True, False]])
    base = write_scores(tmp_path / "base.tif", pixels({URBAN: 1}, {URBAN: 1}), known)
    expert = write_scores(tmp_path / "e.tif", pixels({STREET: 1}, {STREET: 1}), ~known)
    for how in ({}, {"soft": True}):
        ids, probabilities, result = fused(tmp_path, [base], [(STREET, expert)], **how)
        assert ids[0].tolist() == [URBAN, 0]
        assert (probabilities[:, 0, 1] == 255).all()
        assert result.fusion.rules[0].changed == 0


def test_class_maps_are_enough_as_base_and_expert(tmp_path):
    base = write_raster(tmp_path / "base.tif", np.array([[[3, 3, 0]]], np.uint8))
    expert = write_raster(tmp_path / "e.tif", np.array([[[2, 7, 2]]], np.uint8))
    assert fused(tmp_path, [base], [(STREET, expert)])[0][0].tolist() == [2, 3, 0]


def test_blocks_do_not_show(tmp_path, monkeypatch):
    scores = [random_scores(seed, 600, 70) for seed in range(2)]
    paths = [write_scores(tmp_path / f"{i}.tif", s) for i, s in enumerate(scores)]
    whole = fused(tmp_path, paths, [(STREET, paths[1])])
    monkeypatch.setattr("c2seg.fusion.mapping._COLUMNS", 33)
    parts = fused(tmp_path, paths, [(STREET, paths[1])])
    np.testing.assert_array_equal(parts[0], whole[0])
    np.testing.assert_array_equal(parts[1], whole[1])
    assert parts[2].fusion.rules == whole[2].fusion.rules
    steps = [np.rint(200 * s).astype(int) for s in scores]  # whole numbers: ties are exact, the lowest class wins
    expected = np.where(steps[1].argmax(0) == STREET - 1, STREET, np.add(*steps).argmax(0) + 1)
    np.testing.assert_array_equal(whole[0], expected)


# Mistakes


@pytest.fixture
def base(tmp_path):
    return write_scores(tmp_path / "base.tif", random_scores(0))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"origin": (5e5 + 5, 5e6)}, "pixel edges are shifted"),
        ({"origin": (5e5 + 10, 5e6)}, "do not cover the same pixels"),
        ({"crs": 32632}, "different CRS"),
        ({"crs": None}, "has no CRS while the other has"),
        ({"resolution": 20.0}, "do not cover the same pixels"),
    ],
)
def test_other_grids_are_refused_before_anything_is_written(tmp_path, base, options, words):
    other = write_scores(tmp_path / "other.tif", random_scores(1), **options)
    with pytest.raises(GridError, match=words):
        fused(tmp_path, [base, other])
    with pytest.raises(GridError, match=words):
        fused(tmp_path, [base], [(STREET, other)])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["base.tif", "other.tif"]


def test_rasters_that_are_no_maps_are_named(tmp_path, base):
    image = write_raster(tmp_path / "image.tif", np.zeros((4, 5, 5), np.uint16))
    with pytest.raises(DataError, match=r"image.tif has 4 bands of uint16; needed are class probabilities \(13 bands"):
        open_map(image, LEGEND)
    unnamed = write_raster(tmp_path / "unnamed.tif", np.zeros((K, 5, 5), np.uint8), nodata=255)
    with pytest.raises(DataError, match="its bands are"):
        open_map(unnamed, LEGEND)
    strange = write_raster(tmp_path / "strange.tif", np.full((1, 40, 37), 77, np.uint8))
    with pytest.raises(DataError, match=r"strange.tif holds the value 77, which is no class"):
        fused(tmp_path, [base, strange])
    with pytest.raises(DataError, match="does not exist"):
        open_map(tmp_path / "missing.tif", LEGEND)


def test_settings_that_make_no_sense_are_refused(tmp_path, base):
    plain = write_raster(tmp_path / "plain.tif", np.ones((1, 40, 37), np.uint8))
    for options, words in (
        ({"soft": True, "threshold": 0.5}, "soft or has a threshold"),
        ({"threshold": 1.5}, "found 1.5"),
    ):
        with pytest.raises(InputError, match=words):
            fused(tmp_path, [base], [(STREET, base)], **options)
    for options in ({"soft": True}, {"threshold": 0.5}):
        with pytest.raises(InputError, match=r"plain.tif is a class map: soft rules and thresholds need probabilities"):
            fused(tmp_path, [base], [(STREET, plain)], **options)
    for weights, words in (((1.0,), "1 weights for 2 maps"), ((1.0, 0.0), "above 0"), ((1.0, float("nan")), "above 0")):
        with pytest.raises(InputError, match=words):
            fused(tmp_path, [base, base], weights=weights)
    with pytest.raises(InputError, match="at least one"):
        fused(tmp_path, [])


# The command


def test_the_rule_of_the_second_place_on_predicted_maps(make_city, tmp_path, capsys):
    source, target = make_city("source", seed=1), make_city("target", seed=2, label=False)
    paths = {}
    for name, inputs in {"all": "[msi, sar, hsi]", "hsi": "[hsi]", "sar": "[sar]", "msi": "[msi]"}.items():
        settings = ["model.trees=5", "validation.folds=0", "prediction.window_px=64", f"inputs={inputs}"]
        model = fit(load_recipe("forest", "tiny", settings), [source], tmp_path / f"run-{name}").model
        paths[name] = tmp_path / f"{name}-p.tif"
        out = str(tmp_path / f"{name}.tif")
        assert run(["predict", str(model), str(target), "--out", out, "--probabilities", str(paths[name]), "-q"]) == 0
    alone = tmp_path / "alone.tif"
    assert run(["fuse", str(paths["all"]), "--out", str(alone)]) == 0
    assert (read(alone) == read(tmp_path / "all.tif")).mean() > 0.99  # probabilities are kept in half percents
    capsys.readouterr()
    out = tmp_path / "fused.tif"
    experts = [text for name in ("msi", "sar", "hsi") for text in (f"--{name}", str(paths[name]))]
    command = ["fuse", str(paths["all"]), str(paths["sar"]), "--out", str(out), "--weights", "2,1", *experts]
    assert run([*command, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert [(rule["class_id"], rule["expert"]) for rule in result["fusion"]["rules"]] == [
        (ARABLE, os.path.relpath(paths["hsi"], tmp_path)),
        (WATER, os.path.relpath(paths["sar"], tmp_path)),
        (STREET, os.path.relpath(paths["msi"], tmp_path)),
    ]  # fmt: skip
    first = read(paths["sar"]).argmax(0) == WATER - 1
    assert result["fusion"]["rules"][1]["held"] == first.sum() > 0
    assert (read(out)[0][first] == WATER).all()
    assert result == json.loads((tmp_path / "fused.json").read_text())
    with rasterio.open(out) as dataset:
        assert dataset.tags(1)["CLASS_2"] == LEGEND.names[1]
        assert dataset.colormap(1)[3][:3] == LEGEND.colors()[3]
    assert (tmp_path / "fused.qml").exists()
    assert run(command) == 2
    assert "exists already" in capsys.readouterr().err
    named = [*command[:-6], "--rule", f"street={paths['msi']}", "--rule", f"7={paths['hsi']}", "--overwrite", "--soft"]
    assert run(named) == 0
    assert (
        f"{LEGEND.names[1]} from {os.path.relpath(paths['msi'], tmp_path)}: held at {70 * 91} pixels"
        in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--rule", "Street"], "is not of the form CLASS=FILE"),
        (["--rule", "Streets=base.tif"], "unknown class 'Streets'. Did you mean 'Street'"),
        (["--weights", "a,b"], "needs numbers"),
        (["--soft"], "say how experts decide"),
        (["--probabilities", "x.tif", "--out", "x.tif"], "different names"),
        (["--out", "base.tif", "--overwrite"], "is one of the inputs"),
        (["--palette", "rainbow"], "unknown palette"),
        (["--rule", "2=missing.tif"], "does not exist"),
    ],
)
def test_mistakes_on_the_command_line(base, tmp_path, monkeypatch, capsys, more, words):
    monkeypatch.chdir(tmp_path)
    kept = base.read_bytes()
    assert run(["fuse", "base.tif", "--out", "out.tif", *more]) == 2
    assert words in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["base.tif"]
    assert base.read_bytes() == kept
