"""Principal components of a modality's bands, from one streaming pass."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from c2seg.data.city import City, blocks
from c2seg.data.normalise import Normaliser
from c2seg.errors import DataError
from c2seg.progress import Progress, no_progress
from c2seg.types import Window

__all__ = ["principal_components"]


def principal_components(
    cities: Sequence[tuple[City, Normaliser]], modality: str, components: int, progress: Progress = no_progress
) -> np.ndarray:
    """Return float32 [components, C]: axes of largest variance of the normalised bands, largest first.

    Fit them on the sources together and apply them unchanged to every city, so that components mean the same
    everywhere. Axes fitted on one city at a time (give that city alone) are different axes: an option that is to be named
    as such, not a default. The sign of an axis makes its largest entry positive. Over pixels at which the modality is valid;
    cells of a coarser grid count once per valid fine pixel. Raises DataError without any.
    """
    bands = cities[0][0].scenes[0].modality(modality).count
    moment, total, count = np.zeros((bands, bands)), np.zeros(bands), 0
    scenes = [(scene, normaliser) for city, normaliser in cities for scene in city.scenes]
    for done, (scene, normaliser) in enumerate(scenes):
        source = scene.modality(modality).source
        for window in blocks(Window(0, 0, source.height, source.width), 256):
            values, weights = scene.read_native(modality, window)
            used = weights > 0
            pixels = normaliser.apply(modality, values, used)[:, used].astype(np.float64)
            weighted = pixels * weights[used]
            moment += weighted @ pixels.T
            total += weighted.sum(axis=1)
            count += int(weights.sum())
            progress(done + window.row_end / source.height, len(scenes), modality)
    if not count:
        raise DataError(f"no valid pixel of {modality} to fit principal components on")
    mean = total / count
    _, vectors = np.linalg.eigh(moment / count - np.outer(mean, mean))
    axes = vectors[:, ::-1][:, :components].T
    largest = np.abs(axes).argmax(axis=1)
    signs = np.sign(axes[np.arange(len(axes)), largest])
    result: np.ndarray = (axes * signs[:, None]).astype(np.float32)
    return result
