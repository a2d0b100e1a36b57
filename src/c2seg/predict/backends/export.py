"""Write a network as ONNX, with all that its model file knows, and check it against torch.

The graph takes normalized inputs and gives probabilities; normalization stays outside, since it may follow the city.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch as replaced

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from c2seg.artifacts import Graph, ModelFile, forest_text
from c2seg.errors import InputError, ModelFileError, needs_extra, one_line
from c2seg.outputs import atomic_file, check_output
from c2seg.predict.backends import BackendOptions
from c2seg.predict.backends.torch import load

__all__ = ["ExportCheck", "export", "network_graph", "to_graph"]

_OPSET = 17  # understood by every ONNX Runtime and OpenVINO that we support
_TOLERANCE = 1e-3  # of a probability; float32 sums in another order stay far below,
_LEAST_EQUAL = 0.999  # but a network that picks places (max-unpooling) may pick another one where two are nearly equal


@dataclass(frozen=True)
class ExportCheck:
    """How torch and the written graph agree, by input shape.

    The largest difference of a probability, and the fraction of probabilities that are equal within a thousandth."""

    largest_difference: dict[str, float]
    equal: dict[str, float]


class _Probabilities(nn.Module):
    def __init__(self, network: nn.Module, names: tuple[str, ...]) -> None:
        super().__init__()
        self.network = network
        self.names = names

    def forward(self, *inputs: Tensor) -> Tensor:
        logits: Tensor = self.network(dict(zip(self.names, inputs, strict=True)))["logits"]
        return logits.softmax(dim=1)


def export(model: ModelFile, path: Path, *, overwrite: bool = False) -> ExportCheck:
    """Write the network of a model file as ONNX with the model file's header in its metadata.

    Batch, height and width stay free; the graph is compared with torch on random inputs, square and not, before the file
    appears. Raises InputError for a model that is no network or cannot be written, OutputError for the place.
    """
    check_output(path, overwrite=overwrite)
    graph = to_graph(model)
    check = _check(model, graph)
    with atomic_file(path, overwrite=overwrite) as temporary:
        temporary.write_bytes(graph.onnx)
    return check


def to_graph(model: ModelFile) -> Graph:
    """Return the network of a model file as ONNX; InputError when there is no network or it cannot be written."""
    if model.graph is not None:
        return model.graph
    if model.header.recipe.model.name == "forest":
        raise InputError("a forest has no ONNX form; it runs without torch anyway")
    network, shapes, stride = _network(model)
    metadata = {
        "c2seg": model.header.without_folders().as_line(),
        "c2seg_model": model.digest,
        "c2seg_stride_px": str(stride),
    }
    if forest := forest_text(model.tensors):
        metadata["c2seg_forest"] = forest
    return network_graph(network, shapes, stride, metadata)


def network_graph(
    network: nn.Module, shapes: Mapping[str, tuple[int, ...]], stride_px: int, metadata: Mapping[str, str]
) -> Graph:
    """Return a network (dict of inputs by modality -> dict with ``logits``) as ONNX.

    ``shapes`` are example shapes (B, C, H, W) of the inputs; B, H and W stay free. InputError if it cannot be written.
    """
    with needs_extra("writing ONNX", "onnx"):
        import onnx
    names = tuple(shapes)
    inputs = tuple(torch.zeros(shape) for shape in shapes.values())
    free = {0: "batch", 2: "height", 3: "width"}
    try:
        # Tracing warns of itself being old and of sizes used in Python: the check at other sizes decides.
        with torch.no_grad(), warnings.catch_warnings(), _traceable(), TemporaryDirectory() as folder:
            warnings.simplefilter("ignore")
            written = Path(folder) / "graph.onnx"
            torch.onnx.export(
                _Probabilities(network, names).eval(), inputs, written, dynamo=False, opset_version=_OPSET,
                input_names=list(names), output_names=["probabilities"],
                dynamic_axes=dict.fromkeys((*names, "probabilities"), free),
            )  # fmt: skip
            content = onnx.load(written)
    except (torch.onnx.errors.OnnxExporterError, RuntimeError, TypeError) as error:
        text = one_line(error)[:200]
        raise InputError(f"the network {type(network).__name__} cannot be written as ONNX: {text}") from error
    onnx.helper.set_model_props(content, dict(metadata))
    return Graph(content.SerializeToString(deterministic=True), stride_px)


def _network(model: ModelFile) -> tuple[nn.Module, dict[str, tuple[int, ...]], int]:
    """Return the network with its weights, example input shapes by modality, and its stride."""
    predictor = load(model, BackendOptions("cpu"))
    stride = predictor.stride_px
    side = stride * max(2, -(-64 // stride))
    shapes: dict[str, tuple[int, ...]] = {name: (2, count, side, side) for name, count in model.header.channels.items()}
    return predictor.model.to(memory_format=torch.contiguous_format), shapes, stride


@contextmanager
def _traceable() -> Any:
    """Replace operators that tracing cannot follow by equivalent ones during an export."""
    with replaced.object(F, "max_unpool2d", _unpool), replaced.object(F, "adaptive_avg_pool2d", _pool):
        yield


def _unpool(values: Tensor, indices: Tensor, kernel_size: int | tuple[int, int], *_: Any, **__: Any) -> Tensor:
    """Undo max-pooling of whole, not overlapping squares: a pixel keeps the value if it is the one that its square names."""
    down, across = kernel_size if isinstance(kernel_size, tuple) else (kernel_size, kernel_size)
    batch, channels, rows, cols = values.shape
    height, width = rows * down, cols * across

    def wide(maps: Tensor) -> Tensor:
        cells = maps.unsqueeze(3).unsqueeze(5).expand(batch, channels, rows, down, cols, across)
        return cells.reshape(batch, channels, height, width)

    place = torch.arange(height * width).reshape(1, 1, height, width)
    return wide(values) * (wide(indices) == place)


def _pool(values: Tensor, output_size: int | tuple[int, int]) -> Tensor:
    """Average over bins that cover the maps, for sizes that are not known yet: a product with a matrix on either side."""
    down, across = output_size if isinstance(output_size, tuple) else (output_size, output_size)
    if down == across == 1:
        return values.mean((2, 3), keepdim=True)
    return _bins(values.shape[2], down) @ values @ _bins(values.shape[3], across).T


def _bins(length: int, count: int) -> Tensor:
    """Return float32 [count, length]: the weights of the positions in each bin, from floor(i L / n) to ceil((i + 1) L / n)."""
    index = torch.arange(count)[:, None]
    first = torch.div(index * length, count, rounding_mode="floor")
    last = torch.div((index + 1) * length + count - 1, count, rounding_mode="floor")
    place = torch.arange(length)[None]
    inside = ((place >= first) & (place < last)).float()
    return inside / inside.sum(dim=1, keepdim=True)


def _check(model: ModelFile, graph: Graph) -> ExportCheck:
    with needs_extra("checking ONNX", "onnx"):
        from c2seg.predict.backends.onnx import load as load_onnx
    reference = load(model, BackendOptions("cpu"))
    written = load_onnx(ModelFile(model.header, {}, model.digest, graph), BackendOptions("cpu"))
    side = graph.stride_px * max(2, -(-64 // graph.stride_px))
    rng = np.random.default_rng(0)
    check = ExportCheck({}, {})
    for batch, height, width in ((2, side, side), (1, side, side + graph.stride_px), (3, 2 * side, side)):
        inputs = {
            name: rng.standard_normal((batch, count, height, width)).astype(np.float32)
            for name, count in model.header.channels.items()
        }
        difference = _difference(reference, written, inputs)
        shape = f"{batch} x {height} x {width}"
        check.largest_difference[shape] = float(difference.max())
        check.equal[shape] = float((difference <= _TOLERANCE).mean())
    if min(check.equal.values()) < _LEAST_EQUAL:
        raise ModelFileError(
            f"the ONNX graph of {model.header.recipe.model.name} differs from torch by more than {_TOLERANCE:g} at "
            f"{100 * (1 - min(check.equal.values())):.2g} % of the probabilities; nothing was written"
        )
    return check


def _difference(reference: Any, written: Any, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
    first = next(iter(inputs.values()))
    valid = np.ones((first.shape[0], *first.shape[2:]), bool)
    expected, actual = (np.asarray(p.predict(dict(inputs), valid)) for p in (reference, written))
    return np.asarray(np.abs(expected - actual))
