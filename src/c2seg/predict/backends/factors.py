"""Probabilities of classes times a factor each, for the classes' shares in a city."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from c2seg.data import Patch
from c2seg.predict import Predictor

__all__ = ["FactoredPredictor", "with_factors"]


@dataclass(frozen=True)
class FactoredPredictor:
    """A predictor whose probabilities are multiplied by the classes' factors and scaled to sum 1 where they are not all 0."""

    predictor: Predictor
    factors: tuple[float, ...]
    stride_px: int = field(init=False)
    """Windows must have sizes that are multiples of this."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "stride_px", int(getattr(self.predictor, "stride_px", 1)))

    @property
    def num_classes(self) -> int:
        """Number of score channels."""
        return self.predictor.num_classes

    @property
    def halo_px(self) -> int:
        """The predictor's halo."""
        return self.predictor.halo_px

    def predict(self, patch: Patch, valid: np.ndarray) -> np.ndarray:
        """Return probabilities float32 [B, K, H, W] of the pixels inside the halo."""
        scores = self.predictor.predict(patch, valid)
        scores *= np.asarray(self.factors, np.float32)[:, None, None]
        scores /= np.maximum(scores.sum(axis=1, keepdims=True), np.float32(1e-12))
        return scores


def with_factors(predictor: Predictor, factors: tuple[float, ...] | None) -> Predictor:
    """Return a predictor with a model's factors of classes; the predictor itself where it has none."""
    return predictor if factors is None else FactoredPredictor(predictor, factors)
