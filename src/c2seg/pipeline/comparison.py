"""Whether the target is compared with the sources in physical units, decided by its images and the sources' labels alone.

The sources' classes, mixed in whatever shares, should explain the target's pixels. Where they do much worse halfway between
both cities' statistics (``midway``) than by the target's own (``per_city``), sensor or air are too different to be compared.

Axes: N source pixel, M target pixel, C channel, K class.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.optimize import minimize
from scipy.spatial.distance import cdist

from c2seg.artifacts.runs import NormalizationCheck
from c2seg.data import City, Normalizer, open_city
from c2seg.data.normalize import Normalization
from c2seg.data.physical_layers import measured, sentinel_layers
from c2seg.data.units import in_one_unit, physical_units
from c2seg.pipeline.drift import sample_pixels
from c2seg.pipeline.prepare import LabelFile, Prepared, prepare
from c2seg.progress import Bars, Progress
from c2seg.recipes import Recipe
from c2seg.recipes.changes import comparing
from c2seg.recipes.training import Augmentation, Sampling
from c2seg.sampling import PatchSampler, training_scenes
from c2seg.sampling.patches import UNLABELED

__all__ = ["Compared", "class_discrepancy", "prepare_comparing"]

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


def prepare_comparing(
    recipe: Recipe,
    sources: Sequence[Path],
    target: Path | None,
    label_map: str | None,
    seed: int,
    bars: Bars,
    target_labels: LabelFile | None = None,
) -> Compared:
    """Prepare the cities of a fit (``prepare``), and decide on ``normalization: auto``.

    They are compared if target and sources have some modality in one known unit, and, with ``comparison.sentinel``, no other
    bands than those of Sentinel-2 and Sentinel-1. They are not if a mixture of the sources' classes is more than
    ``recipe.comparison.limit`` times as far from the target's pixels by ``midway`` as by ``per_city``.
    """

    def prepared(changed: Recipe, layers: Sequence[str] | None = None) -> tuple[Recipe, Prepared]:
        return prepare(changed, sources, target, label_map, bars("statistics"), target_labels, layers)

    if recipe.normalization != "auto":
        return Compared(*prepared(recipe))
    record = None
    cities = [open_city(path) for path in (*sources, target)] if target is not None else []
    layers = _layers_in_common(cities) if cities and recipe.comparison.sentinel else ()
    if _in_known_units(cities) and (layers or not recipe.comparison.sentinel):
        changed, data = prepared(comparing(recipe, sentinel=bool(layers)), layers or None)
        record = _distances(data, seed, bars("normalization"))
        if record is not None:
            times, limit = record.midway / max(record.per_city, 1e-6), recipe.comparison.limit
            if times <= limit:
                return Compared(changed, data, record)
            note = (
                f"normalization: per_city: compared with the sources' values, the target is {times:.1f} times as far from "
                f"any mixture of their classes (comparison.limit {limit:g})"
            )
            record = record.model_copy(update={"normalization": "per_city", "notes": (note,)})
    return Compared(*prepared(recipe.model_copy(update={"normalization": "per_city"})), record)


def _in_known_units(cities: Sequence[City]) -> bool:
    """Return whether some modality of all cities has values of a known unit."""
    units = [physical_units(city, measured(city.modality_names)) for city in cities]
    known = [{name for name, unit in of_city.items() if unit.unit is not None} for of_city in units]
    return bool(known) and bool(set.intersection(*known))


def _layers_in_common(cities: Sequence[City]) -> tuple[str, ...]:
    """Return the physical layers of all cities; none where one has other bands than those of Sentinel-2 and Sentinel-1."""
    of_cities = [sentinel_layers(city) for city in cities]
    return tuple(name for name in of_cities[0] if all(name in some for some in of_cities)) if all(of_cities) else ()


def _distances(prepared: Prepared, seed: int, progress: Progress) -> NormalizationCheck | None:
    """Return how far the target is from the sources by both normalizations; None where nothing of them can be compared."""
    target, sources, names = prepared.target, prepared.statistics, measured(prepared.modalities)
    if target is None or not any(in_one_unit(name, target.statistics[name], sources[name]) for name in names):
        return None
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
