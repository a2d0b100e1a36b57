"""Networks that are published with pretrained weights and start at random say so."""

from __future__ import annotations

import pytest

from c2seg.benchmark.plan import Benchmark, Pair, plan
from c2seg.benchmark.tables import rows
from c2seg.errors import RecipeError
from c2seg.recipes import load_recipe, random_start, recipe_names


@pytest.mark.parametrize("name", recipe_names())
def test_published_sizes_start_as_published(name):
    for preset in ("paper-ab", "paper-bw"):
        assert random_start(load_recipe(name, preset)) is None


def test_a_random_start_is_told():
    assert load_recipe("mmglots", "paper-ab").model.pretrained == "imagenet"
    note = random_start(load_recipe("mmglots", "paper-ab", ["model.pretrained=null"]))
    assert note is not None
    assert note.startswith("mmglots is published with pretrained weights (imagenet)")
    assert random_start(load_recipe("mrsn", "tiny"))
    assert random_start(load_recipe("mrsn", "tiny", ["model.pretrained=weights.pth"])) is None
    assert random_start(load_recipe("unet", "tiny")) is None


def test_one_network_among_several_is_told():
    override = "stages.training.networks.hrnet-w32.model.pretrained=null"
    note = random_start(load_recipe("mmuda-ensemble", "paper-ab", [override]))
    assert note is not None
    assert "starts at random here (training.hrnet-w32);" in note
    note = random_start(load_recipe("mmuda", "paper-ab", ["stages.sar.model.pretrained=null"]))
    assert note is not None
    assert "(sar.0);" in note
    assert "shared.0, msi.0, sar.0, hsi.0" in random_start(load_recipe("mmuda", "tiny"))


@pytest.mark.parametrize("name", ["mmglots@paper", "mrsn@as-released", "mmuda@as-released", "highdan@paper-text"])
def test_variants_start_as_published_too(name):
    assert random_start(load_recipe(name, "paper-ab")) is None
    assert random_start(load_recipe(name, "tiny")) is not None


def test_weights_are_given_to_recipes_that_take_them(make_city, tmp_path, caplog):
    pair = Pair(make_city("s", seed=1), make_city("t", seed=2), None)
    benchmark = Benchmark(
        (pair,), ("unet", "forest", "mrsn"), tmp_path / "b", seeds=1, overrides=("model.pretrained=weights.pth",)
    )
    by_recipe = {run.recipe: run.settings() for run in plan(benchmark)}
    assert by_recipe["mrsn"].model.pretrained == "weights.pth"
    assert by_recipe["unet"].model.pretrained is None
    assert [r.getMessage() for r in caplog.records if "takes no pretrained" in r.getMessage()] == [
        "unet takes no pretrained weights: model.pretrained is left out",
        "forest takes no pretrained weights: model.pretrained is left out",
    ]
    with pytest.raises(RecipeError):
        plan(Benchmark((pair,), ("unet",), tmp_path / "b", seeds=1, overrides=("model.pretraned=x",)))


def test_tables_mark_a_random_start():
    from benchmark.test_benchmark_tables import RESULTS

    assert all("~" not in row.uses_target for row in rows(RESULTS))
    marked = [
        r.model_copy(update={"key": r.key.model_copy(update={"recipe": load_recipe("mrsn", "tiny")})}) for r in RESULTS
    ]
    assert all(row.uses_target.endswith("~") for row in rows(marked) if row.pair != "mean")
