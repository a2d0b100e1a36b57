"""Train a forest on labeled cities in one streaming pass, and score it on guarded folds."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from c2seg.data import LabeledCity, PreparedCity
from c2seg.data.city import blocks
from c2seg.data.physical_layers import measured
from c2seg.errors import TrainingError
from c2seg.forest.features import FeatureSpec, augment_radiometry, fit_projections
from c2seg.forest.few_labels import LabeledTarget, TargetPixels, balanced_weights, target_pixels
from c2seg.forest.table import Block, FeatureTable
from c2seg.forest.trees import Forest
from c2seg.metrics import Confusion, confusion_counts
from c2seg.metrics.reliability import Reliability
from c2seg.progress import Bars, Progress, no_progress, parts_of
from c2seg.recipes.models import ForestModel
from c2seg.types import Window

__all__ = [
    "SourcePixels",
    "TrainedForest",
    "draw_pixels",
    "feature_spec",
    "fit_forest",
    "grow",
    "train_forest",
    "validate_forest",
]

_BLOCK = 256
_LEAST_TREES = 8  # at least, for processors that grow one each

Sources = Sequence[PreparedCity[LabeledCity]]


@dataclass(frozen=True)
class SourcePixels:
    """Features float32 [N, F] and output indices uint8 [N] of the sources' pixels that a forest is trained on."""

    samples: np.ndarray
    outputs: np.ndarray


@dataclass(frozen=True)
class TrainedForest:
    """Tensors of the model file; the confusion pooled over the folds (None without), and the seconds that folds took."""

    tensors: dict[str, np.ndarray]
    validation: Confusion | None
    validation_seconds: float


def train_forest(
    sources: Sources,
    folded: Sources,
    names: Sequence[str],
    model: ForestModel,
    seed: int,
    bars: Bars,
    target: LabeledTarget | None = None,
    reliability: Reliability | None = None,
) -> TrainedForest:
    """Train a forest on ``sources``, and forests on the folds of ``folded`` that are only scored.

    Either may be empty: then there are no tensors, or no confusion. The labels of ``target`` join the training of the
    forest that is returned, never those of the folds. ``reliability`` counts how often the folds' probabilities were right.
    """
    pooled, tensors, started = None, {}, time.perf_counter()
    names = measured(names)  # physical layers repeat them for networks
    spec = feature_spec(sources or folded, names, model)  # of the images, which folds do not change
    table = FeatureTable(names, spec) if folded else FeatureTable(names, spec, most_bytes=0)  # one forest reads once
    if folded:
        pooled = validate_forest(folded, model, table, seed, bars("validation"), reliability)
    validated = time.perf_counter()
    if sources:
        forest = fit_forest(sources, model, table, seed, progress=bars("forest"), target=target)
        tensors = forest.tensors() | {f"projection.{name}": value for name, value in table.spec.projections.items()}
    return TrainedForest(tensors, pooled, validated - started)


def feature_spec(sources: Sources, names: Sequence[str], model: ForestModel) -> FeatureSpec:
    """Return the features of a forest on these sources: windows, and projections of many-band modalities."""
    projections = fit_projections([(source.images, source.normalizer) for source in sources], names, model)
    return FeatureSpec(model.mean_px, model.std_px, projections)


def fit_forest(
    sources: Sources,
    model: ForestModel,
    table: FeatureTable,
    seed: int,
    progress: Progress = no_progress,
    target: LabeledTarget | None = None,
) -> Forest:
    """Train on the labeled, valid pixels of the sources that are not held out, and on the labels of ``target``.

    About ``pixels_per_class`` pixels of each class are drawn at most; classes are weighted equally. Raises TrainingError
    when fewer than two classes have pixels.
    """
    drawing, growing = parts_of(progress, 2)
    drawn = draw_pixels(sources, model, table, seed, drawing)
    if target is None or not target.weight:
        return grow(drawn, model, seed, progress=growing)
    few = target_pixels(target, table.names, table.spec)
    return grow(drawn, model, seed, few, target.weight, progress=growing)


def draw_pixels(
    sources: Sources,
    model: ForestModel,
    table: FeatureTable,
    seed: int,
    progress: Progress = no_progress,
) -> SourcePixels:
    """Return about ``pixels_per_class`` pixels of each class at most, with radiometric copies if the model asks for some."""
    counting, reading = parts_of(progress, 2)
    counts = _class_counts(sources, table.names, counting)
    if np.count_nonzero(counts) < 2:
        held_out = sources[0].city.held_out
        where = "" if held_out is None else f" far enough from fold {held_out + 1} (validation.block_px, .guard_px)"
        raise TrainingError(
            f"{np.count_nonzero(counts) or 'no'} class has labeled, valid pixels{where}; a forest needs at least two"
        )
    keep_fraction = np.minimum(1.0, model.pixels_per_class / np.maximum(counts, 1))
    rng = np.random.default_rng(seed)
    samples, targets = [], []
    windows = list(_blocks(sources))
    for done, block in enumerate(windows):
        source, scene, window = block.source, block.scene, block.window
        label = _targets(source, scene, window)
        drawn = (label != 255) & (rng.random(label.shape) < keep_fraction[np.where(label == 255, 0, label)])
        if drawn.any():
            values, valid = table.read(block)
            drawn &= valid
            samples.append(values[:, drawn].T)
            targets.append(label[drawn])
        reading(done + 1, len(windows), "features")
    count = model.radiometric_augmentations
    training = augment_radiometry(np.concatenate(samples), table.spec, count, model.gain_std, model.offset_std, seed)
    return SourcePixels(training, np.tile(np.concatenate(targets), 1 + count))


def grow(
    drawn: SourcePixels,
    model: ForestModel,
    seed: int,
    few: TargetPixels | None = None,
    weight: float = 0.0,
    trees: int | None = None,
    progress: Progress = no_progress,
) -> Forest:
    """Return a forest grown on the sources' pixels, and on ``few`` pixels of the target with a weight of their own.

    ``trees``: their number; None: the model's. Pixels of the target come as often as a leaf needs pixels, at less weight, so
    that one may have a leaf.
    """
    from sklearn.ensemble import RandomForestClassifier

    estimator = RandomForestClassifier(
        n_estimators=trees or model.trees,
        max_depth=model.max_depth,
        min_samples_leaf=model.min_leaf_px,
        class_weight="balanced_subsample" if few is None else None,
        random_state=seed,
        n_jobs=-1,  # trees are grown independently, each from its seed: the number of threads does not change them
    )
    if few is None:
        return Forest.of(_grown(estimator, progress, drawn.samples, drawn.outputs))
    copies = model.min_leaf_px
    of_source, of_target = balanced_weights(drawn.outputs, few, weight)
    grown = _grown(
        estimator,
        progress,
        np.concatenate([drawn.samples, np.repeat(few.samples, copies, axis=0)]),
        np.concatenate([drawn.outputs, np.repeat(few.outputs, copies)]),
        np.concatenate([of_source, np.repeat(of_target / copies, copies)]),
    )
    return Forest.of(grown)


def _grown(estimator: Any, progress: Progress, *data: np.ndarray) -> Any:
    """Return a forest after its training; it is the same whether its trees are grown at once or, to show progress, in parts."""
    trees = estimator.n_estimators
    step = max(_LEAST_TREES, -(-trees // 20))
    if progress is no_progress or step >= trees:
        estimator.fit(*data)
        progress(trees, trees, f"{trees} trees")
        return estimator
    estimator.set_params(warm_start=True)
    for count in (*range(step, trees, step), trees):
        with warnings.catch_warnings():
            # It asks whether the data stay the same between the parts: they do.
            warnings.filterwarnings("ignore", "class_weight presets", UserWarning)
            estimator.set_params(n_estimators=count).fit(*data)
        progress(count, trees, f"{count} of {trees} trees")
    return estimator


def validate_forest(
    sources: Sources,
    model: ForestModel,
    table: FeatureTable,
    seed: int,
    progress: Progress = no_progress,
    reliability: Reliability | None = None,
) -> Confusion:
    """Return the pooled confusion over all folds; ``reliability`` counts probabilities.

    Each labeled, valid pixel is tested once, by a forest that was not trained on it or on pixels within the guard distance.
    """
    legend = sources[0].images.legend
    pooled = Confusion.empty(legend.ids)
    count = sources[0].city.folds[0].folds
    to_id = legend.id_table()
    for fold, part in enumerate(parts_of(progress, count)):
        training, scoring = parts_of(_named(part, f"fold {fold + 1} of {count}"), 2)
        training_sources = [replace(source, city=source.city.holding_out(fold)) for source in sources]
        forest = fit_forest(training_sources, model, table, seed, training)
        windows = list(_blocks(training_sources))
        for done, block in enumerate(windows):
            scoring(done, len(windows), "scored")
            reference, tested = block.source.city.read_held_out(block.scene, block.window)
            reference[~tested] = 0
            if not reference.any():
                continue
            values, valid = table.read(block)
            tested = valid & (reference != 0) & (reference != 255)
            scores = forest.predict(values[:, tested].T, legend.num_classes)
            decided = to_id[scores.argmax(axis=1)]
            pooled += confusion_counts(reference[tested], decided, legend.ids)
            if reliability is not None:
                reliability.add(scores.max(axis=1), decided == reference[tested])
        part(1, 1, f"fold {fold + 1} of {count}")
    return pooled


def _named(progress: Progress, name: str) -> Progress:
    """Return a progress whose texts begin with a name."""

    def show(done: float, total: float, text: str = "") -> None:
        progress(done, total, f"{name}: {text}")

    return show


def _blocks(sources: Sources) -> Iterator[Block]:
    for number, source in enumerate(sources):
        for index, scene in enumerate(source.images.scenes):
            for window in blocks(scene.grid.window, _BLOCK):
                yield Block(number, source, index, window)


def _class_counts(sources: Sources, names: Sequence[str], progress: Progress) -> np.ndarray:
    legend = sources[0].images.legend
    counts = np.zeros(256, np.int64)
    windows = list(_blocks(sources))
    for done, block in enumerate(windows):
        progress(done, len(windows), "labels")
        label = _targets(block.source, block.scene, block.window)
        if (label != 255).any():
            valid = block.source.images.scenes[block.scene].read_valid(names, block.window)
            counts += np.bincount(label[valid], minlength=256)
    return counts[: legend.num_classes]


def _targets(source: PreparedCity[LabeledCity], scene: int, window: Window) -> np.ndarray:
    """Return output indices uint8 [H, W]; 255 is not trained on."""
    return np.asarray(source.images.legend.index_table()[source.city.read_label(scene, window)])
