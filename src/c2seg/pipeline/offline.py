"""The published offline protocol: train on a random split of overlapping tiles, score its other tiles as published.

The split leaks. What it chooses, the best weights, is reported beside the last ones and never becomes the model of a run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from c2seg.artifacts import FOREST
from c2seg.artifacts.offline import OfflineRecord, SplitRecord, TileScores
from c2seg.data.tile_folds import TileFolds
from c2seg.pipeline.checkpoints import ScoredCheckpoints
from c2seg.pipeline.prepare import FitJob, Prepared
from c2seg.pipeline.tile_scores import TileTest, predicts_background
from c2seg.recipes.models import ForestModel
from c2seg.recipes.schema import Network

__all__ = ["OfflineFit", "TileWatch", "held_tiles", "offline_fit"]

Tensors = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class OfflineFit:
    """The scores of the last and of the best weights, and the tensors of the best where they are not the last."""

    record: OfflineRecord
    best: dict[str, np.ndarray]


def held_tiles(job: FitJob, data: Prepared) -> tuple[FitJob, Prepared]:
    """Return the job and its data without the labels that only validation tiles hold."""
    settings = job.recipe.validation
    on_disk = job.prepared.with_folds(settings).holding_out(0)
    return replace(job, prepared=on_disk), data.with_folds(settings).holding_out(0)


@dataclass
class TileWatch:
    """Scores the network that predicts, while it trains, on the validation tiles; what it scored is in ``scored``."""

    test: TileTest
    scored: ScoredCheckpoints | None = field(default=None, init=False)

    def probe(self, network: Network, folder: Path, forest: Tensors) -> ScoredCheckpoints | None:
        """Return what looks at a network; None for one that does not predict alone, or if only the last weights count."""
        from c2seg.models.ensemble import tensor_prefix

        recipe, every = self.test.job.recipe, self.test.job.recipe.validation.score_every
        paths = [one.path for one in recipe.ensemble_networks(self.test.held.modalities)]
        if every is None or paths != [network.path]:
            return None
        prefix = tensor_prefix(network.path)

        def named(weights: Tensors) -> dict[str, np.ndarray]:
            beside = {FOREST + name: value for name, value in forest.items()}
            return {prefix + name: value for name, value in weights.items()} | beside

        self.scored = ScoredCheckpoints(folder, every, self.test.count, named)
        return self.scored


def offline_fit(test: TileTest, tensors: Tensors, watch: TileWatch | None = None) -> OfflineFit:
    """Score the last weights of a training, and find the best of those that ``watch`` scored before."""
    recipe = test.job.recipe
    steps = None if isinstance(recipe.model, ForestModel) else recipe.training.iterations
    scored = watch.scored if watch else None
    record = OfflineRecord(
        splits=_splits(test.held),
        background=predicts_background(recipe),
        checkpoints=(*(scored.scored() if scored else ()), TileScores.of(steps, test.count(tensors))),
    )
    best = record.best
    if scored is None or best is None or best is record.last or best.step is None:
        return OfflineFit(record, {})
    return OfflineFit(record, scored.best(best.step))


def _splits(held: Prepared) -> tuple[SplitRecord, ...]:
    folds = [f for source in held.sources for f in source.city.folds if isinstance(f, TileFolds)]
    return tuple(SplitRecord.of(f.split, f.tiles, f.leak) for f in folds)
