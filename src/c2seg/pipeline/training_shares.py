"""Shares of the classes in what a model is trained on: those of the sampler, not those of the sources."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from c2seg.pipeline.prepare import Prepared
from c2seg.recipes import Recipe
from c2seg.recipes.models import ForestModel
from c2seg.recipes.training import Augmentation, Sampling
from c2seg.sampling import PatchSampler, TrainingScene, training_scenes
from c2seg.types import Window

__all__ = ["training_shares"]

_PATCHES = 1024
Zoom = tuple[float, float] | None


def training_shares(recipe: Recipe, data: Prepared, seed: int) -> tuple[float, ...]:
    """Return the share of each class of the legend in the labeled pixels that a recipe is trained on, sum 1.

    A forest weights the trained classes equally. Networks see the pixels of their patches: 1024 draws of the sampler are
    counted for each network that predicts. Pasted rectangles and pseudo-labels have about the same shares, and are not
    counted. Together they have the mean, by the weight of their probabilities.
    """
    even = np.array(data.present, np.float64) / sum(data.present)
    if isinstance(recipe.model, ForestModel):
        return _rounded(even)
    drawn: dict[str, np.ndarray] = {}
    shares = np.zeros(len(even))
    for network in recipe.ensemble_networks(data.modalities):
        sampling, zoom = network.training.sampling, network.training.augment.zoom
        key = f"{sampling} {zoom} {network.inputs}"
        if key not in drawn:  # networks of a recipe mostly draw alike
            drawn[key] = _of_patches(sampling, zoom, data, network.inputs, seed)
        shares += drawn[key] / drawn[key].sum()
    weight = recipe.forest.weight if recipe.forest else 0.0
    return _rounded((1 - weight) * shares / max(shares.sum(), 1e-12) + weight * even)


def _of_patches(sampling: Sampling, zoom: Zoom, data: Prepared, inputs: tuple[str, ...], seed: int) -> np.ndarray:
    """Return the shares float64 [K] of classes in patches that a sampler draws, sources by the areas of their valid pixels."""
    augment = Augmentation(flips=False, rotations=False, zoom=zoom)
    classes = data.legend.num_classes
    counts = np.zeros(classes)
    for source in data.sources:
        scenes = training_scenes(source, inputs)
        drawn = _counts(PatchSampler(scenes, sampling, augment, seed, classes), scenes)
        area = sum(int(scene.valid.sum()) for scene in scenes)
        counts += drawn * (area / max(float(drawn.sum()), 1.0))
    return counts


def _counts(sampler: PatchSampler, scenes: Sequence[TrainingScene]) -> np.ndarray:
    """Return the labeled pixels float64 [K] of about 1024 patches."""
    counts = np.zeros(sampler.num_classes)
    steps = -(-_PATCHES // sampler.settings.batch_size)
    for draw in (draw for step in range(steps) for draw in sampler.draw(step)):
        targets = scenes[draw.scene].targets
        assert targets is not None
        labels = targets[draw.window.intersect(Window(0, 0, *targets.shape)).slices]
        counts += np.bincount(labels[labels < len(counts)], minlength=len(counts))
    return counts


def _rounded(shares: np.ndarray) -> tuple[float, ...]:
    return tuple(float(f"{value:.4g}") for value in shares / shares.sum())
