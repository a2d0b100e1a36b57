"""What is installed without extras maps and scores with forests; what needs more says so in one line."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

import c2seg
from c2seg.data import open_labeled_city
from c2seg.data.writers import write_mat

PROJECT = Path(c2seg.__file__).parents[2] / "pyproject.toml"

HIDE = """
import sys
from importlib.abc import MetaPathFinder

class Hidden(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in sys.argv[1].split(","):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return None

sys.meta_path.insert(0, Hidden())
from c2seg.cli import run
codes = [run(line.split()) for line in sys.argv[2:]]
print(codes, file=sys.stderr)
"""


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[\[><=! ]", text)[0].lower().replace("_", "-") for text in requirements}


@pytest.fixture(scope="module")
def beyond_core() -> str:
    """Return the modules of every package that only extras bring, separated by commas."""
    project = tomllib.loads(PROJECT.read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = set().union(*(names(extras[name]) for name in extras if name not in {"all", "dev"}))
    wanted -= names(project["dependencies"])
    found = {
        module
        for module, packages in packages_distributions().items()
        if wanted & {package.lower().replace("_", "-") for package in packages}
    }
    assert {"torch", "osmium", "shapely", "matplotlib", "jinja2", "h5py", "onnx"} <= found
    return ",".join(sorted(found))


def c2seg_without(modules: str, *commands: str, cwd: Path) -> tuple[list[int], str]:
    done = subprocess.run([sys.executable, "-c", HIDE, modules, *commands], capture_output=True, text=True, cwd=cwd)
    assert done.returncode == 0, done.stderr
    *said, codes = done.stderr.strip().splitlines()
    return [int(code) for code in re.findall(r"\d+", codes)], "\n".join(said)


def test_the_core_maps_and_scores_with_forests(beyond_core, make_city, tmp_path):
    make_city("source", seed=1)
    make_city("target", seed=2)
    write_mat(open_labeled_city(tmp_path / "source", None), tmp_path / "classic.mat")
    codes, said = c2seg_without(
        beyond_core,
        "inspect source",
        "inspect classic.mat --label-map challenge",
        "recipes crosscity",
        "fit forest --source source --target target --out run --set model.trees=5 --set validation.folds=2",
        "predict run/model.safetensors target --out map.tif --preview map.png --confidence sure.tif --workers 1",
        "score map.tif target/label.tif",
        cwd=tmp_path,
    )
    assert codes == [0] * 6, said
    assert (tmp_path / "map.png").stat().st_size > 100


@pytest.mark.parametrize(
    ("command", "extra"),
    [
        ("fit unet --source source --out run", "train"),
        ("report map.tif --out page.html", "report"),
        ("demo", "report"),
        ("label out.tif --osm x.osm --like source/msi.tif", "labels"),
        ("fit forest --source new.mat --out run", "mat"),
        ("simulate pair --scale 0.04", "simulate"),
    ],
)
def test_a_command_names_the_extra_that_it_needs(beyond_core, command, extra, make_city, tmp_path):
    make_city("source", seed=1)
    write_mat(open_labeled_city(tmp_path / "source", None), tmp_path / "new.mat", hdf5=True)
    codes, said = c2seg_without(beyond_core, command, cwd=tmp_path)
    assert codes == [2]
    assert said.splitlines()[-1].endswith(f"pip install '.[{extra}]'"), said


APART = {"all", "dev", "docs", "torchgeo", "terratorch", "ukis"}
"""For developers, and of libraries so large that only who needs them asks for them."""


def test_all_brings_every_extra():
    extras = tomllib.loads(PROJECT.read_text())["project"]["optional-dependencies"]
    [everything] = extras["all"]
    assert set(re.findall(r"\w+", everything)) - {"c2seg"} == set(extras) - APART
