"""Open the cities of a run, check that they agree, fit the normalization: what every kind of model starts from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from c2seg.artifacts import BandSpec, input_bands
from c2seg.data import BandStatistics, BlockFolds, City, LabeledCity, Normalizer, city_statistics, open_city
from c2seg.data.layouts import open_labeled_city
from c2seg.data.pca import principal_components
from c2seg.data.spectral import match_bands
from c2seg.data.tile_folds import TileFolds
from c2seg.data.tiling import TileGrid
from c2seg.errors import DataError, InputError
from c2seg.progress import Bars, Progress
from c2seg.recipes import Recipe

__all__ = ["Bars", "FitJob", "Prepared", "Storage", "prepare", "scene_folds"]


@dataclass(frozen=True)
class Prepared:
    """What every kind of model learns from. The target is a City: it has no label, by type."""

    sources: tuple[LabeledCity, ...]
    target: City | None
    inputs: dict[str, tuple[BandSpec, ...]]
    statistics: dict[str, BandStatistics]
    """Pooled over the sources."""
    source_statistics: tuple[dict[str, BandStatistics], ...]
    """Of each source."""
    target_statistics: dict[str, BandStatistics] | None
    normalizers: tuple[Normalizer, ...]
    """One per source."""
    target_normalizer: Normalizer | None
    learnt: tuple[int, ...]
    """Ids of the classes that have a labeled pixel in a source."""
    notes: tuple[str, ...] = ()
    """What was done to the cities' bands so that they fit."""

    @property
    def channels(self) -> dict[str, int]:
        """The channels of each modality as networks see them."""
        projection = self.normalizers[0].projection
        return {name: len(projection.get(name, bands)) for name, bands in self.inputs.items()}

    @property
    def present(self) -> list[bool]:
        """For each class, whether anything is learnt of it."""
        return self.sources[0].images.legend.among(self.learnt)


@dataclass(frozen=True)
class Storage:
    """Where pixels are kept while a network trains: memory up to a budget, then memory-mapped files in ``cache``."""

    cache: Path | None = None
    memory_bytes: int = 4 * 2**30


@dataclass(frozen=True)
class FitJob:
    """One fit: recipe, data, run folder, seed, device, whether to go on, where progress is shown, where pixels are kept."""

    recipe: Recipe
    prepared: Prepared
    out: Path
    seed: int
    device: str
    resume: bool
    bars: Bars
    storage: Storage = Storage()


def prepare(
    recipe: Recipe, sources: Sequence[Path], target: Path | None, label_map: str | None, progress: Progress
) -> Prepared:
    """Open the cities, check that they agree, and fit the normalization."""
    if not sources:
        raise InputError("no source city; give at least one `source`")
    cities = tuple(open_labeled_city(path, label_map) for path in sources)
    for city in cities:
        city.check_classes()
        if city.images.legend.ids != cities[0].images.legend.ids:
            raise DataError(f"{city.images.name} and {cities[0].images.name} have different legends")
    if recipe.needs_target and target is None:
        raise InputError(f"recipe {recipe.name} learns from the target's images too: give `target`")
    goal = open_city(target) if target is not None else None
    inputs = input_bands(cities[0].images, recipe)
    if recipe.inputs == "all":
        # What every city has: a modality that the target lacks cannot be used to map it.
        others = [c.images for c in cities[1:]] + ([goal] if goal else [])
        inputs = {n: b for n, b in inputs.items() if all(n in other.modality_names for other in others)}
        if not inputs:
            raise DataError("the cities have no modality in common; see c2seg inspect")
    fitted = [match_bands(city.images, inputs) for city in cities[1:]]
    cities = (cities[0], *(LabeledCity(i, c.labels) for (i, _), c in zip(fitted, cities[1:], strict=True)))
    notes = [text for _, texts in fitted for text in texts]
    if goal:
        goal, more = match_bands(goal, inputs)
        notes += more
    for other in [c.images for c in cities] + ([goal] if goal else []):
        counts = other.band_counts(tuple(inputs))
        for name, bands in inputs.items():
            if counts[name] != len(bands):
                raise DataError(
                    f"city {other.name!r} has {counts[name]} {name} bands, {cities[0].images.name!r} has {len(bands)}; "
                    "name roles or wavelengths in city.yaml, or keep the same bands with `keep:`"
                )
    names = tuple(inputs)
    ranked = recipe.normalization == "quantile"
    each = [city_statistics(city.images, names, progress, quantiles=ranked) for city in cities]
    goal_statistics = city_statistics(goal, names, progress, quantiles=ranked) if goal else None
    pooled = dict(each[0])
    for other_statistics in each[1:]:
        pooled = {name: pooled[name].merge(other_statistics[name]) for name in names}
    own = recipe.follows_city
    kind = recipe.normalization
    normalizers = tuple(Normalizer.fit(kind, statistics if own else pooled) for statistics in each)
    projection = _projection(recipe, cities, normalizers, progress)
    normalizers = tuple(replace(normalizer, projection=projection) for normalizer in normalizers)
    goal_normalizer = Normalizer.fit(kind, goal_statistics if own else pooled) if goal_statistics else None
    if goal_normalizer:
        goal_normalizer = replace(goal_normalizer, projection=projection)
    counts = np.sum([city.class_counts() for city in cities], axis=0)
    learnt = tuple(id for id in cities[0].images.legend.ids if counts[id])
    return Prepared(
        cities, goal, inputs, pooled, tuple(each), goal_statistics, normalizers, goal_normalizer, learnt, tuple(notes)
    )


def _projection(
    recipe: Recipe, cities: Sequence[LabeledCity], normalizers: Sequence[Normalizer], progress: Progress
) -> dict[str, np.ndarray]:
    """Return principal components float32 [M, C], of unit deviation, of the modalities with more bands than wanted."""
    wide = [
        name
        for name, modality in cities[0].images.scenes[0].modalities.items()
        if recipe.max_bands is not None and name in normalizers[0].shift and modality.count > recipe.max_bands
    ]
    scenes = [(s, norm) for city, norm in zip(cities, normalizers, strict=True) for s in city.images.scenes]
    found = {name: principal_components(scenes, name, recipe.max_bands or 1, progress) for name in wide}
    return {
        name: (parts.axes / np.maximum(parts.std, 1e-3 * parts.std.max())[:, None]).astype(np.float32)
        for name, parts in found.items()
    }


Folds = BlockFolds | TileFolds


def scene_folds(recipe: Recipe, city: LabeledCity) -> tuple[Folds, ...]:
    """Return the validation folds of each scene of a city."""
    settings = recipe.validation
    folds: list[Folds] = []
    for scene in city.images.scenes:
        if settings.kind == "random_tiles":
            folds.append(
                TileFolds(TileGrid(scene.grid.height, scene.grid.width, settings.tile_px, settings.tile_px // 2))
            )
            continue
        side = settings.block_px or max(4 * settings.guard_px, min(scene.grid.height, scene.grid.width) // 6, 8)
        folds.append(BlockFolds(settings.folds, side, settings.guard_px))
    return tuple(folds)
