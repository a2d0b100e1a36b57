"""Principal components of a modality's bands, from one streaming pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from c2seg.data.city import Scene, blocks
from c2seg.data.normalize import Normalizer
from c2seg.errors import DataError
from c2seg.progress import Progress, no_progress
from c2seg.types import Window

__all__ = ["Components", "principal_components"]


@dataclass(frozen=True)
class Components:
    """Principal components of C bands, by decreasing variance."""

    axes: np.ndarray
    """Float32 [components, C], orthonormal rows. The largest entry of each row is positive."""
    mean: np.ndarray
    """Float32 [C], mean of the bands."""
    std: np.ndarray
    """Float32 [components], standard deviation of ``axes @ (bands - mean)``."""


def principal_components(
    scenes: Sequence[tuple[Scene, Normalizer]], modality: str, components: int, progress: Progress = no_progress
) -> Components:
    """Return the axes of largest variance of the normalized bands of all scenes together.

    Fit them on all sources together and apply them to every city, so that components have the same meaning everywhere.
    Axes of a single city have another meaning. Only valid pixels count. A cell of a coarser grid has the weight of its valid
    fine pixels. Raises DataError if no pixel is valid.
    """
    scene, normalizer = scenes[0]
    bands = (
        len(normalizer.projection[modality]) if modality in normalizer.projection else scene.modality(modality).count
    )
    moment, total, count = np.zeros((bands, bands)), np.zeros(bands), 0
    for done, (scene, normalizer) in enumerate(scenes):
        source = scene.modality(modality).source
        for window in blocks(Window(0, 0, source.height, source.width), 256):
            values, weights = scene.read_native(modality, window)
            used = weights > 0
            pixels = normalizer.apply(modality, values, used)[:, used].astype(np.float64)
            weighted = pixels * weights[used]
            moment += weighted @ pixels.T
            total += weighted.sum(axis=1)
            count += int(weights.sum())
            progress(done + window.row_end / source.height, len(scenes), modality)
    if not count:
        raise DataError(f"no valid pixel of {modality} to fit principal components on")
    mean = total / count
    variances, vectors = np.linalg.eigh(moment / count - np.outer(mean, mean))
    axes = vectors[:, ::-1][:, :components].T
    largest = np.abs(axes).argmax(axis=1)
    signs = np.sign(axes[np.arange(len(axes)), largest])
    std = np.sqrt(np.maximum(variances[::-1][:components], 0.0))
    return Components((axes * signs[:, None]).astype(np.float32), mean.astype(np.float32), std.astype(np.float32))
