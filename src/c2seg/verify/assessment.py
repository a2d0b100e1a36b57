"""The record of an assessment: where a map is likely wrong, by class and zone, before any label of the target."""

from __future__ import annotations

from typing import Literal

from c2seg.records import Artifact, Record

__all__ = ["Assessment", "RiskRow"]


class RiskRow(Record):
    """A class, or a class in a zone: how likely its pixels are wrong, and how far they are from what the model has seen."""

    name: str
    zone: str | None = None
    """None: the whole map."""
    pixels: int
    error: float
    """Mean of the estimated probability of error, 0..1."""
    risk: float
    """Mean of the risk score, 0..1."""
    new: float | None
    """Share of pixels unlike any that the model was trained on; None: not known."""
    disagreement: float | None
    """Share of pixels for which another model, or part of the model, decides another class; None: there is none."""


class Assessment(Artifact):
    """What ``c2seg assess`` says of a map. None of it replaces a sample: a shift breaks calibration."""

    artifact: Literal["assessment"] = "assessment"
    path: str
    """File name of the raster of risk."""
    map: str
    """File name of the map."""
    calibration: Literal["held-out blocks of the sources", "temperature", "none"]
    """What turned confidence into a probability of error."""
    layers: tuple[str, ...]
    """Bands of the raster, in order."""
    compared: tuple[str, ...]
    """What the map was compared with for disagreement."""
    rows: tuple[RiskRow, ...]
    """All classes together (``all classes``), every class, and every class in every zone."""
    notes: tuple[str, ...]

    @property
    def overall(self) -> RiskRow:
        """All classes together."""
        return self.rows[0]
