"""What predictors and score spaces around others have of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from c2seg.predict.engine import Predictor, ScoreSpace

__all__ = ["AroundPredictor", "AroundSpace"]


@dataclass(frozen=True)
class AroundPredictor:
    """A predictor around another, with its classes and windows; how it predicts is for the class that derives from it."""

    predictor: Predictor

    @property
    def num_classes(self) -> int:
        """Number of score channels."""
        return self.predictor.num_classes

    @property
    def halo_px(self) -> int:
        """The predictor's halo."""
        return self.predictor.halo_px

    @property
    def stride_px(self) -> int:
        """Windows must have sizes that are multiples of this."""
        return int(getattr(self.predictor, "stride_px", 1))


@dataclass(frozen=True)
class AroundSpace:
    """Scores on the device of another space; how they are predicted is for the class that derives from it."""

    space: ScoreSpace

    def empty(self, shape: tuple[int, ...]) -> Any:
        """Return float32 of any content."""
        return self.space.empty(shape)

    def of(self, values: np.ndarray) -> Any:
        """Return an array on the device."""
        return self.space.of(values)

    def zeros(self, shape: tuple[int, ...]) -> Any:
        """Return zeros float32."""
        return self.space.zeros(shape)
