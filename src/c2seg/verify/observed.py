"""A labeled sample as counts: which class the map and the reference have at each point, in which stratum.

Axes: n point, H stratum, K class.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from c2seg.errors import DataError
from c2seg.legend import BACKGROUND, Legend
from c2seg.verify.agreement import resolved_reference
from c2seg.verify.classmap import ClassMap
from c2seg.verify.guard import trained_near
from c2seg.verify.mapped import mapped_ids, tolerance_px
from c2seg.verify.matrix import SampleCounts, count_points
from c2seg.verify.samples import CANNOT_TELL, UNLABELED, LabeledSample

__all__ = ["Observed", "Strata", "observe"]


@dataclass(frozen=True)
class Strata:
    """The strata of the estimates: names, pixels float64 [H], and the class of each (index of the legend; -1: of several)."""

    names: tuple[str, ...]
    pixels: np.ndarray
    classes: np.ndarray
    estimator: str


@dataclass(frozen=True)
class Observed:
    """Points that were seen: rows, columns, strata, mapped and reference class as indices, int64 [n] each.

    ``reference`` is -1 of a point that nobody could decide. ``mapped`` is by the terms of the sample, ``exact`` the pixel's.
    ``index`` is the place of a point in the sample. ``left_out`` points were near labels that a model was trained on.
    """

    legend: Legend
    strata: Strata
    row: np.ndarray
    col: np.ndarray
    stratum: np.ndarray
    mapped: np.ndarray
    exact: np.ndarray
    reference: np.ndarray
    index: np.ndarray
    tolerance: float
    left_out: int
    is_prefix: bool

    @property
    def decided(self) -> np.ndarray:
        """Bool [n]: points with a reference class."""
        result: np.ndarray = self.reference >= 0
        return result

    def counts(self, inside: np.ndarray | None = None, strata: Strata | None = None) -> SampleCounts:
        """Return the counts of points, all or those ``inside`` (bool [n]); ``strata`` of mapped classes replace the strata."""
        chosen = np.ones(len(self.row), bool) if inside is None else inside
        used = strata or self.strata
        stratum = self.exact if strata is not None else self.stratum
        decided, undecided = chosen & self.decided, chosen & ~self.decided
        classes, size = self.legend.num_classes, len(used.names)
        unknown = np.bincount(stratum[undecided] * classes + self.mapped[undecided], minlength=size * classes)
        possible = (used.classes[:, None] == np.arange(classes)) | (used.classes[:, None] < 0)
        moved = chosen & (self.mapped != self.exact)
        possible[np.isin(np.arange(size), stratum[moved])] = True
        return SampleCounts.of(
            count_points(stratum[decided], self.mapped[decided], self.reference[decided], size, classes),
            used.pixels,
            unknown=unknown.reshape(size, classes),
            possible=possible,
            finite=True,
        )


def observe(sample: LabeledSample, class_map: ClassMap, resolution: str = "majority") -> Observed:
    """Return what was seen of a sample's points. Raises DataError if no point has a class."""
    record = sample.record
    reference = resolved_reference(sample, resolution)
    seen = reference != UNLABELED
    if not (seen & (reference != CANNOT_TELL)).any():
        raise DataError(
            f"{', '.join(str(path) for path in sample.files) or record.path} has no label; fill in the reference classes"
        )
    trained = trained_near(class_map)
    near = np.zeros(len(seen), bool) if trained is None else trained.at(sample.row, sample.col)
    tolerance = tolerance_px(class_map, record.tolerance_m)
    index = np.flatnonzero(seen & ~near)
    row, col = sample.row[index], sample.col[index]
    exact = class_map.ids_at(row, col)
    if (exact == BACKGROUND).any():
        raise DataError(f"{class_map.path} has no class at points of the sample; give the map that it was drawn from")
    ids = mapped_ids(class_map, row, col, reference[index], min_unit_px=record.min_unit_px, tolerance=tolerance)
    table = np.full(256, -1, np.int64)
    table[list(class_map.legend.ids)] = np.arange(class_map.legend.num_classes)
    strata = strata_of(sample, class_map, near)
    numbers = {item.number: place for place, item in enumerate(record.strata)}
    places = np.array([numbers[number] for number in sample.stratum[index].tolist()], np.int64)
    return Observed(
        class_map.legend, strata, row, col, places if record.design == "stratified" else table[exact], table[ids],
        table[exact], table[reference[index]], index, tolerance, int((near & seen).sum()),
        bool(seen[: int(seen.sum())].all()),
    )  # fmt: skip


def strata_of(sample: LabeledSample, class_map: ClassMap, near: np.ndarray) -> Strata:
    """Return the strata that estimates use: those of a stratified sample, else the mapped classes.

    Pixels near labels that a model was trained on (``near`` bool [n] of the points) belong to no stratum.
    """
    record = sample.record
    trained = trained_near(class_map)
    classes = class_map.class_pixels() if trained is None else trained.class_pixels_outside()
    if record.design != "stratified":
        return class_strata(class_map.legend, classes, "strata made after sampling, of the mapped class (Card 1982)")
    ids = class_map.legend.ids
    of_class = np.array([-1 if s.class_id is None else ids.index(s.class_id) for s in record.strata], np.int64)
    pixels = np.array([item.pixels for item in record.strata], float)
    plain = record.strata_of == ("class",)
    if trained is not None:
        pixels = classes[of_class].astype(float) if plain else pixels * _outside(sample, near)
    how = (
        "strata of the mapped class (Olofsson et al. 2014)"
        if plain
        else "strata other than the mapped class (Stehman 2014)"
    )
    return Strata(tuple(item.name for item in record.strata), pixels, of_class, how)


def class_strata(legend: Legend, pixels: Sequence[int] | np.ndarray, estimator: str = "") -> Strata:
    """Return the mapped classes as strata."""
    return Strata(legend.names, np.asarray(pixels, float), np.arange(legend.num_classes), estimator)


def _outside(sample: LabeledSample, near: np.ndarray) -> np.ndarray:
    """Return by stratum the share of drawn points that are not near trained ones: an estimate of the share of its pixels."""
    shares = [float((~near[sample.stratum == item.number]).mean()) for item in sample.record.strata]
    return np.array(shares)
