"""Spatial folds for validation inside labeled cities: interleaved blocks with a guard.

Rare classes hold a few dozen pixels, so that one half of a city may have none of them; and patches drawn at random
overlap, so that random splits leak. Here blocks of all folds are interleaved over the whole city, training keeps a
guard distance from the tested blocks, and every pixel is tested exactly once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from c2seg.errors import InputError
from c2seg.types import Window

__all__ = ["BlockFolds", "Folds"]


class Folds(Protocol):
    """How the pixels of a scene are divided for validation."""

    @property
    def folds(self) -> int:
        """Number of folds."""

    def fold(self, window: Window) -> np.ndarray:
        """Return uint8 [H, W]: the fold in which each pixel is tested; 255: in none."""

    def training(self, window: Window, fold: int) -> np.ndarray:
        """Return bool [H, W]: pixels on which a model that is tested on ``fold`` may be trained."""


@dataclass(frozen=True, slots=True)
class BlockFolds:
    """``folds`` interleaved folds of square blocks of ``block_px``; training stays more than ``guard_px`` away.

    Blocks that touch by an edge are never of the same fold.
    """

    folds: int
    block_px: int
    guard_px: int = 0

    def __post_init__(self) -> None:
        if self.folds < 2:
            raise InputError(f"validation needs at least 2 folds, found {self.folds}")
        if not 0 <= self.guard_px < self.block_px:
            raise InputError(f"the guard ({self.guard_px} px) must be smaller than the block ({self.block_px} px)")

    def fold(self, window: Window) -> np.ndarray:
        """Return uint8 [H, W]: the fold in which each pixel is tested."""
        rows = np.arange(window.row, window.row_end)
        cols = np.arange(window.col, window.col_end)
        return self._fold(rows, cols)

    def training(self, window: Window, fold: int) -> np.ndarray:
        """Return bool [H, W]: pixels that may teach the model tested on ``fold`` (Chebyshev distance > guard)."""
        rows = np.arange(window.row, window.row_end)
        cols = np.arange(window.col, window.col_end)
        far = np.ones((window.height, window.width), bool)
        # The guard is shorter than a block, so the 9 corners, edges and center of the square meet every block it meets.
        offsets = (-self.guard_px, 0, self.guard_px) if self.guard_px else (0,)
        for row in offsets:
            for col in offsets:
                far &= self._fold(rows + row, cols + col) != fold
        return far

    def _fold(self, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
        step = max(1, self.folds // 2)
        pattern: np.ndarray = (rows[:, None] // self.block_px) * step + cols[None, :] // self.block_px
        return np.asarray(pattern % self.folds, np.uint8)
