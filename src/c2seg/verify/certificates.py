"""What a labeled sample shows of a map's share wrong, and its prediction sets: everything that ``c2seg certify`` tells.

Axes: n point, H stratum, K class.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from c2seg.artifacts.provenance import relative_path
from c2seg.errors import InputError
from c2seg.legend import Legend
from c2seg.progress import Bars, silent_bars
from c2seg.verify.certify import adjusted_p_values, check_settings, share_limit, share_p_value
from c2seg.verify.classmap import ClassMap, open_map
from c2seg.verify.conformal import class_thresholds, left_out_coverage, write_sets
from c2seg.verify.estimate import sample_facts, sampled_map
from c2seg.verify.observed import Observed, observe
from c2seg.verify.probabilities import open_probabilities
from c2seg.verify.reading import read_sample
from c2seg.verify.records import CertificateRecord, SetsRecord, ShownShare
from c2seg.verify.samples import LabeledSample
from c2seg.verify.zone_estimates import zone_pixels
from c2seg.verify.zones import open_zones

__all__ = ["CertifySettings", "certify"]

Kind = Literal["map", "class", "zone"]


@dataclass(frozen=True)
class CertifySettings:
    """What is tested. ``sets`` is where prediction sets are written, from ``probabilities``; ``beside`` as of an estimate."""

    alpha: float = 0.1
    delta: float = 0.05
    correction: str = "holm"
    resolution: str = "majority"
    zones: Path | None = None
    zone_field: str | None = None
    probabilities: Path | None = None
    sets: Path | None = None
    beside: Path = Path("certificate.json")
    final_sets: Path | None = None
    """Where the sets will be, if they are written elsewhere for now."""


def certify(
    path: Path,
    samples: list[Path],
    settings: CertifySettings | None = None,
    *,
    legend: Legend | None = None,
    bars: Bars = silent_bars,
) -> CertificateRecord:
    """Test whether the share wrong is at most ``alpha``: of the map, and of each zone, or of each class without zones.

    Raises DataError for files that do not belong together, InputError for settings out of range.
    """
    settings = settings or CertifySettings()
    check_settings(settings.alpha, settings.delta, settings.correction)
    if settings.sets is not None and settings.probabilities is None:
        raise InputError("prediction sets need the `probabilities` that predict wrote; name them")
    class_map = open_map(path, legend)
    class_map.count(bars("reading the map"))
    sample = read_sample(samples, class_map, legend=legend)
    seen = observe(sample, class_map, settings.resolution)
    maker = _Tests(class_map, sample, seen)
    domains = list(maker.domains(settings, bars))
    p_values = [domain.p_value(settings.alpha) for domain in domains]
    adjusted = adjusted_p_values(p_values, settings.correction)
    return CertificateRecord(
        map=sampled_map(class_map, settings.beside),
        sample=sample_facts(sample, seen, seen.counts(), settings.resolution, settings.beside),
        alpha=settings.alpha,
        delta=settings.delta,
        correction=settings.correction,
        results=tuple(
            domain.result(p_value, corrected, settings.delta)
            for domain, p_value, corrected in zip(domains, p_values, adjusted, strict=True)
        ),
        sets=None if settings.sets is None else maker.sets(settings, bars),
        warnings=maker.warnings(),
    )


@dataclass(frozen=True)
class _Domain:
    """A part of the map: points that are wrong in it and all points, by stratum.

    ``scale`` is the size of the strata in units of the domain: where a domain is a part of its strata, points outside it count
    as right, and the share wrong of the domain is that of the strata times ``scale``.
    """

    kind: Kind
    name: str
    size: int
    seen: int
    undecided: int
    wrong: np.ndarray
    points: np.ndarray
    pixels: np.ndarray
    scale: float = 1.0

    def p_value(self, alpha: float) -> float:
        return share_p_value(self.wrong, self.points, self.pixels, alpha / self.scale)

    def result(self, p_value: float, adjusted: float, delta: float) -> ShownShare:
        return ShownShare(
            kind=self.kind, name=self.name, pixels=self.size, points=self.seen, wrong=int(self.wrong.sum()),
            undecided=self.undecided, limit=min(1.0, self.scale * share_limit(self.wrong, self.points, self.pixels, delta)),
            p_value=p_value, adjusted=adjusted, shown=adjusted <= delta,
        )  # fmt: skip


@dataclass(frozen=True)
class _Tests:
    """Makes the domains of a sample."""

    class_map: ClassMap
    sample: LabeledSample
    seen: Observed

    @property
    def _wrong(self) -> np.ndarray:
        """Bool [n]: points that are wrong, or that nobody could decide."""
        result: np.ndarray = self.seen.mapped != self.seen.reference
        return result

    def domains(self, settings: CertifySettings, bars: Bars) -> Iterator[_Domain]:
        whole = np.ones(len(self.seen.row), bool)
        total = round(float(self.seen.strata.pixels.sum()))
        yield self._domain("map", "all", whole, total, None)
        if settings.zones is None:
            sizes = self._class_pixels()
            for k, name in enumerate(self.class_map.legend.names):
                if sizes[k]:
                    yield self._domain("class", name, self.seen.exact == k, int(sizes[k]), np.arange(len(sizes)) == k)
            return
        zones = open_zones(settings.zones, settings.zone_field, self.class_map.grid)
        pixels = zone_pixels(zones, self.class_map, bars("zones"))
        codes = zones.at(self.seen.row, self.seen.col)
        for place, name in enumerate(zones.names):
            if pixels[place].sum():
                yield self._domain("zone", name, codes == place + 1, int(pixels[place].sum()), pixels[place])

    def _class_pixels(self) -> np.ndarray:
        """Return the pixels of each mapped class, without those near trained ones; as the strata have them."""
        strata = self.seen.strata
        if (strata.classes >= 0).all():
            return np.bincount(strata.classes, weights=strata.pixels, minlength=self.class_map.legend.num_classes)
        return self.class_map.class_pixels().astype(float)

    def _domain(self, kind: Kind, name: str, inside: np.ndarray, size: int, within: np.ndarray | None) -> _Domain:
        """Return a domain; ``within`` tells its pixels by class (numbers), or its classes (bool), [K]; None: the whole map."""
        seen, wrong = self.seen, self._wrong & inside
        undecided = int((inside & ~seen.decided).sum())
        points, strata = int(inside.sum()), len(seen.strata.pixels)

        def domain(wrong_by: np.ndarray, points_by: np.ndarray, pixels: np.ndarray, scale: float = 1.0) -> _Domain:
            return _Domain(kind, name, size, points, undecided, wrong_by, points_by, pixels, scale)

        if self.sample.record.design != "stratified":  # points within any part of the map are a random sample of it
            return domain(np.array([wrong.sum()]), np.array([points]), np.array([float(size)]))
        counts = [np.bincount(seen.stratum[chosen], minlength=strata) for chosen in (wrong, inside)]
        if within is None:
            return domain(counts[0], counts[1], seen.strata.pixels)
        if within.dtype == bool and (seen.strata.classes >= 0).all():
            chosen = within[seen.strata.classes]
            return domain(counts[0][chosen], counts[1][chosen], seen.strata.pixels[chosen])
        if within.dtype != bool and self.sample.record.strata_of == ("class",):
            return domain(counts[0], counts[1], within[seen.strata.classes].astype(float))
        everything = np.bincount(seen.stratum, minlength=strata)
        return domain(counts[0], everything, seen.strata.pixels, float(seen.strata.pixels.sum()) / size)

    def sets(self, settings: CertifySettings, bars: Bars) -> SetsRecord:
        assert settings.sets is not None
        assert settings.probabilities is not None
        layer = open_probabilities(settings.probabilities, self.class_map)
        seen = self.seen
        at = layer.at(seen.row, seen.col)
        used = seen.decided & np.isfinite(at).all(1)
        counts = np.bincount(seen.stratum[used], minlength=len(seen.strata.pixels))
        weights = (seen.strata.pixels / np.maximum(counts, 1))[seen.stratum[used]]
        reference, probabilities = seen.reference[used], at[used].astype(float)
        thresholds = class_thresholds(probabilities, reference, weights, settings.alpha)
        totals = write_sets(settings.sets, layer, thresholds, overwrite=True, progress=bars("sets"))
        sizes = totals.sizes
        return SetsRecord(
            path=relative_path(settings.final_sets or settings.sets, settings.beside),
            bits=totals.bits,
            alpha=settings.alpha,
            thresholds=tuple(thresholds.tolist()),
            points=tuple(np.bincount(reference, minlength=len(thresholds)).tolist()),
            coverage=left_out_coverage(probabilities, reference, weights, settings.alpha),
            mean_size=float((sizes * np.arange(len(sizes))).sum() / max(sizes.sum(), 1)),
            sizes=tuple(sizes.tolist()),
        )

    def warnings(self) -> tuple[str, ...]:
        texts = []
        if not self.seen.is_prefix:
            texts.append("labels leave out points in between: label them in their order, or nothing is shown")
        if self.sample.record.design == "systematic":
            texts.append("points of a grid count as random ones; what is shown then holds only approximately")
        if (self.seen.mapped != self.seen.exact).any():
            texts.append(
                "points count by the minimum mapping unit and the tolerance of the sample, classes by their pixels"
            )
        return tuple(texts)
