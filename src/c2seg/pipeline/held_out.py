"""Predict the pixels of a fold that a model was not trained on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from c2seg.pipeline.prepare import Prepared
from c2seg.predict import Predictor, predict_rows
from c2seg.predict.backends.ensemble import WeightedEnsemble
from c2seg.predict.plan import window_plan
from c2seg.recipes.schema import Prediction
from c2seg.types import Window

__all__ = ["held_out_pixels"]


def held_out_pixels(
    prepared: Prepared, settings: Prediction, predictors: Sequence[Predictor]
) -> Iterator[tuple[np.ndarray, list[np.ndarray]]]:
    """Yield, strip by strip of the sources, the ids uint8 [N] of the valid pixels that are held out (0, 255: no label) and
    their probabilities float32 [K, N] by each predictor.
    """
    for source in prepared.sources:
        for index, reader in enumerate(source.readers(prepared.modalities)):
            plan = window_plan(reader.scene, settings, WeightedEnsemble.even(predictors))
            rows = [predict_rows(reader, predictor, plan, batch_size=settings.batch_size) for predictor in predictors]
            for strips in zip(*rows, strict=True):
                first = strips[0]
                window = Window(first.first, 0, first.last - first.first, reader.scene.grid.width)
                ids, tested = source.city.read_held_out(index, window)
                tested &= first.valid
                yield ids[tested], [strip.scores[:, tested] for strip in strips]
