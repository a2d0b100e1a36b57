"""Fit a network: train on the sources (and the target's images), validate on guarded folds if the recipe asks."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from c2seg.api.prepare import FitJob, Prepared, scene_folds
from c2seg.backends import BackendOptions
from c2seg.backends.torch import TorchPredictor, network_predictor
from c2seg.data import SceneReader, cached, cached_labels
from c2seg.data.memory import city_bytes
from c2seg.inference import WindowPlan, map_rows
from c2seg.metrics import Confusion, confusion_counts
from c2seg.sampling import BandUnits, TrainingScene, training_scenes
from c2seg.train import TrainingJob, train
from c2seg.types import Window

__all__ = ["fit_network"]


def fit_network(job: FitJob) -> tuple[dict[str, np.ndarray], Confusion | None, dict[str, Any]]:
    """Return the weights, the pooled confusion over the folds (None without validation), and facts for the record."""
    prepared = _close_at_hand(job)
    folds = job.recipe.validation.count
    pooled = None
    if folds:
        pooled = Confusion.empty(prepared.sources[0].images.legend.ids)
        for fold in range(folds):
            weights, _ = _train(job, prepared, job.out / "folds" / str(fold), fold)
            pooled += _test(job, prepared, weights, fold)
    weights, notes = _train(job, prepared, job.out, None)
    return weights, pooled, {"iterations": job.recipe.training.iterations, **notes}


def _train(
    job: FitJob, prepared: Prepared, folder: Path, held_out: int | None
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Train one network, without the pixels of and near fold ``held_out``; return its weights and facts for the record."""
    folder.mkdir(parents=True, exist_ok=True)
    names = tuple(prepared.inputs)
    legend = prepared.sources[0].images.legend
    source: list[TrainingScene] = []
    for city, normaliser, statistics in zip(
        prepared.sources, prepared.normalisers, prepared.source_statistics, strict=True
    ):
        units = BandUnits.of(normaliser, statistics)
        held = scene_folds(job.recipe, city) if held_out is not None else ()
        source += training_scenes(city.images, names, normaliser, units, city, held, held_out)
    target: list[TrainingScene] = []
    uses_target = job.recipe.training.method.uses_target
    if uses_target and prepared.target and prepared.target_normaliser and prepared.target_statistics:
        units = BandUnits.of(prepared.target_normaliser, prepared.target_statistics)
        target = training_scenes(prepared.target, names, prepared.target_normaliser, units)
    label = "training" if held_out is None else f"fold {held_out + 1}"
    training = TrainingJob(
        recipe=job.recipe,
        bands={name: len(bands) for name, bands in prepared.inputs.items()},
        num_classes=legend.num_classes,
        source=source,
        target=target,
        seed=job.seed,
        folder=folder,
        data=_data_fingerprint(job.prepared, held_out),
        device=job.device,
        inputs=prepared.inputs,
    )
    weights = train(training, resume=job.resume, progress=job.bars(label))
    return weights, training.notes


def _test(job: FitJob, prepared: Prepared, weights: dict[str, np.ndarray], fold: int) -> Confusion:
    """Return the confusion over the pixels of one fold."""
    names = tuple(prepared.inputs)
    legend = prepared.sources[0].images.legend
    settings = job.recipe.prediction
    bands = {name: len(found) for name, found in prepared.inputs.items()}
    predictor: TorchPredictor = network_predictor(
        job.recipe.model, bands, legend.num_classes, weights, BackendOptions(job.device, tta=settings.tta)
    )
    total = Confusion.empty(legend.ids)
    for city, normaliser in zip(prepared.sources, prepared.normalisers, strict=True):
        for index, (scene, held) in enumerate(zip(city.images.scenes, scene_folds(job.recipe, city), strict=True)):
            plan = WindowPlan(
                scene.grid.height, scene.grid.width, settings.window_px, settings.overlap, predictor.stride_px
            )
            reader = SceneReader(scene, names, normaliser)
            for strip in map_rows(reader, predictor, plan, batch_size=settings.batch_size):
                window = Window(strip.first, 0, strip.last - strip.first, scene.grid.width)
                truth = city.read_label(index, window)
                truth[(held.fold(window) != fold) | ~strip.valid] = 0
                total += confusion_counts(truth, legend.id_table()[strip.scores.argmax(axis=0)], legend.ids)
    return total


def _close_at_hand(job: FitJob) -> Prepared:
    """Return the cities in memory as far as the budget goes, else from the cache folder, else from their files.

    Training reads the same pixels many times; a memory map is a hundred times faster than compressed files.
    """
    prepared, room = job.prepared, job.storage.memory_bytes
    sources = []
    for city in prepared.sources:
        sources.append(cached_labels(city, job.storage.cache, room, job.bars("cache")))
        room -= size if (size := city_bytes(city.images)) <= room else 0
    target = prepared.target
    if target is not None and job.recipe.training.method.uses_target:
        target = cached(target, job.storage.cache, room, job.bars("cache"))
    return replace(prepared, sources=tuple(sources), target=target)


def _data_fingerprint(prepared: Prepared, held_out: int | None) -> str:
    parts = [(c.images.fingerprint(), c.label_fingerprint()) for c in prepared.sources]
    target = prepared.target.fingerprint() if prepared.target else None
    return hashlib.sha256(json.dumps([parts, target, held_out]).encode()).hexdigest()[:16]
