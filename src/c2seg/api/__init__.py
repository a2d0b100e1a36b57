"""The commands as functions: what ``c2seg fit`` and ``c2seg predict`` do, for use from Python."""

from __future__ import annotations

from c2seg.api.fit import FitResult, fit
from c2seg.api.predict import predict
from c2seg.api.prepare import Storage

__all__ = ["FitResult", "Storage", "fit", "predict"]
