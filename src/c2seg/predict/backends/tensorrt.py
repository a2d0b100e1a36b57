"""Networks as predictors through TensorRT, which ONNX Runtime drives. Engines are built at the first batch of each shape."""

from __future__ import annotations

from c2seg.artifacts import ModelFile
from c2seg.predict import Predictor
from c2seg.predict.backends import BackendOptions
from c2seg.predict.backends.onnx import session_predictor

__all__ = ["load"]


def load(model: ModelFile, options: BackendOptions) -> Predictor:
    """Return the predictor of a network. Raises InputError where TensorRT is not there."""
    return session_predictor("tensorrt", model, options)
