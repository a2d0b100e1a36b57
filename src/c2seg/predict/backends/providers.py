"""Which execution providers ONNX Runtime takes for a device, and what is said where one is missing."""

from __future__ import annotations

from collections.abc import Collection

from c2seg.errors import InputError
from c2seg.predict.backends import BackendOptions

__all__ = ["CPU", "CUDA", "TENSORRT", "Provider", "check_provider", "providers"]

CPU, CUDA, TENSORRT = "CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"

Provider = tuple[str, dict[str, str]]


def providers(backend: str, options: BackendOptions, available: Collection[str]) -> list[Provider]:
    """Return the providers of backend ``onnx`` or ``tensorrt`` with their settings, the preferred one first.

    ``device="auto"`` is CUDA where the installed runtime has it. Raises InputError for a device, a provider or a precision
    that is not there.
    """
    if backend == "tensorrt":
        return _tensorrt(options, available)
    if options.precision != "32":
        raise InputError(
            "backend 'onnx' has precision 32 only; for bf16 take `backend='openvino'`, 'tensorrt' (CUDA) or 'torch'"
        )
    if options.device == "cuda" and CUDA not in available:
        raise InputError(_missing(backend, CUDA, available))
    if options.device == "cpu" or CUDA not in available:
        return [(CPU, {})]
    return [(CUDA, {"use_tf32": "0"}), (CPU, {})]  # precision 32 is meant: TF32 has 10 bits of it


def _tensorrt(options: BackendOptions, available: Collection[str]) -> list[Provider]:
    if options.device == "cpu":
        raise InputError("backend 'tensorrt' runs on CUDA; leave `device` out or take `backend='onnx'`")
    if options.precision not in {"32", "bf16"}:
        raise InputError(f"backend 'tensorrt' has the precisions 32 and bf16, not {options.precision!r}")
    if TENSORRT not in available:
        raise InputError(_missing("tensorrt", TENSORRT, available))
    reduced = {"trt_bf16_enable": "1"} if options.precision == "bf16" else {}
    return [(TENSORRT, reduced), (CUDA, {"use_tf32": "0"}), (CPU, {})]


def check_provider(backend: str, first: str, used: Collection[str]) -> None:
    """Raise InputError if a session that was to use a provider first does without it: its libraries did not load."""
    if first not in used:
        raise InputError(
            f"backend {backend!r}: ONNX Runtime has {first}, but it did not load (another version of CUDA, cuDNN, TensorRT?); "
            "take `backend='torch'` or `device='cpu'`"
        )


def _missing(backend: str, provider: str, available: Collection[str]) -> str:
    return (
        f"backend {backend!r} on CUDA needs ONNX Runtime's {provider}; the installed one has {', '.join(available)}: install "
        "onnxruntime-gpu in its place, or take `backend='torch'`"
    )
