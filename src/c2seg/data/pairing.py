"""Which of the cities under a folder make a pair: source, target and the target's labels, of one release if possible."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np

from c2seg.data.city import City, Scene
from c2seg.data.finding import DataCity, PublishedData
from c2seg.data.layouts import folder, mat, open_city, tiles
from c2seg.data.published import DATASETS
from c2seg.errors import C2SegError
from c2seg.types import Window

__all__ = ["DataPair", "data_pairs", "same_place"]

_LAYOUTS = (tiles.NAME, mat.NAME, folder.NAME)
"""In order of preference: the challenge's systems were trained on its tiles."""
_SAMPLES, _SAMPLE_PX = 4, 64
_SAME = 0.9
"""Least correlation of two images of one place."""

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DataPair:
    """A source, a target, and where the target's labels are (None: nowhere). ``dataset`` is ``AB`` or ``BW``."""

    dataset: str
    source: DataCity
    target: DataCity
    reference: Path | None

    @property
    def simulated(self) -> bool:
        """True if one of the cities is simulated: published scores are of other cities then."""
        return self.source.simulated or self.target.simulated


def data_pairs(data: PublishedData) -> tuple[DataPair, ...]:
    """Return a pair for each dataset whose source and target can be used; what is missing is left to ``data.missing``.

    Images of both are of one release, if there are such. Tiles of the target have no labels: those of the whole scene are
    taken, if its image shows the same place as the tiles.
    """
    pairs = (_pair(dataset, [city for city in data.cities if city.dataset == dataset]) for dataset in DATASETS)
    return tuple(pair for pair in pairs if pair is not None)


def _pair(dataset: str, cities: Sequence[DataCity]) -> DataPair | None:
    sources = [city for city in cities if city.role == "source" and city.usable]
    targets = [city for city in cities if city.role == "target" and city.usable]
    choices = sorted(product(sources, targets), key=lambda pair: _rank(*pair))
    scored = (DataPair(dataset[-2:], *pair, _reference(pair[1], targets)) for pair in choices)
    first = None
    for pair in scored:
        if pair.reference is not None:
            return pair
        first = first or pair
    return first


def _rank(source: DataCity, target: DataCity) -> tuple[bool, int, str, str]:
    layouts = max(
        _LAYOUTS.index(city.layout) if city.layout in _LAYOUTS else len(_LAYOUTS) for city in (source, target)
    )
    return source.layout != target.layout, layouts, str(source.path), str(target.path)


def _reference(target: DataCity, targets: Sequence[DataCity]) -> Path | None:
    """Return where the labels of a target are: in the city itself, or in another copy of the same place."""
    if target.labeled:
        return target.path
    for copy in targets:
        if copy.labeled and copy.size == target.size:
            try:
                same = same_place(open_city(target.path), open_city(copy.path))
            except C2SegError as error:
                _LOG.warning("%s", error)
                continue
            if same:
                return copy.path
            _LOG.warning(
                "the image of %s is not that of %s (turned, or of another place): its labels are not used",
                copy.path, target.path,
            )  # fmt: skip
    return None


def same_place(one: City, other: City) -> bool:
    """Return whether two cities of one size show the same pixels, up to a scale of the values: sampled windows correlate.

    True where they share no modality, or nothing varies: nothing contradicts it then.
    """
    first, second = one.scenes[0], other.scenes[0]
    names = [name for name in first.modalities if name in second.modalities]
    if not names:
        return True
    correlations = [_correlation(first, second, names[0], window) for window in _windows(first)]
    known = [value for value in correlations if value is not None]
    return not known or float(np.median(known)) >= _SAME


def _windows(scene: Scene) -> Iterator[Window]:
    whole = scene.grid.window
    for row in np.linspace(0, max(0, whole.height - _SAMPLE_PX), _SAMPLES).astype(int):
        for col in np.linspace(0, max(0, whole.width - _SAMPLE_PX), _SAMPLES).astype(int):
            yield Window(int(row), int(col), _SAMPLE_PX, _SAMPLE_PX).intersect(whole)


def _correlation(one: Scene, other: Scene, name: str, window: Window) -> float | None:
    """Return the correlation of the last band over pixels that both have; None where nothing varies."""
    (here, valid), (there, usable) = one.read(name, window), other.read(name, window)
    both = valid & usable
    a, b = here[-1][both].astype(np.float64), there[-1][both].astype(np.float64)
    if a.size < 16 or not a.std() or not b.std():
        return None
    return float(np.corrcoef(a, b)[0, 1])
