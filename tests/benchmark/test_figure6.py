"""Figure 6 of the challenge: which runs it shows, of which tile, and where it goes."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

import numpy as np
import pytest
from PIL import Image

from c2seg.benchmark import run_benchmark
from c2seg.benchmark.figure6 import figure_recipes, figure_runs, make_figure6
from c2seg.benchmark.pairs import parse_pairs
from c2seg.benchmark.plan import Benchmark, plan
from c2seg.benchmark.running import run_all
from c2seg.cli import run
from c2seg.data import open_city
from c2seg.data.published import challenge_tiles
from c2seg.errors import InputError
from c2seg.legend import c2seg13
from c2seg.metrics import open_references
from c2seg.raster import RasterFile
from c2seg.report.figure import colored
from c2seg.report.tile_figure import map_panel, reference_panel, tile_image
from c2seg.report.views import class_colors
from c2seg.types import Window
from helpers.benchmark_runs import FakeRunner

LEGEND = c2seg13()


@pytest.fixture
def pair(make_city):
    return make_city("s", seed=1), make_city("t", seed=2, width=130, valid=True)


@dataclass
class Modal(FakeRunner):
    """Predicts each modality's map otherwise."""

    def __post_init__(self):
        self.wrong = {"unet-hsi": 2, "unet-msi": 3, "unet-sar": 4, "unet": 5}


def titles(monkeypatch):
    """Collect the titles of the rows and panels that are drawn."""
    drawn = []

    def write(path, rows, legend, palette):
        drawn.extend((row.title, [title for title, _ in row.panels]) for row in rows)

    monkeypatch.setattr("c2seg.benchmark.figure6.write_tile_figure", write)
    return drawn


@pytest.mark.slow
def test_the_figure_shows_each_modality_alone_all_and_adapted(pair, tmp_path, monkeypatch, capsys):
    runner = Modal()
    monkeypatch.setattr("c2seg.benchmark.compose.SpawningRunner", lambda jobs: runner)
    monkeypatch.setattr("c2seg.benchmark.jobs.SpawningRunner", lambda jobs, lease: runner)
    out = tmp_path / "b"
    arguments = [
        "benchmark",
        "--pair",
        ":".join(map(str, pair)),
        "--figure",
        "6",
        "--out",
        str(out),
        "--recipes",
        "unet,advent",
    ]
    assert run([*arguments, "-q"]) == 0
    assert {(task.recipe.name, task.recipe.inputs, task.seed) for task in runner.fitted} == {
        ("unet", "all", 0), ("unet", ("hsi",), 0), ("unet", ("msi",), 0), ("unet", ("sar",), 0), ("advent", "all", 0)
    }  # fmt: skip
    figure = out / "figure6.png"
    assert capsys.readouterr().out.splitlines()[-1] == str(figure)
    with Image.open(figure) as image:
        assert image.width > 2000
        pixels = np.asarray(image.convert("RGB")).reshape(-1, 3)
    present = {tuple(color) for color in np.unique(pixels, axis=0).tolist()}
    assert {class_colors(LEGEND, "default")[number] for number in (1, 3, 10)} <= present
    page = (out / "benchmark.html").read_text()
    assert "Figure 6: t, tile 5" in page
    assert page.count('src="data:image/png;base64,') >= 1
    before, trained = figure.read_bytes(), len(runner.fitted)
    monkeypatch.setattr("c2seg.benchmark.compose.make_report", lambda *given, **named: None)
    assert run([*arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["figure"] == str(figure)
    assert len(runner.fitted) == trained  # the maps of the folder are taken
    assert figure.read_bytes() == before


def test_the_panels_in_the_order_of_the_paper(pair, tmp_path, monkeypatch):
    drawn = titles(monkeypatch)
    benchmark = Benchmark(parse_pairs([pair]), (), tmp_path / "b", figure=("unet", "advent"))
    runs = figure_runs(plan(benchmark), ("unet", "advent"))
    assert len(runs) == 5
    run_all(benchmark, runs, FakeRunner())
    make_figure6(tmp_path / "figure.png", runs)
    assert drawn == [
        (
            "t, tile 5",
            [
                "MSI false color",
                "Reference",
                "HSI alone",
                "MSI alone",
                "SAR alone",
                "multimodal: unet",
                "adapted: advent",
            ],
        )
    ]
    drawn.clear()
    make_figure6(tmp_path / "figure.png", runs[:1])  # the others failed
    assert drawn[0][1] == ["MSI false color", "Reference", "multimodal: unet"]
    with pytest.raises(InputError, match="no map to show"):
        make_figure6(tmp_path / "figure.png", [replace(run, folder=tmp_path / "none") for run in runs])


def test_the_recipes_of_the_figure():
    """The second place's own; a table's recipes are the table's."""
    default = ("mmuda-ensemble", "mmuda")
    assert figure_recipes(None, None, ["a"]) is None
    assert figure_recipes(6, None, None) == figure_recipes(6, "I", ["unet"]) == default
    assert figure_recipes(6, None, ["unet", "advent"]) == ("unet", "advent")
    with pytest.raises(InputError, match="figure 6 shows two recipes"):
        figure_recipes(6, None, ["unet"])
    with pytest.raises(InputError, match="figure 7 is not one that can be made"):
        figure_recipes(7, None, None)


def test_the_runs_are_those_of_the_table(pair, tmp_path):
    """The second place's parts are shown, and none is planned twice."""
    table = Benchmark(parse_pairs([pair]), ("second-place",), tmp_path / "b", seeds=2, preset="demo")
    both = plan(replace(table, figure=("mmuda-ensemble", "mmuda")))
    assert both == plan(table)
    figured = figure_runs(both, ("mmuda-ensemble", "mmuda"))
    assert [run.label for run in figured] == [
        "mmuda-ensemble", "mmuda-ensemble (hsi)", "mmuda-ensemble (sar)", "mmuda-ensemble (msi)", "mmuda"
    ]  # fmt: skip
    alone = plan(replace(table, recipes=(), figure=("mmuda-ensemble", "mmuda")))
    assert {run.folder for run in alone} == {run.folder for run in figured}
    assert all(run.common for run in alone)  # the generator starts from networks that the ensembles have, too


def test_a_city_alone_has_no_figure(make_city, tmp_path):
    with pytest.raises(InputError, match="figure 6 shows a test city"):
        run_benchmark(str(make_city("s")), ["unet", "advent"], out=tmp_path / "b", figure=6, runner=FakeRunner())


def test_panels_are_cut_at_the_tile(pair):
    """Maps and ground truth by their own pixels, images by those of every modality's grid."""
    target = pair[1]
    (scene,) = open_city(target).scenes
    window = list(challenge_tiles("C2Seg-AB", 70, 130).windows())[5]
    assert window == Window(6, 66, 64, 64)  # the last row and column are shifted back
    ids = RasterFile(target / "label.tif").read(window)[0]
    expected = colored(ids, class_colors(LEGEND, "default"))
    np.testing.assert_array_equal(map_panel("x", target / "label.tif", window, LEGEND)[1], expected)
    (reference,) = open_references(target / "label.tif")
    np.testing.assert_array_equal(reference_panel(reference, scene.grid, window, LEGEND)[1], expected)
    title, image = tile_image(scene, window)
    assert (title, image.shape) == ("MSI false color", (64, 64, 3))
    infrared = RasterFile(target / "msi.tif").read(window)[3].astype(float)
    shown = image[..., 0]
    inside = (shown > 0) & (shown < 1)
    assert np.corrcoef(infrared[inside], shown[inside])[0, 1] > 0.999
    corner = tile_image(scene, Window(0, 0, 32, 64))[1]
    assert (corner[:17, :43] == 1).all()  # not valid: white
    with pytest.raises(InputError, match="nothing to show"):
        tile_image(scene, Window(0, 0, 16, 16))
