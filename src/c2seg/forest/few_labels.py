"""A few labeled pixels of the target in the training of a forest: their features, and their weight beside the sources'."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from c2seg.data import City, PreparedCity
from c2seg.data.city import blocks
from c2seg.data.target_labels import TargetLabels
from c2seg.forest.features import FeatureSpec, features, halo_px
from c2seg.legend import Legend

__all__ = ["LabeledTarget", "TargetPixels", "balanced_weights", "target_pixels"]

_BLOCK = 256
_HALF = 3  # labels of a class that have half of their weight: fewer say little of the class


@dataclass(frozen=True)
class LabeledTarget:
    """The target, its labels, and their weight in the training of a class (``target_labels.weight``); 0: not trained on."""

    city: PreparedCity[City]
    labels: TargetLabels
    legend: Legend
    weight: float


@dataclass(frozen=True)
class TargetPixels:
    """Features float32 [N, F], output indices uint8 [N], and the point or polygon int64 [N] of labeled, valid pixels."""

    samples: np.ndarray
    outputs: np.ndarray
    units: np.ndarray

    def among(self, chosen: np.ndarray) -> TargetPixels:
        """Return some of the pixels, chosen by bool [N]."""
        return TargetPixels(self.samples[chosen], self.outputs[chosen], self.units[chosen])


def target_pixels(target: LabeledTarget, names: Sequence[str], spec: FeatureSpec) -> TargetPixels:
    """Return the labeled, valid pixels of a target with their features, read block by block where there are some."""
    table, halo = target.legend.index_table(), halo_px(spec)
    parts: list[TargetPixels] = []
    for reader, scene in zip(target.city.readers(names), target.labels.scenes, strict=True):
        for window in blocks(reader.scene.grid.window, _BLOCK):
            here = (scene.rows // _BLOCK == window.row // _BLOCK) & (scene.cols // _BLOCK == window.col // _BLOCK)
            if not here.any():
                continue
            patch, valid = reader(window.expand(halo))
            values = features(patch, valid, spec, names)
            rows, cols = scene.rows[here] - window.row, scene.cols[here] - window.col
            pixels = TargetPixels(values[:, rows, cols].T, table[scene.ids[here]], scene.units[here])
            parts.append(pixels.among(valid[rows + halo, cols + halo]))
    return TargetPixels(
        *(np.concatenate([getattr(part, name) for part in parts]) for name in ("samples", "outputs", "units"))
    )


def balanced_weights(outputs: np.ndarray, few: TargetPixels, weight: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the weights float64 of the sources' pixels with these outputs [N], and of the target's pixels [M].

    All classes have the same total. Within class k the target's labels have the share ``weight * m / (m + 3)``, m being its
    points and polygons, weighted equally. They have all of it at a weight of 1, and where the sources have no
    pixel of the class.
    """
    _, first, which, sizes = np.unique(few.units, return_index=True, return_inverse=True, return_counts=True)
    size = np.asarray(sizes, np.float64)[which]
    count = np.bincount(few.outputs[first], minlength=256)
    there = np.bincount(outputs, minlength=256)
    labeled = count.astype(np.float64)
    share = np.where(there > 0, weight * labeled / (labeled + _HALF), 1.0)
    if weight == 1:
        share = np.where(count > 0, 1.0, share)
    total = (len(outputs) + len(few.outputs)) / max(1, int((there + count > 0).sum()))
    of_source = total * (1 - share) / np.maximum(there, 1)
    of_target: np.ndarray = total * share / np.maximum(labeled, 1.0)
    return np.asarray(of_source[outputs]), np.asarray(of_target[few.outputs]) / size
