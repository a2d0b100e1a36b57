"""Networks as predictors through ONNX Runtime, without torch when the model file is an ONNX file."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime

from c2seg.artifacts import ModelFile
from c2seg.data import Patch
from c2seg.errors import ModelFileError, one_line
from c2seg.predict import Predictor
from c2seg.predict.backends import BackendOptions, checked_scores, graph_of, processors
from c2seg.predict.backends.providers import Provider, check_provider, providers
from c2seg.predict.backends.tta import AveragedTransforms

__all__ = ["OnnxPredictor", "load", "session_predictor"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class OnnxPredictor:
    """A session; inputs and probabilities are float32 arrays of the CPU."""

    session: Any
    inputs: frozenset[str]
    """Those of the graph: inputs that only left-out networks of the training read are not in it."""
    num_classes: int
    stride_px: int
    halo_px: int = 0

    def predict(self, patch: Patch, valid: np.ndarray) -> np.ndarray:
        """Return probabilities float32 [B, K, H, W]."""
        values = {name: array for name, array in patch.items() if name in self.inputs}
        try:
            scores = np.asarray(self.session.run(["probabilities"], values)[0])
        except Exception as error:  # the runtime's classes are private
            raise ModelFileError(f"ONNX Runtime cannot run the model: {one_line(error)[:200]}") from error
        return checked_scores(scores, (len(valid), self.num_classes, *valid.shape[1:]))


def load(model: ModelFile, options: BackendOptions) -> Predictor:
    """Return the predictor of a network. Raises InputError for a device or precision that this backend lacks."""
    return session_predictor("onnx", model, options)


def session_predictor(backend: str, model: ModelFile, options: BackendOptions) -> Predictor:
    """Return the predictor of backend ``onnx`` or ``tensorrt``."""
    chosen = providers(backend, options, onnxruntime.get_available_providers())
    graph = graph_of(model)
    session = _session(graph.onnx, chosen, options.threads or processors())
    if chosen[0][0] not in session.get_providers():
        if backend == "tensorrt" or options.device == "cuda":
            check_provider(backend, chosen[0][0], session.get_providers())
        _log.warning("backend onnx: %s did not load; the CPU computes", chosen[0][0])
    inputs = frozenset(node.name for node in session.get_inputs())
    predictor = OnnxPredictor(session, inputs, model.header.legend.num_classes, graph.stride_px)
    return AveragedTransforms(predictor, options.tta_transforms) if options.tta else predictor


def _session(graph: bytes, chosen: list[Provider], threads: int) -> Any:
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads
    settings.log_severity_level = 3
    # Threads that wait by spinning would take the cores from reading and blending.
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(graph, settings, providers=chosen)
    except Exception as error:  # the runtime's classes are private; whatever it says is about the file
        raise ModelFileError(f"ONNX Runtime cannot load the model: {one_line(error)[:200]}") from error
