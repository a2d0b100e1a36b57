"""A runner that answers at once, and results of runs that never were."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import rasterio

from c2seg.artifacts import MapRecord, RunRecord, ValidationRecord, provenance, run_provenance
from c2seg.artifacts.benchmark import BenchmarkKey, BenchmarkResult, PooledScores
from c2seg.artifacts.offline import OfflineRecord, SplitRecord, TileScores
from c2seg.artifacts.offline_table import OfflineAcross
from c2seg.artifacts.runs import TargetImageUse
from c2seg.artifacts.scores import ClassName, ScoreRecord, ScoreValues
from c2seg.benchmark.tasks import FitTask, FuseTask, PredictTask, ScoreTask, Trained, fuse_city, score_city
from c2seg.errors import C2SegError
from c2seg.legend import c2seg13
from c2seg.metrics import Confusion
from c2seg.recipes import load_recipe


@dataclass
class FakeRunner:
    """Trains nothing: maps are the target's label with every ``wrong``-th row of the recipe replaced by another class.

    ``failing`` recipes raise what is said of them; ``costs`` go into the records.
    """

    wrong: dict[str, int] = field(default_factory=dict)
    failing: dict[str, str] = field(default_factory=dict)
    costs: dict[str, float] = field(default_factory=lambda: {"step_seconds": 0.25, "step_processor_seconds": 0.5})
    fitted: list[FitTask] = field(default_factory=list)
    predicted: list[PredictTask] = field(default_factory=list)
    fused: list[FuseTask] = field(default_factory=list)
    stopped: threading.Event = field(default_factory=threading.Event)

    def fit(self, task: FitTask) -> Trained:
        self.fitted.append(task)
        if why := self.failing.get(task.recipe.name):
            raise C2SegError(why)
        record = self.record(task)
        record.write(task.out / "record.json")
        settings = task.recipe.validation
        if settings.kind == "random_tiles":
            steps = (settings.score_every, task.recipe.training.iterations) if settings.score_every else (None,)
            return Trained(10.0, record, validation(0.71, offline(*zip(steps, (0.8, 0.7), strict=False), tiles=90)))
        return Trained(10.0, record, validation(0.71) if settings.folds else None)

    def record(self, task: FitTask) -> RunRecord:
        come_from = run_provenance(
            provenance(seed=task.seed, device=task.device, command=task.command), task.recipe, (), None
        )
        networks = (
            {} if task.recipe.model.name == "forest" else {**self.costs, "iterations": task.recipe.training.iterations}
        )
        return RunRecord(**dict(come_from), **networks, seconds=10.0, peak_memory_mib=100.0)

    def predict(self, task: PredictTask) -> float:
        recipe = task.model.parent.parent.name
        with rasterio.open(task.city / "label.tif") as label:
            profile, ids = label.profile, label.read()
        if every := self.wrong.get(recipe):
            ids[:, ::every] = np.where(ids[:, ::every] == 1, 3, 1)
        task.out.parent.mkdir(parents=True, exist_ok=True)
        with rasterio.open(task.out, "w", **profile) as file:
            file.write(ids)
        record = MapRecord(
            path=task.out.name, pixels=ids.size, nodata_pixels=0, area_km2={"Surface water": 1.0}, seconds=1.0
        )
        record.write(task.out.with_suffix(".json"))
        if task.probabilities is not None:
            write_certain(task.probabilities, ids[0], profile)
        self.predicted.append(task)
        return 1.0

    def fuse(self, task: FuseTask) -> float:
        self.fused.append(task)
        return fuse_city(task)

    def score(self, task: ScoreTask) -> ScoreRecord:
        return score_city(task)

    def stop(self) -> None:
        self.stopped.set()


def write_certain(path: Path, ids: np.ndarray, profile: dict[str, object]) -> None:
    """Write the probabilities of a map [H, W] that is sure of its classes, as predict does."""
    classes = c2seg13()
    layers = np.where(ids == np.array(classes.ids, np.uint8)[:, None, None], np.uint8(200), np.uint8(0))
    layers[:, (ids == 0) | (ids == 255)] = 255
    with rasterio.open(path, "w", **{**profile, "count": len(layers), "nodata": 255}) as file:
        file.write(layers)
        for band, name in enumerate(classes.names, 1):
            file.set_band_description(band, name)


def values(miou: float | None, iou=(0.5, 0.1), support=(5000, 10)) -> ScoreValues:
    """Scores of two classes."""
    return ScoreValues(
        protocol="challenge", ids=(1, 3), pixels=sum(support), oa=0.5, kappa=0.4, mf1=0.3, miou=miou,
        quantity_disagreement=None, allocation_disagreement=None, iou=iou, f1=iou, precision=iou, recall=iou, support=support,
    )  # fmt: skip


def validation(miou: float, record: OfflineRecord | None = None) -> ValidationRecord:
    """Folds that never were."""
    return ValidationRecord(kind="folds", scores=values(miou), confusion=Confusion.empty((1, 3)), offline=record)


def offline(*scored: tuple[int | None, float], tiles: int = 273, background: bool = True) -> OfflineRecord:
    """The offline scores of a training that never was: steps with their mIoU."""
    empty = Confusion.empty((0, 1, 3))
    checkpoints = tuple(TileScores(step=step, scores=values(miou), confusion=empty) for step, miou in scored)
    split = SplitRecord(
        released=tiles in {273, 7140}, tile_px=128, step_px=64, training_tiles=tiles * 9 // 10,
        validation_tiles=tiles - tiles * 9 // 10, leaking_tiles=28, validation_px=1000, leaked_px=1000,
    )  # fmt: skip
    return OfflineRecord(splits=(split,), background=background, checkpoints=checkpoints)


def result(
    pair: str, label: str, seed: int, miou: float | None, *, iou=(0.5, 0.1), names=("water", "street"),
    record: OfflineRecord | None = None, across: OfflineAcross | None = None,
) -> BenchmarkResult:  # fmt: skip
    """The result of a run."""
    classes = tuple(ClassName(id=number, name=name) for number, name in zip((1, 3), names, strict=True))
    return BenchmarkResult(
        key=key(seed), pair=pair, recipe=label, inputs="default", label=label, seed=seed, iterations=5, fit_seconds=10.0,
        map_seconds=1.0, peak_memory_mib=100.0, parameters=1000, gflops_128=1.0,
        uses_target_images=TargetImageUse(normalization=True, training=False), commit=None, validation=None,
        scores=PooledScores(**dict(values(miou, iou)), classes=classes),
        offline=None if record is None else validation(0.1, record), offline_across=across,
    )  # fmt: skip


def key(seed: int) -> BenchmarkKey:
    """What a result depends on."""
    return BenchmarkKey(
        recipe=load_recipe("forest"), seed=seed, equal_seconds=None, offline=False, device="cpu", cities=("a", "b"),
        reference=None,
    )  # fmt: skip
