"""Fit networks: source check, validation on guarded folds, training on everything, each where it is asked for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from c2seg.artifacts import TrainingFacts
from c2seg.data.target_labels import TargetLabels
from c2seg.metrics import Confusion
from c2seg.metrics.reliability import Reliability
from c2seg.pipeline.costs import summed
from c2seg.pipeline.fitted import Fitted
from c2seg.pipeline.held_out import count_held_out
from c2seg.pipeline.label_check import check_with_labels, predicting_tensors, split_labels
from c2seg.pipeline.offline import OfflineFit, TileWatch, held_tiles, offline_fit
from c2seg.pipeline.prepare import FitJob, Prepared
from c2seg.pipeline.source_check import CheckedRecipe, run_source_check
from c2seg.pipeline.stages import TrainedStages, train_stages
from c2seg.pipeline.tile_scores import TileTest
from c2seg.predict import Predictor
from c2seg.predict.backends import BackendOptions
from c2seg.predict.backends.ensemble import with_forest
from c2seg.predict.backends.torch import network_predictor
from c2seg.recipes.schema import Validation

__all__ = ["fit_networks"]


def fit_networks(job: FitJob) -> Fitted:
    """Train the networks of a recipe on the job's cities."""
    job, held_labels = _without_held_labels(job)
    with_target = job.recipe.uses_target or job.prepared.target_labels is not None
    data = job.prepared.close_at_hand(job.storage, job.bars, with_target=with_target)
    checked = None
    if job.recipe.checks:
        checked = run_source_check(job, data, train_without_fold)
        job = replace(job, recipe=checked.recipe)
    validation = Confusion.empty(data.legend.ids) if job.recipe.validation.count else None
    reliability = Reliability()
    trained = TrainedStages({}, TrainingFacts(iterations=job.recipe.training.iterations))
    offline = None
    for fold in range(job.recipe.validation.count):
        folder = job.out / "folds" / str(fold)
        if job.recipe.validation.kind == "random_tiles":
            held, trained, offline = _train_offline(job, data, folder)
        else:
            held, trained = train_without_fold(job, data, job.recipe.validation, folder, fold)
        assert validation is not None
        bar = job.bars(f"fold {fold + 1} scored")
        validation += count_held_out(held, job.recipe.prediction, _predictor(job, held, trained), reliability, bar)
    tensors, labeled = (trained.tensors if offline else {}), None
    if job.recipe.validation.final:
        trained, labeled = _final(job, data, held_labels)
        tensors = trained.tensors
    facts = summed(trained.facts, checked.facts if checked else None)
    return Fitted(tensors, facts, validation, checked, reliability, trained.curves, labeled, offline)


def _without_held_labels(job: FitJob) -> tuple[FitJob, TargetLabels | None]:
    """Return the job without the labels of the target that decide on trained networks, and these; None: there are too few."""
    labels, settings = job.prepared.target_labels, job.recipe.target_labels
    if labels is None or not settings.weight or not (settings.choose or settings.calibrate):
        return job, None
    trained_on, held = split_labels(labels, job.seed)
    return replace(job, prepared=replace(job.prepared, target_labels=trained_on)), held


def _final(job: FitJob, data: Prepared, held: TargetLabels | None) -> tuple[TrainedStages, CheckedRecipe | None]:
    """Train on everything; held-out labels of the target decide which of the networks predict."""
    if held is None:
        return train_stages(job, data, job.out), None
    whole = (
        replace(job, recipe=job.recipe.with_stages(keep_in_ensemble=True)) if job.recipe.target_labels.choose else job
    )
    trained = train_stages(whole, data, job.out)
    labeled = check_with_labels(job, data, trained.tensors, held)
    if not job.recipe.target_labels.choose:
        labeled = replace(labeled, recipe=job.recipe)
    return replace(trained, tensors=predicting_tensors(labeled.recipe, data, trained.tensors)), labeled


def _train_offline(job: FitJob, data: Prepared, folder: Path) -> tuple[Prepared, TrainedStages, OfflineFit]:
    """Train on the tiles of training; return the data that hold out the others, what was trained, and its offline scores."""
    on_disk, held = held_tiles(job, data)
    test = TileTest(job, held)
    watch = TileWatch(test)
    trained = train_stages(on_disk, held, folder, watch)
    return held, trained, offline_fit(test, trained.tensors, watch)


def train_without_fold(
    job: FitJob, data: Prepared, folds: Validation, folder: Path, fold: int
) -> tuple[Prepared, TrainedStages]:
    """Train on the sources without one of their folds; return the data that hold it out, and what was trained."""
    held = data.with_folds(folds).holding_out(fold)
    on_disk = job.prepared.with_folds(folds).holding_out(fold)
    return held, train_stages(replace(job, prepared=on_disk), held, folder)


def _predictor(job: FitJob, held: Prepared, trained: TrainedStages) -> Predictor:
    """Return the predictor of the networks, with the forest beside them."""
    settings = job.recipe.prediction
    options = BackendOptions(job.device, tta=settings.tta, tta_transforms=settings.tta_transforms)
    networks = network_predictor(job.recipe, held.channels, held.legend.num_classes, trained.tensors, options)
    return with_forest(networks, job.recipe, held.channels, trained.tensors)
