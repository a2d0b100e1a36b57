"""The benchmark of published sizes: which trainings it measures, how passes are compared, and that its figures are current."""

from __future__ import annotations

import importlib.util
import sys
import tarfile
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from c2seg.data import Normalizer, PreparedCity, city_statistics, open_labeled_city
from c2seg.models import build_model
from c2seg.recipes import load_recipe, presets, recipe_names
from c2seg.sampling import training_scenes
from c2seg.train.world import World

FOLDER = Path(__file__).parents[2] / "benchmarks"


def module(name):
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[name] = loaded
    spec.loader.exec_module(loaded)
    return loaded


@pytest.fixture(scope="module")
def parts():
    yield module("paper_sizes_parts")
    del sys.modules["paper_sizes_parts"]


@pytest.fixture(scope="module")
def sizes(parts):
    yield module("paper_sizes")
    del sys.modules["paper_sizes"]


@pytest.fixture(scope="module")
def cells(parts, sizes):
    return parts.cells(sizes.RECIPES, tuple(parts.PAIRS))


def test_every_published_size_is_measured(parts, sizes, cells):
    able = {n for n in recipe_names() if "paper-ab" in presets(n) and load_recipe(n, "paper-ab").stages}
    assert able <= {*sizes.RECIPES, "hrnet"}  # hrnet is a network of the ensemble
    assert len({cell.name for cell in cells}) == len({cell.identity for cell in cells}) == len(cells)
    hrnet = parts.cells(("hrnet",), ("paper-ab",))[0]
    assert hrnet.identity in {cell.identity for cell in cells}
    adaptation = next(cell for cell in cells if cell.name == "mmuda paper-ab adaptation")
    assert (adaptation.recipe.training.iterations, adaptation.recipe.training.sampling.batch_size) == (4500, 32)


def test_equal_devices_compute_alike_and_lower_precision_nearly(parts):
    torch.manual_seed(0)
    recipe = load_recipe("unet", "tiny", ["model.widths=[8, 16]"])
    model = build_model(recipe.model, {"msi": 4}, 13)
    patch = {"msi": torch.randn(1, 4, 32, 32)}
    same = parts.compared(model, patch, World(torch.device("cpu"), "32"))
    assert same["difference_32"] < 1e-5  # sums in another order: channels last
    assert same["same_class_32"] == 1.0
    lower = parts.compared(model, patch, World(torch.device("cpu"), "bf16"))
    assert 0 < lower["difference_bf16"] < 0.1
    assert lower["same_class_bf16"] > 0.8


def test_hours_are_those_of_the_whole_schedule(parts):
    facts = {"cell": "x", "networks": 2, "iterations": 1000, "recipe_batch": 8, "patch_px": 128}
    on_card = parts.Figures(**facts, device="card", batch=4, step_seconds=3.6, processor_seconds=99.0)
    assert on_card.hours == pytest.approx(2 * 1000 * 2 * 3.6 / 3600)
    assert parts.Figures(
        **facts, device="cpu", batch=8, step_seconds=99.0, processor_seconds=3.6
    ).hours == pytest.approx(2)


def test_figures_are_of_present_trainings(sizes, cells):
    by_name = {cell.name: cell for cell in cells}
    figures = sizes.load()
    assert figures
    assert len({(item.cell, item.device) for item in figures}) == len(figures)
    for item in figures:
        training = by_name[item.cell].recipe.training
        assert (item.iterations, item.recipe_batch) == (training.iterations, training.sampling.batch_size)
        assert item.problem or (item.steps and item.peak_gib and item.parameters)


def test_the_archive_holds_code_and_inputs(sizes, tmp_path, monkeypatch):
    city = tmp_path / "in/ab/alder"
    city.mkdir(parents=True)
    for name in ("msi.tif", "reference.tif"):
        (city / name).write_bytes(b"x")
    sizes.pack(tmp_path / "in", tmp_path / "pack.tar.gz")
    with tarfile.open(tmp_path / "pack.tar.gz") as archive:
        names = archive.getnames()
    assert {
        "inputs/ab/alder/msi.tif",
        "benchmarks/paper_sizes_parts.py",
        "src/c2seg/__init__.py",
        "pyproject.toml",
    } <= set(names)
    assert not [name for name in names if "reference.tif" in name or "__pycache__" in name]
    monkeypatch.setattr(sizes, "PACK_LIMIT", 1000)
    with pytest.raises(SystemExit, match="more than 0 MiB"):
        sizes.pack(tmp_path / "in", tmp_path / "large.tar.gz")


def test_a_pass_is_compared_on_a_window_as_maps_have_it(parts, cells, make_city):
    cell = next(cell for cell in cells if cell.name == "mmglots paper-ab")
    labeled = open_labeled_city(make_city("s", height=200, width=200))
    statistics = city_statistics(labeled.images, ("msi",))
    prepared = PreparedCity(labeled, statistics, Normalizer.fit("source", statistics))
    patch = parts.one_window(training_scenes(prepared, ("msi",)), cell.recipe.training.sampling)
    assert patch["msi"].shape[2:] == (128, 128)  # the network enlarges it to 640


def test_steps_to_warm_up_are_not_measured(parts, monkeypatch):
    calls = []

    class Method:
        def step(self, source, target):
            calls.append((source, target))
            return {"loss": torch.tensor(float(len(calls)))}

    steps_of = SimpleNamespace(batches=lambda first, last: iter(range(first, last)))
    monkeypatch.setattr(parts, "Feed", lambda sampler, device, augments: steps_of)
    limits = parts.Limits(warm_up=5, steps=3, seconds=60, end=time.perf_counter() + 60)
    steps = list(parts._steps(Method(), ("sampler", None), torch.device("cpu"), 100, limits))
    assert [loss for *_, loss in steps] == [6, 7, 8]
    assert calls[0] == (0, None)
    late = parts.Limits(warm_up=5, steps=3, seconds=60, end=0)
    assert len(list(parts._steps(Method(), ("sampler", None), torch.device("cpu"), 100, late))) == 1


def test_what_does_not_fit_is_halved(parts, cells, monkeypatch):
    cell = next(cell for cell in cells if cell.name == "unet paper-ab")
    asked = []

    def measure(cell, folder, device, batch, limits):
        asked.append(batch)
        if batch > 4:
            raise torch.cuda.OutOfMemoryError
        return batch

    monkeypatch.setattr(parts, "measure", measure)
    assert parts.on_cuda(cell, Path(), torch.device("cuda"), 10.0) == 4
    assert asked == [16, 8, 4]
