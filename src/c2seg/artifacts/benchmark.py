"""Results of a benchmark: of one run (``result.json``), what a recipe costs on a machine, and the whole table."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from c2seg.artifacts.offline_table import OfflineAcross, OfflineRow
from c2seg.artifacts.runs import TargetImageUse
from c2seg.artifacts.scores import ClassName, ScoreRecord, ScoreValues
from c2seg.artifacts.upgrade import upgraded_result
from c2seg.artifacts.validation import ValidationRecord
from c2seg.metrics import Comparison
from c2seg.recipes import Recipe
from c2seg.records import Artifact, CheckedArtifact, Json, Record

__all__ = [
    "BenchmarkCosts",
    "BenchmarkKey",
    "BenchmarkResult",
    "BenchmarkRow",
    "BenchmarkTable",
    "FusionKey",
    "MeanStd",
    "PairedDifference",
    "PooledScores",
    "RankedRow",
    "RankedScores",
]


class FusionKey(Record):
    """What a fused map depends on: rows of the table whose maps are averaged, with their weights, and, by class, those that
    decide; and the recipes behind these rows."""

    mean: tuple[tuple[str, float], ...]
    rules: tuple[tuple[str, str], ...]
    threshold: float | None
    soft: bool
    recipes: dict[str, Recipe]


class BenchmarkKey(Record):
    """What a result depends on. ``cities`` are fingerprints of source and target."""

    recipe: Recipe | None
    """None: the map is fused from those of others."""
    fusion: FusionKey | None = None
    """How it is fused; None: it is of one recipe."""
    seed: int
    equal_seconds: float | None
    offline: bool
    device: str
    cities: tuple[str, ...]
    reference: str | None
    tile_px: int | None = None
    """Side of the challenge's tiles over which the map is scored, too."""

    @property
    def recipes(self) -> tuple[Recipe, ...]:
        """Every recipe that was trained for the result."""
        if self.recipe is not None:
            return (self.recipe,)
        return tuple(self.fusion.recipes.values()) if self.fusion else ()


class PooledScores(ScoreValues):
    """Scores of folds inside one city, pooled."""

    classes: tuple[ClassName, ...]


class BenchmarkResult(CheckedArtifact):
    """One run of a benchmark: what it cost and how good its map is."""

    sorted_keys = False  # a recipe's stages have an order
    artifact: Literal["benchmark_result"] = "benchmark_result"
    key: BenchmarkKey
    pair: str
    recipe: str
    inputs: str
    label: str
    seed: int
    iterations: int | None
    fit_seconds: float
    map_seconds: float | None
    peak_memory_mib: float | None
    parameters: int | None
    gflops_128: float | None
    uses_target_images: TargetImageUse
    commit: str | None
    validation: ValidationRecord | None
    scores: ScoreRecord | PooledScores | None
    """Of the map, of the pooled folds inside a city, or None where there is no ground truth."""
    offline: ValidationRecord | None
    """Of a random split of overlapping tiles, which leaks."""
    offline_across: OfflineAcross | None = None
    """Scores of the weights of that training across the cities; None: without it, or without ground truth."""
    shared_seconds: dict[str, float] = Field(default_factory=dict)
    """Seconds of trainings that other runs may have in common, by a digest. Those taken over count in ``fit_seconds``, too."""
    fused_from: dict[str, str] = Field(default_factory=dict)
    """Digests of the probabilities that a fused map was made of, by row of the table; empty: it is of one recipe."""

    @classmethod
    def upgraded(cls, content: Json) -> Json:
        """Return a result of 0.1.0 in the present layout."""
        return upgraded_result(content)


class BenchmarkCosts(CheckedArtifact):
    """What a recipe costs on a machine: processor seconds on a CPU, else seconds; and the seconds that pass."""

    artifact: Literal["benchmark_costs"] = "benchmark_costs"
    step: float
    """Of an iteration (of a tree, where the forest is all)."""
    step_seconds: float
    forest: float = 0.0
    """Of the forest beside networks."""
    forest_seconds: float = 0.0
    peak_memory_mib: float | None = None
    """Main memory of the process that trained; None: not recorded."""
    device_memory_mib: float | None = None
    """Reserved on a CUDA device; None: none was used, or not recorded."""
    parameters: int | None = None
    gflops_128: float | None = None


MeanStd = tuple[float | None, float | None]
"""Mean and standard deviation over seeds; None: not known."""


class BenchmarkRow(Record):
    """A recipe on a pair of cities, or on average over the pairs (``pair`` is then ``mean``)."""

    pair: str
    label: str
    seeds: int
    uses_target: str
    """``*``: trained on target images; ``+``: inputs are standardized by their statistics; ``~``: starts at random, though it
    is published with pretrained weights."""
    oa: MeanStd
    kappa: MeanStd
    mf1: MeanStd
    miou: MeanStd
    tiles_oa: MeanStd = (None, None)
    """Over the challenge's tiles, where pixels of overlaps count in each; None: of no city of the challenge."""
    tiles_mf1: MeanStd = (None, None)
    tiles_miou: MeanStd = (None, None)
    miou_common: MeanStd
    """Of the classes with at least 1000 ground truth pixels."""
    difference: MeanStd
    """mIoU minus that of the baseline with the same seed."""
    offline_miou: MeanStd
    """Of the last weights on a split that leaks, in the convention of the third place."""
    fit_seconds: float | None
    map_seconds: float | None
    peak_memory_mib: float | None
    parameters: int | None
    gflops_128: float | None
    iterations: int | None


class RankedScores(Record):
    """Scores of a row of Table I on a dataset, or on average over both: means and deviations over seeds, and as published."""

    oa: MeanStd
    """This and the next two as the challenge counts: over its tiles."""
    miou: MeanStd
    mf1: MeanStd
    mosaic_oa: MeanStd
    """This and the next two count every pixel once."""
    mosaic_miou: MeanStd
    mosaic_mf1: MeanStd
    published_oa: float | None = None
    published_miou: float | None = None
    published_mf1: float | None = None


class RankedRow(Record):
    """A row of Table I, ranked by mean IoU."""

    rank: int
    label: str
    method: str | None
    """Name of the published method; None: it is none of the table."""
    uses_target: str
    """As in ``BenchmarkRow``."""
    seeds: int
    datasets: dict[str, RankedScores]
    """By column: ``AB``, ``BW``, or the name of another pair."""
    average: RankedScores | None
    """None with one dataset."""
    behind_first: float | None = None
    """mIoU of the first row minus this one's, over the same pairs, seeds and blocks; None for the first row itself."""
    p_value: float | None = None
    """Of that difference, two-sided."""


class PairedDifference(Comparison):
    """The mIoU of the baseline minus that of ``other`` over the same pairs, seeds and blocks."""

    other: str
    by_pair: dict[str, float | None]


class BenchmarkTable(Artifact):
    """``benchmark.json``: the rows of the table, paired differences, all results, and what went wrong by run."""

    sorted_keys = False
    artifact: Literal["benchmark"] = "benchmark"
    rows: tuple[BenchmarkRow, ...]
    against: tuple[PairedDifference, ...]
    results: tuple[BenchmarkResult, ...]
    failed: dict[str, str]
    offline: tuple[OfflineRow, ...] = ()
    """Rows of Tables II and III; empty without the offline protocol."""
    ranking: tuple[RankedRow, ...] = ()
    """Rows of Table I; empty without it."""
