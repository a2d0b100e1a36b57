"""Reference labels from OpenStreetMap: a label raster from an extract, a rule table and a grid.

The data are (c) OpenStreetMap contributors under the ODbL. Label rasters contain this attribution.
"""

from __future__ import annotations

from c2seg.errors import needs_extra

with needs_extra("labels from OpenStreetMap", "labels"):
    import osmium  # noqa: F401  (reports a missing extra before long work)

    from c2seg.labels.build import Labels, make_labels
    from c2seg.labels.cities import CityLabels, label_cities
    from c2seg.labels.files import Area, write_label_files
    from c2seg.labels.grids import grid_from_bounds, grid_like
    from c2seg.labels.record import LabelRecord
    from c2seg.labels.report import build_report, format_report
    from c2seg.labels.rules import Rule, RuleTable, Switch, default_rules_text, load_rules
    from c2seg.labels.writing import write_labels

__all__ = [
    "Area",
    "CityLabels",
    "LabelRecord",
    "Labels",
    "Rule",
    "RuleTable",
    "Switch",
    "build_report",
    "default_rules_text",
    "format_report",
    "grid_from_bounds",
    "grid_like",
    "label_cities",
    "load_rules",
    "make_labels",
    "write_label_files",
    "write_labels",
]
