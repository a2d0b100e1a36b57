"""Cities brought to the same bands, with the statistics and the normalization of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from c2seg.data.city import Band, City, LabeledCity
from c2seg.data.normalize import IN_PHYSICAL_UNITS, OF_EACH_CITY, Normalization, Normalizer
from c2seg.data.pca import principal_components
from c2seg.data.physical_layers import measured
from c2seg.data.prepared import PreparedCity
from c2seg.data.radiometry import dark_ends, radiometry_notes
from c2seg.data.spectral import match_bands
from c2seg.data.statistics import BandStatistics, city_statistics
from c2seg.data.units import (
    PhysicalUnit,
    in_one_unit,
    in_physical_units,
    physical_units,
    radar_unit_of,
    reflectance_notes,
    units_note,
)
from c2seg.errors import DataError
from c2seg.progress import Progress, parts_of

__all__ = ["PreparedCities", "comparison_notes", "prepare_cities", "renormalized"]

Bands = Mapping[str, Sequence[Band]]
"""By modality."""


@dataclass(frozen=True)
class PreparedCities:
    """Labeled cities and, where there is one, a city without labels, all with the bands of the first.

    ``statistics`` are pooled over the labeled cities; ``units`` are of the first one's values, by modality; ``notes`` tell what
    was recognized and changed.
    """

    sources: tuple[PreparedCity[LabeledCity], ...]
    target: PreparedCity[City] | None
    statistics: dict[str, BandStatistics]
    notes: tuple[str, ...]
    units: dict[str, PhysicalUnit]


def prepare_cities(
    sources: Sequence[LabeledCity],
    target: City | None,
    inputs: Bands,
    normalization: Normalization,
    max_bands: int | None,
    progress: Progress,
    *,
    tile_px: int | None = None,
) -> PreparedCities:
    """Match the cities' bands with ``inputs``, compute statistics, and fit the normalization.

    A modality of more than ``max_bands`` bands is projected on components of the labeled cities. ``tile_px``: the statistics
    over the labeled cities are means over tiles, of this side where data do not come as tiles; None: over all pixels. Raises
    DataError if bands cannot be matched, or if a city has no valid pixel.
    """
    given = [*(city.images for city in sources), *([target] if target else [])]
    converted: list[str] = []
    if normalization in IN_PHYSICAL_UNITS:
        sources, target, converted = _converted(sources, target)
    units = physical_units(sources[0].images, tuple(inputs))
    sources, target, notes = _matched(sources, target, inputs)
    names, ranked = tuple(inputs), normalization == "quantile"
    parts = parts_of(progress, len(sources) * (2 if tile_px is not None else 1) + (target is not None))
    statistics = [city_statistics(city.images, names, next(parts), quantiles=ranked) for city in sources]
    pooled = _pooled(statistics)
    if tile_px is not None:
        pooled = _pooled(
            [city_statistics(city.images, names, next(parts), kind="tiles", tile_px=tile_px) for city in sources]
        )
    plain = [Normalizer.of_city(normalization, band, pooled) for band in statistics]
    fitted = _projected(plain, sources, max_bands, progress)
    prepared_target = None
    compared: tuple[str, ...] = ()
    if target:
        of_target = city_statistics(target, names, next(parts), quantiles=ranked)
        normalizer = Normalizer.of_city(normalization, of_target, pooled)
        compared = comparison_notes(normalization, target.name, of_target, pooled)
        prepared_target = PreparedCity(target, of_target, replace(normalizer, projection=fitted[0].projection))
    opened = [*(city.images for city in sources), *([target] if target else [])]
    notes = (
        *_reading_notes(opened),
        *notes,
        *converted,
        *_unit_notes(opened, names),
        *_optical_notes(given, names, normalization),
        *dark_ends(opened),
        *compared,
        *_same_city(sources, target),
    )
    prepared = tuple(PreparedCity(*parts) for parts in zip(sources, statistics, fitted, strict=True))
    return PreparedCities(prepared, prepared_target, pooled, notes, units)


def renormalized(
    sources: Sequence[PreparedCity[LabeledCity]],
    target: PreparedCity[City] | None,
    pooled: Mapping[str, BandStatistics],
    normalization: Normalization,
    max_bands: int | None,
    progress: Progress,
) -> tuple[tuple[PreparedCity[LabeledCity], ...], PreparedCity[City] | None]:
    """Return prepared cities under another normalization; their statistics, and ``pooled`` ones, are used again."""

    def fitted(statistics: Mapping[str, BandStatistics]) -> Normalizer:
        return Normalizer.of_city(normalization, statistics, pooled)

    normalizers = [fitted(source.statistics) for source in sources]
    projected = _projected(normalizers, [source.city for source in sources], max_bands, progress)
    changed = tuple(replace(source, normalizer=norm) for source, norm in zip(sources, projected, strict=True))
    if target is None:
        return changed, None
    return changed, replace(target, normalizer=replace(fitted(target.statistics), projection=projected[0].projection))


def comparison_notes(
    normalization: Normalization, name: str, here: Mapping[str, BandStatistics], sources: Mapping[str, BandStatistics]
) -> tuple[str, ...]:
    """Return a note on the modalities of the city ``name`` that ``midway`` does not compare with the sources; else none."""
    if normalization != "midway":
        return ()
    alone = [key for key in measured(here) if not in_one_unit(key, here[key], sources[key])]
    if not alone:
        return ()
    return (
        f"{' and '.join(alone)} of {name}: unit not known, or not the sources'; normalized by its own values alone",
    )


def _converted(
    sources: Sequence[LabeledCity], target: City | None
) -> tuple[tuple[LabeledCity, ...], City | None, list[str]]:
    """Return the cities in physical units as far as these are known, and notes on what changed."""
    notes: list[str] = []
    physical = []
    for city in sources:
        images, texts = in_physical_units(city.images)
        physical.append(replace(city, images=images))
        notes += texts
    if target is not None:
        target, texts = in_physical_units(target)
        notes += texts
    return tuple(physical), target, notes


def _matched(
    cities: Sequence[LabeledCity], target: City | None, inputs: Bands
) -> tuple[tuple[LabeledCity, ...], City | None, tuple[str, ...]]:
    """Return the cities with the bands of the first one, in its order, and notes on how they were matched."""
    notes: list[str] = []
    matched = [cities[0]]
    for city in cities[1:]:
        images, texts = match_bands(city.images, inputs)
        matched.append(replace(city, images=images))
        notes += texts
    if target:
        target, texts = match_bands(target, inputs)
        notes += texts
    for other in [city.images for city in matched] + ([target] if target else []):
        counts = other.band_counts(tuple(inputs))
        for name, bands in inputs.items():
            if counts[name] != len(bands):
                raise DataError(
                    f"city {other.name!r} has {counts[name]} {name} bands, {cities[0].images.name!r} has {len(bands)}; "
                    "name roles or wavelengths in city.yaml, or keep the same bands with `keep:`"
                )
    return tuple(matched), target, tuple(notes)


def _reading_notes(cities: Sequence[City]) -> list[str]:
    """Return what was recognized in the cities' files that changes their values or bands."""
    return [note for city in cities for note in city.notes if city.scenes[0].tiles is None]


def _same_city(cities: Sequence[LabeledCity], target: City | None) -> list[str]:
    """Return a note if the target is a source."""
    if target is None or target.fingerprint() not in {city.images.fingerprint() for city in cities}:
        return []
    return [
        f"the target {target.name} is a source too: nothing is adapted to another city, and its labels are trained on"
    ]


def _optical_notes(cities: Sequence[City], names: Sequence[str], normalization: Normalization) -> list[str]:
    """Return what looks wrong in the cities' reflectance, and scales that differ where the normalization compares them."""
    notes = [note for city in cities for note in radiometry_notes(city, names)]
    if normalization in OF_EACH_CITY | IN_PHYSICAL_UNITS:
        return notes
    return [*reflectance_notes({city.name: physical_units(city, names) for city in cities}), *notes]


def _unit_notes(cities: Sequence[City], names: Sequence[str]) -> list[str]:
    note = units_note({city.name: radar_unit_of(city) for city in cities}) if "sar" in names else None
    return [note] if note else []


def _pooled(statistics: Sequence[dict[str, BandStatistics]]) -> dict[str, BandStatistics]:
    pooled = dict(statistics[0])
    for other in statistics[1:]:
        pooled = {name: pooled[name].merge(other[name]) for name in pooled}
    return pooled


def _projected(
    normalizers: Sequence[Normalizer], cities: Sequence[LabeledCity], max_bands: int | None, progress: Progress
) -> list[Normalizer]:
    """Return the normalizers with the same projection of modalities with more than ``max_bands`` bands."""
    wide = [
        name
        for name, modality in cities[0].images.scenes[0].modalities.items()
        if max_bands is not None and name in measured(normalizers[0].shift) and modality.count > max_bands
    ]
    scenes = [(scene, norm) for city, norm in zip(cities, normalizers, strict=True) for scene in city.images.scenes]
    components = {name: principal_components(scenes, name, max_bands or 1, progress) for name in wide}
    projection = {
        name: (parts.axes / np.maximum(parts.std, 1e-3 * parts.std.max())[:, None]).astype(np.float32)
        for name, parts in components.items()
    }
    return [replace(normalizer, projection=projection) for normalizer in normalizers]
