"""Predict the validation tiles of a leaking split one by one, and count them as published: every tile whole, overlaps twice.

The background is a class. Pixels without data are predicted as background.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from c2seg.artifacts.offline import OFFLINE_PROTOCOL
from c2seg.data import Patch
from c2seg.data.tile_folds import TileFolds
from c2seg.legend import Legend
from c2seg.metrics import Confusion, confusion_counts, protocol_ids
from c2seg.pipeline.prepare import FitJob, Prepared
from c2seg.predict import Predictor, predict_rows
from c2seg.predict.backends import BackendOptions
from c2seg.predict.backends.forest import forest_predictor
from c2seg.predict.decision import Decision, ModelFacts, decide_for, subsampled
from c2seg.predict.engine import Reader
from c2seg.predict.plan import suitable_plan
from c2seg.recipes import Recipe
from c2seg.recipes.models import ForestModel
from c2seg.recipes.schema import Prediction
from c2seg.types import Window

__all__ = ["TileTest", "predicts_background"]


def predicts_background(recipe: Recipe) -> bool:
    """Return True if the recipe's networks alone predict, and one of their outputs is trained on the background."""
    return recipe.background == "trained" and recipe.forest is None


@dataclass(frozen=True)
class TileTest:
    """The validation tiles of the sources, on which tensors of the job's model are scored; ``held`` holds them out."""

    job: FitJob
    held: Prepared

    def count(self, tensors: Mapping[str, np.ndarray]) -> Confusion:
        """Return the counts of all tiles, background first; ``tensors`` are named as in a model file."""
        predictor, settings = self.predictor(tensors), self.job.recipe.prediction
        total = Confusion.empty(protocol_ids(self.held.legend.ids, OFFLINE_PROTOCOL))
        if settings.decision == "argmax":
            for tile in self._tiles(predictor):
                total += tile.counts(self.held.legend, None)
            return total
        # Decided when all probabilities are known.
        tiles = [tile.smaller() for tile in self._tiles(predictor)]
        classes = self.held.legend.num_classes
        whole = subsampled([tile.probabilities for tile in tiles], classes)
        decision = decide_for(settings.decision, whole, ModelFacts(tuple(self.held.present)), settings.area_shares)
        for tile in tiles:
            total += tile.counts(self.held.legend, decision)
        return total

    def predictor(self, tensors: Mapping[str, np.ndarray]) -> Predictor:
        """Return the predictor of the classes, and of the background as a last one if the model knows it."""
        recipe, classes = self.job.recipe, self.held.legend.num_classes
        if isinstance(recipe.model, ForestModel):
            return forest_predictor(recipe.model, self.held.channels, classes, tensors)
        from c2seg.predict.backends.ensemble import with_forest
        from c2seg.predict.backends.torch import network_predictor

        if predicts_background(recipe):  # as one class more, which none drops
            recipe, classes = recipe.model_copy(update={"background": "none"}), classes + 1
        settings = recipe.prediction
        options = BackendOptions(self.job.device, tta=settings.tta, tta_transforms=settings.tta_transforms)
        networks = network_predictor(recipe, self.held.channels, classes, tensors, options)
        return with_forest(networks, recipe, self.held.channels, tensors)

    def _tiles(self, predictor: Predictor) -> Iterator[_Tile]:
        settings = self.job.recipe.prediction
        for source in self.held.sources:
            for index, reader in enumerate(source.readers(self.held.modalities)):
                folds = source.city.folds[index]
                assert isinstance(folds, TileFolds)
                for window in folds.tested_windows:
                    ids, _ = source.city.read_held_out(index, window)
                    yield _predicted(ids, window, reader, predictor, settings)


@dataclass(frozen=True)
class _Tile:
    """Ids uint8 [H, W] of a tile, its valid pixels bool [H, W], and their probabilities [K, N]."""

    ids: np.ndarray
    valid: np.ndarray
    probabilities: np.ndarray

    def smaller(self) -> _Tile:
        """Return the tile with probabilities in half the memory."""
        return _Tile(self.ids, self.valid, self.probabilities.astype(np.float16))

    def counts(self, legend: Legend, decision: Decision | None) -> Confusion:
        """Return the counts, background first."""
        index = self.probabilities.argmax(axis=0) if decision is None else decision.classes(self.probabilities)
        table = np.append(legend.id_table()[: legend.num_classes], np.uint8(0))  # the background is the last output
        predicted = np.zeros(self.ids.shape, np.uint8)
        predicted[self.valid] = table[index]
        return confusion_counts(self.ids, predicted, protocol_ids(legend.ids, OFFLINE_PROTOCOL))


def _predicted(ids: np.ndarray, window: Window, reader: Reader, predictor: Predictor, settings: Prediction) -> _Tile:
    """Predict one tile from its own pixels, and from those around it where a predictor asks for a halo."""

    def read(part: Window) -> tuple[Patch, np.ndarray]:
        return reader(part.shift(window.row, window.col))

    plan = suitable_plan(window.height, window.width, settings, predictor)
    valid, probabilities = [], []
    for strip in predict_rows(read, predictor, plan, batch_size=settings.batch_size):
        valid.append(strip.valid.copy())
        probabilities.append(strip.scores[:, strip.valid])
    return _Tile(ids, np.concatenate(valid), np.concatenate(probabilities, axis=1))
