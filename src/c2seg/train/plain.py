"""What the state of a training holds, as JSON and tensors: no code is stored, and none runs when it is read.

JSON has lists, texts, numbers, true, false and null. All else is an object of one key, which names its type: a tensor is
``{"tensor": name}``, a dictionary, whose keys may be of any type, ``{"dict": [[key, value], ...]}``.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from math import isfinite
from typing import Any

import numpy as np
import torch
from torch import Tensor

from c2seg.errors import TrainingError

__all__ = ["from_plain", "to_plain"]


def to_plain(value: Any, tensors: dict[str, Tensor], place: str = "state") -> Any:
    """Return a value as JSON; its tensors are added to ``tensors`` by name, on the CPU and in memory of their own.

    Dictionaries keep their order and lose their class, arrays of numpy stay such. Raises TrainingError for a value of another
    type, with its place.
    """
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if isfinite(value) else {"float": str(value)}
    if isinstance(value, bytes | bytearray):
        return {"bytes": base64.b64encode(value).decode("ascii")}
    if isinstance(value, Tensor):
        return {"tensor": _add(value, tensors, place)}
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "biuf":
        return {"array": _add(torch.from_numpy(np.array(value)), tensors, place)}
    if isinstance(value, Mapping):
        pairs = enumerate(value.items())
        return {
            "dict": [[_key(key, tensors, place, n), to_plain(v, tensors, f"{place}.{key}")] for n, (key, v) in pairs]
        }
    if isinstance(value, list | tuple | set):
        items = [to_plain(item, tensors, f"{place}.{number}") for number, item in enumerate(value)]
        return items if isinstance(value, list) else {"tuple" if isinstance(value, tuple) else "set": items}
    raise TrainingError(
        f"the training cannot be saved: {place} is a {type(value).__name__}; states hold tensors and plain values"
    )


def _key(key: Any, tensors: dict[str, Tensor], place: str, number: int) -> Any:
    return key if isinstance(key, str) else to_plain(key, tensors, f"{place}.key{number}")


def _add(value: Tensor, tensors: dict[str, Tensor], place: str) -> str:
    name = f"{len(tensors)}:{place}"
    tensors[name] = value.detach().cpu().clone(memory_format=torch.contiguous_format)  # no two share memory
    return name


def from_plain(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    """Return what ``to_plain`` was given. Raises ValueError, KeyError or TypeError for what it did not write."""
    if isinstance(value, list):
        return [from_plain(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    [(name, content)] = value.items()
    return _READ[name](content, tensors)


_READ: dict[str, Callable[[Any, Mapping[str, Tensor]], Any]] = {
    "float": lambda content, _: float(content),
    "bytes": lambda content, _: base64.b64decode(content),
    "tensor": lambda content, tensors: tensors[content],
    "array": lambda content, tensors: tensors[content].numpy(),
    "dict": lambda content, tensors: {from_plain(key, tensors): from_plain(value, tensors) for key, value in content},
    "tuple": lambda content, tensors: tuple(from_plain(content, tensors)),
    "set": lambda content, tensors: set(from_plain(content, tensors)),
}
