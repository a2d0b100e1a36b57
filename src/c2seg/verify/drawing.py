"""Draw a sample of a map and write its files: points, CSV, record, and the page to label them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from c2seg.artifacts.provenance import relative_path
from c2seg.data.inputs import city_inputs
from c2seg.errors import C2SegError, InputError, unknown_name
from c2seg.legend import Legend
from c2seg.outputs import Commit, check_outputs, commit
from c2seg.progress import Bars, silent_bars
from c2seg.verify.allocation import ANTICIPATED, anticipated_accuracy
from c2seg.verify.chips import ChipLayer
from c2seg.verify.classmap import ClassMap, open_map
from c2seg.verify.design import Drawn, DrawSettings, draw_random, draw_systematic
from c2seg.verify.imagery import image_layers
from c2seg.verify.labelpage import page_of_sample, write_page
from c2seg.verify.planning import points_for_half_width
from c2seg.verify.samples import GridRecord, LegendRecord, SampledMap, SampleRecord
from c2seg.verify.strata import BANDS, Counted, StrataRule, count_strata, strata_rule
from c2seg.verify.writing import check_unlabeled, empty_texts, sample_csv, sample_outputs, write_points
from c2seg.verify.zones import DEFAULT_ZONE_FIELD

__all__ = ["Sample", "SampleOptions", "make_sample"]

DESIGNS = ("stratified", "random", "systematic")
POINTS = 400

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SampleOptions:
    """What is drawn, and what interpreters see. See ``c2seg.draw_sample`` for the meaning of each."""

    out: Path
    design: str = "stratified"
    n: int | None = None
    half_width: float | None = None
    accuracy: float | None = None
    strata: tuple[str, ...] = ("class",)
    zones: Path | None = None
    zone_field: str | None = None
    confidence: Path | None = None
    bands: tuple[float, ...] = BANDS
    allocation: str = "neyman"
    min_per_class: int | None = None
    min_unit_px: int | None = None
    tolerance_m: float | None = None
    seed: int = 0
    legend: Legend | None = None
    city: Path | None = None
    backdrop: Path | None = None
    page: Path | bool | None = None
    """A path; True: ``OUT.html``; False: none; None: ``OUT.html`` if images are known."""
    overwrite: bool = False


@dataclass(frozen=True)
class Sample:
    """A drawn sample and its files. ``page`` is None where no images are known."""

    path: Path
    csv: Path
    page: Path | None
    page_bytes: int
    record: SampleRecord


def make_sample(path: Path, options: SampleOptions, bars: Bars = silent_bars) -> Sample:
    """Draw a probability sample of the map at ``path`` and write its files.

    Raises InputError for options that contradict each other, DataError for a map that cannot be read, OutputError for files
    that exist or hold labels.
    """
    _check(options)
    class_map = open_map(path, options.legend)
    images = _images(class_map, options)
    page = _page_path(options, images is not None)
    outputs = sample_outputs(options.out, page)
    check_outputs(list(outputs.values()), _inputs(class_map, options), overwrite=options.overwrite)
    check_unlabeled(list(outputs.values()))
    record = _record(class_map, options, bars)
    with commit(overwrite=options.overwrite) as files:
        size = 0
        if page is not None and images is not None:
            size = write_page(files.add(outputs["page"]), page_of_sample(record), images, bars("page"))
        _write(files, record, options.out)
    return Sample(options.out, outputs["csv"].path, page, size, record)


def _check(options: SampleOptions) -> None:
    if options.design not in DESIGNS:
        raise InputError(unknown_name("design", options.design, DESIGNS))
    if options.n is not None and options.half_width is not None:
        raise InputError("`n` and `half_width` both say how many points; give one of them")
    if options.n is not None and options.n < 1:
        raise InputError(f"`n` must be at least 1, found {options.n}")
    for name, value in (("half_width", options.half_width), ("accuracy", options.accuracy)):
        if value is not None and not 0 < value < 1:
            raise InputError(f"`{name}` must lie between 0 and 1, found {value:g}")
    for name, least in (("min_per_class", 0), ("min_unit_px", 1), ("tolerance_m", 0)):
        value = getattr(options, name)
        if value is not None and value < least:
            raise InputError(f"`{name}` must be at least {least}, found {value:g}")
    if options.design != "stratified" and options.zones is not None:
        raise InputError(f"a {options.design} sample has no strata; leave out `zones`, or draw a stratified one")


def _record(class_map: ClassMap, options: SampleOptions, bars: Bars) -> SampleRecord:
    """Count, plan and draw."""
    stratified = options.design == "stratified"
    rule = _rule(class_map, options) if stratified else StrataRule(class_map.legend)
    counted = count_strata(class_map, rule, bars("counting"))
    points, planned = _planned(options, counted)
    settings = DrawSettings(points, options.seed, options.allocation, options.min_per_class, options.accuracy)
    drawn = (
        draw_systematic(class_map, counted, settings)
        if options.design == "systematic"
        else draw_random(class_map, rule, counted, settings, bars("drawing"))
    )
    return _signed(class_map, options, drawn, planned)


def _signed(class_map: ClassMap, options: SampleOptions, drawn: Drawn, planned: str) -> SampleRecord:
    stratified = options.design == "stratified"
    return SampleRecord.model_validate(
        {
            "path": options.out.name,
            "map": SampledMap(
                path=relative_path(class_map.path, options.out),
                digest=class_map.count().digest,
                pixels=int(class_map.class_pixels().sum()),
            ),
            "design": options.design,
            "seed": options.seed,
            "strata_of": _strata_of(options) if stratified else (),
            "allocation": options.allocation if stratified else None,
            "min_per_class": drawn.min_per_class if stratified else None,
            "planned": planned,
            "min_unit_px": options.min_unit_px,
            "tolerance_m": options.tolerance_m,
            "legend": LegendRecord.of(class_map.legend),
            "grid": GridRecord.of(class_map.grid),
            "strata": drawn.strata,
            "points": drawn.points,
        }
    ).signed()


def _rule(class_map: ClassMap, options: SampleOptions) -> StrataRule:
    return strata_rule(
        class_map,
        options.strata,
        zones=options.zones,
        zone_field=options.zone_field,
        confidence=options.confidence,
        bands=options.bands,
    )


def _planned(options: SampleOptions, counted: Counted) -> tuple[int, str]:
    """Return the number of points, and how it was planned, in words (empty: it was given)."""
    if options.half_width is None:
        return options.n or POINTS, ""
    accuracy = anticipated_accuracy(counted.confidence, len(counted.codes))
    what = "the mean confidence" if counted.confidence is not None else f"{ANTICIPATED:g}"
    if options.accuracy is not None:
        accuracy, what = np.full(len(counted.codes), options.accuracy), f"{options.accuracy:g}"
    allocation = options.allocation if options.design == "stratified" else "proportional"
    points = points_for_half_width(
        options.half_width, population=counted.pixels.tolist(), accuracy=accuracy.tolist(), allocation=allocation
    )
    points = max(points, 2 * len(counted.codes))  # each stratum has a variance
    text = f"{points} points for an overall accuracy within {options.half_width:g} at 95 %, if it is {what}"
    return points, text


def _strata_of(options: SampleOptions) -> tuple[str, ...]:
    zone = (
        f"zone of {options.zones.name}, field {options.zone_field or DEFAULT_ZONE_FIELD}" if options.zones else "zone"
    )
    return tuple(zone if kind == "zone" else kind for kind in options.strata)


def _images(class_map: ClassMap, options: SampleOptions) -> tuple[ChipLayer, ...] | None:
    """Return the pictures for the page; None if none is wanted, or known where nobody asked for a page."""
    if options.page is False:
        return None
    city = options.city or class_map.city_path
    asked = options.page is not None or options.city is not None or options.backdrop is not None
    if not asked and (city is None or not city.exists()):
        _log.info("no page to label the points: give the city that was mapped (`city`), or a picture (`backdrop`)")
        return None
    if city is not None and options.city is None and not city.exists():
        city = None
    if city is None and options.backdrop is None:
        raise InputError("a page needs images; give the city that was mapped (`city`), or a picture (`backdrop`)")
    try:
        return image_layers(class_map, city, options.backdrop)
    except C2SegError as error:
        if asked:
            raise
        _log.info("no page to label the points: %s", error)
        return None


def _page_path(options: SampleOptions, has_images: bool) -> Path | None:
    if not has_images:
        return None
    return options.page if isinstance(options.page, Path) else options.out.with_suffix(".html")


def _inputs(class_map: ClassMap, options: SampleOptions) -> list[Path]:
    city = options.city or class_map.city_path
    files: Sequence[Path | None] = (
        class_map.path, class_map.path.with_suffix(".json"), class_map.confidence_path, options.confidence, options.zones,
        options.backdrop,
    )  # fmt: skip
    return [*(file for file in files if file is not None), *(city_inputs(city) if city is not None else ())]


def _write(files: Commit, record: SampleRecord, out: Path) -> None:
    """Add points, CSV and record to the files of a commit."""
    outputs = sample_outputs(out)
    rows, cols, strata = record.columns()
    chances = {item.number: item.inclusion for item in record.strata}
    count = len(rows)
    numbers = np.empty(count, object)
    numbers[:] = record.sample_id
    columns = {
        "sample_id": numbers,
        "point_id": np.array([point.id for point in record.points], np.int32),
        "row": rows,
        "col": cols,
        "stratum": strata.astype(np.int32),
        "inclusion": np.array([chances[number] for number in strata.tolist()], np.float64),
    }
    columns |= {name: empty_texts(count) for name in ("reference", "confidence", "interpreter", "comment")}
    files.text(outputs["csv"], sample_csv(record))
    files.text(outputs["record"], record.as_text())
    write_points(files.add(outputs["points"], main=True), "sample", record.grid.grid(), columns)
