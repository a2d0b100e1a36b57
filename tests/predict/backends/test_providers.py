from __future__ import annotations

import pytest

from c2seg.artifacts import read_model_file
from c2seg.errors import InputError
from c2seg.predict.backends import BackendOptions, load_predictor
from c2seg.predict.backends import onnx as backend
from c2seg.predict.backends.providers import CPU, CUDA, TENSORRT, providers

GPU = (TENSORRT, CUDA, CPU)


@pytest.mark.parametrize(
    ("name", "options", "available", "expected"),
    [
        ("onnx", BackendOptions("cpu"), GPU, [CPU]),
        ("onnx", BackendOptions("auto"), (CPU,), [CPU]),
        ("onnx", BackendOptions("auto"), GPU, [CUDA, CPU]),
        ("onnx", BackendOptions("cuda"), GPU, [CUDA, CPU]),
        ("tensorrt", BackendOptions("auto"), GPU, [TENSORRT, CUDA, CPU]),
        ("tensorrt", BackendOptions("cuda", "bf16"), GPU, [TENSORRT, CUDA, CPU]),
    ],
)
def test_providers_follow_the_device(name, options, available, expected):
    chosen = providers(name, options, available)
    assert [provider for provider, _ in chosen] == expected
    settings = dict(chosen)
    assert settings.get(CUDA, {}).get("use_tf32", "0") == "0"  # 32 bits are 32 bits
    assert ("trt_bf16_enable" in settings.get(TENSORRT, {})) == (options.precision == "bf16")


@pytest.mark.parametrize(
    ("name", "options", "available", "message"),
    [
        ("onnx", BackendOptions("cuda"), (CPU,), "needs ONNX Runtime's CUDAExecutionProvider.*has CPUExecutionProvider.*-gpu"),
        ("tensorrt", BackendOptions("auto"), (CUDA, CPU), "needs ONNX Runtime's TensorrtExecutionProvider"),
        ("tensorrt", BackendOptions("cpu"), GPU, "runs on CUDA"),
        ("tensorrt", BackendOptions("cuda", "16"), GPU, "32 and bf16"),
        ("onnx", BackendOptions("cuda", "bf16"), GPU, "precision 32 only"),
    ],
)  # fmt: skip
def test_a_missing_provider_is_one_line(name, options, available, message):
    with pytest.raises(InputError, match=message) as error:
        providers(name, options, available)
    assert "\n" not in str(error.value)


def test_a_provider_whose_libraries_do_not_load_is_told(model, monkeypatch, caplog):
    monkeypatch.setattr(backend.onnxruntime, "get_available_providers", lambda: list(GPU))
    plain = backend.onnxruntime.InferenceSession
    monkeypatch.setattr(
        backend.onnxruntime,
        "InferenceSession",
        lambda graph, settings, providers: plain(graph, settings, providers=[CPU]),
    )
    loaded = read_model_file(model)
    with pytest.raises(InputError, match="has CUDAExecutionProvider, but it did not load"):
        load_predictor(loaded, "onnx", BackendOptions("cuda"))
    with pytest.raises(InputError, match="has TensorrtExecutionProvider, but it did not load"):
        load_predictor(loaded, "tensorrt", BackendOptions("auto"))
    load_predictor(loaded, "onnx", BackendOptions("auto"))
    assert "the CPU computes" in caplog.text
