"""Fit a forest: folds first, then all pixels."""

from __future__ import annotations

import numpy as np

from c2seg.artifacts import TrainingFacts
from c2seg.forest.few_labels import LabeledTarget
from c2seg.forest.fit import TrainedForest, train_forest
from c2seg.metrics.reliability import Reliability
from c2seg.pipeline.fitted import Fitted
from c2seg.pipeline.held_out import count_held_out
from c2seg.pipeline.offline import held_tiles, offline_fit
from c2seg.pipeline.prepare import FitJob
from c2seg.pipeline.tile_scores import TileTest
from c2seg.recipes.models import ForestModel

__all__ = ["fit_forest_model", "forest_tensors"]

_LONG_S = 5.0


def fit_forest_model(job: FitJob, model: ForestModel) -> Fitted:
    """Return the forest (no tensors without a final one) and the scores on the folds (None without validation)."""
    settings, prepared, reliability = job.recipe.validation, job.prepared, Reliability()
    if settings.kind == "random_tiles":
        return _fit_offline(job, model)
    trained = train_forest(
        prepared.sources if settings.final else (),
        prepared.with_folds(settings).sources if settings.count else (),
        prepared.modalities,
        model,
        job.seed,
        job.bars,
        _labeled(job),
        reliability,
    )
    return Fitted(
        trained.tensors,
        TrainingFacts(),
        trained.validation,
        reliability=reliability,
        notes=_notes(trained) if settings.final and settings.count else (),
    )


def _notes(trained: TrainedForest) -> tuple[str, ...]:
    """Say what the folds took, where that is long."""
    seconds = trained.validation_seconds
    return () if seconds < _LONG_S else (f"validation took {seconds:.0f} s; `validation=False` omits it",)


def _fit_offline(job: FitJob, model: ForestModel) -> Fitted:
    """Train on the training tiles of a random split and score on the others; then on everything, if the recipe asks for it."""
    on_disk, held = held_tiles(job, job.prepared)
    tensors, test, reliability = forest_tensors(on_disk, model), TileTest(job, held), Reliability()
    pooled = count_held_out(held, job.recipe.prediction, test.predictor(tensors), reliability, job.bars("scored"))
    offline = offline_fit(test, tensors)
    if job.recipe.validation.final:
        tensors = forest_tensors(job, model)
    return Fitted(tensors, TrainingFacts(), pooled, reliability=reliability, offline=offline)


def forest_tensors(job: FitJob, model: ForestModel) -> dict[str, np.ndarray]:
    """Return the tensors of a forest trained on the job's sources, without the labels that they hold out, and on the target's
    labels if there are any."""
    prepared = job.prepared
    return train_forest(prepared.sources, (), prepared.modalities, model, job.seed, job.bars, _labeled(job)).tensors


def _labeled(job: FitJob) -> LabeledTarget | None:
    """Return the target with its labels; None where no label of it is trained on."""
    prepared = job.prepared
    if prepared.target is None or prepared.target_labels is None:
        return None
    return LabeledTarget(prepared.target, prepared.target_labels, prepared.legend, job.recipe.target_labels.weight)
