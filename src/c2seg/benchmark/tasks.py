"""The tasks of one run, and the functions that do them: each is called in its own process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from c2seg.artifacts.runs import RunRecord
from c2seg.artifacts.scores import ScoreRecord
from c2seg.artifacts.validation import ValidationRecord
from c2seg.benchmark.fused import Fusion
from c2seg.benchmark.plan import Run
from c2seg.recipes import Recipe

__all__ = [
    "FitTask",
    "FuseTask",
    "PredictTask",
    "ScoreTask",
    "Trained",
    "fit_city",
    "fit_task",
    "fuse_city",
    "fuse_task",
    "predict_city",
    "predict_task",
    "score_city",
    "score_task",
]


@dataclass(frozen=True)
class FitTask:
    """Train a recipe on ``source`` for ``target`` into the run folder ``out``; a training that was stopped there is resumed.

    ``command`` repeats it by hand; it goes into the run's record. ``trainings`` is the folder of finished trainings that runs
    have in common.
    """

    recipe: Recipe
    source: Path
    target: Path
    out: Path
    seed: int
    device: str
    command: tuple[str, ...] = ()
    trainings: Path | None = None
    further: tuple[Path, ...] = ()
    """More sources."""


@dataclass(frozen=True)
class PredictTask:
    """Predict ``city`` with a model file into ``out``, and the probabilities of all classes where they are asked for."""

    model: Path
    city: Path
    out: Path
    device: str
    probabilities: Path | None = None


@dataclass(frozen=True)
class FuseTask:
    """Make a map of maps into ``out``: a weighted mean of probabilities, then rules, each a class and the map that decides it.

    The classes are those of the city ``source``. Folders hold a map for every scene.
    """

    source: Path
    out: Path
    mean: tuple[tuple[Path, float], ...]
    rules: tuple[tuple[str, Path], ...]
    threshold: float | None
    soft: bool


@dataclass(frozen=True)
class ScoreTask:
    """Score a map against a ground truth, by rows and columns where there is no georeference, into the JSON file ``out``.

    With ``tile_px`` also over touching tiles of that side, as the challenge counts.
    """

    prediction: Path
    reference: Path
    out: Path
    tile_px: int | None = None


@dataclass(frozen=True)
class Trained:
    """The result of a training: seconds of the whole fit, its record, and its validation (None without folds)."""

    seconds: float
    record: RunRecord
    validation: ValidationRecord | None = None


def fit_task(run: Run, device: str, folder: Path, overrides: Sequence[str] = ()) -> FitTask:
    """Return the training of a run, or a variation of it. No folds where a ground truth of the target gives the scores."""
    if run.pair.reference is not None and not any("validation" in text for text in overrides):
        overrides = (*overrides, "validation.folds=0")
    sets = [part for text in (*run.overrides, *overrides) for part in ("--set", text)]
    sources = [part for path in (run.pair.source, *run.pair.further) for part in ("--source", str(path))]
    command = (
        "c2seg", "fit", run.recipe, *sources, "--target", str(run.pair.target), "--out", str(folder),
        "--preset", run.preset, "--seed", str(run.seed), "--device", device, "--resume", *sets,
    )  # fmt: skip
    pair, recipe = run.pair, run.settings(*overrides)
    return FitTask(recipe, pair.source, pair.target, folder, run.seed, device, command, further=pair.further)


def predict_task(run: Run, device: str) -> PredictTask:
    """Return the prediction of a run's target."""
    probabilities = run.probabilities_map if run.probabilities else None
    return PredictTask(run.folder / "model.safetensors", run.pair.target, run.map, device, probabilities)


def fuse_task(run: Run, fusion: Fusion) -> FuseTask:
    """Return how the map of a run is made of those of others."""
    return FuseTask(
        source=run.pair.source,
        out=run.map,
        mean=tuple((part.probabilities_map, weight) for part, weight in fusion.mean),
        rules=tuple((name, expert.probabilities_map) for name, expert in fusion.rules),
        threshold=fusion.threshold,
        soft=fusion.soft,
    )


def score_task(run: Run, reference: Path) -> ScoreTask:
    """Return the scoring of a run's map."""
    return ScoreTask(run.map, reference, run.folder / f"scores-{run.map.stem}.json", run.pair.tile_px)


def fit_city(task: FitTask) -> Trained:
    """Train as ``c2seg fit --resume`` does."""
    from c2seg.pipeline.fit import fit
    from c2seg.pipeline.prepare import Storage

    result = fit(
        task.recipe,
        [task.source, *task.further],
        task.out,
        target=task.target,
        seed=task.seed,
        device=task.device,
        resume=True,
        storage=Storage(trainings=task.trainings),
        command=task.command,
    )
    return Trained(result.seconds, RunRecord.read(task.out / "record.json"), result.validation)


def predict_city(task: PredictTask) -> float:
    """Predict as ``c2seg predict --overwrite`` does; return the seconds over all scenes."""
    from c2seg.predict import MapOptions
    from c2seg.predict.city import predict

    command: tuple[str, ...] = (
        "c2seg", "predict", str(task.model), str(task.city), "--out", str(task.out), "--overwrite", "--device", task.device
    )  # fmt: skip
    command += () if task.probabilities is None else ("--probabilities", str(task.probabilities))
    options = MapOptions(task.out, probabilities=task.probabilities, overwrite=True)
    results = predict(task.model, task.city, options, device=task.device, command=command)
    return sum(result.seconds for result in results)


def fuse_city(task: FuseTask) -> float:
    """Fuse as ``c2seg fuse --overwrite`` does, scene by scene; return the seconds."""
    from c2seg.benchmark.fusing import fuse_maps

    return fuse_maps(task)


def score_city(task: ScoreTask) -> ScoreRecord:
    """Score as ``c2seg score --overwrite`` does."""
    from c2seg.pipeline.scoring import score_maps

    record = score_maps(task.prediction, task.reference, tile_px=task.tile_px)
    record.write(task.out)
    return record
