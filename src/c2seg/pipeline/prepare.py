"""Open the cities of a run, check that they agree, and fit the normalization."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from c2seg.artifacts import SourceCity, TargetCity, input_bands
from c2seg.data import (
    Band,
    BandStatistics,
    City,
    Folds,
    LabeledCity,
    PreparedCity,
    Scene,
    open_city,
)
from c2seg.data.folds import BlockFolds
from c2seg.data.layouts import open_labeled_city
from c2seg.data.normalize import Normalization
from c2seg.data.physical_layers import with_physical_layers
from c2seg.data.preparation import prepare_cities, renormalized
from c2seg.data.target_labels import TargetLabels, read_target_labels
from c2seg.data.tile_folds import TileFolds
from c2seg.data.tiling import TileGrid
from c2seg.data.units import PhysicalUnit
from c2seg.errors import DataError, InputError
from c2seg.legend import Legend
from c2seg.pipeline.colors import with_colors
from c2seg.progress import Bars, Progress, no_progress
from c2seg.recipes import Recipe
from c2seg.recipes.schema import Validation

__all__ = ["FitJob", "LabelFile", "Prepared", "Storage", "prepare"]


@dataclass(frozen=True)
class Prepared:
    """The data that every kind of model is trained on. The target is a City: by type it has no label. The few labels of a
    target that a user gives are of a type of their own."""

    sources: tuple[PreparedCity[LabeledCity], ...]
    target: PreparedCity[City] | None
    inputs: dict[str, tuple[Band, ...]]
    statistics: dict[str, BandStatistics]
    """Pooled over the sources."""
    trained_classes: tuple[int, ...]
    """Ids of the classes that have a labeled pixel in a source."""
    notes: tuple[str, ...] = ()
    """What was recognized and done to the cities, and classes that no source has."""
    target_labels: TargetLabels | None = None
    """A few labels of the target, from a file that the user names."""
    labeled_pixels: int = 0
    """Pixels of the sources with a class."""
    units: Mapping[str, PhysicalUnit] = field(default_factory=dict)
    """What the values of the first source are, by modality."""

    @property
    def legend(self) -> Legend:
        """The classes of the sources."""
        return self.sources[0].images.legend

    @property
    def modalities(self) -> tuple[str, ...]:
        """Those that the run takes, in order."""
        return tuple(self.inputs)

    @property
    def projection(self) -> Mapping[str, np.ndarray]:
        """What makes channels of the normalized bands, float32 [M, C] by modality, where channels are not bands."""
        return self.sources[0].normalizer.projection

    @property
    def channels(self) -> dict[str, int]:
        """The channels of each modality as networks see them."""
        return {name: len(self.projection.get(name, bands)) for name, bands in self.inputs.items()}

    @property
    def present(self) -> list[bool]:
        """For each class, whether it has a labeled pixel in a source."""
        return self.legend.among(self.trained_classes)

    @property
    def held_out(self) -> int | None:
        """The fold that the sources hold out."""
        return self.sources[0].city.held_out

    @property
    def target_statistics(self) -> dict[str, BandStatistics] | None:
        """What normalizes images of the target that come without their city."""
        return dict(self.target.statistics) if self.target else None

    def origins(self) -> tuple[tuple[SourceCity, ...], TargetCity | None]:
        """Return what the sources and the target are, for the record of the run."""
        sources = tuple(
            SourceCity(
                name=source.images.name, images=source.images.fingerprint(), labels=source.city.label_fingerprint()
            )
            for source in self.sources
        )
        target = self.target.city if self.target else None
        return sources, TargetCity(name=target.name, images=target.fingerprint()) if target else None

    def with_folds(self, settings: Validation) -> Prepared:
        """Return the data with the sources' scenes divided for validation."""
        return self._with_cities(lambda city: replace(city, folds=tuple(_folds(settings, city.images))))

    def holding_out(self, fold: int) -> Prepared:
        """Return the data without the labels of a fold of the sources."""
        return self._with_cities(lambda city: city.holding_out(fold))

    def close_at_hand(self, storage: Storage, bars: Bars, *, with_target: bool) -> Prepared:
        """Return the data with the sources, and the target if it is trained on, in memory as far as ``storage`` allows."""
        budget, sources = storage.memory_bytes, []
        for source in self.sources:
            sources.append(source.cached(storage.cache, budget, bars("cache")))
            size = source.bytes_in_memory()
            budget -= size if size <= budget else 0
        target = self.target
        if target is not None and with_target:
            target = target.cached(storage.cache, budget, bars("cache"))
        return replace(self, sources=tuple(sources), target=target)

    def identity(self) -> list[object]:
        """Return what the sources and the target are, as JSON: fingerprints of images and labels."""
        sources = [(source.images.fingerprint(), source.city.label_fingerprint()) for source in self.sources]
        few = [] if self.target_labels is None else [self.target_labels.digest()]
        return [sources, self.target.city.fingerprint() if self.target else None, *few]

    def normalized(self, kind: Normalization, max_bands: int | None, progress: Progress = no_progress) -> Prepared:
        """Return the same data under another normalization, which must not need quantiles that were not computed."""
        sources, target = renormalized(self.sources, self.target, self.statistics, kind, max_bands, progress)
        return replace(self, sources=sources, target=target)

    def _with_cities(self, change: Callable[[LabeledCity], LabeledCity]) -> Prepared:
        return replace(self, sources=tuple(replace(source, city=change(source.city)) for source in self.sources))


@dataclass(frozen=True)
class Storage:
    """Where pixels are kept while a network trains: memory up to a budget, then memory-mapped files in ``cache``.

    ``trainings`` is a folder of finished trainings that runs have in common; None: every run trains all of its networks.
    """

    cache: Path | None = None
    memory_bytes: int = 4 * 2**30
    trainings: Path | None = None


@dataclass(frozen=True)
class FitJob:
    """One fit: recipe, data, run folder, seed, device, whether to resume, where progress is shown, where pixels are kept."""

    recipe: Recipe
    prepared: Prepared
    out: Path
    seed: int
    device: str
    resume: bool
    bars: Bars
    storage: Storage = Storage()


@dataclass(frozen=True)
class LabelFile:
    """The file that holds a few labels of the target, and its field of classes (None: by its usual names)."""

    path: Path
    field: str | None = None


def prepare(
    recipe: Recipe,
    sources: Sequence[Path],
    target: Path | None,
    label_map: str | None,
    progress: Progress,
    target_labels: LabelFile | None = None,
    layers: Sequence[str] | None = None,
) -> tuple[Recipe, Prepared]:
    """Open the cities, check that they agree, and fit the normalization.

    The recipe that is returned also says where the colors are, for models that ask for them. ``target_labels``: the only
    labels of the target that are read. ``layers``: the physical layers that are made (default: all that networks take).
    """
    layers = recipe.physical if layers is None else layers
    cities, layer_notes = _with_layers(_open_sources(sources, label_map), layers)
    if recipe.needs_target and target is None:
        raise InputError(f"recipe {recipe.name} trains on the target's images too: give `target`")
    target_city = open_city(target) if target is not None else None
    if target_city is not None:
        target_city, of_target = with_physical_layers(target_city, layers)
        layer_notes += of_target
    inputs = _shared_inputs(recipe, [city.images for city in cities] + ([target_city] if target_city else []))
    recipe, remarks = with_colors(recipe, inputs)
    counts = np.sum([city.class_counts() for city in cities], axis=0)
    legend = cities[0].images.legend
    labeled_pixels = int(counts[list(legend.ids)].sum())
    few, few_notes = _few_labels(target_city, legend, tuple(inputs), target_labels)
    counts += 0 if few is None else np.bincount(few.ids, minlength=len(counts))
    trained = tuple(number for number in legend.ids if counts[number])
    notes = (*_unknown_classes(legend, trained), *remarks, *layer_notes, *few_notes)
    by_tile = recipe.statistics == "tiles" and recipe.normalization == "source"
    tile_px = recipe.training.sampling.patch_px if by_tile else None
    kind = recipe.decided_normalization
    made = prepare_cities(cities, target_city, inputs, kind, recipe.max_bands, progress, tile_px=tile_px)
    return recipe, Prepared(
        made.sources,
        made.target,
        inputs,
        made.statistics,
        trained,
        (*made.notes, *notes),
        few,
        labeled_pixels,
        made.units,
    )


def _few_labels(
    target: City | None, legend: Legend, modalities: tuple[str, ...], file: LabelFile | None
) -> tuple[TargetLabels | None, tuple[str, ...]]:
    """Return the few labels of a target on valid pixels, and notes on them; None where no file is given."""
    if file is None:
        return None, ()
    if target is None:
        raise InputError("`target_labels` are labels of a target: give `target`, too")
    labels = read_target_labels(file.path, replace(target, legend=legend), file.field)
    labels, invalid = labels.valid_in(target, modalities)
    if not labels.pixels:
        raise DataError(f"{file.path}: none of its labels is on a valid pixel of {target.name!r}")
    by_class = ", ".join(f"{name} {count}" for name, count in labels.unit_counts(legend).items())
    notes = [f"few-shot: {by_class} labels of the target are trained on; such a run is not compared with others"]
    notes += [f"{file.path.name}: {invalid} labeled pixels are not valid in the images and left out"] if invalid else []
    return labels, tuple(notes)


def _unknown_classes(legend: Legend, trained: Sequence[int]) -> tuple[str, ...]:
    """Return a note on classes without a labeled pixel in the sources."""
    unknown = [f"{item.id} {item.name}" for item in legend.classes if item.id not in trained]
    if not unknown:
        return ()
    return (f"no labeled pixel of {'; '.join(unknown)} in the sources: the model will never predict them",)


def _open_sources(sources: Sequence[Path], label_map: str | None) -> tuple[LabeledCity, ...]:
    if not sources:
        raise InputError("no source city; give at least one `source`")
    cities = tuple(open_labeled_city(path, label_map) for path in sources)
    for city in cities:
        city.check_classes()
        if city.images.legend.ids != cities[0].images.legend.ids:
            raise DataError(f"{city.images.name} and {cities[0].images.name} have different legends")
    return cities


def _with_layers(
    cities: Sequence[LabeledCity], layers: Sequence[str]
) -> tuple[tuple[LabeledCity, ...], tuple[str, ...]]:
    """Return the cities with physical layers, and notes on missing bands."""
    made = [with_physical_layers(city.images, layers) for city in cities]
    layered = tuple(replace(city, images=images) for city, (images, _) in zip(cities, made, strict=True))
    return layered, tuple(note for _, notes in made for note in notes)


def _shared_inputs(recipe: Recipe, cities: Sequence[City]) -> dict[str, tuple[Band, ...]]:
    """Return the bands by modality that the recipe takes: a modality that the target lacks cannot be used to predict it."""
    inputs = input_bands(cities[0], recipe)
    if recipe.inputs == "all":
        inputs = {n: bands for n, bands in inputs.items() if all(n in city.modality_names for city in cities[1:])}
        if not inputs:
            raise DataError("the cities have no modality in common; see c2seg inspect")
    return inputs


def _folds(settings: Validation, city: City) -> Iterator[Folds]:
    """Yield the validation folds of each scene of a city."""
    for scene in city.scenes:
        if settings.kind == "random_tiles":
            yield TileFolds(_overlapping_tiles(settings, scene))
        elif settings.folds:
            side = settings.block_px or max(4 * settings.guard_px, min(scene.grid.height, scene.grid.width) // 6, 8)
            yield BlockFolds(settings.folds, side, settings.guard_px)


def _overlapping_tiles(settings: Validation, scene: Scene) -> TileGrid:
    """Return the half-overlapping tiles of a scene: those of its release, else of the recipe's size."""
    tiles = scene.tiles
    if tiles is not None and tiles.step_px == tiles.tile_px // 2:
        return tiles
    return TileGrid(scene.grid.height, scene.grid.width, settings.tile_px, settings.tile_px // 2)
