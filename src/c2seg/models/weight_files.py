"""Tensors by name from files of weights: safetensors, torch without pickled code, and the constants of an ONNX graph."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from c2seg.errors import ModelFileError, needs_extra

__all__ = ["read_tensors"]

_NESTED = ("state_dict_ema", "model_ema", "state_dict", "model_state_dict", "model", "encoder")


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a file, also from nested dicts, as training scripts save them. ModelFileError if unreadable."""
    if not path.is_file():
        raise ModelFileError(f"model.pretrained={path}: no such file (nor is it one of: null, imagenet)")
    try:
        content: Any = _content(path)
    except ModelFileError:
        raise
    except Exception as error:  # what a damaged file makes torch raise has no end
        reason = (str(error).splitlines() or [type(error).__name__])[0][:160]
        raise ModelFileError(
            f"model.pretrained={path}: cannot be read as tensors ({reason}); save it as .safetensors"
        ) from error
    while isinstance(content, Mapping):
        inner = next((content[key] for key in _NESTED if isinstance(content.get(key), Mapping)), None)
        if inner is None:
            break
        content = inner
    state = {str(k): v for k, v in content.items() if isinstance(v, Tensor)} if isinstance(content, Mapping) else {}
    if not state:
        raise ModelFileError(f"model.pretrained={path}: contains no named tensors")
    return state


def _content(path: Path) -> Any:
    if path.suffix.lower() == ".safetensors":
        return dict(load_file(path))
    if path.suffix.lower() == ".onnx":
        return _constants(path)
    return torch.load(path, map_location="cpu", weights_only=True)


def _constants(path: Path) -> dict[str, Tensor]:
    """Return the named constants of an ONNX graph: the weights of the network that it was made of."""
    with needs_extra("weights from an ONNX file", "onnx"):
        import onnx
        from onnx import numpy_helper

    graph = onnx.load(str(path), load_external_data=False).graph
    arrays = {item.name: numpy_helper.to_array(item) for item in graph.initializer}
    return {name: torch.from_numpy(array.copy()) for name, array in arrays.items() if array.dtype.kind in "fiu"}
