"""The table of areas of a map: a CSV with a line a class."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping

from c2seg.artifacts import MapRecord
from c2seg.legend import Legend

__all__ = ["areas_text"]


def areas_text(legend: Legend, pixels: Mapping[int, int], pixel_m2: float | None, record: MapRecord | None) -> str:
    """Return the CSV: id, name, pixels, share of the mapped pixels; km2 with a CRS; expected km2 where the map has them."""
    total = sum(pixels.get(i, 0) for i in legend.ids)
    expected = record.expected_area_km2 if record else None
    header = ["class_id", "class", "pixels", "share"]
    header += [] if pixel_m2 is None else ["area_km2"]
    header += ["expected_area_km2"] if expected else []
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(header)
    for item in legend.classes:
        count = int(pixels.get(item.id, 0))
        row: list[object] = [item.id, item.name, count, f"{count / total:.6f}" if total else ""]
        row += [] if pixel_m2 is None else [f"{count * pixel_m2 / 1e6:.6f}"]
        row += [f"{expected[item.name]:.6f}" if item.name in expected else ""] if expected else []
        table.writerow(row)
    return text.getvalue()
