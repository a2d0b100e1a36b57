"""What held-out labels of the target decide of trained networks: adapting stages, the forest's weight, a temperature.

It is the source check on the target itself: a quarter of the labels is held out from the training of the networks, where
classes have enough. It costs one prediction of the windows that hold labels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from c2seg.artifacts import FOREST
from c2seg.data import SceneReader
from c2seg.data.target_labels import SceneLabels, TargetLabels
from c2seg.models.ensemble import tensor_prefix
from c2seg.pipeline.prepare import FitJob, Prepared
from c2seg.pipeline.source_check import CheckedRecipe, HeldOutPixels, adapting_stages, decide, part_predictors
from c2seg.predict import Predictor
from c2seg.predict.backends.ensemble import WeightedEnsemble
from c2seg.predict.plan import window_plan
from c2seg.recipes import Recipe
from c2seg.recipes.schema import SourceCheck
from c2seg.types import Window

__all__ = ["check_with_labels", "predicting_tensors", "split_labels"]

_EVERY = 4  # of the labels of a class, one is held out
_LEAST = 8  # labels of a class from which some are held out


def split_labels(labels: TargetLabels, seed: int) -> tuple[TargetLabels, TargetLabels | None]:
    """Return the labels that are trained on, and a quarter of those of each class that has at least eight.

    None: fewer than two classes have so many, and all are trained on.
    """
    units, first = np.unique(labels.units, return_index=True)
    ids = labels.ids[first]
    rng = np.random.default_rng((seed, 11))
    held: list[np.ndarray] = []
    for number in np.unique(ids).tolist():
        here = rng.permutation(units[ids == number])
        if len(here) >= _LEAST:
            held.append(here[: len(here) // _EVERY])
    if len(held) < 2:
        return labels, None
    apart = np.concatenate(held)
    return labels.among(np.setdiff1d(units, apart)), labels.among(apart)


def check_with_labels(job: FitJob, data: Prepared, tensors: dict[str, np.ndarray], held: TargetLabels) -> CheckedRecipe:
    """Return the job's recipe with the parts that are better on held-out labels, and the temperature fitted to them.

    ``tensors`` are of the networks of every stage.
    """
    recipe, settings = job.recipe, job.recipe.target_labels
    adapting = adapting_stages(recipe, data.modalities)
    trial = recipe.model_copy(
        update={
            "source_check": SourceCheck(margin=settings.margin),
            # few labels, drawn by class, say nothing of expected unions
            "prediction": recipe.prediction.model_copy(update={"decision": "argmax"}),
        }
    )
    pixels = _measured(job, data, tensors, adapting, held)
    checked = decide(trial, adapting, pixels, data.present, data.legend, "labels of the target", "held-out labels")
    restored = {"source_check": recipe.source_check, "prediction": recipe.prediction}
    temperature = checked.temperature if settings.calibrate else None
    return replace(checked, recipe=checked.recipe.model_copy(update=restored), temperature=temperature)


def predicting_tensors(recipe: Recipe, data: Prepared, tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the tensors of the networks that predict under a recipe, and of its forest."""
    prefixes = tuple(tensor_prefix(network.path) for network in recipe.ensemble_networks(data.modalities))
    prefixes += (FOREST,) if recipe.forest else ()
    return {name: value for name, value in tensors.items() if name.startswith(prefixes)}


def _measured(
    job: FitJob, data: Prepared, tensors: dict[str, np.ndarray], adapting: tuple[str, ...], held: TargetLabels
) -> HeldOutPixels:
    """Return the held-out labels with the probabilities of every part that may be left out."""
    assert data.target is not None
    predictors = part_predictors(job, data, tensors, adapting)
    references: list[np.ndarray] = []
    probabilities: dict[str, list[np.ndarray]] = {name: [] for name in predictors}
    for reader, labels in zip(data.target.readers(data.modalities), held.scenes, strict=True):
        for ids, values in _labeled_windows(job, reader, labels, list(predictors.values())):
            references.append(ids)
            for name, part in zip(predictors, values, strict=True):
                probabilities[name].append(part.astype(np.float16))
    whole = {name: np.concatenate(values, axis=1) for name, values in probabilities.items()}
    return HeldOutPixels(np.concatenate(references), **whole)


def _labeled_windows(
    job: FitJob, reader: SceneReader, labels: SceneLabels, predictors: Sequence[Predictor]
) -> Iterator[tuple[np.ndarray, list[np.ndarray]]]:
    """Yield ids uint8 [N] and probabilities [K, N] by predictor of the labels in each window of the map that holds some."""
    ensemble = WeightedEnsemble.even(predictors)
    plan = window_plan(reader.scene, job.recipe.prediction, ensemble)
    missing = np.ones(len(labels.rows), bool)
    for index in range(len(plan.rows)):
        for window in plan.windows(index):
            here = missing & _inside(window, labels)
            if not here.any():
                continue
            missing &= ~here
            rows, cols = labels.rows[here] - window.row, labels.cols[here] - window.col
            yield labels.ids[here], [_predicted(reader, one, window)[:, rows, cols] for one in predictors]


def _inside(window: Window, labels: SceneLabels) -> np.ndarray:
    in_rows = (labels.rows >= window.row) & (labels.rows < window.row_end)
    inside: np.ndarray = in_rows & (labels.cols >= window.col) & (labels.cols < window.col_end)
    return inside


def _predicted(reader: SceneReader, predictor: Predictor, window: Window) -> np.ndarray:
    """Return the probabilities float32 [K, H, W] of a window."""
    patch, valid = reader(window.expand(predictor.halo_px))
    scores = np.asarray(predictor.predict({name: values[None] for name, values in patch.items()}, valid[None]))[0]
    return np.asarray(scores / np.maximum(scores.sum(axis=0), 1e-12))
