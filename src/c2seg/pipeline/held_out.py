"""Predict the pixels of a fold that a model was not trained on, and count them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from c2seg.legend import Legend
from c2seg.metrics import Confusion, confusion_counts
from c2seg.metrics.reliability import Reliability
from c2seg.pipeline.prepare import Prepared
from c2seg.predict import Predictor, predict_rows
from c2seg.predict.backends.ensemble import WeightedEnsemble
from c2seg.predict.decision import ModelFacts, decide_for, subsampled
from c2seg.predict.plan import window_plan
from c2seg.progress import Progress, no_progress
from c2seg.recipes.schema import Prediction
from c2seg.types import Window

__all__ = ["count_held_out", "held_out_pixels"]


def count_held_out(
    held: Prepared,
    settings: Prediction,
    predictor: Predictor,
    reliability: Reliability,
    progress: Progress = no_progress,
) -> Confusion:
    """Return the confusion over the pixels that the data hold out; ``reliability`` counts their probabilities."""
    legend = held.legend
    total = Confusion.empty(legend.ids)
    if settings.decision == "argmax":
        for ids, (probabilities,) in held_out_pixels(held, settings, [predictor], progress):
            total += _counted(ids, probabilities, probabilities.argmax(axis=0), legend, reliability)
        return total
    # Decided when all probabilities are known.
    strips = [
        (ids, probabilities.astype(np.float16))
        for ids, (probabilities,) in held_out_pixels(held, settings, [predictor], progress)
    ]
    whole = subsampled([values for _, values in strips], legend.num_classes)
    decision = decide_for(settings.decision, whole, ModelFacts(tuple(held.present)), settings.area_shares)
    for ids, probabilities in strips:
        index = probabilities.argmax(axis=0) if decision is None else decision.classes(probabilities)
        total += _counted(ids, probabilities, index, legend, reliability)
    return total


def held_out_pixels(
    prepared: Prepared, settings: Prediction, predictors: Sequence[Predictor], progress: Progress = no_progress
) -> Iterator[tuple[np.ndarray, list[np.ndarray]]]:
    """Yield, strip by strip of the sources, the ids uint8 [N] of the valid pixels that are held out (0, 255: no label) and
    their probabilities float32 [K, N] by each predictor.
    """
    total = sum(scene.grid.height for source in prepared.sources for scene in source.images.scenes)
    done = 0
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
                progress(done + first.last, total, "scored")
            done += reader.scene.grid.height


def _counted(
    ids: np.ndarray, probabilities: np.ndarray, index: np.ndarray, legend: Legend, reliability: Reliability
) -> Confusion:
    """Return the confusion of decided classes [N], and count how often their probabilities were right."""
    labeled = legend.index_table()[ids] < legend.num_classes
    chosen = np.take_along_axis(probabilities, index[None], axis=0)[0][labeled]
    reliability.add(chosen.astype(np.float64), legend.id_table()[index][labeled] == ids[labeled])
    return confusion_counts(ids, legend.id_table()[index], legend.ids)
