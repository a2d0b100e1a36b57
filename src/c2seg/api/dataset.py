"""A city as a torch data set, for training loops of other packages."""

from __future__ import annotations

import operator
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from c2seg.data import (
    BandStatistics,
    City,
    LabeledCity,
    Normalizer,
    PreparedCity,
    cached,
    city_statistics,
    open_city,
    open_labeled_city,
)
from c2seg.data.normalize import IN_PHYSICAL_UNITS, NORMALIZATIONS, OF_SOURCES, Normalization
from c2seg.data.units import in_physical_units
from c2seg.errors import InputError, unknown_name
from c2seg.predict.plan import WindowPlan
from c2seg.recipes.training import Augmentation, Sampling
from c2seg.sampling import Draw, PatchSampler, TrainingScene, training_scenes
from c2seg.types import Window

__all__ = ["CityDataset", "CitySample"]

CitySample = dict[str, Tensor | str | int]
"""One sample; see ``CityDataset``."""

_KEYS = ("mask", "valid", "bounds", "crs", "scene", "window")
_PLAIN = Augmentation(flips=False, rotations=False)


class CityDataset(Dataset[CitySample]):
    """Patches or windows of a city, source or target, as dicts in the manner of TorchGeo.

    A sample holds

    * one tensor by modality (``msi``, ``sar``, ``hsi``, ...), float32 [C, size_px, size_px], normalized, 0 where not valid;
    * ``mask``, int64 [size_px, size_px]: index of the class in ``class_ids``, 255 where the loss ignores the pixel. A target
      has none: a ``City`` has no labels, whatever lies on disk;
    * ``valid``, bool [size_px, size_px]: every modality has data;
    * ``bounds``, float64 [4]: west, south, east, north of the window in the units of ``crs``, before it is turned;
    * ``crs``, WKT, empty if the city has none;
    * ``scene``, the number of the scene, and ``window``, int64 [4]: first row, first column, height, width in it.

    ``kind="patches"`` draws at random, as the training of this package does: sample ``i`` of an epoch is a function of
    ``seed``, the epoch (``set_epoch``) and ``i``. Of every ``batch_size`` consecutive samples the first
    ``class_balanced_fraction`` are centered near a pixel of a class drawn evenly; the rest is drawn evenly over the city. So a
    loader need not shuffle. ``kind="windows"`` goes over the city in a regular grid, row by row, for evaluation and
    prediction; windows at the lower and right edges are moved back inside.

    Works with any number of loader workers, forked or spawned, and gives the same samples for all: files are opened anew in
    every process.
    """

    def __init__(
        self,
        city: City | LabeledCity | str | os.PathLike[str],
        *,
        labels: bool = False,
        kind: Literal["patches", "windows"] = "patches",
        modalities: Sequence[str] | None = None,
        size_px: int = 128,
        overlap_px: int = 0,
        length: int | None = None,
        normalization: Normalization = "per_city",
        statistics: Mapping[str, BandStatistics] | None = None,
        batch_size: int = 8,
        class_balanced_fraction: float = 0.5,
        augment: Augmentation | None = None,
        transforms: Callable[[CitySample], CitySample] | None = None,
        seed: int = 0,
        cache: str | os.PathLike[str] | None = None,
    ) -> None:
        """Open a city and read where it is valid (and labeled), one or two bytes a pixel.

        ``city``: a path, or a city that is open. ``labels``: open the labels of a path; otherwise they are not looked
        for. ``modalities``: in this order; None: all. ``overlap_px``: of neighboring windows. ``length``: samples of an epoch
        of patches; None: as many as windows cover the city. ``normalization``: as in recipes; ``source``,
        ``physical`` and ``midway`` take ``statistics`` of the source city, the others those of this city, which are measured
        unless they are given.
        ``augment``: changes to patches; None: none.
        ``transforms``: applied to every sample; what it draws from torch's generator depends on seed, epoch and number alone.
        ``cache``: a folder for a memory-mapped copy of the pixels, which all workers share and which is much faster than
        compressed files.

        Raises DataError if the city cannot be read or has no labels, InputError for a value that cannot be used,
        TrainingError if no pixel is valid or labeled.
        """
        images, labeled = _opened(city, labels=labels)
        if cache is not None:
            images = cached(images, Path(cache), 0)
        self.kind = _checked("kind", kind, ("patches", "windows"))
        self.modalities = tuple(modalities or images.modality_names)
        if reserved := [name for name in self.modalities if name in _KEYS]:
            raise InputError(
                f"the modality {reserved[0]!r} has the name of another key of a sample; rename it in city.yaml"
            )
        images.band_counts(self.modalities)
        self.city = images
        self.transforms = transforms
        self.seed = seed
        augment = self._augmentation(augment)
        ranked = _checked("normalization", normalization, NORMALIZATIONS) == "quantile"
        if normalization in IN_PHYSICAL_UNITS:
            images = in_physical_units(images)[0]
            self.city = images
        if normalization in OF_SOURCES and statistics is None and labeled is None:
            raise InputError(f"normalization={normalization!r} of a target needs statistics=, those of the source city")
        if statistics is None and normalization == "none" and not _changes_values(augment):
            statistics = {name: _no_statistics(count) for name, count in images.band_counts(self.modalities).items()}
        elif statistics is None:
            statistics = city_statistics(images, self.modalities, quantiles=ranked)
        self.statistics = {name: statistics[name] for name in self.modalities}
        here = self.statistics
        if normalization == "midway":
            here = city_statistics(images, self.modalities)
        self.normalizer = Normalizer.of_city(normalization, here, self.statistics)
        scenes = self._scenes(replace(labeled, images=images) if labeled else None)
        sampling = Sampling(patch_px=size_px, batch_size=batch_size, class_balanced_fraction=class_balanced_fraction)
        self._sampler = PatchSampler(scenes, sampling, augment, seed, images.legend.num_classes)
        self._windows = _windows(images, size_px, overlap_px)
        if length is not None and (length < 1 or kind == "windows"):
            raise InputError(f"length={length}: at least 1, and of patches only")
        self._length = length or len(self._windows)
        # In shared memory: workers that live through several epochs see it change.
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()  # type: ignore[no-untyped-call]

    def _scenes(self, labeled: LabeledCity | None) -> list[TrainingScene]:
        if labeled is None:
            return training_scenes(PreparedCity(self.city, self.statistics, self.normalizer), self.modalities)
        return training_scenes(PreparedCity(labeled, self.statistics, self.normalizer), self.modalities)

    @property
    def class_ids(self) -> tuple[int, ...]:
        """The ids of the classes in the legend, by index in ``mask``."""
        return self.city.legend.ids

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return self.city.legend.num_classes

    @property
    def band_counts(self) -> dict[str, int]:
        """Number of bands by modality."""
        return self.city.band_counts(self.modalities)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose patches are drawn, from 0; before a loader is iterated over. Windows do not change."""
        self._epoch.fill_(epoch)

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> CitySample:
        number = operator.index(index)
        number += self._length if number < 0 else 0
        if not 0 <= number < self._length:
            raise IndexError(f"sample {index} of {self._length}")
        position = number if self.kind == "windows" else int(self._epoch) * self._length + number
        sample = self._sample(self._draw(position))
        if self.transforms is None:
            return sample
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed * 1_000_003 + position)
            return self.transforms(sample)

    def _draw(self, position: int) -> Draw:
        if self.kind == "windows":
            place = self._windows[position]
            return Draw(place.scene, place.window, 0, False, (self.seed, 0, position, 0))
        step, slot = divmod(position, self._sampler.settings.batch_size)
        return self._sampler.draw_one(step, slot)

    def _sample(self, draw: Draw) -> CitySample:
        loaded = self._sampler.load([draw])
        grid = self.city.scenes[draw.scene].grid
        window = draw.window
        sample: CitySample = {name: torch.from_numpy(values[0]) for name, values in loaded.patch.items()}
        if loaded.targets is not None:
            sample["mask"] = torch.from_numpy(loaded.targets[0]).to(torch.int64)
        return sample | {
            "valid": torch.from_numpy(loaded.valid[0]),
            "bounds": torch.tensor(grid.crop(window).bounds_xy, dtype=torch.float64),
            "crs": grid.crs or "",
            "scene": draw.scene,
            "window": torch.tensor([window.row, window.col, window.height, window.width]),
        }

    def _augmentation(self, augment: Augmentation | None) -> Augmentation:
        if augment is not None and self.kind == "windows":
            raise InputError("windows are not augmented: leave augment= out")
        if augment is not None and augment.fda is not None:
            raise InputError("augment.fda takes the style of another city, which a data set of one city does not have")
        return augment or _PLAIN


@dataclass(frozen=True, slots=True)
class _Place:
    """A window of a scene."""

    scene: int
    window: Window


def _opened(city: City | LabeledCity | str | os.PathLike[str], *, labels: bool) -> tuple[City, LabeledCity | None]:
    """Return the images, and the city with labels if there are to be any."""
    if isinstance(city, LabeledCity):
        return city.images, city
    if isinstance(city, City):
        if labels:
            raise InputError("a City has no labels: give a LabeledCity or a path")
        return city, None
    if labels:
        labeled = open_labeled_city(Path(city))
        return labeled.images, labeled
    return open_city(Path(city)), None


def _windows(city: City, size_px: int, overlap_px: int) -> list[_Place]:
    """Return square windows that cover all scenes; they reach beyond a scene that is smaller."""
    places = []
    for index, scene in enumerate(city.scenes):
        plan = WindowPlan(scene.grid.height, scene.grid.width, size_px, overlap_px)
        corners = [(row, col) for row in plan.rows for col in plan.cols]
        places += [_Place(index, Window(row, col, size_px, size_px)) for row, col in corners]
    return places


def _changes_values(augment: Augmentation) -> bool:
    """True if values are changed by their deviations."""
    return bool(augment.gain_std or augment.offset_std or augment.noise_std)


def _no_statistics(bands: int) -> BandStatistics:
    """Return statistics for values that are not changed."""
    return BandStatistics(0, np.zeros(bands), np.ones(bands), np.zeros(bands), np.ones(bands))


def _checked(parameter: str, value: str, valid: Sequence[str]) -> str:
    if value not in valid:
        raise InputError(f"{parameter}: {unknown_name('value', value, valid)}")
    return value
