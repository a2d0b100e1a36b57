"""Samples of a map: their record on disk, and labels of their points in memory.

Axes: n point, in the random order of the sample, so that every first part of it is a sample, too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from affine import Affine

from c2seg.legend import BACKGROUND, IGNORE, LandClass, Legend
from c2seg.raster import short
from c2seg.records import Artifact, Record
from c2seg.types import Grid

__all__ = [
    "CANNOT_TELL",
    "CONFIDENCES",
    "UNLABELED",
    "Design",
    "GridRecord",
    "Interpretation",
    "LabeledSample",
    "LegendRecord",
    "SampleRecord",
    "SampledMap",
    "SampledPoint",
    "Stratum",
]

UNLABELED = BACKGROUND
"""The reference of a point without a label."""
CANNOT_TELL = IGNORE
"""The reference of a point that an interpreter saw and could not decide; ``cannot tell`` in files."""
CONFIDENCES = ("", "low", "medium", "high")
"""How sure an interpreter was, by number; 0: not stated."""

Design = Literal["stratified", "random", "systematic"]


class LegendClass(Record):
    """A class of the sampled map."""

    id: int
    name: str
    color: str


class LegendRecord(Record):
    """The classes of the sampled map."""

    name: str
    classes: tuple[LegendClass, ...]

    @classmethod
    def of(cls, legend: Legend) -> LegendRecord:
        """Return a legend's name and classes."""
        classes = (LegendClass(id=item.id, name=item.name, color=item.color) for item in legend.classes)
        return cls(name=legend.name, classes=tuple(classes))

    def legend(self) -> Legend:
        """Return the legend."""
        return Legend(self.name, tuple(LandClass(item.id, item.name, item.color) for item in self.classes))


class GridRecord(Record):
    """The grid of the sampled map: its size, its transform (a, b, c, d, e, f) and its CRS as WKT."""

    height: int
    width: int
    transform: tuple[float, float, float, float, float, float]
    crs: str | None = None

    @classmethod
    def of(cls, grid: Grid) -> GridRecord:
        """Return a grid's record."""
        return cls(height=grid.height, width=grid.width, transform=tuple(grid.transform[:6]), crs=grid.crs)

    def grid(self) -> Grid:
        """Return the grid."""
        return Grid(self.height, self.width, Affine(*self.transform), self.crs)


class SampledMap(Record):
    """The map that a sample is of: file name as seen from the record, a digest of its ids, its pixels of a class."""

    path: str
    digest: str
    pixels: int


class Stratum(Record):
    """A part of the map in which every pixel had the same chance to be drawn.

    ``inclusion`` is that chance, points / pixels (of a systematic sample: the share that its step implies). What the stratum is
    made of, where known: the mapped class, the band of confidence (from, below; 0..1), the zone.
    """

    number: int
    name: str
    pixels: int
    points: int
    inclusion: float
    class_id: int | None = None
    confidence: tuple[float, float] | None = None
    zone: str | None = None


class SampledPoint(Record):
    """A point: pixel center of ``row``, ``col`` of the map, and the number of its stratum."""

    id: int
    row: int
    col: int
    stratum: int


class SampleRecord(Artifact):
    """The JSON beside the points of a sample: design, strata, and the points, without any label.

    ``sample_id`` is a digest of everything else in it: labels name it, and a changed record is noticed.
    """

    artifact: Literal["sample"] = "sample"
    path: str
    """File name of the points (GeoPackage)."""
    sample_id: str = ""
    map: SampledMap
    design: Design
    seed: int
    strata_of: tuple[str, ...] = ()
    """What strata are made of: ``class``, ``confidence``, ``zone of FILE`` (and its field); empty: one stratum."""
    allocation: str | None = None
    min_per_class: int | None = None
    planned: str = ""
    """How the number of points was planned, in words; empty: it was given."""
    min_unit_px: int | None = None
    """The minimum mapping unit in pixels of the map: smaller areas count to what surrounds them."""
    tolerance_m: float | None = None
    """The positional tolerance: how far from the point the class may be looked for."""
    legend: LegendRecord
    grid: GridRecord
    strata: tuple[Stratum, ...]
    points: tuple[SampledPoint, ...]

    def digest(self) -> str:
        """Return the digest that ``sample_id`` must be; file names do not count."""
        content = self.as_json()
        content = {key: value for key, value in content.items() if key not in {"path", "sample_id", "schema"}}
        content["map"] = {key: value for key, value in content["map"].items() if key != "path"}
        return short(hashlib.sha256(json.dumps(content, sort_keys=True).encode()))

    def signed(self) -> SampleRecord:
        """Return the record with its ``sample_id``."""
        return self.model_copy(update={"sample_id": self.digest()})

    def columns(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return row, column and stratum number of the points, int64 [n] each."""
        values = np.array([(p.row, p.col, p.stratum) for p in self.points], np.int64).reshape(-1, 3)
        return values[:, 0].copy(), values[:, 1].copy(), values[:, 2].copy()


@dataclass(frozen=True)
class Interpretation:
    """What one interpreter said of the points: class ids uint8 [n] (0 no label, 255 cannot tell), and how sure.

    ``confidence`` is uint8 [n], an index into ``CONFIDENCES``. ``comments`` are by index of the point.
    """

    interpreter: str
    path: Path
    reference: np.ndarray
    confidence: np.ndarray
    comments: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class LabeledSample:
    """A sample with the labels of one or several interpreters.

    ``row``, ``col`` and ``stratum`` (number) are int64 [n]. ``inclusion`` is float64 [n]. ``reference`` is uint8 [n]: the class
    id that most interpreters gave, of equally many that of the first of them; 0 no label, 255 cannot tell.
    """

    record: SampleRecord
    row: np.ndarray
    col: np.ndarray
    stratum: np.ndarray
    inclusion: np.ndarray
    reference: np.ndarray
    interpretations: tuple[Interpretation, ...] = ()
    files: tuple[Path, ...] = ()
    """The files that were read."""
    record_path: Path | None = None
    """Where the record was."""

    @classmethod
    def of(
        cls,
        record: SampleRecord,
        interpretations: Sequence[Interpretation],
        files: Sequence[Path] = (),
        record_path: Path | None = None,
    ) -> LabeledSample:
        """Return the sample of a record with what interpreters said of it."""
        row, col, stratum = record.columns()
        chances = {item.number: item.inclusion for item in record.strata}
        inclusion = np.array([chances[number] for number in stratum.tolist()], np.float64)
        reference = agreed_reference([item.reference for item in interpretations], len(row))
        labels = tuple(interpretations)
        return cls(record, row, col, stratum, inclusion, reference, labels, tuple(files), record_path)

    @property
    def legend(self) -> Legend:
        """The classes of the sampled map."""
        return self.record.legend.legend()

    @property
    def interpreters(self) -> tuple[str, ...]:
        """The interpreters' names."""
        return tuple(item.interpreter for item in self.interpretations)

    @property
    def labeled(self) -> np.ndarray:
        """Bool [n]: points with a class."""
        result: np.ndarray = (self.reference != UNLABELED) & (self.reference != CANNOT_TELL)
        return result


def agreed_reference(references: Sequence[np.ndarray], points: int) -> np.ndarray:
    """Return uint8 [n]: the class that most gave; of equally many that of the first in order who gave one of them.

    A class counts before ``cannot tell``, which counts before no label.
    """
    result = np.zeros(points, np.uint8)
    if not references:
        return result
    given = np.stack(references)
    votes = np.zeros((256, points), np.int16)
    for row in given:
        votes[row, np.arange(points)] += 1
    told = (votes[CANNOT_TELL] > 0).astype(np.uint8) * np.uint8(CANNOT_TELL)
    votes[[UNLABELED, CANNOT_TELL]] = 0
    most = votes.max(axis=0)
    for row in given[::-1]:
        chosen = (votes[row, np.arange(points)] == most) & (most > 0)
        result = np.where(chosen, row, result)
    agreed: np.ndarray = np.where(most > 0, result, told).astype(np.uint8)
    return agreed
