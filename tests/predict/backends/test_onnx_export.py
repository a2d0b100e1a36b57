"""Networks as ONNX: what is written equals torch, runs anywhere, and says what is wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import onnx
import pytest
import rasterio
import torch

from c2seg.artifacts import Header, ModelFile, read_model_file
from c2seg.cli import run
from c2seg.data import Band
from c2seg.errors import C2SegError, InputError, ModelFileError
from c2seg.legend import c2seg13
from c2seg.models import build_model
from c2seg.models.ensemble import tensor_prefix
from c2seg.predict import MapOptions
from c2seg.predict.backends import BackendOptions, load_predictor
from c2seg.predict.backends import export as exporting
from c2seg.predict.city import predict
from c2seg.recipes import load_recipe

NETWORKS = {
    "unet": "{name: unet, widths: [8, 16, 24]}",
    "unet-group": "{name: unet, widths: [8, 16], norm: group}",
    "unet-timm": "{name: unet, widths: [8, 16, 24], decoder: sum, encoder: tf_efficientnet_lite0, scale: 2}",
    "segnet": "{name: segnet, width: 0.1}",
    "deeplabv3plus": "{name: deeplabv3plus, encoder: resnet18, channels: 16}",
    "mmglots": "{name: mmglots, scale: 2, input_px: 64, width: 24, heads: 3, taps: [1, 2, 3, 4], cnn_blocks: [1, 1, 1, 1], "
    "cnn_widths: [8, 8, 16, 16], decoder_heads: [1, 2, 3, 4], aux_channels: 8}",
    "segformer": "{name: segformer, encoder: mit_b0, channels: 16}",
    "hrnet": "{name: hrnet, width: 6, blocks: [1, 1, 1, 1], modules: [1, 1, 1], bottleneck: 6}",
    "mmuda": "{name: mmuda, width: 6, blocks: [1, 1, 1, 1], modules: [1, 1, 1], bottleneck: 6, channels: 16}",
    "highdan": "{name: highdan, width: 6, bottleneck: 6, max_bands: 3, head: [16, 16, 8], attention: false}",
    "mrsn": "{name: mrsn, encoder: convnext_atto, channels: 16}",
}

QUICK = ("unet", "unet-group", "segnet", "highdan", "hrnet")


def read(path):
    with rasterio.open(path) as dataset:
        return dataset.read()


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in NETWORKS]
)
def test_every_network_keeps_its_probabilities(name):
    recipe = load_recipe("unet", "tiny", [f"model={NETWORKS[name]}"])
    bands = {"msi": 4, "sar": 2}
    legend = c2seg13()
    torch.manual_seed(0)
    network = build_model(recipe.model, bands, legend.num_classes)
    with torch.no_grad():  # large logits: differences must not hide in a flat softmax
        for parameter, weights in network.named_parameters():
            if name not in {"hrnet", "mmuda"}:  # whose many blocks, not normalized before training, amplify enough
                weights.mul_(1.25)
            if parameter.endswith("gamma"):  # blocks that start all but switched off must count
                weights.fill_(0.5)
    inputs = {key: tuple(Band(name=f"{key}{i}") for i in range(count)) for key, count in bands.items()}
    header = Header(recipe=recipe, inputs=inputs, statistics={}, legend=legend)
    prefix = tensor_prefix("training.0")
    model = ModelFile(header, {prefix + k: v.numpy() for k, v in network.state_dict().items()}, "0" * 16)
    graph = exporting.to_graph(model)
    side = max(32, graph.stride_px)
    rng = np.random.default_rng(0)
    for batch, height, width in ((1, 2 * side, side), (2, side, 3 * side)):
        patch = {
            key: rng.standard_normal((batch, count, height, width)).astype(np.float32) for key, count in bands.items()
        }
        valid = np.ones((batch, height, width), bool)
        expected = load_predictor(model, "torch", BackendOptions("cpu")).predict(patch, valid)
        assert expected.max() - expected.min() > 0.05
        for backend in ("onnx", "openvino"):
            predictor = load_predictor(ModelFile(header, {}, "", graph), backend, BackendOptions())
            found = predictor.predict(patch, valid)
            assert found.dtype == np.float32
            equal = np.abs(found - expected) < (1e-3 if name == "segnet" else 2e-5)
            assert equal.mean() > (0.995 if name == "segnet" else 0.99999)  # max-unpooling may pick the other of two
            kept = found.copy()  # a result is the caller's: the next call must not change it
            predictor.predict({key: -values for key, values in patch.items()}, valid)
            np.testing.assert_array_equal(found, kept)


def test_the_file_knows_what_the_model_file_knows(model, tmp_path, capsys):
    out = tmp_path / "model.onnx"
    assert run(["export", str(model), str(out), "--json"]) == 0
    assert max(json.loads(capsys.readouterr().out)["largest_difference"].values()) < 1e-5
    loaded, source = read_model_file(out), read_model_file(model)
    assert loaded.header == source.header
    assert loaded.graph is not None
    assert loaded.graph.stride_px == 2
    onnx.checker.check_model(onnx.load(out), full_check=True)
    first = out.read_bytes()
    assert run(["export", str(model), str(out)]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert run(["export", str(model), str(out), "--overwrite", "--quiet"]) == 0
    assert out.read_bytes() == first


def test_maps_of_all_backends_agree(model, make_city, tmp_path):
    city = make_city("target", seed=2, height=83, width=66, valid=True)
    run(["export", str(model), str(tmp_path / "model.onnx"), "--quiet"])
    maps = {}
    for name, file, backend in (
        ("torch", model, None), ("onnx", tmp_path / "model.onnx", None), ("ov", tmp_path / "model.onnx", "openvino"),
        ("direct", model, "onnx"),
    ):  # fmt: skip
        predict(file, city, MapOptions(tmp_path / f"{name}.tif"), backend=backend)
        maps[name] = read(tmp_path / f"{name}.tif")
        assert (maps[name] == maps["torch"]).mean() > 0.999
    assert (maps["torch"] == read(city / "label.tif")).mean() > 0.7  # of all pixels, a twelfth is not valid
    predict(model, city, MapOptions(tmp_path / "a.tif"), tta=True)
    predict(model, city, MapOptions(tmp_path / "b.tif"), tta=True, backend="onnx")
    assert (read(tmp_path / "a.tif") == read(tmp_path / "b.tif")).mean() > 0.999


WITHOUT_TORCH = """
import sys

class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "torchvision", "timm", "segmentation_models_pytorch"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, NoTorch())
from c2seg.cli import run
code = run(sys.argv[1:])
assert "torch" not in sys.modules
sys.exit(code)
"""


@pytest.mark.slow
def test_an_install_without_torch_maps(model, make_city, tmp_path):
    city = make_city("target", seed=2)
    run(["export", str(model), str(tmp_path / "model.onnx"), "--quiet"])
    environment = os.environ | {"OMP_NUM_THREADS": "1"}

    def bare(*arguments):
        command = [sys.executable, "-c", WITHOUT_TORCH, *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, env=environment)

    for extra in ([], ["--backend", "openvino"], ["--backend", "auto"], ["--workers", "2"]):
        out = tmp_path / f"map{len(extra)}{extra[-1:]}.tif"
        done = bare("predict", tmp_path / "model.onnx", city, "--out", out, *extra)
        assert done.returncode == 0, done.stderr
        assert (read(out) == read(city / "label.tif")).mean() > 0.8
    refused = bare("predict", model, city, "--out", tmp_path / "no.tif")
    assert refused.returncode == 2
    assert refused.stderr.splitlines()[-1].endswith("pip install '.[train]'")
    refused = bare("predict", model, city, "--out", tmp_path / "no.tif", "--backend", "onnx")
    assert refused.returncode == 2
    assert "c2seg export" in refused.stderr


def test_wrong_files_are_refused_in_one_line(model, make_city, tmp_path, capsys):
    city = str(make_city("target", seed=2))
    (tmp_path / "noise.onnx").write_bytes(b"\xff" * 100)
    empty = onnx.helper.make_model(onnx.helper.make_graph([], "empty", [], []))
    onnx.save(empty, tmp_path / "foreign.onnx")
    for name, text in (("noise", "damaged or no ONNX"), ("foreign", "not one that `c2seg export` wrote")):
        assert run(["predict", str(tmp_path / f"{name}.onnx"), city, "--out", str(tmp_path / "map.tif")]) == 2
        assert text in capsys.readouterr().err
    assert run(["export", str(model), str(tmp_path / "model.bin")]) == 2
    assert "must end in .onnx" in capsys.readouterr().err
    run(["export", str(model), str(tmp_path / "model.onnx"), "--quiet"])
    capsys.readouterr()
    graph = str(tmp_path / "model.onnx")
    for options, text in (
        (["--backend", "torch"], "give the model.safetensors"),
        (["--backend", "onnx", "--precision", "bf16"], "precision 32 only"),
        (["--backend", "openvino", "--precision", "8"], "unknown precision"),
        (["--backend", "onnx", "--device", "cuda"], "needs ONNX Runtime's CUDAExecutionProvider"),
        (["--backend", "tensorflow"], "unknown backend"),
        (["--backend", "forest"], "cannot run a unet"),
    ):
        assert run(["predict", graph, city, "--out", str(tmp_path / "map.tif"), *options]) == 2
        error = capsys.readouterr().err
        assert text in error
        assert len(error.splitlines()) == 1
    assert run(["export", graph, str(tmp_path / "again.onnx")]) == 2


def test_a_graph_that_differs_is_not_written(model, tmp_path, monkeypatch):
    loaded = read_model_file(model)
    graph = exporting.to_graph(loaded)
    wrong = {name: values * np.float32(1.3) for name, values in loaded.tensors.items()}
    monkeypatch.setattr(exporting, "to_graph", lambda _: graph)
    with pytest.raises(ModelFileError, match="differs from torch"):
        exporting.export(ModelFile(loaded.header, wrong, loaded.digest), tmp_path / "model.onnx")
    assert not (tmp_path / "model.onnx").exists()


def test_a_forest_has_no_onnx_form(model, tmp_path):
    loaded = read_model_file(model)
    header = loaded.header.model_copy(update={"recipe": load_recipe("forest", "tiny")})
    with pytest.raises(InputError, match="forest"):
        exporting.export(ModelFile(header, {}, ""), tmp_path / "model.onnx")
    assert issubclass(InputError, C2SegError)
