"""Spatial folds for validation within labeled cities: interleaved blocks with a guard.

Rare classes have a few dozen pixels, so half of a city may contain none of them. Random patches overlap, so random splits
leak. Here the blocks of all folds are interleaved over the city. Training pixels keep a guard distance from the tested
blocks. Every pixel is tested exactly once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from c2seg.errors import InputError
from c2seg.types import Window

__all__ = ["BlockFolds", "Folds"]


class Folds(Protocol):
    """A division of a scene's pixels for validation."""

    @property
    def folds(self) -> int:
        """Number of folds."""

    def fold(self, window: Window) -> np.ndarray:
        """Return uint8 [H, W]: the fold in which each pixel is tested; 255: not tested."""

    def training(self, window: Window, fold: int) -> np.ndarray:
        """Return bool [H, W]: training pixels of a model that is tested on ``fold``."""


@dataclass(frozen=True, slots=True)
class BlockFolds:
    """``folds`` interleaved folds of square blocks of ``block_px``, with a guard of ``guard_px`` around tested blocks.

    Blocks that share an edge are in different folds.
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
        """Return bool [H, W]: training pixels of the model tested on ``fold`` (Chebyshev distance > guard)."""
        rows = np.arange(window.row, window.row_end)
        cols = np.arange(window.col, window.col_end)
        far = np.ones((window.height, window.width), bool)
        # The guard is shorter than a block: 9 points of the guard square touch every block that the square touches.
        offsets = (-self.guard_px, 0, self.guard_px) if self.guard_px else (0,)
        for row in offsets:
            for col in offsets:
                far &= self._fold(rows + row, cols + col) != fold
        return far

    def _fold(self, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
        step = max(1, self.folds // 2)
        pattern: np.ndarray = (rows[:, None] // self.block_px) * step + cols[None, :] // self.block_px
        return np.asarray(pattern % self.folds, np.uint8)
