"""Backends turn a model file into a predictor. Each is a module here, imported when it is asked for."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec

import numpy as np

from c2seg.artifacts import Graph, ModelFile
from c2seg.errors import InputError, ModelFileError, needs_extra, unknown_name
from c2seg.predict import Predictor

__all__ = [
    "BACKENDS",
    "BackendOptions",
    "candidates",
    "checked_scores",
    "default_backend",
    "graph_of",
    "load_predictor",
    "processors",
]

# Backend by name -> module with ``load(model, options) -> Predictor``.
BACKENDS = {
    "forest": "c2seg.predict.backends.forest",
    "onnx": "c2seg.predict.backends.onnx",
    "openvino": "c2seg.predict.backends.openvino",
    "tensorrt": "c2seg.predict.backends.tensorrt",
    "torch": "c2seg.predict.backends.torch",
}
_PACKAGES = {"torch": "torch", "onnx": "onnxruntime", "openvino": "openvino"}
_EXTRAS = {"torch": "train", "tensorrt": "onnx"}


@dataclass(frozen=True)
class BackendOptions:
    """How a predictor runs: device ``auto | cpu | cuda``, precision ``32 | bf16``, test-time transforms, threads (None: all).

    ``compile``: torch.compile, for backend torch; it takes up to a minute before the first window and needs a C++ compiler.
    ``tta_transforms``: how many test-time transforms, 6 or 8.
    """

    device: str = "auto"
    precision: str = "32"
    tta: bool = False
    threads: int | None = None
    compile: bool = False
    tta_transforms: int = 8


def default_backend(model: ModelFile) -> str:
    """Return the backend that a model needs when none is named."""
    if model.header.recipe.model.name == "forest":
        return "forest"
    if model.graph is not None:
        return "openvino" if _installed("openvino") and not _installed("onnxruntime") else "onnx"
    return "torch"


def candidates(model: ModelFile, options: BackendOptions) -> list[str]:
    """Return the installed backends that can run a model with these options."""
    if model.header.recipe.model.name == "forest":
        return ["forest"]
    able = [name for name, package in _PACKAGES.items() if _installed(package)]
    if model.graph is not None:
        able = [name for name in able if name != "torch"]
    elif not (_installed("torch") and _installed("onnx")):  # they turn weights into a graph
        able = [name for name in able if name == "torch"]
    if options.precision != "32":
        able = [name for name in able if name != "onnx"]
    if options.compile:
        able = [name for name in able if name == "torch"]
    return able or [default_backend(model)]


def load_predictor(model: ModelFile, name: str, options: BackendOptions) -> Predictor:
    """Return a predictor. Raises InputError for an unknown backend or one that cannot run this model."""
    if name not in BACKENDS:
        raise InputError(unknown_name("backend", name, BACKENDS))
    if (name == "forest") != (model.header.recipe.model.name == "forest"):
        raise InputError(f"backend {name!r} cannot run a {model.header.recipe.model.name} model; leave `backend` out")
    if options.compile and name != "torch":
        raise InputError(f"`compile` is for backend torch, not {name}; leave it out or give `backend='torch'`")
    if name == "torch" and model.graph is not None:
        raise InputError(
            "backend 'torch' cannot run an ONNX file; give the model.safetensors, or take onnx or openvino"
        )
    with needs_extra(f"backend {name}", _EXTRAS.get(name, name)):
        module = import_module(BACKENDS[name])
    predictor: Predictor = module.load(model, options)
    header = model.header
    if name != "forest" and header.recipe.forest is not None:
        from c2seg.predict.backends.ensemble import with_forest

        predictor = with_forest(predictor, header.recipe, header.channels, model.tensors, options.threads)
    from c2seg.predict.backends.factors import with_factors

    return with_factors(predictor, header.class_factors)


def graph_of(model: ModelFile) -> Graph:
    """Return a model's ONNX graph, made by torch now if the file holds weights."""
    if model.graph is not None:
        return model.graph
    with needs_extra("making ONNX of a model.safetensors (c2seg export does it once, elsewhere)", "train"):
        from c2seg.predict.backends.export import to_graph
    return to_graph(model)


def checked_scores(scores: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return what a graph of a model file computed. Raises ModelFileError if it is no float32 array of this shape."""
    if scores.shape != shape or scores.dtype != np.float32:
        raise ModelFileError(
            f"the graph of the model file gives {scores.dtype} {list(scores.shape)}, not probabilities {list(shape)}"
        )
    return scores


def _installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except (ImportError, ValueError):  # an import hook forbids it
        return False


def processors() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
