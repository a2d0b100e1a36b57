"""Probability samples of a map's pixels: stratified, simple random, systematic.

Two passes over the map: the first counts each stratum, the second fetches the pixels of drawn ranks. Memory follows the numbers
of points and of strata, never the map. Axes: n point, h stratum.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from c2seg.errors import InputError
from c2seg.progress import Progress, no_progress
from c2seg.verify.allocation import allocate, anticipated_accuracy, minimum_points
from c2seg.verify.classmap import ClassMap, row_windows
from c2seg.verify.samples import SampledPoint, Stratum
from c2seg.verify.strata import ClassPart, ConfidencePart, Counted, StrataRule, ZonePart

__all__ = ["DrawSettings", "Drawn", "draw_random", "draw_systematic", "sorted_ranks", "stratum_allocation"]

_ORDER, _START = 0, 1  # streams of random numbers beside those of the strata, which begin at 2


@dataclass(frozen=True)
class DrawSettings:
    """How points are drawn. ``accuracy``: the anticipated one; None: the mean confidence of each stratum, else 0.8."""

    points: int
    seed: int = 0
    allocation: str = "neyman"
    min_per_class: int | None = None
    accuracy: float | None = None


@dataclass(frozen=True)
class Drawn:
    """Strata, and points in random order. ``min_per_class`` is the least number of points of a class that was used."""

    strata: tuple[Stratum, ...]
    points: tuple[SampledPoint, ...]
    min_per_class: int | None = None


def stratum_allocation(rule: StrataRule, counted: Counted, settings: DrawSettings) -> tuple[np.ndarray, int]:
    """Return the points of each stratum, int64 [h], and the least number of points of a class."""
    meanings = [rule.meaning(code) for code in counted.codes.tolist()]
    classes = np.array([meaning.get(ClassPart, k) for k, meaning in enumerate(meanings)])
    least, minimum = minimum_points(settings.points, counted.pixels, classes, settings.min_per_class)
    points = allocate(settings.points, counted.pixels, _accuracy(counted, settings), settings.allocation, minimum)
    return points, least


def draw_random(
    class_map: ClassMap, rule: StrataRule, counted: Counted, settings: DrawSettings, progress: Progress = no_progress
) -> Drawn:
    """Draw pixels at random without replacement within each stratum; without parts of the rule the map is one stratum.

    The same map, rule and settings give the same points. Raises InputError as ``allocate`` does.
    """
    points, least = stratum_allocation(rule, counted, settings)
    ranks = [
        sorted_ranks(_generator(settings.seed, 2 + number), pixels, count)
        for number, (pixels, count) in enumerate(zip(counted.pixels.tolist(), points.tolist(), strict=True))
    ]
    rows, cols, strata = _fetch(class_map, rule, counted, ranks, progress)
    return Drawn(
        tuple(_stratum(rule, counted, k, int(n)) for k, n in enumerate(points)),
        _shuffled(rows, cols, strata, settings.seed),
        least if rule.parts else None,
    )


def draw_systematic(class_map: ClassMap, counted: Counted, settings: DrawSettings) -> Drawn:
    """Draw the pixels under a square grid of points with a random start.

    The step is sqrt(pixels / points), so that every pixel has the chance points / pixels; how many points fall on pixels of a
    class varies a little. Raises InputError for more points than pixels.
    """
    pixels = int(counted.pixels.sum())
    if settings.points > pixels:
        raise InputError(f"{settings.points} points are more than the {pixels} pixels of the map; give a smaller `n`")
    step = math.sqrt(pixels / settings.points)
    start = _generator(settings.seed, _START).random(2) * step
    lines, columns = (
        np.floor(np.arange(first, size, step)).astype(np.int64)
        for first, size in zip(start, (class_map.grid.height, class_map.grid.width), strict=True)
    )
    rows, cols = (axis.ravel() for axis in np.meshgrid(lines, columns, indexing="ij"))
    inside = class_map.ids_at(rows, cols) != 0
    rows, cols = rows[inside], cols[inside]
    if not rows.size:
        raise InputError(f"no point of the systematic grid falls on the map; give a larger `n` than {settings.points}")
    stratum = Stratum(number=1, name="map", pixels=pixels, points=len(rows), inclusion=1.0 / step**2)
    return Drawn((stratum,), _shuffled(rows, cols, np.zeros(len(rows), np.int64), settings.seed))


def sorted_ranks(generator: np.random.Generator, pixels: int, points: int) -> np.ndarray:
    """Return ``points`` different ranks of 0..pixels-1, int64, sorted; every set of them is equally probable."""
    if pixels <= 4 * points + 1024:
        return np.sort(generator.permutation(pixels)[:points])
    ranks: dict[int, None] = {}
    while len(ranks) < points:  # the first different ones of a random sequence
        ranks.update(dict.fromkeys(generator.integers(pixels, size=points).tolist()))
    return np.sort(np.array(list(ranks)[:points], np.int64))


def _generator(seed: int, stream: int) -> np.random.Generator:
    return np.random.default_rng([seed, stream])


def _accuracy(counted: Counted, settings: DrawSettings) -> np.ndarray:
    if settings.accuracy is not None:
        return np.full(len(counted.codes), settings.accuracy)
    return anticipated_accuracy(counted.confidence, len(counted.codes))


def _fetch(
    class_map: ClassMap, rule: StrataRule, counted: Counted, ranks: list[np.ndarray], progress: Progress
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return row, column and stratum (0-based) of the pixels of ranks; only windows that hold one are read."""
    table = counted.numbers(rule.codes)
    before = np.cumsum(counted.by_window, axis=0) - counted.by_window
    parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for number, window in enumerate(row_windows(class_map.grid)):
        inside = [
            rank[(rank >= first) & (rank < first + count)] - first
            for rank, first, count in zip(ranks, before[number], counted.by_window[number], strict=True)
        ]
        if not any(part.size for part in inside):
            continue
        codes = rule.read(window, class_map.read_ids(window)).ravel()
        strata = np.where(codes >= 0, table[codes], -1)
        for stratum, part in enumerate(inside):
            if part.size:
                places = np.flatnonzero(strata == stratum)[part]
                rows, cols = np.divmod(places, window.width)
                parts.append((rows + window.row, cols, np.full(len(places), stratum)))
        progress(window.row_end, class_map.grid.height)
    rows, cols, strata = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    return rows, cols, strata


def _stratum(rule: StrataRule, counted: Counted, place: int, points: int) -> Stratum:
    code, pixels = int(counted.codes[place]), int(counted.pixels[place])
    meaning = rule.meaning(code)
    facts: dict[str, object] = {}
    for part in rule.parts:
        here = meaning[type(part)]
        if isinstance(part, ClassPart):
            facts["class_id"] = part.legend.ids[here]
        elif isinstance(part, ConfidencePart):
            facts["confidence"] = part.bounds()[here]
        elif isinstance(part, ZonePart):
            facts["zone"] = part.names()[here]
    return Stratum.model_validate(
        {"number": place + 1, "name": rule.name(code), "pixels": pixels, "points": points, "inclusion": points / pixels}
        | facts
    )


def _shuffled(rows: np.ndarray, cols: np.ndarray, strata: np.ndarray, seed: int) -> tuple[SampledPoint, ...]:
    """Return points in random order, numbered from 1. The order in which they are given does not count."""
    order = np.lexsort((cols, rows))[_generator(seed, _ORDER).permutation(len(rows))]
    columns = (rows[order].tolist(), cols[order].tolist(), strata[order].tolist())
    return tuple(
        SampledPoint(id=number, row=row, col=col, stratum=stratum + 1)
        for number, (row, col, stratum) in enumerate(zip(*columns, strict=True), 1)
    )
