"""Networks and a forest that predict together, as a weighted ensemble."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import lcm
from typing import Any

import numpy as np

from c2seg.artifacts import FOREST
from c2seg.data import Patch
from c2seg.predict import Predictor
from c2seg.predict.backends.forest import forest_predictor
from c2seg.predict.engine import ScoreSpace
from c2seg.predict.memory import give_back
from c2seg.predict.wrapping import AroundSpace
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

    @property
    def on_device(self) -> ScoreSpace | None:
        """The device of the first predictor whose scores can stay on one; None if there is none."""
        spaces = [getattr(predictor, "on_device", None) for predictor in self.predictors]
        space = next((space for space in spaces if space is not None), None)
        return None if space is None else _Weighted(space, self, spaces)

    def predict(self, patch: Patch, valid: np.ndarray) -> np.ndarray:
        """Return probabilities float32 [B, K, H, W] of the pixels inside the halo."""

        def scores(index: int, patch: Patch, valid: np.ndarray) -> np.ndarray:
            return self.predictors[index].predict(patch, valid)

        total: np.ndarray = self.weighted(scores, patch, valid)
        return total

    def weighted(self, scores: Callable[[int, Patch, np.ndarray], Any], patch: Patch, valid: np.ndarray) -> Any:
        """Return the weighted mean of ``scores(index, patch, valid)`` of the predictors; arrays go back to them."""
        total = None
        for index, (predictor, weight) in enumerate(zip(self.predictors, self.weights, strict=True)):
            rim = self.halo_px - predictor.halo_px
            inner = (..., slice(rim, valid.shape[-2] - rim), slice(rim, valid.shape[-1] - rim))
            cut = {name: np.ascontiguousarray(values[inner]) for name, values in patch.items()}
            one = scores(index, cut, np.ascontiguousarray(valid[inner]))
            part = one * float(np.float32(weight))
            if isinstance(one, np.ndarray):
                give_back(predictor, one)
            if total is None:
                total = part
            else:
                total += part
        return total


@dataclass(frozen=True)
class _Weighted(AroundSpace):
    """The scores of an ensemble on a device: those of predictors that have none there are moved."""

    ensemble: WeightedEnsemble
    spaces: Sequence[ScoreSpace | None]

    def predict(self, patch: Patch, valid: np.ndarray) -> Any:
        """Return the weighted mean."""
        return self.ensemble.weighted(self._scores, patch, valid)

    def _scores(self, index: int, patch: Patch, valid: np.ndarray) -> Any:
        space = self.spaces[index]
        if space is not None:
            return space.predict(patch, valid)
        return self.space.of(self.ensemble.predictors[index].predict(patch, valid))


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
