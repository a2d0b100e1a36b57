"""The report on a label raster (JSON): areas in km2, fractions (``share``) of the covered area, and unused features."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from c2seg.records import Artifact, Record

__all__ = [
    "ClassArea",
    "ClosedArea",
    "Coastline",
    "CoverageFacts",
    "ExtractFacts",
    "LabelRecord",
    "RuleArea",
    "RuleTableName",
    "SkippedArea",
    "SwitchFacts",
    "UnmatchedTag",
]


class ExtractFacts(Record):
    """The OpenStreetMap extract: its bounds (W, S, E, N), the source of the bounds, and the date of the data, if known."""

    bounds_degrees: tuple[float, float, float, float]
    bounds_from: str
    timestamp: str


class CoverageFacts(Record):
    """Fraction of the grid that the extract covers, and the mapped fraction of the covered area."""

    km2: float
    covered_share: float
    mapped_share: float
    unmapped_share: float


class ClassArea(Record):
    """Area of the pixels of a class."""

    id: int
    name: str
    km2: float
    share: float


class RuleArea(Record):
    """Features of a rule in the grid, and their area after priorities and before them. ``class_id`` 0: the rule is off."""

    name: str
    class_id: int = Field(alias="class")
    features: int
    km2: float
    share: float
    geometry_km2: float


class SwitchFacts(Record):
    """A contested tag: the selected option, its class, the area that depends on it, and the classes of all options."""

    name: str
    choice: str
    class_id: int = Field(alias="class")
    km2: float
    share: float
    geometry_km2: float
    options: dict[str, int]


class Coastline(Record):
    """State of the coastline, its pieces, loose ends extended to the extract's edge, and the unknown area."""

    state: str
    ways: int
    led_to_edge: int
    unknown_km2: float


class UnmatchedTag(Record):
    """Areas with an unmatched tag."""

    tag: str
    features: int
    km2: float


class SkippedArea(Record):
    """An area that could not be assembled."""

    id: str
    rule: str
    reason: str


class ClosedArea(Record):
    """An area that the extract cuts, closed along the extract's edge, and what told on which side of its rings it lies."""

    id: str
    rule: str
    told_by: str


class RuleTableName(Record):
    """The rule table: its name and a digest of its content."""

    name: str
    digest: str


class LabelRecord(Artifact):
    """The report on a label raster, a JSON file with the same name."""

    artifact: Literal["labels"] = "labels"
    height: int
    width: int
    pixel_m2: float
    attribution: str
    license: str
    extract: ExtractFacts
    coverage: CoverageFacts
    classes: tuple[ClassArea, ...]
    rules: tuple[RuleArea, ...]
    switches: tuple[SwitchFacts, ...]
    coastline: Coastline
    unmatched: tuple[UnmatchedTag, ...]
    skipped: tuple[SkippedArea, ...]
    closed: tuple[ClosedArea, ...] = ()
    rule_table: RuleTableName
    key: str | None = None
    """Digest of all that the raster depends on: extract, rules, legend, grid, version; None in files of 0.1.0."""
