"""Map a city by windows in bounded memory with any predictor; knows no model class."""

from __future__ import annotations

from c2seg.inference.engine import Predictor, map_rows
from c2seg.inference.mapping import MapOptions, MapResult, map_scene
from c2seg.inference.plan import WindowPlan

__all__ = ["MapOptions", "MapResult", "Predictor", "WindowPlan", "map_rows", "map_scene"]
