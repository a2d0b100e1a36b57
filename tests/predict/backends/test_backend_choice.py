"""Backends by measurement, and reduced precision only where it keeps the classes."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import import_module
from typing import ClassVar

import numpy as np
import pytest
import rasterio
import torch

from c2seg.artifacts import read_model_file
from c2seg.cli import run
from c2seg.errors import InputError
from c2seg.predict import MapOptions
from c2seg.predict.backends import BackendOptions, candidates, choose, load_predictor
from c2seg.predict.backends.tta import AveragedTransforms
from c2seg.predict.city import predict

predicting = import_module("c2seg.predict.city")


@dataclass
class Stub:
    seconds: float
    clock: ClassVar[float] = 0.0
    num_classes: int = 13
    halo_px: int = 0

    def predict(self, patch, valid):
        Stub.clock += self.seconds
        return np.zeros((len(valid), 13, *valid.shape[1:]), np.float32)


def test_the_fastest_is_chosen_and_what_cannot_run_is_left_out(monkeypatch):
    def load(_model, name, _options):
        if name == "broken":
            raise InputError("no")
        return Stub({"slow": 0.02, "fast": 0.001}[name])

    monkeypatch.setattr(choose, "load_predictor", load)
    monkeypatch.setattr(choose.time, "perf_counter", lambda: Stub.clock)
    batch = {"msi": np.zeros((1, 2, 4, 4), np.float32)}, np.ones((1, 4, 4), bool)
    choice, predictor = choose.fastest(None, ["slow", "broken", "fast"], BackendOptions(), lambda _: batch)
    assert choice.name == "fast"
    assert predictor.seconds == 0.001
    assert choice.seconds == {"slow": pytest.approx(0.02), "fast": pytest.approx(0.001)}
    with pytest.raises(InputError, match="no"):
        choose.fastest(None, ["broken"], BackendOptions(), lambda _: batch)


def test_auto_records_its_choice_and_a_resumed_map_keeps_it(model, make_city, tmp_path, monkeypatch):
    city = make_city("target", seed=2)
    assert candidates(read_model_file(model), BackendOptions()) == ["torch", "onnx", "openvino"]
    assert candidates(read_model_file(model), BackendOptions(precision="bf16")) == ["torch", "openvino"]
    (result,) = predict(model, city, MapOptions(tmp_path / "map.tif"), backend="auto")
    choice = result.run.backend_choice
    assert set(choice.seconds) == {"torch", "onnx", "openvino"}
    assert choice.name == min(choice.seconds, key=choice.seconds.get)
    assert json.loads((tmp_path / "map.json").read_text())["key"]["backend"] == choice.name

    real = predicting.make_scene

    def stopped(files, reader, predictor, *args, **kwargs):
        plain, calls = predictor.predict, []

        class Dies:
            num_classes, halo_px = predictor.num_classes, predictor.halo_px

            def predict(self, *a):
                calls.append(1)
                if len(calls) > 2:
                    raise KeyboardInterrupt
                return plain(*a)

        return real(files, reader, Dies(), *args, **kwargs)

    out = tmp_path / "two.tif"
    with monkeypatch.context() as patched:
        patched.setattr(predicting, "make_scene", stopped)
        with pytest.raises(KeyboardInterrupt):
            predict(model, city, MapOptions(out), backend="openvino")
    monkeypatch.setattr(choose, "fastest", lambda *_: pytest.fail("measured though a stopped run decides"))
    (result,) = predict(model, city, MapOptions(out), backend="auto")
    assert result.key.backend == "openvino"
    assert result.resumed_strips > 0


@pytest.mark.parametrize("backend", ["torch", "openvino"])
def test_reduced_precision_is_measured_and_said(model, make_city, tmp_path, capsys, backend):
    city = make_city("target", seed=2)
    arguments = ["predict", str(model), str(city), "--backend", backend, "--precision", "bf16"]
    code = run([*arguments, "--out", str(tmp_path / "map.tif")])
    error = capsys.readouterr().err
    if "no bfloat16 arithmetic" in error:
        pytest.skip("this processor has no bfloat16 arithmetic")
    assert code == 0, error
    assert "reduced precision accepted" in error
    check = json.loads((tmp_path / "map.json").read_text())["run"]["precision_check"]
    assert check["accepted"]
    assert check["same"] >= 0.99 * check["pixels"] > 0


def test_a_precision_that_changes_classes_is_refused(model, make_city, tmp_path, monkeypatch, capsys):
    """A reduced precision stands for a wrong one: a predictor that mixes up classes at a share of the pixels."""
    city = make_city("target", seed=2)
    real = predicting.load_predictor

    def load(model, name, options):
        predictor = real(model, name, BackendOptions(options.device))
        if options.precision == "32":
            return predictor

        class Off:
            num_classes, halo_px, stride_px = predictor.num_classes, 0, predictor.stride_px

            def predict(self, patch, valid):
                scores = predictor.predict(patch, valid).copy()
                scores[:, :, :, ::50] = scores[:, ::-1, :, ::50]
                return scores

        return Off()

    monkeypatch.setattr(predicting, "load_predictor", load)
    out = tmp_path / "map.tif"
    assert run(["predict", str(model), str(city), "--out", str(out), "--precision", "bf16", "--quiet"]) == 2
    error = capsys.readouterr().err
    assert "changes too much" in error
    assert "use --precision 32" in error
    assert len(error.splitlines()) == 1
    assert not out.exists()


@pytest.mark.slow
def test_compile_is_for_torch_and_says_when_it_cannot(model, make_city, tmp_path, monkeypatch, capsys):
    city = make_city("target", seed=2)
    arguments = ["predict", str(model), str(city), "--out", str(tmp_path / "map.tif"), "--compile"]
    assert run([*arguments, "--backend", "onnx"]) == 2
    assert "--compile is for backend torch" in capsys.readouterr().err
    assert candidates(read_model_file(model), BackendOptions(compile=True)) == ["torch"]

    def no_compiler(*_args, **_options):
        raise RuntimeError("no C++ compiler")

    monkeypatch.setattr("torch._inductor.compile_fx.compile_fx", no_compiler)
    assert run(arguments) == 2
    error = capsys.readouterr().err
    assert "--compile: the network cannot be compiled here (no C++ compiler)" in error
    assert "Traceback" not in error
    assert not (tmp_path / "map.tif").exists()


@pytest.mark.slow
def test_a_compiled_network_gives_the_same_map(model, make_city, tmp_path):
    city = make_city("target", seed=2)
    maps = []
    for compile in (False, True):
        out = tmp_path / f"{compile}.tif"
        predict(model, city, MapOptions(out), compile=compile)
        with rasterio.open(out) as file:
            maps.append(file.read(1))
    assert (maps[0] == maps[1]).mean() > 0.999


def test_six_views_are_the_rotations_and_the_two_flips():
    """The mean over transforms of a predictor that marks one corner: each undone, six or all eight corners."""

    @dataclass(frozen=True)
    class Corner:
        num_classes: int = 1
        halo_px: int = 0

        def predict(self, patch, valid):
            scores = np.zeros((1, 1, 4, 4), np.float32)
            scores[0, 0, 0, 1] = 1
            return scores

    patch, valid = {"msi": np.zeros((1, 1, 4, 4), np.float32)}, np.ones((1, 4, 4), bool)
    eight = 8 * AveragedTransforms(Corner(), 8).predict(patch, valid)[0, 0]
    rim = [(0, 1), (0, 2), (1, 0), (1, 3), (2, 0), (2, 3), (3, 1), (3, 2)]
    assert all(eight[place] == 1 for place in rim)
    six = 6 * AveragedTransforms(Corner(), 6).predict(patch, valid)[0, 0]
    turned = {(0, 1), (2, 0), (3, 2), (1, 3)}
    mirrored = {(0, 2), (3, 1)}
    assert {place for place in rim if six[place] > 0.99} == turned | mirrored


@pytest.fixture
def same_threads_after():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_threads_share_the_windows_and_change_no_bit(model, same_threads_after):
    loaded = read_model_file(model)
    rng = np.random.default_rng(0)
    batch = {n: rng.standard_normal((4, c, 32, 48)).astype(np.float32) for n, c in loaded.header.channels.items()}
    valid = np.ones((4, 32, 48), bool)
    found = {}
    before = torch.get_num_threads()
    for count in (1, 2, 3, 4, 8):
        predictor = load_predictor(loaded, "torch", BackendOptions("cpu", tta=True, threads=count))
        with ThreadPoolExecutor(2) as two:  # as a map asks: two batches at once
            found[count], again = two.map(predictor.predict, (batch, batch), (valid, valid))
        np.testing.assert_array_equal(again, found[count])
        assert torch.get_num_threads() == before
    for count, scores in found.items():
        np.testing.assert_array_equal(scores, found[1], err_msg=str(count))
    assert len({scores.tobytes() for scores in found[1]}) == 4
