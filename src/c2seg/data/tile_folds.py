"""The published offline protocol as folds: a random split of overlapping tiles, tested where it leaks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from c2seg.data.splits import LeakReport, leak_report, published_split
from c2seg.data.tiling import TileGrid
from c2seg.types import Window

__all__ = ["TileFolds"]


@dataclass(frozen=True)
class TileFolds:
    """One fold: the third place's split (90 % of the half-overlapping tiles) of one scene, with the interface of BlockFolds.

    Training and tested pixels overlap: that is the point. It reproduces published offline numbers and chooses nothing.
    """

    tiles: TileGrid
    folds: ClassVar[int] = 1
    _trained: np.ndarray = field(init=False, repr=False, compare=False)
    _tested: np.ndarray = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        split = published_split("mrsn", self.tiles.count)
        windows = list(self.tiles.windows())
        for name, chosen in (("_trained", split.train), ("_tested", split.validation)):
            mask = np.zeros((self.tiles.height, self.tiles.width), bool)
            for index in chosen:
                mask[windows[index].slices] = True
            object.__setattr__(self, name, mask)

    @property
    def leak(self) -> LeakReport:
        """What the split leaks."""
        return leak_report(published_split("mrsn", self.tiles.count), self.tiles)

    def fold(self, window: Window) -> np.ndarray:
        """Return uint8 [H, W]: 0 where tested, 255 elsewhere; ``window`` lies inside the scene."""
        return np.where(self._tested[window.slices], 0, 255).astype(np.uint8)

    def training(self, window: Window, fold: int) -> np.ndarray:
        """Return bool [H, W]: pixels of training tiles; ``window`` lies inside the scene."""
        return self._trained[window.slices]
