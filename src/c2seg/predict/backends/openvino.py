"""Networks as predictors through OpenVINO; the precision is always set, since its default may be bfloat16."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any

import numpy as np
import openvino

from c2seg.artifacts import ModelFile
from c2seg.data import Patch
from c2seg.errors import InputError, ModelFileError, one_line, unknown_name
from c2seg.predict import Predictor
from c2seg.predict.backends import BackendOptions, graph_of, processors
from c2seg.predict.backends.threads import WindowThreads
from c2seg.predict.backends.tta import AveragedTransforms

__all__ = ["OpenVinoPredictor", "load"]

_HINTS = {"32": "f32", "bf16": "bf16"}


@dataclass(frozen=True)
class OpenVinoPredictor:
    """One compiled network per shape of a window: fixed shapes run faster, and a map has few.

    The windows of a batch run one by one, in as many streams as there are threads. Threads that share one window are idle in
    small layers, and a whole batch per stream needs more memory. The results are bit-identical.
    """

    core: Any
    model: Any
    inputs: frozenset[str]
    """Those of the graph: inputs that only left-out networks of the training read are not in it."""
    config: dict[str, Any]
    num_classes: int
    stride_px: int
    threads: WindowThreads
    halo_px: int = 0
    _compiled: dict[tuple[Any, ...], SimpleQueue[Any]] = field(default_factory=dict, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def predict(self, patch: Patch, valid: np.ndarray) -> np.ndarray:
        """Return probabilities float32 [B, K, H, W]."""
        patch = {name: array for name, array in patch.items() if name in self.inputs}
        idle = self._requests(patch, self.threads.together(len(valid)))

        def run(window: Patch, scores: np.ndarray) -> None:
            request = idle.get()
            try:
                # Into memory of its own, without a copy: a request's own tensor is written again by the next call.
                request.set_output_tensor(0, openvino.Tensor(scores, shared_memory=True))
                request.infer(window, share_inputs=True)
            except RuntimeError as error:
                raise _refused("run", error) from error
            finally:
                idle.put(request)

        return self.threads.map(run, patch, (len(valid), self.num_classes, *valid.shape[1:]))

    def release(self, scores: np.ndarray) -> None:
        """Take back what ``predict`` returned."""
        self.threads.arrays.release(scores)

    def _requests(self, patch: Patch, streams: int) -> SimpleQueue[Any]:
        shapes = {name: [1, *values.shape[1:]] for name, values in patch.items()}
        key = (streams, *(tuple(shape) for shape in shapes.values()))
        with self._lock:
            if key not in self._compiled:
                model = self.model.clone()
                config = self.config | {"NUM_STREAMS": streams, "INFERENCE_NUM_THREADS": self.threads.count}
                try:
                    model.reshape(shapes)
                    compiled = self.core.compile_model(model, "CPU", config)
                except RuntimeError as error:
                    raise _refused("run", error) from error
                self._compiled[key] = SimpleQueue()
                for _ in range(streams):
                    self._compiled[key].put(compiled.create_infer_request())
            return self._compiled[key]


def load(model: ModelFile, options: BackendOptions) -> Predictor:
    """Return the predictor of a network. Raises InputError for a device or precision that this machine lacks."""
    if options.device == "cuda":
        raise InputError("backend 'openvino' runs on the CPU; leave `device` out or take `backend='torch'`")
    if options.precision not in _HINTS:
        raise InputError(unknown_name("precision", options.precision, _HINTS))
    core = openvino.Core()
    if options.precision == "bf16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise InputError("`precision='bf16'`: this processor has no bfloat16 arithmetic; use `precision='32'`")
    graph = graph_of(model)
    try:
        network = core.read_model(graph.onnx)
    except RuntimeError as error:
        raise _refused("load", error) from error
    config = {"INFERENCE_PRECISION_HINT": _HINTS[options.precision]}
    classes, threads = model.header.legend.num_classes, WindowThreads(options.threads or processors())
    inputs = frozenset(node.any_name for node in network.inputs)
    predictor = OpenVinoPredictor(core, network, inputs, config, classes, graph.stride_px, threads)
    return AveragedTransforms(predictor, options.tta_transforms) if options.tta else predictor


def _refused(verb: str, error: RuntimeError) -> ModelFileError:
    return ModelFileError(f"OpenVINO cannot {verb} the model: {one_line(error)[:200]}")
