"""Backends turn a model file into a predictor. Each is a module here, imported when it is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module

from c2seg.errors import InputError, needs_extra, unknown_name
from c2seg.inference import Predictor
from c2seg.modelfile import ModelFile

__all__ = ["BACKENDS", "BackendOptions", "load_predictor"]

# Backend by name -> module with ``load(model, options) -> Predictor``.
BACKENDS = {"forest": "c2seg.backends.forest", "torch": "c2seg.backends.torch"}


@dataclass(frozen=True)
class BackendOptions:
    """How a predictor runs: device ``auto | cpu | cuda``, precision ``32 | bf16``, test-time views."""

    device: str = "auto"
    precision: str = "32"
    tta: bool = False


def default_backend(model: ModelFile) -> str:
    """Return the backend that a model needs when none is named."""
    return "forest" if model.header.recipe.model.name == "forest" else "torch"


def load_predictor(model: ModelFile, name: str, options: BackendOptions) -> Predictor:
    """Return a predictor. Raises InputError for an unknown backend or one that cannot run this model."""
    if name not in BACKENDS:
        raise InputError(unknown_name("backend", name, BACKENDS))
    if (name == "forest") != (model.header.recipe.model.name == "forest"):
        raise InputError(f"backend {name!r} cannot run a {model.header.recipe.model.name} model; leave --backend out")
    with needs_extra(f"backend {name}", {"torch": "train"}.get(name, name)):
        module = import_module(BACKENDS[name])
    predictor: Predictor = module.load(model, options)
    return predictor
