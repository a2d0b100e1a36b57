"""Pixels that a map's model was trained on, and a guard around them: nothing is estimated from them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from c2seg.artifacts.target_labels import TargetLabelsRecord
from c2seg.types import Window
from c2seg.verify.classmap import ClassMap

__all__ = ["TrainedPixels", "trained_near"]


@dataclass(frozen=True)
class TrainedPixels:
    """The labels of a map's target that its models were trained on, with the guard around them."""

    class_map: ClassMap
    labels: tuple[TargetLabelsRecord, ...]

    @property
    def _scene(self) -> str | None:
        return self.class_map.record.scene if self.class_map.record else None

    def mask(self, window: Window) -> np.ndarray:
        """Return bool [H, W]: pixels of a window that are labeled or within the guard."""
        near = np.zeros((window.height, window.width), bool)
        for item in self.labels:
            near |= item.mask(self._scene, window)
        return near

    def at(self, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
        """Return bool [n]: pixels that are labeled or within the guard."""
        near = np.zeros(len(rows), bool)
        for item in self.labels:
            near |= item.near(self._scene, rows, cols)
        return near

    def class_pixels_outside(self) -> np.ndarray:
        """Return int64 [K]: the map's other pixels by class in the order of the legend."""
        inside = np.zeros(256, np.int64)
        for window, ids in self.class_map.scan():
            inside += np.bincount(ids[self.mask(window)], minlength=256)
        return self.class_map.class_pixels() - inside[list(self.class_map.legend.ids)]


def trained_near(class_map: ClassMap) -> TrainedPixels | None:
    """Return the pixels that a map's models were trained on; None if they saw no label of this target."""
    labels = class_map.record.labels_here() if class_map.record else ()
    return TrainedPixels(class_map, labels) if labels else None
