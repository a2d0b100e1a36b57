"""Test-time transforms: rotations and flips of a square."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from c2seg.data import Patch
from c2seg.predict import Predictor
from c2seg.predict.memory import give_back

__all__ = ["AveragedTransforms", "tta_transforms"]


def tta_transforms(count: int = 8) -> tuple[tuple[int, bool], ...]:
    """Return transforms of the square as (quarter turns, mirrored left to right).

    8: the turns, each also mirrored; 6: the turns and both mirrorings along an axis, as the challenge's second place did.
    """
    mirrored = range(4) if count == 8 else (0, 2)
    return (*((turns, False) for turns in range(4)), *((turns, True) for turns in mirrored))


@dataclass(frozen=True)
class AveragedTransforms:
    """A predictor without halo, averaged over 6 or 8 transforms."""

    predictor: Predictor
    count: int = 8
    halo_px: int = 0

    @property
    def num_classes(self) -> int:
        """Number of score channels."""
        return self.predictor.num_classes

    @property
    def stride_px(self) -> int:
        """Windows must have sizes that are multiples of this."""
        return int(getattr(self.predictor, "stride_px", 1))

    def predict(self, patch: Patch, valid: np.ndarray) -> np.ndarray:
        """Return probabilities float32 [B, K, H, W]."""
        total: np.ndarray | None = None
        for turns, flip in tta_transforms(self.count):
            seen = {name: np.ascontiguousarray(_turn(values, turns, flip)) for name, values in patch.items()}
            scores = self.predictor.predict(seen, _turn(valid, turns, flip))
            upright = np.rot90(scores[..., ::-1] if flip else scores, -turns, axes=(-2, -1))
            total = upright.copy() if total is None else np.add(total, upright, out=total)
            give_back(self.predictor, scores)
        assert total is not None
        total /= self.count
        return total


def _turn(values: np.ndarray, turns: int, flip: bool) -> np.ndarray:
    turned = np.rot90(values, turns, axes=(-2, -1))
    return turned[..., ::-1] if flip else turned
