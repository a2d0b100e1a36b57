"""Accuracy and areas within zones of a vector file, such as districts.

Where strata are mapped classes, or were made after sampling, the classes within a zone are strata of known size. Else a zone
is a part of the strata, and its shares are ratios of two estimates (Stehman 2014).

Axes: Z zone, H stratum, K class.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from c2seg.progress import Progress, no_progress
from c2seg.verify.classmap import ClassMap
from c2seg.verify.estimators import Estimates, Shares, areas, estimate, overall, stack
from c2seg.verify.guard import trained_near
from c2seg.verify.matrix import SampleCounts
from c2seg.verify.measures import area_km2, measured
from c2seg.verify.observed import Observed, class_strata
from c2seg.verify.records import ZoneEstimate
from c2seg.verify.zones import Zones, open_zones

__all__ = ["zone_estimates", "zone_pixels"]


def zone_estimates(
    seen: Observed,
    class_map: ClassMap,
    path: Path | None,
    field: str | None,
    level: float,
    pixel_km2: float | None,
    progress: Progress = no_progress,
    *,
    by_class: bool,
) -> tuple[ZoneEstimate, ...]:
    """Return the estimates of each zone of a vector file that has pixels of the map; none without a file.

    ``by_class``: the mapped classes within a zone are its strata.
    """
    if path is None:
        return ()
    zones = open_zones(path, field, class_map.grid)
    pixels = zone_pixels(zones, class_map, progress)
    codes = zones.at(seen.row, seen.col)
    result = []
    for place, name in enumerate(zones.names):
        inside = codes == place + 1
        if pixels[place].sum() == 0:
            continue
        values, points = _of_zone(seen, inside, pixels[place], level, by_class=by_class)
        shares = [measured(values, index) for index in range(1 + class_map.legend.num_classes)]
        size = float(pixels[place].sum())
        result.append(
            ZoneEstimate(
                name=name,
                pixels=int(size),
                points=points,
                overall=shares[0],
                areas=tuple(shares[1:]),
                areas_km2=tuple(area_km2(share, size, pixel_km2) for share in shares[1:]),
            )
        )
    return tuple(result)


def zone_pixels(zones: Zones, class_map: ClassMap, progress: Progress = no_progress) -> np.ndarray:
    """Return the map's pixels by zone and class, int64 [Z, K], without those near labels that its model was trained on."""
    classes, count = class_map.legend.num_classes, len(zones.names)
    table = class_map.legend.index_table().astype(np.int64)
    totals, trained = np.zeros((count + 1) * classes, np.int64), trained_near(class_map)
    for window, ids in class_map.scan(progress):
        inside = ids != 0
        if trained is not None:
            inside &= ~trained.mask(window)
        codes = zones.codes(window)[inside].astype(np.int64) * classes + table[ids[inside]]
        totals += np.bincount(codes, minlength=len(totals))
    return totals.reshape(count + 1, classes)[1:]


def _of_zone(
    seen: Observed, inside: np.ndarray, pixels: np.ndarray, level: float, *, by_class: bool
) -> tuple[Estimates, int]:
    if by_class:
        counts = seen.counts(inside, class_strata(seen.legend, pixels)).merged()
        return estimate(stack([overall(counts), areas(counts)]), counts, level), int(counts.points.sum())
    everything, part = seen.counts(), seen.counts(inside)
    shares = stack([overall(part), areas(part)])
    return estimate(_within(shares, part, everything), everything, level), int(part.points.sum())


def _within(shares: Shares, part: SampleCounts, everything: SampleCounts) -> Shares:
    """Return shares of a part of the strata; misses are those of its points."""
    return Shares(
        shares.hits,
        part.points[None, :] - shares.hits,
        np.ones_like(shares.possible),
        shares.unsure_hits,
        shares.unsure_misses,
    )
