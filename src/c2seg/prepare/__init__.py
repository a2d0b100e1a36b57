"""From satellite products to a city folder: one grid, co-registration, composites, files with their provenance."""

from __future__ import annotations

from c2seg.prepare.area import Area
from c2seg.prepare.making import clear_remains, prepare_folder, standing
from c2seg.prepare.planning import Plan, plan_city
from c2seg.prepare.record import PrepareRecord
from c2seg.prepare.request import Request

__all__ = ["Area", "Plan", "PrepareRecord", "Request", "clear_remains", "plan_city", "prepare_folder", "standing"]
