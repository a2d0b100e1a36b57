"""Shares of the classes in what a model is trained on: those of the sampler, not those of the sources."""

from __future__ import annotations

import numpy as np

from c2seg.data import LabeledCity, PreparedCity
from c2seg.data.city import blocks
from c2seg.pipeline.prepare import Prepared
from c2seg.recipes import Recipe
from c2seg.recipes.models import ForestModel
from c2seg.recipes.training import Augmentation, Sampling
from c2seg.sampling import BandUnits, PatchSampler, TrainingScene
from c2seg.types import Window

__all__ = ["training_shares"]

_PATCHES = 1024
_BLOCK_PX = 1024
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
        shares += drawn[key] / max(float(drawn[key].sum()), 1.0)
    weight = recipe.forest.weight if recipe.forest else 0.0
    if not shares.any():
        return _rounded(even)
    return _rounded((1 - weight) * shares / shares.sum() + weight * even)


def _of_patches(sampling: Sampling, zoom: Zoom, data: Prepared, inputs: tuple[str, ...], seed: int) -> np.ndarray:
    """Return the labeled pixels float64 [K] of about 1024 patches that a sampler draws from all sources."""
    augment = Augmentation(flips=False, rotations=False, zoom=zoom)
    scenes = [scene for source in data.sources for scene in _labels_alone(source, inputs)]
    sampler = PatchSampler(scenes, sampling, augment, seed, data.legend.num_classes)
    counts = np.zeros(sampler.num_classes)
    steps = -(-_PATCHES // sampling.batch_size)
    for draw in (draw for step in range(steps) for draw in sampler.draw(step)):
        targets = scenes[draw.scene].targets
        assert targets is not None
        labels = targets[draw.window.intersect(Window(0, 0, *targets.shape)).slices]
        counts += np.bincount(labels[labels < len(counts)], minlength=len(counts))
    return counts


def _labels_alone(source: PreparedCity[LabeledCity], inputs: tuple[str, ...]) -> list[TrainingScene]:
    """Return scenes to draw patches from, without a look at the images: all of their pixels count as valid."""
    units = BandUnits.of(source.normalizer, source.statistics)
    table = source.images.legend.index_table()
    scenes = []
    for index, reader in enumerate(source.readers(inputs)):
        grid = reader.scene.grid
        targets = np.empty((grid.height, grid.width), np.uint8)
        for window in blocks(grid.window, _BLOCK_PX):
            targets[window.slices] = table[source.city.read_label(index, window)]
        scenes.append(TrainingScene(reader, units, np.ones(targets.shape, bool), targets))
    return scenes


def _rounded(shares: np.ndarray) -> tuple[float, ...]:
    return tuple(float(f"{value:.4g}") for value in shares / shares.sum())
