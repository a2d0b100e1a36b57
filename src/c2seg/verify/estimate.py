"""Accuracies and areas of a map from a labeled sample: everything that ``c2seg estimate`` tells.

Axes: Q quantity, H stratum, K class, n point.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from c2seg.artifacts.provenance import relative_path
from c2seg.legend import Legend
from c2seg.progress import Bars, silent_bars
from c2seg.verify.agreement import agreement
from c2seg.verify.classmap import ClassMap, open_map
from c2seg.verify.compare import paired_difference
from c2seg.verify.coverage import coverage_warnings
from c2seg.verify.estimators import Estimates, areas, estimate, iou, overall, producers, stack, users
from c2seg.verify.mapped import mapped_ids
from c2seg.verify.matrix import SampleCounts
from c2seg.verify.measures import area_km2, measured
from c2seg.verify.observed import Observed, observe
from c2seg.verify.planning import check_half_width, check_level, more_points
from c2seg.verify.ppi import predicted_means
from c2seg.verify.probabilities import open_probabilities
from c2seg.verify.reading import check_map, read_sample
from c2seg.verify.records import (
    AgreementRecord,
    ClassEstimate,
    ComparisonRecord,
    EstimateRecord,
    Measured,
    SampleFacts,
    StratumFacts,
)
from c2seg.verify.samples import LabeledSample, SampledMap
from c2seg.verify.zone_estimates import zone_estimates

__all__ = ["EstimateSettings", "estimate_map", "sample_facts", "sampled_map"]


@dataclass(frozen=True)
class EstimateSettings:
    """How a map is estimated. ``beside`` is the file that the record is for: paths are relative to it."""

    level: float = 0.95
    resolution: str = "majority"
    zones: Path | None = None
    zone_field: str | None = None
    compare: Path | None = None
    probabilities: Path | None = None
    half_width: float | None = None
    beside: Path = Path("estimate.json")


def estimate_map(
    path: Path,
    samples: list[Path],
    settings: EstimateSettings | None = None,
    *,
    legend: Legend | None = None,
    bars: Bars = silent_bars,
) -> EstimateRecord:
    """Estimate accuracies and areas of a map from the files of a labeled sample.

    Raises DataError for files that do not belong together, InputError for settings out of range.
    """
    settings = settings or EstimateSettings()
    check_level(settings.level)
    if settings.half_width is not None:
        check_half_width(settings.half_width)
    class_map = open_map(path, legend)
    class_map.count(bars("reading the map"))
    sample = read_sample(samples, class_map, legend=legend)
    seen = observe(sample, class_map, settings.resolution)
    counts = seen.counts()
    if sample.record.design != "stratified":
        counts = counts.merged()
    shares = estimate(stack([overall(counts), areas(counts)]), counts, settings.level)
    of_class = estimate(stack([users(counts), producers(counts), iou(counts)]), counts, settings.level)
    pixel = class_map.grid.pixel_area_m2()
    pixel_km2 = None if pixel is None else pixel / 1e6
    maker = _Maker(class_map, sample, seen, counts, settings, pixel_km2)
    predicted_overall, predicted_areas = maker.predicted()
    return EstimateRecord(
        map=sampled_map(class_map, settings.beside),
        legend=class_map.legend.name,
        sample=sample_facts(sample, seen, counts, settings.resolution, settings.beside),
        strata=maker.strata(),
        level=settings.level,
        pixel_km2=pixel_km2,
        overall=measured(shares, 0),
        predicted_overall=predicted_overall,
        classes=maker.classes(shares, of_class, predicted_areas),
        matrix=tuple(map(tuple, counts.proportions.tolist())),
        counts=tuple(map(tuple, counts.matrix.tolist())),
        agreement=maker.agreement(),
        comparison=maker.comparison(legend),
        zones=zone_estimates(
            seen, class_map, settings.zones, settings.zone_field, settings.level, pixel_km2, bars("zones"),
            by_class=sample.record.design != "stratified" or sample.record.strata_of == ("class",),
        ),
        half_width=settings.half_width,
        more_points=maker.more_points(float(shares.se[0])),
        warnings=maker.warnings(shares),
    )  # fmt: skip


def sampled_map(class_map: ClassMap, beside: Path) -> SampledMap:
    """Return which map a record is of."""
    counts = class_map.count()
    return SampledMap(
        path=relative_path(class_map.path, beside), digest=counts.digest, pixels=int(counts.pixels[1:].sum())
    )


def sample_facts(
    sample: LabeledSample, seen: Observed, counts: SampleCounts, resolution: str, beside: Path
) -> SampleFacts:
    """Return of what sample a record is."""
    record = sample.record
    shares = counts.unknown.sum(-1) / np.maximum(counts.unknown.sum(-1) + counts.points, 1)
    files = sample.files[0].parent if sample.files else Path()
    place = sample.record_path or files / Path(record.path).with_suffix(".json")
    return SampleFacts(
        path=relative_path(place, beside),
        sample_id=record.sample_id,
        design=record.design,
        seed=record.seed,
        strata_of=record.strata_of,
        estimator=seen.strata.estimator,
        drawn=len(sample.row),
        labeled=int(counts.points.sum()),
        undecided=int(counts.unknown.sum()),
        undecided_share=float((shares * counts.pixels).sum() / max(counts.pixels.sum(), 1e-300)),
        unsampled_share=float(counts.unsampled),
        left_out=seen.left_out,
        resolution=resolution,
        min_unit_px=record.min_unit_px,
        tolerance_px=seen.tolerance,
        interpreters=sample.interpreters,
    )


@dataclass(frozen=True)
class _Maker:
    """Makes the parts of a record."""

    class_map: ClassMap
    sample: LabeledSample
    seen: Observed
    counts: SampleCounts
    settings: EstimateSettings
    pixel_km2: float | None

    def strata(self) -> tuple[StratumFacts, ...]:
        before = self.seen.counts()
        return tuple(
            StratumFacts(name=name, pixels=round(pixels), points=int(points), undecided=int(undecided))
            for name, pixels, points, undecided in zip(
                self.seen.strata.names, before.pixels, before.points, before.unknown.sum(-1), strict=True
            )
        )

    def classes(
        self, shares: Estimates, of_class: Estimates, predicted: list[Measured | None]
    ) -> tuple[ClassEstimate, ...]:
        mapped = self.class_map.class_pixels()
        total, number = int(mapped.sum()), self.class_map.legend.num_classes
        result = []
        for k, item in enumerate(self.class_map.legend.classes):
            area = measured(shares, 1 + k)
            result.append(
                ClassEstimate(
                    id=item.id,
                    name=item.name,
                    users=measured(of_class, k),
                    producers=measured(of_class, number + k),
                    f1=measured(of_class, 2 * number + k, as_f1=True),
                    iou=measured(of_class, 2 * number + k),
                    area=area,
                    area_km2=area_km2(area, float(self.counts.pixels.sum()), self.pixel_km2),
                    mapped_share=float(mapped[k] / total),
                    mapped_km2=None if self.pixel_km2 is None else float(mapped[k] * self.pixel_km2),
                    predicted_area=predicted[k],
                )
            )
        return tuple(result)

    def predicted(self) -> tuple[Measured | None, list[Measured | None]]:
        """Return prediction-powered overall accuracy and class shares."""
        seen, none = self.seen, [None] * self.class_map.legend.num_classes
        if self.settings.probabilities is None or self.counts.unsampled > 0 or seen.left_out:
            return None, list(none)
        layer = open_probabilities(self.settings.probabilities, self.class_map)
        at, (means, mean_mapped) = layer.at(seen.row, seen.col), layer.means()
        told = seen.decided & np.isfinite(at).all(1)
        mapped, reference = seen.exact[told], seen.reference[told]
        of_mapped = np.take_along_axis(at[told], mapped[:, None], 1)
        labels = np.column_stack([seen.mapped[told] == reference, reference[:, None] == np.arange(len(none))])
        values = predicted_means(
            labels.astype(int), np.column_stack([of_mapped, at[told]]), seen.stratum[told], self._weights(told),
            np.append(mean_mapped, means), level=self.settings.level,
        )  # fmt: skip
        parts = [
            _predicted(values.value[q], values.se[q], values.low[q], values.high[q], len(mapped))
            for q in range(1 + len(none))
        ]
        return parts[0], parts[1:]

    def _weights(self, chosen: np.ndarray) -> np.ndarray:
        pixels = self.seen.strata.pixels
        points = np.bincount(self.seen.stratum[chosen], minlength=len(pixels))
        return np.where(points > 0, pixels, 0.0)

    def agreement(self) -> AgreementRecord | None:
        result = agreement([item.reference for item in self.sample.interpretations])
        if result is None:
            return None
        ids = tuple(self.sample.record.points[index].id for index in result.disputed)
        return AgreementRecord(points=result.points, percent=result.percent, kappa=result.kappa, disputed=ids)

    def comparison(self, legend: Legend | None) -> ComparisonRecord | None:
        if self.settings.compare is None:
            return None
        other = open_map(self.settings.compare, legend)
        check_map(self.sample.record, other, self.sample.files[0], other_map=True)
        seen, record = self.seen, self.sample.record
        reference = np.where(seen.decided, np.array(self.class_map.legend.ids)[seen.reference], 0).astype(np.uint8)
        ids = mapped_ids(other, seen.row, seen.col, reference, min_unit_px=record.min_unit_px, tolerance=seen.tolerance)
        right = (seen.mapped == seen.reference)[seen.decided]
        other_right = (ids == reference)[seen.decided]
        stratum = seen.stratum[seen.decided]
        result = paired_difference(right, other_right, stratum, self._weights(seen.decided), self.settings.level)
        return ComparisonRecord(
            against=relative_path(other.path, self.settings.beside),
            against_overall=self._overall_of(other_right, stratum),
            value=result.value, se=result.se, low=result.low, high=result.high,
            only_this=result.only_first, only_other=result.only_second, mcnemar_p=result.p_value,
        )  # fmt: skip

    def _overall_of(self, right: np.ndarray, stratum: np.ndarray) -> Measured:
        """Return the overall accuracy of a map that is right at these points."""
        strata = len(self.seen.strata.pixels)
        hits = np.bincount(stratum[right], minlength=strata)
        misses = np.bincount(stratum[~right], minlength=strata)
        counts = np.zeros((strata, 2, 2), np.int64)
        counts[:, 0, 0], counts[:, 0, 1] = hits, misses
        sample = SampleCounts.of(counts, self.seen.strata.pixels, finite=True)
        sample = sample if self.sample.record.design == "stratified" else sample.merged()
        return measured(estimate(overall(sample), sample, self.settings.level), 0)

    def more_points(self, se: float) -> int | None:
        width = self.settings.half_width
        return None if width is None else more_points(int(self.counts.points.sum()), se, width, self.settings.level)

    def warnings(self, shares: Estimates) -> tuple[str, ...]:
        seen, texts = self.seen, []
        if not seen.is_prefix:
            texts.append(
                "labels leave out points in between: label the points in their order, or the rest is no random sample"
            )
        undecided = int(self.counts.unknown.sum())
        if undecided:
            texts.append(
                f"{undecided} points could not be told: they count as if they were like the others of their stratum; "
                "worst-case limits are beside the intervals"
            )
        if seen.left_out:
            texts.append(
                f"{seen.left_out} points near labels that the model was trained on are left out, with their surroundings"
            )
        if self.counts.unsampled > 0:
            texts.append(
                f"{100 * float(self.counts.unsampled):.2g} % of the area lies in strata without a label; intervals allow for "
                "anything there"
            )
        if self.sample.record.design == "systematic":
            texts.append(
                "points of a grid count as random ones, which makes intervals a little wide where errors are clustered"
            )
        names = ["overall accuracy", *(f"area of {name}" for name in self.class_map.legend.names)]
        there = np.append(True, (self.class_map.class_pixels() > 0) | (shares.value[1:] > 0))
        return (*texts, *coverage_warnings(names, shares, self.settings.level, there))


def _predicted(value: float, se: float, low: float, high: float, points: int) -> Measured | None:
    if not np.isfinite(value):
        return None
    value, se, low, high = float(value), float(se), float(low), float(high)
    return Measured(value=value, se=se, low=low, high=high, worst_low=low, worst_high=high, points=points)
