"""Scenes of the target with its few labels: patches to train on whose other pixels have no label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from c2seg.data import City, PreparedCity
from c2seg.data.target_labels import TargetLabels
from c2seg.legend import Legend
from c2seg.sampling.patches import UNLABELED, TrainingScene, training_scenes

__all__ = ["sparse_scenes", "with_few_labels"]


def sparse_scenes(
    target: PreparedCity[City], inputs: Sequence[str], labels: TargetLabels, legend: Legend
) -> list[TrainingScene]:
    """Return the target's scenes with targets, 255 but at valid, labeled pixels."""
    scenes = training_scenes(target, inputs)
    blank = tuple(np.full(scene.valid.shape, UNLABELED, np.uint8) for scene in scenes)
    filled = with_few_labels(blank, labels, legend)
    for scene, targets in zip(scenes, filled, strict=True):
        targets[~scene.valid] = UNLABELED
    return [replace(scene, targets=targets) for scene, targets in zip(scenes, filled, strict=True)]


def with_few_labels(targets: Sequence[np.ndarray], labels: TargetLabels, legend: Legend) -> tuple[np.ndarray, ...]:
    """Return targets uint8 [H, W] of each scene, output indices, with those of the labeled pixels in their places."""
    table, filled = legend.index_table(), []
    for values, scene in zip(targets, labels.scenes, strict=True):
        copy = values.copy()
        copy[scene.rows, scene.cols] = table[scene.ids]
        filled.append(copy)
    return tuple(filled)
