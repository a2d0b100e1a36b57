"""A package with a network, a method, a loss, a layout and a recipe: built as a wheel, installed beside c2seg, used."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio

import c2seg
from helpers.pages import ROOT, snippets

HERE = Path(__file__).parent
PIP = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--no-input"]

PLUGINS = ("network 'toynet'", "training method 'low_entropy'", "loss 'poly1'", "layout 'arrays'", "recipe 'toynet'")

CONTRACT = (HERE / "toy/contract.py").read_text()

TRAIN = """
import os, signal, sys
from pathlib import Path
import numpy as np
from c2seg.artifacts import read_model_file
from c2seg.cli import run
from c2seg.pipeline import fit
from c2seg.recipes import load_recipe

source, target, out = map(Path, sys.argv[1:])
recipe = load_recipe("toynet")

def stopping(label):
    def show(done, total, text=""):
        if label == "training" and done == 10:
            os.kill(os.getpid(), signal.SIGINT)
    return show

fit(recipe, [source], out / "whole", target=target)
try:
    fit(recipe, [source], out / "stopped", target=target, bars=stopping)
except KeyboardInterrupt:
    assert any((out / "stopped").rglob("state.safetensors")) and not (out / "stopped/model.safetensors").exists()
fit(recipe, [source], out / "stopped", target=target, resume=True)
whole, stopped = (read_model_file(out / name / "model.safetensors").tensors for name in ("whole", "stopped"))
assert whole.keys() == stopped.keys()
assert all(np.array_equal(value, stopped[name]) for name, value in whole.items())
model = out / "whole/model.safetensors"
print(*read_model_file(model).header.plugins, sep="\\n")
assert run(["predict", str(model), str(target), "--out", str(out / "map.tif"), "--quiet"]) == 0
"""

RECIPES = """
import sys
from c2seg.cli import run
assert run(["recipes", "unet", "--preset", "tiny"]) == 0
assert run(["recipes", "--plugins"]) == 0
assert "c2seg_toy" not in sys.modules
assert run(["recipes"]) == 0
assert "c2seg_toy.network" in sys.modules and "torch" not in sys.modules
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Return a folder with the toy package installed from its wheel."""
    work = tmp_path_factory.mktemp("toy")
    shutil.copytree(HERE / "toy", work / "toy")
    wheel = [*PIP, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(work), str(work / "toy")]
    subprocess.run(wheel, check=True, capture_output=True)
    (built,) = work.glob("*.whl")
    install = [*PIP, "install", "--no-deps", "--no-index", "--target", str(work / "site"), str(built)]
    subprocess.run(install, check=True, capture_output=True)
    return work / "site"


@pytest.fixture(scope="module")
def toy_cities(tmp_path_factory):
    """Return a source and a target in the toy package's layout."""
    folder = tmp_path_factory.mktemp("cities")
    for seed, name in enumerate(("source", "target")):
        rng = np.random.default_rng(seed)
        blocks = rng.integers(0, 3, (5, 6)).repeat(12, 0).repeat(12, 1)
        (folder / name).mkdir()
        images = {"msi": 4, "sar": 2}
        arrays = {k: (blocks + rng.standard_normal((n, *blocks.shape)) / 3).astype("f4") for k, n in images.items()}
        np.savez(folder / name / "images.npz", **arrays)
        np.save(folder / name / "labels.npy", np.array([1, 3, 10], np.uint8)[blocks])
    return folder / "source", folder / "target"


def python(*arguments, site=None, check=True, folder=None):
    paths = [str(p) for p in (site, Path(c2seg.__file__).parents[1]) if p]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    done = subprocess.run(
        [sys.executable, *map(str, arguments)], capture_output=True, text=True, env=environment, cwd=folder, check=False
    )
    assert not check or done.returncode == 0, done.stderr
    return done


def test_recipes_lists_it_and_imports_it_only_when_named(site):
    text = python("-c", RECIPES, site=site).stdout
    assert "toynet          Two convolutions" in text
    for plugin in PLUGINS:
        assert text.count(f"{plugin} of c2seg-toy 1.2\n") == 2


PRODUCT = """
import sys
from pathlib import Path
from c2seg_toy import product
from c2seg.cli import run
from c2seg.testing import check_product_reader

scene = Path(sys.argv[1])
check_product_reader(product, scene)
assert run(["prepare", str(scene.parent / "city"), "--msi", str(scene), "--quiet"]) == 0
"""


def test_its_reader_keeps_the_contract_and_serves_prepare(site, tmp_path):
    pixels = np.random.default_rng(0).integers(1, 10_000, (1, 300, 300), dtype=np.uint16)
    where = {"transform": rasterio.Affine(10, 0, 400_000, 0, -10, 5_800_000), "crs": "EPSG:32633"}
    with rasterio.open(
        tmp_path / "pixels.tif", "w", driver="GTiff", height=300, width=300, count=1, dtype="uint16", **where
    ) as file:
        file.write(pixels)
    (tmp_path / "scene.toy").write_text("pixels.tif\n")
    text = python("-c", PRODUCT, tmp_path / "scene.toy", site=site).stdout
    assert "scene (Toy-1" in text
    with rasterio.open(tmp_path / "city/msi.tif") as file:
        assert np.array_equal(file.read(), pixels.astype(np.int16))


def test_the_guide_shows_what_is_tested():
    guide = (HERE.parents[1] / "docs/plugins.md").read_text()
    shown = re.findall(r"```(?:python|toml)\n# (\S+)\n(.*?)```", guide, re.DOTALL)
    assert len(shown) == guide.count("```python") + guide.count("```toml") == 9
    for name, code in shown:
        assert code in (HERE / "toy" / name).read_text(), name


@pytest.mark.slow
def test_the_commands_of_the_guide_run(site, toy_cities, tmp_path, record_property):
    for name, city in zip(("augsburg", "berlin"), toy_cities, strict=True):
        (tmp_path / name).symlink_to(city)
    shell = [s for s in snippets(ROOT / "docs/plugins.md") if s.language == "sh"]
    assert shell[0].text == "pip install ./toy"  # which is what ``site`` does
    for snippet in shell[1:]:
        short = ["--preset", "tiny", "--set", "training.iterations=2", "--quiet"]
        python("-m", "c2seg", *snippet.words[1:], *short, site=site, folder=tmp_path)
    assert (tmp_path / "run/model.safetensors").is_file()
    assert (tmp_path / "other/model.safetensors").is_file()
    record_property("snippets run", len(shell))


def test_it_keeps_the_contracts_trains_saves_resumes_and_predicts_and_is_missed(site, toy_cities, tmp_path):
    source, target = toy_cities
    named = python("-c", CONTRACT + TRAIN, source, target, tmp_path, site=site).stdout
    assert all(f"{plugin} of c2seg-toy 1.2\n" in named for plugin in PLUGINS if not plugin.startswith("recipe"))
    assert (tmp_path / "map.tif").exists()
    model = tmp_path / "whole/model.safetensors"
    done = python("-m", "c2seg", "predict", model, target, "--out", tmp_path / "again.tif", check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith(f"c2seg: {model} needs the ")
    assert done.stderr.endswith("which is not installed: pip install 'c2seg-toy==1.2'\n")
    assert done.stderr.count("\n") == 1
