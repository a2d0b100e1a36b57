"""Systems: their files, what is planned for them, their rows, and that nothing is trained or mapped twice."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import rasterio
import yaml

from c2seg.artifacts import RunRecord
from c2seg.artifacts.benchmark import BenchmarkResult
from c2seg.artifacts.maps import MapRecord
from c2seg.artifacts.runs import TargetImageUse
from c2seg.benchmark.comparison import compare_recipes
from c2seg.benchmark.compose import _names as benchmark_names
from c2seg.benchmark.equal import equal_preset
from c2seg.benchmark.plan import Benchmark, parse_pairs, plan
from c2seg.benchmark.running import _after as order
from c2seg.benchmark.running import finished, run_all
from c2seg.benchmark.statement import cost_lines, cost_text
from c2seg.benchmark.systems import is_system, load_system, system_names, system_variants
from c2seg.benchmark.tables import rows
from c2seg.benchmark.tasks import FuseTask, fit_city, fuse_city, predict_city, score_city
from c2seg.cli import run
from c2seg.errors import InputError, RecipeError
from c2seg.fusion import SECOND_PLACE
from c2seg.legend import c2seg13
from c2seg.recipes import load_recipe, recipe_names
from helpers.benchmark_runs import FakeRunner, write_certain

PARTS = ["mmuda-ensemble", "mmuda-ensemble (hsi)", "mmuda-ensemble (sar)", "mmuda-ensemble (msi)", "mmuda"]
ROWS = [*PARTS, "second-place@no-rules", "second-place"]
FOREST = {"model.trees=3", "prediction.window_px=64"}


@pytest.fixture
def pair(make_city):
    return make_city("s", seed=1), make_city("t", seed=2, width=130)


@pytest.fixture
def write_system(tmp_path):
    """Return a maker of system files: three forests, unless keys say otherwise."""

    def make(**keys):
        parts = {"all": {"recipe": "forest"}, "far": {"recipe": "forest", "inputs": ["hsi"]}}
        content = {"name": "mine", "parts": parts, "mean": {"all": 1}, "rules": {"Urban fabric": "far"}, **keys}
        path = tmp_path / "mine.yaml"
        path.write_text(yaml.safe_dump(content, sort_keys=False))
        return str(path)

    return make


# Files


@pytest.mark.parametrize("name", [n for s in system_names() for n in (s, *(f"{s}@{v}" for v in system_variants(s)))])
@pytest.mark.parametrize("preset", ["demo", "tiny", "small", "paper-ab", "paper-bw"])
def test_shipped_systems_are_of_shipped_recipes(name, preset):
    system = load_system(name)
    assert is_system(name)
    assert system.name == name
    assert name not in recipe_names()
    for part in system.parts.values():
        load_recipe(part.recipe, preset)


def test_the_second_place_s_rules_are_those_of_fuse():
    """Classes, experts and order."""
    ids = {item.name: item.id for item in c2seg13().classes}
    rules = load_system("second-place").rules
    assert [(ids[name], expert) for name, expert in rules.items()] == list(SECOND_PLACE.items())
    assert load_system("second-place@no-rules").rules == {}
    assert list(load_system("second-place@no-sar").rules) == ["Arable land", "Street"]
    assert load_system("second-place@no-ensemble").mean == {"generator": 1}


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"mean": {"al": 1}}, "mean: unknown part 'al'. Did you mean 'all'?"),
        ({"mean": {"all": 0}}, "mean.all: Input should be greater than 0"),
        ({"mean": {"all": None}}, "mean: Dictionary should have at least 1 item"),
        ({"rules": {"Street": "ms"}}, "rules: unknown part 'ms'"),
        ({"soft": True, "threshold": 0.5}, "a rule is soft or has a threshold, not both"),
        ({"threshold": 1.5}, "threshold: Input should be less than or equal to 1"),
        ({"rows": ["softer"], "variants": {"soft": {}}}, "rows: unknown variant 'softer'. Did you mean 'soft'?"),
        ({"name": "forest"}, "'forest' is the name of a recipe"),
        ({"name": "a/b"}, "name: 'a/b' names a folder"),
        ({"rule": {}}, "unknown key 'rule'"),
        ({"variants": [1]}, "variants must be a mapping"),
    ],
)
def test_what_is_wrong_in_a_system_is_said_in_one_line(write_system, keys, message):
    path = write_system(**keys)
    assert is_system(path)
    with pytest.raises(RecipeError, match=r"^system .*mine.yaml: .*") as error:
        load_system(path)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_names_that_no_system_has(tmp_path):
    with pytest.raises(RecipeError, match=r"unknown variant 'softt'\. Did you mean 'soft'"):
        load_system("second-place@softt")
    with pytest.raises(RecipeError, match="unknown system 'second'"):
        load_system("second")
    assert not is_system("unet@small")
    (tmp_path / "r.yaml").write_text("name: r\n")
    assert not is_system(str(tmp_path / "r.yaml"))


def test_systems_are_listed_and_printed_with_the_recipes(capsys):
    assert run(["recipes"]) == 0
    assert "[a system of mmuda-ensemble, mmuda]" in capsys.readouterr().out
    assert run(["recipes", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["second-place"]["parts"] == ["mmuda-ensemble", "mmuda"]
    assert run(["recipes", "second-place"]) == 0
    assert capsys.readouterr().out.startswith("name: second-place")
    assert run(["recipes", "second-place@soft", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["soft"] is True
    assert run(["recipes", "second-place", "--preset", "tiny"]) == 2
    assert "second-place is a system" in capsys.readouterr().err


# The plan


def planned(pair, tmp_path, *recipes, **options):
    return plan(Benchmark(parse_pairs([pair]), recipes, tmp_path / "b", seeds=1, **options))


def test_members_are_planned_once_whoever_asks_for_them(pair, tmp_path):
    runs = planned(pair, tmp_path, "mmuda", "second-place", "mmuda-ensemble", single_modalities=True)
    folders = [item.folder for item in runs]
    assert len(folders) == len(set(folders))
    labels = {item.label: item for item in runs}
    assert set(ROWS) <= set(labels)
    assert {label for label in PARTS if labels[label].probabilities} == set(PARTS)
    assert not labels["mmuda (hsi)"].probabilities
    assert labels["mmuda-ensemble (hsi)"].settings().inputs == ("hsi",)
    assert labels["second-place"].uses_target
    assert not labels["mmuda-ensemble"].uses_target
    assert [part.label for part in labels["second-place"].fusion.parts] == ["mmuda", *PARTS[:4]]


def test_variants_stand_alone_or_come_with_ablations(pair, tmp_path):
    assert [item.label for item in planned(pair, tmp_path, "second-place@no-generator")] == [
        *PARTS[:4], "second-place@no-generator",
    ]  # fmt: skip
    named = benchmark_names(["second-place", "mmuda@concat"], ablations=True)
    variants = [f"second-place@{variant}" for variant in system_variants("second-place")]
    assert named == ("second-place", *variants, "mmuda@concat")
    labels = [item.label for item in planned(pair, tmp_path, *named)]
    assert labels == [*ROWS, *(name for name in variants if name not in ROWS), "mmuda@concat"]


@pytest.mark.parametrize("preset", ["demo", "paper-ab", "paper-bw"])
def test_what_the_generator_starts_from_is_trained_once(pair, tmp_path, preset):
    """The ordinary networks, of all modalities and of each alone, are those of the ensembles and of ``hrnet``."""
    benchmark = Benchmark(parse_pairs([pair]), ("second-place", "hrnet", "unet"), tmp_path / "b", preset, seeds=1)
    runs = plan(benchmark)
    common = {item.label: item.common for item in runs}
    assert len(common["mmuda"]) == 4
    assert {key for label in PARTS[:4] for key in common[label]} == set(common["mmuda"])
    assert common["hrnet"] == common["mmuda-ensemble"]
    assert common["unet"] == common["second-place"] == ()
    text = cost_text(cost_lines(benchmark, runs, None))
    assert "in common are run once" in text
    assert "second-place" not in text
    assert "in common" not in cost_text(cost_lines(benchmark, [item for item in runs if item.label == "unet"], None))
    after = order(runs)
    assert set(after[4]) == {0, 1, 2, 3}  # the generator after the ensembles
    runner = FakeRunner()
    run_all(benchmark, [item for item in runs if item.label in {"hrnet", "unet"}], runner)
    assert [task.trainings for task in runner.fitted] == [tmp_path / "b/trainings", None]


def test_a_modality_that_a_city_lacks_leaves_its_expert_out(make_city, tmp_path, caplog):
    cities = make_city("s", seed=1), make_city("t", seed=2)
    for city in cities:
        (city / "sar.tif").unlink()
    runs = planned(cities, tmp_path, "second-place")
    assert "s-t: second-place without its part sar: the cities lack sar" in caplog.text
    assert [item.label for item in runs] == [label for label in ROWS if "(sar)" not in label]
    assert [name for name, _ in runs[-1].fusion.rules] == ["Arable land", "Street"]


def test_a_map_of_which_nothing_remains_is_left_out(make_city, write_system, tmp_path, caplog):
    cities = make_city("s", seed=1), make_city("t", seed=2)
    for city in cities:
        (city / "hsi.tif").unlink()
    assert [item.label for item in planned(cities, tmp_path, write_system(soft=True))] == ["forest"]
    assert "system mine is left out" in caplog.text
    assert [item.label for item in planned(cities, tmp_path, write_system())] == ["forest", "mine"]


def test_classes_that_the_legend_lacks_are_refused_before_any_work(pair, write_system, tmp_path):
    with pytest.raises(RecipeError, match=r"system mine: rules: unknown class 'Streets'\. Did you mean 'Street'"):
        planned(pair, tmp_path, write_system(rules={"Streets": "far"}))


def test_inside_a_city_members_have_rows(pair, tmp_path, caplog):
    runs = planned(str(pair[0]), tmp_path, "second-place")
    assert [item.label for item in runs] == PARTS
    assert "has no row inside one city" in caplog.text


def test_table_three_compares_the_parts_of_a_system(write_system):
    parts = {"all": {"recipe": "mrsn"}, "far": {"recipe": "mrsn-1b"}}
    assert equal_preset([write_system(parts=parts), "mrsn-2b"], "paper") == "ablation"
    with pytest.raises(
        InputError, match=r"^table III compares equal trainings: mmuda-ensemble trains 300 .*, mrsn 400"
    ):
        equal_preset(["second-place", "mrsn"], "tiny")


# The rows


@pytest.fixture
def experts_err():
    """Every part is right but the radar's expert, who sees water in every third row."""
    return FakeRunner(wrong={"mmuda-ensemble-sar": 3})


def test_every_part_has_its_row_and_an_expert_s_map_changes_the_whole(pair, tmp_path, experts_err):
    benchmark = Benchmark(parse_pairs([pair]), ("second-place", "second-place@no-sar"), tmp_path / "b", seeds=2)
    runs = plan(benchmark)
    results, failed = run_all(benchmark, runs, experts_err)
    assert not failed
    table = rows(results, "mmuda")
    miou = {row.label: row.miou[0] for row in table}
    assert list(miou) == [*ROWS, "second-place@no-sar"]
    assert miou["second-place"] < miou["second-place@no-sar"] == miou["second-place@no-rules"] == miou["mmuda"] == 1
    record = MapRecord.read(tmp_path / "b/runs/s-t/second-place/seed0/maps/t.json")
    assert [rule.name for rule in record.fusion.rules] == ["Arable land", "Surface water", "Street"]
    assert record.fusion.rules[1].changed > 0
    differences = {item.other: item.difference.value for item in compare_recipes(runs, "mmuda")}
    assert differences["second-place"] == pytest.approx(1 - miou["second-place"])


class AdaptingRunner(FakeRunner):
    """Whose generator is trained on the target's images."""

    def record(self, task):
        use = TargetImageUse(normalization=True, training=task.recipe.name == "mmuda")
        return super().record(task).model_copy(update={"uses_target_images": use})


def test_the_costs_are_those_of_the_members(pair, tmp_path):
    benchmark = Benchmark(parse_pairs([pair]), ("second-place",), tmp_path / "b", seeds=1)
    results, _ = run_all(benchmark, plan(benchmark), AdaptingRunner())
    whole = results[-1]
    assert whole.fit_seconds == 50
    assert whole.map_seconds > 5
    assert whole.peak_memory_mib == 100
    assert whole.uses_target_images.normalization
    assert whole.uses_target_images.training
    assert not results[0].uses_target_images.training
    assert rows(results)[-1].uses_target.startswith("*+")
    assert whole.key.recipe is None
    assert len(whole.key.recipes) == 5


@pytest.mark.slow
def test_what_is_finished_is_not_done_again_unless_a_member_changes(pair, tmp_path):
    benchmark = Benchmark(parse_pairs([pair]), ("second-place",), tmp_path / "b", seeds=1)
    runs = plan(benchmark)
    first, failed = run_all(benchmark, runs, FakeRunner())
    assert not failed
    again = FakeRunner()
    assert run_all(benchmark, plan(benchmark), again) == (first, {})
    assert not again.fitted
    assert not again.fused
    # probabilities may be removed to save space, and are made again when they are needed
    hsi, whole = runs[1], runs[-1]
    hsi.probabilities_map.unlink()
    assert finished(benchmark, whole)
    (whole.folder / "result.json").unlink()
    assert run_all(benchmark, plan(benchmark), again)[0][-1].scores == first[-1].scores
    assert [task.out for task in again.predicted] == [hsi.map]
    # a part that was mapped anew is fused anew
    FakeRunner(wrong={"mmuda-ensemble-hsi": 2}).predict(replace(again.predicted[0]))
    assert not finished(benchmark, whole)
    # and so is the system where a recipe changes
    other = replace(benchmark, overrides=("validation.guard_px=3",))
    assert not any(finished(other, item) for item in plan(other))


def test_a_system_fails_with_its_member_and_alone(pair, tmp_path):
    benchmark = Benchmark(parse_pairs([pair]), ("second-place", "second-place@no-generator"), tmp_path / "b", seeds=1)
    results, failed = run_all(benchmark, plan(benchmark), FakeRunner(failing={"mmuda": "no room left"}))
    assert [result.label for result in results] == [*PARTS[:4], "second-place@no-generator"]
    assert failed["s-t second-place seed 0"] == "second-place needs the map of mmuda, which has failed"


def test_scenes_are_fused_one_by_one(make_city, tmp_path):
    """A city of several scenes has a folder of maps, and one of probabilities."""
    city = make_city("s", seed=1)
    with rasterio.open(city / "label.tif") as label:
        profile, ids = label.profile, label.read(1)
    for scene, classes in (("x", ids), ("y", np.where(ids == 1, 3, ids))):
        for name, water in (("voter", 10), ("expert", 1)):
            place = tmp_path / name / f"{scene}.tif"
            place.parent.mkdir(exist_ok=True)
            write_certain(place, np.where(classes == 3, water, classes).astype(np.uint8), profile)
    task = FuseTask(
        city,
        tmp_path / "out",
        ((tmp_path / "voter", 1.0),),
        (("Surface water", tmp_path / "expert"),),
        None,
        soft=False,
    )
    assert fuse_city(task) > 0
    for scene, classes in (("x", ids), ("y", np.where(ids == 1, 3, ids))):
        np.testing.assert_array_equal(read(tmp_path / f"out/{scene}.tif"), np.where(classes == 3, 1, classes))


# With real processes


@pytest.mark.slow
def test_a_system_of_forests(pair, write_system, tmp_path, capsys):
    """The whole is what ``c2seg fuse`` makes of the parts' probabilities; soft rules make another map."""
    path = write_system(variants={"soft": {"soft": True}, "alone": {"rules": {"Urban fabric": None}}}, rows=["alone"])
    options = [part for text in sorted(FOREST) for part in ("--set", text)]
    arguments = ["--recipes", f"{path},{path}@soft", "--seeds", "1", "--jobs", "2", "--out", str(tmp_path / "b")]
    assert run(["benchmark", "--pair", ":".join(map(str, pair)), *arguments, "--json", *options]) == 0
    table = {row["label"]: row for row in json.loads(capsys.readouterr().out)["rows"]}
    assert list(table) == ["forest", "forest (hsi)", "mine@alone", "mine", "mine@soft"]
    for name in ("benchmark.json", "benchmark.csv", "benchmark.html"):
        assert all(label in (tmp_path / "b" / name).read_text() for label in ("mine@alone", "mine@soft"))
    place = tmp_path / "b/runs/s-t"
    voter, expert = (place / name / "seed0/maps/t.probabilities.tif" for name in ("forest", "forest-hsi"))
    by_hand = tmp_path / "fused.tif"
    assert run(["fuse", str(voter), "--rule", f"Urban fabric={expert}", "--out", str(by_hand), "-q"]) == 0
    maps = {name: read(place / name / "seed0/maps/t.tif") for name in ("forest", "mine", "mine@alone", "mine@soft")}
    np.testing.assert_array_equal(maps["mine"], read(by_hand))
    assert (maps["mine"] != maps["mine@alone"]).any()
    assert (maps["mine"] != maps["mine@soft"]).any()
    assert (maps["mine@alone"] != maps["forest"]).mean() < 0.02  # but for half percents
    result = BenchmarkResult.read(place / "mine/seed0/result.json")
    assert result.fit_seconds == pytest.approx(sum(table[name]["fit_seconds"] for name in ("forest", "forest (hsi)")))
    capsys.readouterr()
    before = {file: file.stat().st_mtime_ns for file in place.rglob("*.tif")}
    assert run(["benchmark", "--pair", ":".join(map(str, pair)), *arguments, "-q", *options]) == 0
    assert {file: file.stat().st_mtime_ns for file in place.rglob("*.tif")} == before


def read(path):
    with rasterio.open(path) as dataset:
        return dataset.read(1)


class OneProcess:
    """Does all tasks here."""

    def fit(self, task):
        return fit_city(task)

    def predict(self, task):
        return predict_city(task)

    def fuse(self, task):
        return fuse_city(task)

    def score(self, task):
        return score_city(task)

    def stop(self):
        raise AssertionError


@pytest.mark.slow
def test_the_second_place_with_real_networks(pair, tmp_path):
    """Of every part a map; the generator takes over the four networks that it starts from."""
    options = ("training.iterations=4", "training.sampling.batch_size=4", "prediction.tta=false")
    benchmark = Benchmark(
        parse_pairs([pair]), ("second-place",), tmp_path / "b", preset="demo", seeds=1, overrides=options
    )
    results, failed = run_all(benchmark, plan(benchmark), OneProcess())
    assert not failed
    assert [result.label for result in results] == ROWS
    assert all(result.scores.miou is not None for result in results)
    records = {result.label: RunRecord.read(run.folder / "record.json") for result, run in
               zip(results[:5], plan(benchmark), strict=False)}  # fmt: skip
    shared = {
        label: sorted(one.reused for one in record.shared_trainings.values()) for label, record in records.items()
    }
    assert shared == {**{label: [False] * 4 for label in PARTS[:4]}, "mmuda": [False] * 2 + [True] * 4}
    assert results[-1].fit_seconds < sum(result.fit_seconds for result in results[:5])
    assert all(finished(benchmark, run) for run in plan(benchmark))
