"""What the template of a checked map sees: plain structures whose keys are known."""

from __future__ import annotations

from typing import TypedDict

__all__ = ["ClassLine", "MatrixLine", "PointMark", "ValueCell", "VerificationContext"]


class PointMark(TypedDict):
    """A point of the sample in the picture of the map, 0..100 from its left and top edges."""

    x: float
    y: float
    title: str


class ValueCell(TypedDict):
    """An estimate with its interval, as texts."""

    value: str
    interval: str


class ClassLine(TypedDict):
    """What is estimated of a class. ``bar``: places of the area in percent of the widest: low, value, high, mapped."""

    name: str
    color: str
    cells: list[ValueCell]
    area: ValueCell
    mapped: str
    bar: tuple[float, float, float, float]
    outside: bool


class MatrixLine(TypedDict):
    """A row of the error matrix: the mapped class, proportions of area with points, and their sum."""

    name: str
    color: str
    cells: list[tuple[str, str, float, bool]]
    total: str


class VerificationContext(TypedDict):
    """A section of the page."""

    title: str
    lead: str
    overall: ValueCell
    level: str
    notes: list[str]
    remarks: list[str]
    picture: str
    aspect: float
    points: list[PointMark]
    unit: str
    classes: list[ClassLine]
    columns: list[tuple[str, str]]
    matrix: list[MatrixLine]
    strata: list[tuple[str, str, str]]
    zones: list[tuple[str, str, str, str]]
    audit: list[tuple[str, str]]
    files: list[tuple[str, str]]
    absent: str
    points_note: str
