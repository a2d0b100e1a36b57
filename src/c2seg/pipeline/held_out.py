"""Predict the pixels of a fold that a model was not learnt from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from c2seg.data import SceneReader
from c2seg.pipeline.prepare import FitJob, Prepared, scene_folds
from c2seg.predict import Predictor, map_rows
from c2seg.predict.backends.ensemble import WeightedEnsemble
from c2seg.predict.plan import window_plan
from c2seg.types import Window

__all__ = ["held_out_pixels"]


def held_out_pixels(
    job: FitJob, prepared: Prepared, predictors: Sequence[Predictor], fold: int
) -> Iterator[tuple[np.ndarray, list[np.ndarray]]]:
    """Yield, strip by strip of the sources, the ids uint8 [N] of a fold's valid pixels (0, 255: no label) and their
    probabilities float32 [K, N] by each predictor.
    """
    names = tuple(prepared.inputs)
    settings = job.recipe.prediction
    for city, normalizer in zip(prepared.sources, prepared.normalizers, strict=True):
        for index, (scene, held) in enumerate(zip(city.images.scenes, scene_folds(job.recipe, city), strict=True)):
            plan = window_plan(scene, settings, WeightedEnsemble.even(predictors))
            reader = SceneReader(scene, names, normalizer)
            each = [map_rows(reader, one, plan, batch_size=settings.batch_size) for one in predictors]
            for strips in zip(*each, strict=True):
                first = strips[0]
                window = Window(first.first, 0, first.last - first.first, scene.grid.width)
                tested = (held.fold(window) == fold) & first.valid
                yield city.read_label(index, window)[tested], [strip.scores[:, tested] for strip in strips]
