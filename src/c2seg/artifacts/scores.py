"""Scores of a map: what ``c2seg score --out`` writes and the report reads."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any, Literal

from pydantic import PlainSerializer, PlainValidator

from c2seg.artifacts.upgrade import upgraded_scores
from c2seg.errors import C2SegError
from c2seg.legend import Legend
from c2seg.metrics import Comparison, Confusion, Interval, Scores
from c2seg.records import Artifact, Json, Record

__all__ = [
    "BoundaryPixels",
    "BoundaryScores",
    "ClassName",
    "ConfusionCounts",
    "ScoreComparison",
    "ScoreIntervals",
    "ScoreRecord",
    "ScoreValues",
    "ScoresByTiles",
    "class_names",
]


def _confusion(value: Any) -> Confusion:
    if isinstance(value, Confusion):
        return value
    try:
        return Confusion.from_dict(value)
    except C2SegError as error:
        raise ValueError(str(error)) from error


ConfusionCounts = Annotated[Confusion, PlainValidator(_confusion), PlainSerializer(Confusion.as_dict)]
"""Confusion counts; on disk ``{"ids": [...], "counts": [[...]]}``."""


class ClassName(Record):
    """A class of the legend: its id on maps and its name."""

    id: int
    name: str


def class_names(legend: Legend) -> tuple[ClassName, ...]:
    """Return ids and names of a legend's classes in its order."""
    return tuple(ClassName(id=c.id, name=c.name) for c in legend.classes)


class ScoreValues(Record):
    """Every score of one map, as ``metrics.Scores`` defines them: fractions 0..1, None where undefined.

    ``iou``, ``f1``, ``precision``, ``recall`` and ``support`` (pixels of the ground truth) follow ``ids``.
    """

    protocol: str
    ids: tuple[int, ...]
    pixels: int
    oa: float | None
    kappa: float | None
    mf1: float | None
    miou: float | None
    quantity_disagreement: float | None
    allocation_disagreement: float | None
    iou: tuple[float | None, ...]
    f1: tuple[float | None, ...]
    precision: tuple[float | None, ...]
    recall: tuple[float | None, ...]
    support: tuple[int, ...]

    @classmethod
    def of(cls, result: Scores) -> ScoreValues:
        """Return the scores as a record."""
        return ScoreValues.model_validate(asdict(result))


class BootstrapSettings(Record):
    """How blocks were drawn: number of replicates, seed, side of a block in pixels of the ground truth, level of intervals."""

    replicates: int
    seed: int
    block_px: int
    level: float = 0.95


class ScoreIntervals(BootstrapSettings):
    """Intervals of the scores by block bootstrap; ``iou`` follows the classes."""

    oa: Interval
    kappa: Interval
    mf1: Interval
    miou: Interval
    iou: tuple[Interval, ...]


class ScoreComparison(BootstrapSettings):
    """A map minus another one over the same ground truth; ``against`` is the other's file name."""

    against: str
    against_scores: ScoreValues
    oa: Comparison
    kappa: Comparison
    mf1: Comparison
    miou: Comparison


class BoundaryPixels(Record):
    """Boundary pixels by class: all and matched ones, of the ground truth and of the prediction."""

    reference: tuple[int, ...]
    reference_matched: tuple[int, ...]
    prediction: tuple[int, ...]
    prediction_matched: tuple[int, ...]


class BoundaryScores(Record):
    """Boundary F1 within a tolerance in pixels: the mean over classes with a boundary, by class, and the counts."""

    tolerance_px: int
    mean_f1: float | None
    f1: tuple[float | None, ...]
    counts: BoundaryPixels


class ScoresByTiles(ScoreValues):
    """Scores over touching tiles, as the challenge counts them: where tiles overlap, a pixel counts in each."""

    tile_px: int
    tiles: int
    """Number of tiles."""


class ScoreRecord(ScoreValues, Artifact):
    """Scores of a map, or of a folder of tiles, against a ground truth. Names are those of files, not paths."""

    artifact: Literal["scores"] = "scores"
    confusion: ConfusionCounts
    classes: tuple[ClassName, ...]
    legend: str
    prediction: str
    reference: str | None = None
    """File name of the ground truth; None: not recorded (0.1.0)."""
    maps: int
    """Number of files that were counted."""
    matched_by: Literal["georeference", "rows and columns"]
    intervals: ScoreIntervals | None = None
    comparison: ScoreComparison | None = None
    boundary: BoundaryScores | None = None
    by_tiles: ScoresByTiles | None = None
    """Of the same map over the challenge's tiles; all other scores count every pixel once. None: not asked for."""
    uncovered: float | None = None
    """Share of the labeled pixels where the map has no class; they count as errors. None: not recorded."""
    notes: tuple[str, ...] = ()
    """What limits the meaning of the scores."""
    few_shot: bool = False
    """True if the map's model was trained on labels of the city that it shows: not compared with scores of others."""
    left_out_pixels: int = 0
    """Labeled pixels that were trained on, or are near such, and do not count."""

    @classmethod
    def upgraded(cls, content: Json) -> Json:
        """Return scores of 0.1.0 in the present layout."""
        return upgraded_scores(content)

    def by_class(self, values: tuple[float | None, ...]) -> dict[str, float | None]:
        """Return values that follow ``ids``, such as ``iou``, by the name of the class."""
        names = {item.id: item.name for item in self.classes} | {0: "Background"}
        return {names[number]: value for number, value in zip(self.ids, values, strict=True)}
