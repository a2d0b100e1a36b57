"""One run, from cities on disk to a model file: prepare the data, check on held-out blocks, train stage by stage."""

from __future__ import annotations

from c2seg.pipeline.fit import FitResult, fit
from c2seg.pipeline.prepare import Storage

__all__ = ["FitResult", "Storage", "fit"]
