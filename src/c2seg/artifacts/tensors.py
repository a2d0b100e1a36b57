"""What model files store besides their header: tensors, or a graph. Checked before anything is built from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from c2seg.errors import ModelFileError, needs_extra

__all__ = ["StoredGraph", "checked_tensors", "read_graph", "stored_tensors"]

_CONTROL = {"If", "Loop", "Scan", "SequenceMap"}
"""Operators of ONNX that contain graphs. Our networks have none, and a loop need not end."""
_EXTERNAL, _FLOAT = 1, 1  # of TensorProto: a DataLocation and a DataType


def stored_tensors(path: Path) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    """Return the metadata and the tensors of a safetensors file. Raises ModelFileError if it is damaged."""
    try:
        with safe_open(path, framework="numpy") as file:
            return file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except (SafetensorError, OSError, MemoryError, TypeError, AttributeError, ValueError, KeyError) as error:
        hint = "; give the model.safetensors of a run" if path.suffix.lower() != ".safetensors" else ""
        raise ModelFileError(f"{path} is damaged or no model file: {str(error)[:300]}{hint}") from error


def checked_tensors(tensors: dict[str, np.ndarray], where: str) -> dict[str, np.ndarray]:
    """Return tensors of numbers that are finite. Raises ModelFileError for others: their maps would be one class or noise."""
    for name, values in tensors.items():
        if values.dtype.kind not in "iufb":
            raise ModelFileError(f"{where}: the tensor {name[:80]} holds {values.dtype}, no numbers that c2seg writes")
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise ModelFileError(
                f"{where}: the tensor {name[:80]} holds values that are not finite; train the model again"
            )
    return tensors


@dataclass(frozen=True)
class StoredGraph:
    """An ONNX file: its bytes, its metadata, and the channels of its inputs (None: not float32 with four axes) by name."""

    content: bytes
    metadata: dict[str, str]
    inputs: dict[str, int | None]
    outputs: tuple[str, ...]

    def check(self, channels: Mapping[str, int], path: Path) -> None:
        """Raise ModelFileError unless the graph takes these channels, by modality, and gives probabilities."""
        if self.inputs != dict(channels) or self.outputs != ("probabilities",):
            raise ModelFileError(
                f"{path}: its graph takes {self.inputs} and gives {', '.join(self.outputs)[:80]}, "
                f"its header says {dict(channels)} and probabilities"
            )


def read_graph(path: Path) -> StoredGraph:
    """Return what an ONNX file holds.

    Raises ModelFileError if it is damaged, if tensors lie in other files (which no digest covers), or if it has control flow.
    """
    with needs_extra("a model in an ONNX file", "onnx"):
        import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        content = path.read_bytes()
        model = onnx.load_from_string(content)
        metadata = {entry.key: entry.value for entry in model.metadata_props}
    except MemoryError as error:
        raise ModelFileError(f"{path} is too large for the memory of this machine") from error
    except (DecodeError, OSError, UnicodeDecodeError) as error:
        raise ModelFileError(f"{path} is damaged or no ONNX file: {error}") from error
    for part in _parts(model):
        _check_part(part, path)
    stored = {tensor.name for tensor in model.graph.initializer}
    inputs = {value.name: _channels(value.type.tensor_type) for value in model.graph.input if value.name not in stored}
    return StoredGraph(content, metadata, inputs, tuple(value.name for value in model.graph.output))


def _channels(kind: Any) -> int | None:
    sizes = kind.shape.dim
    return int(sizes[1].dim_value) if kind.elem_type == _FLOAT and len(sizes) == 4 else None


def _check_part(part: Any, path: Path) -> None:
    kind = part.DESCRIPTOR.name
    if kind == "TensorProto" and (part.external_data or part.data_location == _EXTERNAL):
        raise ModelFileError(
            f"{path}: the tensor {part.name[:80]!r} lies in another file (external data), which is not read; export the "
            "model with `c2seg export`, which writes one file"
        )
    if kind == "NodeProto" and part.op_type in _CONTROL:
        raise ModelFileError(f"{path}: its graph has the operator {part.op_type}, which no network of c2seg has")


def _parts(message: Any) -> Iterator[Any]:
    """Yield a protobuf message and all messages within it."""
    waiting = [message]
    while waiting:
        part = waiting.pop()
        yield part
        for field, value in part.ListFields():
            if field.message_type is not None and not _is_map(field):
                waiting += [value] if hasattr(value, "DESCRIPTOR") else value


def _is_map(field: Any) -> bool:
    return bool(field.message_type.GetOptions().map_entry)
