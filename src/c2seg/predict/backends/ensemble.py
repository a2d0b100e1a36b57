"""Networks and a forest that predict together, as a weighted ensemble."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import lcm

import numpy as np

from c2seg.artifacts import FOREST
from c2seg.data import Patch
from c2seg.predict import Predictor
from c2seg.predict.backends.forest import forest_predictor
from c2seg.predict.memory import give_back
from c2seg.recipes import Recipe

__all__ = ["WeightedEnsemble", "with_forest"]


@dataclass(frozen=True)
class WeightedEnsemble:
    """The weighted mean of the probabilities of several predictors; the weights' sum is 1."""

    predictors: Sequence[Predictor]
    weights: Sequence[float]

    @classmethod
    def even(cls, predictors: Sequence[Predictor]) -> WeightedEnsemble:
        """Return the unweighted mean of some predictors."""
        return cls(predictors, [1 / len(predictors)] * len(predictors))

    @property
    def num_classes(self) -> int:
        """Number of score channels."""
        return self.predictors[0].num_classes

    @property
    def halo_px(self) -> int:
        """The widest halo."""
        return max(predictor.halo_px for predictor in self.predictors)

    @property
    def stride_px(self) -> int:
        """Windows must have sizes that are multiples of this."""
        return lcm(*(int(getattr(predictor, "stride_px", 1)) for predictor in self.predictors))

    def predict(self, patch: Patch, valid: np.ndarray) -> np.ndarray:
        """Return probabilities float32 [B, K, H, W] of the pixels inside the halo."""
        total: np.ndarray | None = None
        for predictor, weight in zip(self.predictors, self.weights, strict=True):
            rim = self.halo_px - predictor.halo_px
            inner = (..., slice(rim, valid.shape[-2] - rim), slice(rim, valid.shape[-1] - rim))
            cut = {name: np.ascontiguousarray(values[inner]) for name, values in patch.items()}
            scores = predictor.predict(cut, np.ascontiguousarray(valid[inner]))
            part = np.float32(weight) * scores
            give_back(predictor, scores)
            total = part if total is None else np.add(total, part, out=total)
        assert total is not None
        return total


def with_forest(
    predictor: Predictor,
    recipe: Recipe,
    bands: Mapping[str, int],
    tensors: Mapping[str, np.ndarray],
    threads: int | None = None,
) -> Predictor:
    """Return the ensemble of a recipe's networks and its forest, if it has one, from a model file's tensors."""
    if recipe.forest is None:
        return predictor
    forest_tensors = {name.removeprefix(FOREST): value for name, value in tensors.items() if name.startswith(FOREST)}
    forest = forest_predictor(recipe.forest.model, bands, predictor.num_classes, forest_tensors, threads)
    return WeightedEnsemble((predictor, forest), (1 - recipe.forest.weight, recipe.forest.weight))
