"""The commands as functions, for use from Python."""

from __future__ import annotations

from c2seg.pipeline import FitResult, Storage, fit
from c2seg.predict.city import predict

__all__ = ["FitResult", "Storage", "fit", "predict"]
