"""Standardisation in which every class counts alike: the shares of the classes move neither mean nor deviation of a band.

With means m_k and deviations s_k of a band over the pixels of class k, and over the classes that every city has,

    mean = mean of m_k,    variance = mean of (s_k^2 + m_k^2) - mean^2.

On a source the classes are its labels; on the target, which has none, what a forest that was learnt on the sources takes them
for: first standardised per city, then once more by what that gave.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from c2seg.backends import processors
from c2seg.backends.forest import ForestPredictor
from c2seg.data import BandStatistics, City, LabelledCity, Normaliser, Patch, SceneReader
from c2seg.data.city import blocks
from c2seg.errors import DataError
from c2seg.forest.fit import Source, feature_spec, fit_forest
from c2seg.inference import WindowPlan, sample_windows
from c2seg.progress import Progress
from c2seg.recipes.models import ForestModel

__all__ = ["balance_classes"]

Statistics = Mapping[str, BandStatistics]

_FOREST = ForestModel(trees=100, pixels_per_class=3000)
_ROUNDS = 2
_LEAST_PX = 50  # of a class in a city: fewer say little of its mean
_BLOCK = 256
_SAMPLED_PX = 1_000_000  # of the target


@dataclass(frozen=True)
class _Moments:
    """By class: pixels [K], and by modality means of standardised values and of their squares, float64 [K, C]."""

    count: np.ndarray
    mean: Mapping[str, np.ndarray]
    square: Mapping[str, np.ndarray]

    @classmethod
    def of(cls, parts: Iterable[tuple[Patch, np.ndarray]], statistics: Statistics, classes: int) -> _Moments:
        """Collect patches [C, H, W] by modality and class indices uint8 [H, W]; 255 is left out."""
        count = np.zeros(classes)
        first = {name: np.zeros((classes, len(band.mean))) for name, band in statistics.items()}
        second = {name: np.zeros_like(sums) for name, sums in first.items()}
        for patch, index in parts:
            for k in np.unique(index[index != 255]):
                pixels = index == k
                count[k] += pixels.sum()
                for name, values in patch.items():
                    own = values[:, pixels].astype(np.float64)
                    first[name][k] += own.sum(axis=1)
                    second[name][k] += (own * own).sum(axis=1)
        each = np.maximum(count, 1)[:, None]
        return cls(count, {n: s / each for n, s in first.items()}, {n: s / each for n, s in second.items()})

    def balanced(self, classes: np.ndarray, statistics: Statistics) -> dict[str, BandStatistics]:
        """Return the statistics with mean and deviation over the ``classes`` bool [K], each counted once."""
        found = {}
        for name, band in statistics.items():
            mean = self.mean[name][classes].mean(axis=0)
            variance = np.maximum(self.square[name][classes].mean(axis=0) - mean**2, 0.0)
            found[name] = replace(band, mean=band.mean + band.std * mean, std=band.std * np.sqrt(variance))
        return found


def balance_classes(
    sources: Sequence[LabelledCity], each: Sequence[Statistics], target: City, own: Statistics, progress: Progress
) -> tuple[tuple[dict[str, BandStatistics], ...], dict[str, BandStatistics]]:
    """Return the statistics of the sources (now ``each``) and of the target (now ``own``) with classes balanced.

    Counts, minima and maxima stay. Of the target at most about a million pixels of windows spread over it are looked at.
    Raises DataError when fewer than two classes have 50 pixels in every city.
    """
    classes = sources[0].images.legend.num_classes
    found = [dict(statistics) for statistics in (*each, own)]
    for _ in range(_ROUNDS):
        *normalisers, goal = (Normaliser.fit("class_balanced", statistics) for statistics in found)
        forest = _forest(sources, normalisers, tuple(own), progress)
        parts = [_labelled(city, normaliser, tuple(own)) for city, normaliser in zip(sources, normalisers, strict=True)]
        parts.append(_taken_for(target, goal, forest))
        moments = [_Moments.of(part, own, classes) for part in parts]
        shared = np.all([part.count >= _LEAST_PX for part in moments], axis=0)
        if shared.sum() < 2:
            raise DataError(
                f"normalisation class_balanced: {shared.sum() or 'no'} class has {_LEAST_PX} pixels in every city, as far as "
                f"a forest can tell in {target.name!r}; take normalisation per_city"
            )
        found = [part.balanced(shared, statistics) for part, statistics in zip(moments, found, strict=True)]
    return tuple(found[:-1]), found[-1]


def _labelled(city: LabelledCity, normaliser: Normaliser, names: Sequence[str]) -> Iterator[tuple[Patch, np.ndarray]]:
    table = city.images.legend.index_table()
    for number, scene in enumerate(city.images.scenes):
        reader = SceneReader(scene, names, normaliser)
        for window in blocks(scene.grid.window, _BLOCK):
            index = table[city.read_label(number, window)]
            if (index != 255).any():
                patch, valid = reader(window)
                yield patch, np.where(valid, index, 255)


def _taken_for(city: City, normaliser: Normaliser, forest: ForestPredictor) -> Iterator[tuple[Patch, np.ndarray]]:
    halo = forest.halo_px
    for scene in city.scenes:
        plan = WindowPlan(scene.grid.height, scene.grid.width, _BLOCK, 0, 1)
        wanted = max(4, _SAMPLED_PX // (_BLOCK * _BLOCK * len(city.scenes)))
        for patch, valid in sample_windows(SceneReader(scene, forest.order, normaliser), plan, halo, wanted):
            index = forest.predict(patch, valid)[0].argmax(axis=0).astype(np.uint8)
            inner = slice(halo, halo + index.shape[0]), slice(halo, halo + index.shape[1])
            yield (
                {name: values[0][:, *inner] for name, values in patch.items()},
                np.where(valid[0][inner], index, 255),
            )


def _forest(
    sources: Sequence[LabelledCity], normalisers: Sequence[Normaliser], names: tuple[str, ...], progress: Progress
) -> ForestPredictor:
    taught = [Source(city, normaliser) for city, normaliser in zip(sources, normalisers, strict=True)]
    spec = feature_spec(taught, names, _FOREST)
    trees = fit_forest(taught, names, _FOREST, spec, 0, progress=progress)
    return ForestPredictor(trees, spec, names, sources[0].images.legend.num_classes, processors())
