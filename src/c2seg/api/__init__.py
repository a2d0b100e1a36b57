"""The commands as functions: what ``c2seg fit`` and ``c2seg predict`` do, for use from Python."""

from __future__ import annotations

from c2seg.api.fit import FitResult, fit
from c2seg.api.predict import predict

__all__ = ["FitResult", "fit", "predict"]
