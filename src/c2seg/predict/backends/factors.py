"""Probabilities of classes times a factor each, for the classes' shares in a city."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from c2seg.data import Patch
from c2seg.predict import Predictor
from c2seg.predict.engine import ScoreSpace

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

    @property
    def on_device(self) -> ScoreSpace | None:
        """The device of the predictor's scores, if they can stay on one."""
        space: ScoreSpace | None = getattr(self.predictor, "on_device", None)
        return None if space is None else _Factored(space, self.factors)

    def predict(self, patch: Patch, valid: np.ndarray) -> np.ndarray:
        """Return probabilities float32 [B, K, H, W] of the pixels inside the halo."""
        scores = self.predictor.predict(patch, valid)
        scores *= np.asarray(self.factors, np.float32)[:, None, None]
        scores /= np.maximum(scores.sum(axis=1, keepdims=True), np.float32(1e-12))
        return scores


@dataclass(frozen=True)
class _Factored:
    """The scores of a device, times the factors."""

    space: ScoreSpace
    factors: tuple[float, ...]

    def predict(self, patch: Patch, valid: np.ndarray) -> Any:
        """Return probabilities [B, K, H, W]."""
        scores = self.space.predict(patch, valid)
        scores *= self.space.of(np.asarray(self.factors, np.float32)[:, None, None])
        scores /= scores.sum(1, keepdim=True).clamp_min(1e-12)
        return scores

    def empty(self, shape: tuple[int, ...]) -> Any:
        """Return float32 of any content."""
        return self.space.empty(shape)

    def of(self, values: np.ndarray) -> Any:
        """Return an array on the device."""
        return self.space.of(values)

    def zeros(self, shape: tuple[int, ...]) -> Any:
        """Return zeros float32."""
        return self.space.zeros(shape)


def with_factors(predictor: Predictor, factors: tuple[float, ...] | None) -> Predictor:
    """Return a predictor with a model's factors of classes; the predictor itself where it has none."""
    return predictor if factors is None else FactoredPredictor(predictor, factors)
