"""What ``estimate`` and ``certify`` write: accuracies, areas and bounds of a map, with all that they depend on."""

from __future__ import annotations

from typing import Literal

from c2seg.records import Artifact, Record
from c2seg.verify.samples import SampledMap

__all__ = [
    "AgreementRecord",
    "AreaKm2",
    "CertificateRecord",
    "ClassEstimate",
    "ComparisonRecord",
    "EstimateRecord",
    "Measured",
    "SampleFacts",
    "SetsRecord",
    "ShownShare",
    "StratumFacts",
    "ZoneEstimate",
]


class Measured(Record):
    """An estimate, a share 0..1: value and standard error (None: no point of the domain), and the interval.

    ``worst_low`` and ``worst_high`` enclose it for every class that points which nobody could decide may have.
    """

    value: float | None
    se: float | None
    low: float
    high: float
    worst_low: float
    worst_high: float
    points: int


class AreaKm2(Record):
    """An area in square kilometers with standard error and interval."""

    value: float
    se: float
    low: float
    high: float


class ClassEstimate(Record):
    """What the sample tells of a class."""

    id: int
    name: str
    users: Measured
    producers: Measured
    f1: Measured
    iou: Measured
    area: Measured
    """Its share of the mapped area, by the reference."""
    area_km2: AreaKm2 | None
    mapped_share: float
    """What the map says."""
    mapped_km2: float | None
    predicted_area: Measured | None = None
    """The prediction-powered share; None without probabilities, or with few points."""


class SampleFacts(Record):
    """Of what sample the estimates are: its record as seen from this file, and what of its points was used."""

    path: str
    sample_id: str
    design: str
    seed: int
    strata_of: tuple[str, ...]
    estimator: str
    """How strata were used, in words."""
    drawn: int
    labeled: int
    undecided: int
    undecided_share: float
    """Share of the area for which points that nobody could decide stand."""
    unsampled_share: float
    """Share of the area in strata without a label."""
    left_out: int = 0
    """Points near those that a model was trained on."""
    resolution: str
    min_unit_px: int | None = None
    tolerance_px: float = 0.0
    interpreters: tuple[str, ...] = ()


class StratumFacts(Record):
    """A stratum of the estimates: pixels, labeled points, points that nobody could decide."""

    name: str
    pixels: int
    points: int
    undecided: int


class AgreementRecord(Record):
    """How far interpreters agree; ``disputed`` are ids of points with different classes."""

    points: int
    percent: float
    kappa: float | None
    disputed: tuple[int, ...]


class ComparisonRecord(Record):
    """Overall accuracy of the map minus that of another one, on the same points."""

    against: str
    against_overall: Measured
    value: float
    se: float
    low: float
    high: float
    only_this: int
    only_other: int
    mcnemar_p: float


class ZoneEstimate(Record):
    """Accuracy and areas within a zone; ``areas`` follow the classes."""

    name: str
    pixels: int
    points: int
    overall: Measured
    areas: tuple[Measured, ...]
    areas_km2: tuple[AreaKm2 | None, ...]


class EstimateRecord(Artifact):
    """Accuracies and areas of a map, estimated from a sample. Classes are in the order of the legend."""

    artifact: Literal["estimate"] = "estimate"
    map: SampledMap
    legend: str
    sample: SampleFacts
    strata: tuple[StratumFacts, ...]
    level: float
    pixel_km2: float | None
    """Area of a pixel; None without a CRS."""
    overall: Measured
    predicted_overall: Measured | None = None
    """Prediction-powered overall accuracy; None without a confidence, or with few points."""
    classes: tuple[ClassEstimate, ...]
    matrix: tuple[tuple[float, ...], ...]
    """Proportions of area: a row for each mapped class, a column for each reference class."""
    counts: tuple[tuple[int, ...], ...]
    """Points, in the same order."""
    agreement: AgreementRecord | None = None
    comparison: ComparisonRecord | None = None
    zones: tuple[ZoneEstimate, ...] = ()
    half_width: float | None = None
    more_points: int | None = None
    """How many more points would reach ``half_width`` for overall accuracy."""
    warnings: tuple[str, ...] = ()


class ShownShare(Record):
    """Whether the share wrong of a class or zone is at most alpha.

    ``limit`` is the upper limit of the share wrong with probability 1 - delta; ``p_value`` that of the test, before and
    ``adjusted`` after the correction for several tests.
    """

    kind: Literal["map", "class", "zone"]
    name: str
    pixels: int
    points: int
    wrong: int
    undecided: int
    limit: float
    p_value: float
    adjusted: float
    shown: bool


class SetsRecord(Record):
    """Prediction sets as a layer: which classes a pixel may be of, at least one of them right with probability 1 - alpha.

    ``thresholds`` are the least probabilities by which a class is in the set. ``coverage`` is estimated by leaving out each
    point.
    """

    path: str
    bits: int
    alpha: float
    thresholds: tuple[float, ...]
    points: tuple[int, ...]
    coverage: float | None
    mean_size: float
    sizes: tuple[int, ...]
    """Pixels by size of the set, from 0."""


class CertificateRecord(Artifact):
    """What a sample shows of the share wrong, for the map, its classes and zones."""

    artifact: Literal["certificate"] = "certificate"
    map: SampledMap
    sample: SampleFacts
    alpha: float
    delta: float
    correction: str
    results: tuple[ShownShare, ...]
    sets: SetsRecord | None = None
    warnings: tuple[str, ...] = ()
