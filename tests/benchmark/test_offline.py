"""The published offline protocol in a benchmark: Tables II and III."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from c2seg.artifacts.benchmark import BenchmarkTable
from c2seg.artifacts.offline_table import OfflineAcross
from c2seg.artifacts.scores import ScoreRecord
from c2seg.benchmark.equal import equal_preset
from c2seg.benchmark.offline import offline_overrides
from c2seg.benchmark.offline_tables import offline_csv, offline_html, offline_notes, offline_rows, offline_text
from c2seg.benchmark.plan import Benchmark, parse_pairs, plan
from c2seg.benchmark.running import finished, run_all
from c2seg.cli import run
from c2seg.data import write_folder
from c2seg.data.city import Band
from c2seg.errors import InputError
from c2seg.metrics import Confusion
from c2seg.raster import ArrayRaster
from c2seg.recipes import load_recipe, presets
from helpers.benchmark_runs import FakeRunner, offline, result, values
from helpers.toy_cities import make_city as toy_city

REDUCTIONS = ("mrsn-1b", "mrsn-2b", "mrsn-3b", "mrsn")


@pytest.fixture
def pair(make_city):
    return make_city("s", seed=1), make_city("t", seed=2, width=130)


def across(miou):
    return ScoreRecord(
        **dict(values(miou)), confusion=Confusion.empty((1, 3)), classes=(), legend="x", prediction="t.tif", maps=1,
        matched_by="georeference",
    )  # fmt: skip


def test_the_weights_that_were_scored_are_scored_across_too(pair, tmp_path):
    runner = FakeRunner()
    benchmark = Benchmark(parse_pairs([pair]), ("forest", "unet"), tmp_path / "b", seeds=1, offline=True)
    runs = plan(benchmark)
    (forest, unet), failed = run_all(benchmark, runs, runner)
    assert not failed
    assert [(task.out.name, task.recipe.validation.kind) for task in runner.fitted] == [
        ("offline", "random_tiles"), ("seed0", "blocks"), ("offline", "random_tiles"), ("seed0", "blocks")
    ]  # fmt: skip
    assert (forest.offline_across.best, unet.offline_across.best.miou) == (None, 1)
    assert sorted(path.name for path in (runs[1].folder / "offline").iterdir() if path.is_dir()) == ["best", "last"]
    assert (runs[1].folder / "offline/best/t.tif").exists()
    assert all(finished(benchmark, one) for one in runs)
    older = unet.model_copy(update={"offline": unet.offline.model_copy(update={"offline": None})})
    older.write(runs[1].folder / "result.json")  # of a version that did not score tiles
    assert [finished(benchmark, one) for one in runs] == [True, False]


@pytest.mark.parametrize(
    ("recipe", "preset", "expected"),
    [
        ("mrsn", "paper-ab", (64, 1600)), ("mrsn", "paper-bw", (64, 1600)), ("mrsn", "ablation", (64, 400)),
        ("mrsn", "tiny", (64, 80)), ("forest", "tiny", (64, None)),
    ],
)  # fmt: skip
def test_weights_are_scored_as_often_as_published(pair, tmp_path, recipe, preset, expected):
    """Every 1600 iterations, as in the third place's notebook, and five times at least. Tiles are halved to fit the city."""
    (one,) = plan(Benchmark(parse_pairs([pair]), (recipe,), tmp_path / "b", preset=preset, seeds=1, offline=True))
    settings = one.settings(*offline_overrides(one)).validation
    assert (settings.tile_px, settings.score_every) == expected
    assert (settings.kind, settings.final) == ("random_tiles", False)


@pytest.mark.parametrize(
    ("bands", "override", "tile_px"), [(116, (), 256), (242, (), 128), (116, ("validation.tile_px=64",), 64)]
)
def test_the_tiles_are_those_of_the_dataset(tmp_path, bands, override, tile_px):
    """Beijing's are 256 px every 128 px, whatever its layout; what the user says comes first."""
    places = [tmp_path / name for name in ("one", "two")]
    for place in places:
        city = toy_city(270, 261)
        scene = city.images.scenes[0]
        cube = np.ones((bands, 90, 87), np.uint16)
        hsi = replace(scene.modalities["hsi"], source=ArrayRaster(cube), bands=(Band(),) * bands)
        modalities = {**scene.modalities, "hsi": hsi}
        write_folder(replace(city, images=replace(city.images, scenes=(replace(scene, modalities=modalities),))), place)
    benchmark = Benchmark(
        parse_pairs([tuple(places)]), ("unet",), tmp_path / "b", seeds=1, offline=True, overrides=override
    )
    (one,) = plan(benchmark)
    assert one.settings(*offline_overrides(one)).validation.tile_px == tile_px


def test_table_two_tells_last_and_best_inside_and_across():
    beside = OfflineAcross(last=across(0.12), best=across(0.14))
    results = [
        result("a", "mrsn", seed, 0.2, record=offline((80, 0.86), (400, 0.84 + seed / 50)), across=beside)
        for seed in (0, 1)
    ]
    rows = offline_rows(results)
    assert [(row.weights, row.steps, row.dataset) for row in rows] == [
        ("last", (400, 400), "AB"),
        ("best", (80, 80), "AB"),
    ]
    assert rows[0].miou == pytest.approx((0.85, 0.02 / 2**0.5))
    assert (rows[1].miou, rows[1].across_miou) == ((0.86, 0.0), (0.14, 0.0))
    head, last, best, published, *notes = offline_text(rows, "II").splitlines()
    assert head.split()[:4] == ["pair", "recipe", "Mpar", "weights"]
    assert last.split()[3:] == [
        "last", "(400)", "0.500", "+-0.000", "0.850", "+-0.014", "0.300", "+-0.000", "0.500", "+-0.000", "0.120", "+-0.000",
        "0.300", "+-0.000",
    ]  # fmt: skip
    assert best.split()[3:5] == ["best", "(80)"]
    assert published.split() == [
        "a", "MRSN", "AB", "-", "published", "0.9347", "0.8657", "0.9268", "0.4347", "0.1387", "0.2095", "(AB", "and", "BW)"
    ]  # fmt: skip
    assert any(
        "245 training and 28 validation tiles of 128 px every 64 px, as the third place released them" in n
        for n in notes
    )
    assert any("28 of 28 overlap training tiles, and 100.0% of their pixels are trained on" in n for n in notes)
    assert "<td>MRSN AB</td>" in offline_html(rows, "II")
    titles, *lines = [line.split(",") for line in offline_csv(rows, "II").splitlines()]
    cells = [dict(zip(titles, line, strict=True)) for line in lines]
    assert [(c["label"], c["weights"], c["miou"]) for c in cells] == [
        ("mrsn", "last", "0.85"), ("mrsn", "best", "0.86"), ("mrsn", "published", "0.8657"), ("mrsn", "published", "0.8547")
    ]  # fmt: skip
    assert (cells[0]["leak"], cells[0]["released_split"], cells[1]["across_miou"]) == ("1.0", "True", "0.14")
    assert not offline_rows([result("a", "unet", 0, 0.2)])
    assert offline_notes([]) == []


def test_the_best_of_a_training_may_be_its_last_weights():
    """Then the map of the last weights is that of the best."""
    record, beside = offline((80, 0.5), (400, 0.6), tiles=90, background=False), OfflineAcross(last=across(0.12))
    rows = offline_rows([result("a", "unet", 0, 0.2, record=record, across=beside)])
    assert [(row.steps, row.across_miou[0]) for row in rows] == [((400,), 0.12), ((400,), 0.12)]
    assert rows[0].dataset is None
    text = offline_text(rows, "II")
    assert "drawn at random" in text
    assert "Never predicting background, which scores 0: unet." in text


def test_table_three_shows_the_published_reductions_beside_ours():
    results = [result("a", name, 0, 0.2, record=offline((None, 0.71))) for name in ("mrsn-1b", "mrsn")]
    lines = [line.split() for line in offline_text(offline_rows(results), "III").splitlines()]
    assert lines[2] == ["a", "UperNet", "AB", "-", "published", "-", "0.7609", "-", "-", "-", "-"]
    assert lines[4] == [
        "a",
        "MRSN",
        "AB",
        "-",
        "published",
        "-",
        "0.8198",
        "-",
        "0.4347",
        "0.1387",
        "0.2095",
        "(AB",
        "and",
        "BW)",
    ]
    elsewhere = offline_rows([result("b", "mrsn", 0, 0.2, record=offline((None, 0.71), tiles=7140))])
    assert "MRSN AB" not in offline_text(elsewhere, "III")  # nothing was published of Beijing and Wuhan


@pytest.mark.parametrize("preset", [name for name in presets("mrsn") if name != "paper-ab"])
def test_the_recipes_of_table_three_differ_in_branches_and_inputs_alone(preset):
    """Equal iterations, batches, patches, losses, optimizers, augmentation, mapping: resolved, whatever their files say."""
    resolved = [load_recipe(name, preset) for name in REDUCTIONS]
    plain = [recipe.model_dump(exclude={"name", "description", "citation", "inputs", "stages"}) for recipe in resolved]
    branches = [content["model"].pop("branches") for content in plain]
    assert branches == [1, 2, 3, 4]
    assert plain.count(plain[0]) == 4
    assert [recipe.inputs for recipe in resolved] == [("msi",), ("msi", "sar"), "all", "all"]
    for recipe in resolved:
        (stage,) = recipe.stages.values()
        assert (stage.model, stage.training, stage.fraction) == (recipe.model, recipe.training, None)
    if preset == "ablation":
        training = resolved[0].training
        assert (training.iterations, training.sampling.batch_size, training.sampling.patch_px) == (2000, 12, 128)


def test_table_three_refuses_what_is_not_trained_alike():
    """The paper's presets are those of its Table III; nothing else may differ in size."""
    assert equal_preset(REDUCTIONS, "paper") == equal_preset(REDUCTIONS, "paper-bw") == "ablation"
    assert equal_preset(("mrsn", "mrsn-1b"), "tiny") == "tiny"
    with pytest.raises(InputError, match="mrsn trains 8200 iterations of 24 patches of 128 px, unet 20000"):
        equal_preset(("mrsn", "unet"), "paper")
    with pytest.raises(InputError, match="mrsn trains 400 iterations of 8 patches of 64 px"):
        equal_preset(("mrsn", "unet"), "tiny")
    sizes = ["training.iterations=10", "training.sampling={batch_size: 2, patch_px: 32}"]
    assert equal_preset(("mrsn", "unet"), "tiny", sizes) == "tiny"


def test_table_two_trains_mrsn_alone(pair, tmp_path, monkeypatch, capsys):
    fake = FakeRunner()
    monkeypatch.setattr("c2seg.benchmark.compose.SpawningRunner", lambda jobs: fake)
    monkeypatch.setattr("c2seg.benchmark.jobs.SpawningRunner", lambda jobs, lease: fake)
    arguments = [
        "benchmark",
        "--pair",
        ":".join(map(str, pair)),
        "--table",
        "II",
        "--seeds",
        "1",
        "--out",
        str(tmp_path / "b"),
    ]
    assert run(arguments) == 0
    assert {task.recipe.name for task in fake.fitted} == {"mrsn"}
    text = capsys.readouterr().out
    assert "MRSN AB" in text
    assert "MRSN BW" in text  # the pair is of neither dataset
    table = BenchmarkTable.read(tmp_path / "b/benchmark.json")
    assert [row.weights for row in table.offline] == ["last", "best"]
    assert table.rows[0].offline_miou[0] == 0.7
    assert (tmp_path / "b/table2.csv").read_text().startswith("pair,label,weights")
    page = (tmp_path / "b/benchmark.html").read_text()
    assert "<td>MRSN AB</td>" in page
    assert "overlap training tiles" in page
