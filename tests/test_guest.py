"""A guest in somebody's process: what is imported, made and called leaves environment, signals, threads and GDAL alone."""

from __future__ import annotations

import subprocess
import sys

import pytest
import rasterio
import torch
from rasterio._env import get_gdal_config

from c2seg.pipeline import fit
from c2seg.predict import MapOptions
from c2seg.predict.city import predict
from c2seg.recipes import load_recipe

SMALL = ["model.widths=[4, 8]", "training.iterations=3", "training.sampling={patch_px: 16, batch_size: 4}"]

PROCESS = """
import os, pkgutil, signal, sys, warnings
import rasterio, torch
from rasterio._env import get_gdal_config

def state():
    handlers = [signal.getsignal(number) for number in sorted(signal.valid_signals())]
    gdal = {name: get_gdal_config(name) for name in ("GDAL_CACHEMAX", "GDAL_NUM_THREADS", "GDAL_PAM_ENABLED")}
    draws = torch.get_rng_state().sum().item(), torch.get_default_dtype(), torch.is_grad_enabled()
    return dict(os.environ), torch.get_num_threads(), handlers, gdal, draws, warnings.filters[:], os.getcwd()

torch.set_num_threads(3)
before = state()
"""

IMPORTS = """
import c2seg
names = [info.name for info in pkgutil.walk_packages(c2seg.__path__, "c2seg.")]
assert len(names) > 150
for name in names:
    if name != "c2seg.__main__":
        __import__(name)
after = state()
known = {id(entry) for entry in before[5]}
assert not [entry for entry in after[5] if entry[0] == "error"]
assert after[:5] == before[:5] and after[6] == before[6], (before, after)
"""

USE = """
from pathlib import Path
from c2seg.artifacts import read_model_file
from c2seg.predict.backends import BackendOptions, load_predictor
import numpy as np

model = read_model_file(Path(sys.argv[1]))
predictor = load_predictor(model, sys.argv[2], BackendOptions("cpu", threads=2))
assert state() == before, "made"
patch = {name: np.zeros((2, count, 32, 32), np.float32) for name, count in model.header.channels.items()}
predictor.predict(patch, np.ones((2, 32, 32), bool))
assert state() == before, "used"
"""


def in_a_process(script: str, *arguments: str) -> None:
    done = subprocess.run([sys.executable, "-c", PROCESS + script, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def model(cities, tmp_path):
    fit(load_recipe("unet", "tiny", SMALL), [cities[0]], tmp_path / "run")
    return tmp_path / "run" / "model.safetensors"


def test_importing_every_module_changes_nothing():
    in_a_process(IMPORTS)


@pytest.mark.parametrize("backend", ["torch", "openvino", "onnx"])
def test_a_predictor_changes_nothing(model, backend):
    in_a_process(USE, str(model), backend)


@pytest.mark.parametrize("options", [{}, {"threads": 1}, {"threads": 3}])
def test_predict_changes_nothing(model, cities, tmp_path, options):
    draws = torch.get_rng_state()
    threads = torch.get_num_threads()
    with rasterio.Env(GDAL_CACHEMAX=50 * 2**20):
        predict(model, cities[1], MapOptions(tmp_path / "map.tif"), **options)
        assert int(get_gdal_config("GDAL_CACHEMAX")) == 50 * 2**20
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), draws)


def test_fit_changes_nothing(cities, tmp_path):
    draws, threads = torch.get_rng_state(), torch.get_num_threads()
    sets = [*SMALL, "forest=null", "prediction.window_px=64"]
    fit(load_recipe("crosscity", "demo", sets), [cities[0]], tmp_path / "run", target=cities[1])
    assert torch.equal(torch.get_rng_state(), draws)
    assert torch.get_num_threads() == threads
