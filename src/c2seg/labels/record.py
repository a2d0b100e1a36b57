"""What is known of a label raster (the JSON beside it): areas in km2, shares of the covered area, and what was not used."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from c2seg.records import Artifact, Record

__all__ = [
    "ClassArea",
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
    """The OpenStreetMap extract: its bounds (W, S, E, N), whence they are known, and the date of its data, empty if unknown."""

    bounds_degrees: tuple[float, float, float, float]
    bounds_from: str
    timestamp: str


class CoverageFacts(Record):
    """How much of the grid the extract covers, and how much of that is mapped."""

    km2: float
    covered_share: float
    mapped_share: float
    unmapped_share: float


class ClassArea(Record):
    """Whole pixels of a class."""

    id: int
    name: str
    km2: float
    share: float


class RuleArea(Record):
    """What a rule took: features in the grid, their area after priorities and before them. ``class_id`` 0: switched off."""

    name: str
    class_id: int = Field(alias="class")
    features: int
    km2: float
    share: float
    geometry_km2: float


class SwitchFacts(Record):
    """A contested tag: the option chosen, its class, what moves with it, and every option's class."""

    name: str
    choice: str
    class_id: int = Field(alias="class")
    km2: float
    share: float
    geometry_km2: float
    options: dict[str, int]


class Coastline(Record):
    """Whether the coastline closes, its pieces, loose ends led to the extract's edge, and the area left open."""

    state: str
    ways: int
    led_to_edge: int
    unknown_km2: float


class UnmatchedTag(Record):
    """Areas with a tag that no rule takes."""

    tag: str
    features: int
    km2: float


class SkippedArea(Record):
    """An area that could not be assembled."""

    id: str
    rule: str
    reason: str


class RuleTableName(Record):
    """The rule table and a digest of its content."""

    name: str
    digest: str


class LabelRecord(Artifact):
    """The JSON beside a label raster."""

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
    rule_table: RuleTableName
