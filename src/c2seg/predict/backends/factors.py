"""Probabilities of classes times a factor each, for the classes' shares in a city."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from c2seg.data import Patch
from c2seg.predict import Predictor
from c2seg.predict.engine import ScoreSpace
from c2seg.predict.wrapping import AroundPredictor, AroundSpace

__all__ = ["FactoredPredictor", "with_factors"]


@dataclass(frozen=True)
class FactoredPredictor(AroundPredictor):
    """A predictor whose probabilities are multiplied by the classes' factors and scaled to sum 1 where they are not all 0."""

    factors: tuple[float, ...]

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
class _Factored(AroundSpace):
    """The scores of a device, times the factors."""

    factors: tuple[float, ...]

    def predict(self, patch: Patch, valid: np.ndarray) -> Any:
        """Return probabilities [B, K, H, W]."""
        scores = self.space.predict(patch, valid)
        scores *= self.space.of(np.asarray(self.factors, np.float32)[:, None, None])
        scores /= scores.sum(1, keepdim=True).clamp_min(1e-12)
        return scores


def with_factors(predictor: Predictor, factors: tuple[float, ...] | None) -> Predictor:
    """Return a predictor with a model's factors of classes; the predictor itself where it has none."""
    return predictor if factors is None else FactoredPredictor(predictor, factors)
