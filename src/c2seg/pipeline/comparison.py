"""Whether the target is compared with the sources in physical units, decided by its images and the sources' labels alone.

The sources' classes, mixed in whatever shares, should explain the target's pixels. Where they do much worse halfway between
both cities' statistics (``midway``) than by the target's own (``per_city``), sensor or air are too different to be compared.

Axes: N source pixel, M target pixel, C channel, K class.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import minimize
from scipy.spatial.distance import cdist

from c2seg.artifacts.runs import NormalizationCheck
from c2seg.data import Normalizer
from c2seg.data.normalize import Normalization
from c2seg.data.units import in_one_unit
from c2seg.pipeline.drift import sample_pixels
from c2seg.pipeline.prepare import Prepared
from c2seg.progress import Progress
from c2seg.recipes import Recipe
from c2seg.recipes.changes import comparing
from c2seg.recipes.training import Augmentation, Sampling
from c2seg.sampling import PatchSampler, training_scenes
from c2seg.sampling.patches import UNLABELED

__all__ = ["Compared", "class_discrepancy", "decide_normalization"]

_PER_CLASS, _OF_TARGET, _FOR_SCALE = 200, 2000, 500  # pixels
_LEAST = 200
_PATCHES, _PATCH_PX = 256, 16
_SCALES = (0.5, 1.0, 2.0, 4.0)


@dataclass(frozen=True)
class Compared:
    """The recipe and the data with a normalization that serves them; the record of what decided (None: nothing)."""

    recipe: Recipe
    prepared: Prepared
    record: NormalizationCheck | None = None


def decide_normalization(recipe: Recipe, prepared: Prepared, seed: int, progress: Progress) -> Compared:
    """Return a recipe of ``normalization: auto``, and its data, with ``midway`` or ``per_city``; others as they are.

    ``midway`` is for a target that is in one unit with the sources in any modality, unless a mixture of the sources' classes is
    more than ``recipe.comparison.limit`` times as far from its pixels by ``midway`` as by ``per_city``.
    """
    if recipe.normalization != "auto":
        return Compared(recipe, prepared)
    record = _distances(prepared, seed, progress)
    if record is None:
        return _by_city(recipe, prepared)
    times, limit = record.midway / max(record.per_city, 1e-6), recipe.comparison.limit
    if times <= limit:
        return Compared(comparing(recipe), prepared, record)
    note = (
        f"normalization: per_city: compared with the sources' values, the target is {times:.1f} times as far from any mixture "
        f"of their classes (comparison.limit {limit:g})"
    )
    return _by_city(recipe, prepared, record.model_copy(update={"normalization": "per_city", "notes": (note,)}))


def _by_city(recipe: Recipe, prepared: Prepared, record: NormalizationCheck | None = None) -> Compared:
    changed = recipe.model_copy(update={"normalization": "per_city"})
    return Compared(changed, prepared.normalized("per_city", recipe.max_bands), record)


def _distances(prepared: Prepared, seed: int, progress: Progress) -> NormalizationCheck | None:
    """Return how far the target is from the sources by both normalizations; None where nothing of them can be compared."""
    target, sources = prepared.target, prepared.statistics
    if target is None or not any(in_one_unit(n, target.statistics[n], sources[n]) for n in prepared.modalities):
        return None
    names = tuple(prepared.modalities)
    kinds: tuple[Normalization, ...] = ("midway", "per_city")
    normalized = [replace(target, normalizer=Normalizer.of_city(k, target.statistics, sources)) for k in kinds]
    sides = [sample_pixels([city], names, seed, _OF_TARGET) for city in normalized]
    progress(1, 2, "pixels of the target")
    if len(sides[0].values) < _LEAST:
        return None
    drawn = _of_sources(prepared, names, seed)
    progress(2, 2, "pixels of the sources")
    midway, per_city = (round(class_discrepancy(*drawn, side.values), 4) for side in sides)
    return NormalizationCheck(normalization="midway", midway=midway, per_city=per_city)


def _of_sources(prepared: Prepared, names: Sequence[str], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return normalized bands float32 [N, C] and outputs uint8 [N] of labeled pixels of the sources, few of each class."""
    # Bands, not components: those of unit deviation would show noise more than classes.
    cities = [replace(city, normalizer=replace(city.normalizer, projection={})) for city in prepared.sources]
    scenes = [scene for city in cities for scene in training_scenes(city, names)]
    settings = Sampling(patch_px=_PATCH_PX, batch_size=_PATCHES, class_balanced_fraction=1.0)
    plain = Augmentation(flips=False, rotations=False)
    sampler = PatchSampler(scenes, settings, plain, seed, prepared.legend.num_classes)
    sample = sampler.load(sampler.draw(0))
    assert sample.targets is not None
    values = np.concatenate([sample.patch[name] for name in names], axis=1).transpose(0, 2, 3, 1)
    used = sample.valid & (sample.targets != UNLABELED)
    values, outputs = values[used], sample.targets[used]
    order = np.random.default_rng((seed, 9)).permutation(len(outputs))
    few = np.concatenate([order[outputs[order] == k][:_PER_CLASS] for k in np.unique(outputs)])
    return values[few], outputs[few]


def class_discrepancy(samples: np.ndarray, outputs: np.ndarray, target: np.ndarray) -> float:
    """Return how far pixels [M, C] are from the nearest mixture of the classes of ``samples`` [N, C], ``outputs`` [N]; 0..1.

    It is the least maximum mean discrepancy over shares of the classes (Gretton et al., JMLR 2012; shares as in Zhang et al.,
    ICML 2013), by the mean of four Gaussian kernels around the median distance of samples.
    """
    few = samples[:: max(1, len(samples) // _FOR_SCALE)]
    scale = float(np.median(cdist(few, few))) or 1.0
    classes = np.unique(outputs)
    weights = (outputs == classes[:, None]) / np.bincount(outputs, minlength=256)[classes][:, None]  # [K, N]
    among = weights @ _kernel(samples, samples, scale) @ weights.T
    toward = weights @ _kernel(samples, target, scale).mean(axis=1)
    shares = _nearest(among, toward)
    squared = shares @ among @ shares - 2 * shares @ toward + _kernel(target, target, scale).mean()
    return float(np.sqrt(max(0.0, squared)))


def _kernel(one: np.ndarray, other: np.ndarray, scale: float) -> np.ndarray:
    squared = cdist(one, other, "sqeuclidean")
    return np.asarray(np.mean([np.exp(-squared / (2 * (factor * scale) ** 2)) for factor in _SCALES], axis=0))


def _nearest(among: np.ndarray, toward: np.ndarray) -> np.ndarray:
    """Return the shares [K], at least 0 and 1 in all, with the least s' among s - 2 s' toward."""
    count = len(toward)
    solved = minimize(
        lambda s: s @ among @ s - 2 * s @ toward,
        np.full(count, 1 / count),
        jac=lambda s: 2 * (among @ s - toward),
        bounds=[(0, 1)] * count,
        constraints={"type": "eq", "fun": lambda s: s.sum() - 1, "jac": lambda s: np.ones(count)},
        method="SLSQP",
        options={"ftol": 1e-10},
    )
    return np.asarray(solved.x)
