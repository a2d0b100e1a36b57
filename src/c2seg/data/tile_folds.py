"""The published offline protocol as folds: a random split of overlapping tiles, which leaks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from c2seg.data.splits import LeakReport, TileSplit, leak_report, third_place_split
from c2seg.data.tiling import TileGrid
from c2seg.types import Window

__all__ = ["TileFolds"]


@dataclass(frozen=True)
class TileFolds:
    """One fold: the third place's split of one scene, with the interface of Folds.

    It is the list that the team released for the tiles of Augsburg and Beijing, and a random one of as many tiles elsewhere.

    Training and tested pixels overlap. Use it only to reproduce published offline numbers, not to select models.
    """

    tiles: TileGrid
    folds: ClassVar[int] = 1
    _trained: np.ndarray = field(init=False, repr=False, compare=False)
    _tested: np.ndarray = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        split = self.split
        windows = list(self.tiles.windows())
        for name, indexes in (("_trained", split.train), ("_tested", split.validation)):
            mask = np.zeros((self.tiles.height, self.tiles.width), bool)
            for index in indexes:
                mask[windows[index].slices] = True
            object.__setattr__(self, name, mask)

    @property
    def leak(self) -> LeakReport:
        """The leak of the split."""
        return leak_report(self.split, self.tiles)

    @property
    def tested_windows(self) -> tuple[Window, ...]:
        """The tiles of validation, which overlap; by number."""
        windows = list(self.tiles.windows())
        return tuple(windows[index] for index in self.split.validation)

    @property
    def split(self) -> TileSplit:
        """The tiles of training and of validation."""
        return third_place_split(self.tiles.count)

    def fold(self, window: Window) -> np.ndarray:
        """Return uint8 [H, W]: 0 where tested, 255 elsewhere; ``window`` lies inside the scene."""
        return np.where(self._tested[window.slices], 0, 255).astype(np.uint8)

    def training(self, window: Window, fold: int) -> np.ndarray:
        """Return bool [H, W]: pixels of training tiles; ``window`` lies inside the scene."""
        return self._trained[window.slices]
