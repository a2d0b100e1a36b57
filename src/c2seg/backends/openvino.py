"""Networks as predictors through OpenVINO; the precision is always set, since its default may be bfloat16."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import openvino

from c2seg.backends import BackendOptions, graph_of, processors
from c2seg.backends.views import AveragedViews
from c2seg.data import Patch
from c2seg.errors import InputError, ModelFileError, unknown_name
from c2seg.inference import Predictor
from c2seg.modelfile import ModelFile

__all__ = ["OpenVinoPredictor", "load"]

_HINTS = {"32": "f32", "bf16": "bf16"}


@dataclass(frozen=True)
class OpenVinoPredictor:
    """One compiled network per shape of the inputs: fixed shapes run faster, and a map has few."""

    core: Any
    model: Any
    config: dict[str, Any]
    num_classes: int
    stride_px: int
    halo_px: int = 0
    _compiled: dict[tuple[tuple[int, ...], ...], Any] = field(default_factory=dict, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def predict(self, patch: Patch, valid: np.ndarray) -> np.ndarray:
        """Return probabilities float32 [B, K, H, W]."""
        with self._lock:
            request = self._request(patch)
            # Into memory of its own, without a copy: the request's own tensor is written again by the next call.
            scores = np.empty(tuple(request.model_outputs[0].shape), np.float32)
            request.set_output_tensor(0, openvino.Tensor(scores, shared_memory=True))
            request.infer(patch, share_inputs=True, share_outputs=True)
            return scores

    def _request(self, patch: Patch) -> Any:
        key = tuple(values.shape for values in patch.values())
        if key not in self._compiled:
            model = self.model.clone()
            model.reshape({name: list(values.shape) for name, values in patch.items()})
            self._compiled[key] = self.core.compile_model(model, "CPU", self.config).create_infer_request()
        return self._compiled[key]


def load(model: ModelFile, options: BackendOptions) -> Predictor:
    """Return the predictor of a network. Raises InputError for a device or precision that this machine lacks."""
    if options.device == "cuda":
        raise InputError("backend 'openvino' runs on the CPU; leave --device out or take --backend torch")
    if options.precision not in _HINTS:
        raise InputError(unknown_name("precision", options.precision, _HINTS))
    core = openvino.Core()
    if options.precision == "bf16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise InputError("--precision bf16: this processor has no bfloat16 arithmetic; use --precision 32")
    graph = graph_of(model)
    try:
        network = core.read_model(graph.onnx)
    except RuntimeError as error:
        raise ModelFileError(f"OpenVINO cannot load the model: {' '.join(str(error).split())[:200]}") from error
    config = {
        "INFERENCE_PRECISION_HINT": _HINTS[options.precision],
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": options.threads or processors(),
    }
    predictor = OpenVinoPredictor(core, network, config, model.header.land_legend().num_classes, graph.stride_px)
    return AveragedViews(predictor, options.views) if options.tta else predictor
