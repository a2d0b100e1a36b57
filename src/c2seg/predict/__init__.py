"""Predict a city by windows, in bounded memory, with any predictor; knows no model class."""

from __future__ import annotations

from c2seg.predict.agreement import Agreement, measure_agreement, sample_windows
from c2seg.predict.engine import Predictor, Reader, predict_rows
from c2seg.predict.mapping import MapOptions, predict_scene
from c2seg.predict.plan import WindowPlan
from c2seg.predict.scratch import pending_key
from c2seg.predict.timings import Timings

__all__ = [
    "Agreement",
    "MapOptions",
    "Predictor",
    "Reader",
    "Timings",
    "WindowPlan",
    "measure_agreement",
    "pending_key",
    "predict_rows",
    "predict_scene",
    "sample_windows",
]
