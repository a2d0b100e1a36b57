"""Map a city by windows in bounded memory with any predictor; knows no model class."""

from __future__ import annotations

from c2seg.inference.agreement import Agreement, measure_agreement, sample_windows
from c2seg.inference.engine import Predictor, Reader, map_rows
from c2seg.inference.mapping import MapOptions, MapResult, map_scene
from c2seg.inference.plan import WindowPlan
from c2seg.inference.scratch import pending_key
from c2seg.inference.stages import Stages

__all__ = [
    "Agreement",
    "MapOptions",
    "MapResult",
    "Predictor",
    "Reader",
    "Stages",
    "WindowPlan",
    "map_rows",
    "map_scene",
    "measure_agreement",
    "pending_key",
    "sample_windows",
]
