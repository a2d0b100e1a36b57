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
from c2seg.recipes.training import Augmentation, Sampling
from c2seg.sampling import PatchSampler, training_scenes
from c2seg.sampling.patches import UNLABELED

__all__ = ["Compared", "check_normalization", "class_discrepancy"]

_PER_CLASS, _OF_TARGET, _FOR_SCALE = 200, 2000, 500  # pixels
_LEAST = 200
_PATCHES, _PATCH_PX = 256, 16
_SCALES = (0.5, 1.0, 2.0, 4.0)


@dataclass(frozen=True)
class Compared:
    """The recipe and the data after the check, and its record (None: nothing to check)."""

    recipe: Recipe
    prepared: Prepared
    record: NormalizationCheck | None = None


def check_normalization(recipe: Recipe, prepared: Prepared, seed: int, progress: Progress) -> Compared:
    """Return ``per_city`` in the place of ``midway`` where the sources explain the target much worse by it.

    That is where the distance of the target's pixels from the nearest mixture of the sources' classes is more than
    ``recipe.midway_limit`` times as long.
    """
    target, sources = prepared.target, prepared.statistics
    if recipe.normalization != "midway" or recipe.midway_limit is None or target is None:
        return Compared(recipe, prepared)
    if not any(in_one_unit(name, target.statistics[name], sources[name]) for name in prepared.modalities):
        return Compared(recipe, prepared)  # nothing is compared
    names = tuple(prepared.modalities)
    kinds: tuple[Normalization, ...] = ("midway", "per_city")
    normalized = [replace(target, normalizer=Normalizer.of_city(k, target.statistics, sources)) for k in kinds]
    sides = [sample_pixels([city], names, seed, _OF_TARGET) for city in normalized]
    progress(1, 2, "pixels of the target")
    if len(sides[0].values) < _LEAST:
        return Compared(recipe, prepared)
    drawn = _of_sources(prepared, names, seed)
    progress(2, 2, "pixels of the sources")
    midway, per_city = (class_discrepancy(*drawn, side.values) for side in sides)
    record = NormalizationCheck(normalization="midway", midway=round(midway, 4), per_city=round(per_city, 4))
    times = midway / max(per_city, 1e-6)
    if times <= recipe.midway_limit:
        return Compared(recipe, prepared, record)
    note = (
        f"normalization: per_city in the place of midway: compared with the sources' values, the target is {times:.1f} times "
        f"as far from any mixture of their classes (midway_limit {recipe.midway_limit:g})"
    )
    return Compared(
        recipe.model_copy(update={"normalization": "per_city"}),
        prepared.normalized("per_city", recipe.max_bands),
        record.model_copy(update={"normalization": "per_city", "notes": (note,)}),
    )


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
