"""Probability samples of maps, for estimates with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from c2seg.api.arguments import FilePath, as_legend, as_path, optional_path
from c2seg.api.tables import html_table
from c2seg.legend import Legend
from c2seg.progress import ShowProgress, opened_bars
from c2seg.records import Json
from c2seg.verify.drawing import Sample, SampleOptions, make_sample
from c2seg.verify.strata import BANDS

__all__ = ["DrawnSample", "draw_sample"]


@dataclass(frozen=True)
class DrawnSample(Sample):
    """The files of a sample, and its record: design, strata, points."""

    def __str__(self) -> str:
        record = self.record
        lines = [f"{len(record.points)} points, {record.design}, seed {record.seed}, sample {record.sample_id[:8]}"]
        lines += [record.planned] if record.planned else []
        width = max(len(item.name) for item in record.strata)
        lines += [
            f"  {item.name:{width}}  {item.pixels:>12,} pixels  {item.points:>6,} points" for item in record.strata
        ]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        rows = [(s.name, f"{s.pixels:,}", f"{s.points:,}", f"{s.inclusion:.3g}") for s in self.record.strata]
        title = f"{self.path}: {self.record.design}, seed {self.record.seed}"
        return html_table(("stratum", "pixels", "points", "inclusion probability"), rows, title)

    def as_json(self) -> Json:
        """Return paths and the record without its points, for printing."""
        content = self.record.as_json()
        content.pop("points")
        page = None if self.page is None else str(self.page)
        return {"points": str(self.path), "csv": str(self.csv), "page": page, "page_bytes": self.page_bytes, **content}


def draw_sample(
    map: FilePath,
    out: FilePath,
    *,
    design: str = "stratified",
    n: int | None = None,
    half_width: float | None = None,
    accuracy: float | None = None,
    strata: Sequence[str] = ("class",),
    zones: FilePath | None = None,
    zone_field: str | None = None,
    confidence: FilePath | None = None,
    bands: Sequence[float] = BANDS,
    allocation: str = "neyman",
    min_per_class: int | None = None,
    min_unit_px: int | None = None,
    tolerance_m: float | None = None,
    seed: int = 0,
    legend: Legend | FilePath | None = None,
    city: FilePath | None = None,
    backdrop: FilePath | None = None,
    page: FilePath | bool | None = None,
    overwrite: bool = False,
    progress: ShowProgress = False,
) -> DrawnSample:
    """Draw a probability sample of a map's pixels, and write what interpreters need to label it.

    Every pixel of a class has a known chance to be drawn, which the record states by stratum. Points stand in random order:
    every first part of them is a sample of the same design. The mapped class stands in none of the files but through the
    record's strata.

    Args:
        map: A map of classes: one of ``predict`` or ``fuse``, or any raster of ids with its ``legend``.
        out: The points (``.gpkg``); ``.csv``, ``.json`` (the record) and the page are written beside it.
        design: ``stratified``, ``random`` or ``systematic``.
        n: Number of points; None: 400, or what ``half_width`` needs.
        half_width: Half of the 95 % interval of overall accuracy that is planned for, such as 0.03.
        accuracy: The anticipated accuracy, for planning and for Neyman's allocation; None: the mean confidence, else 0.8.
        strata: What strata are made of: ``class``, ``confidence``, ``zone``, or several, which cross.
        zones: A vector file of zones, with ``strata`` of ``zone``.
        zone_field: Its field with the zones' names; None: ``name``.
        confidence: The confidence layer; None: what the map's record names.
        bands: Confidences at which a new band begins.
        allocation: ``neyman``, ``proportional`` or ``equal``.
        min_per_class: Least number of points of a class; None: half of all points divided evenly, at most 50 each.
        min_unit_px: The minimum mapping unit in pixels, shown to interpreters and recorded.
        tolerance_m: The positional tolerance in meters, shown and recorded.
        seed: Seed of the draw: the same map, options and seed give the same points.
        legend: The classes, or their YAML file; None: those in the map's tags, else C2Seg's 13.
        city: The city whose images interpreters see; None: the one that was mapped, if it is still there.
        backdrop: A finer georeferenced picture to show, such as an orthophoto.
        page: Where to write the page; True: beside the points; False: no page; None: if images are known.
        overwrite: Replace existing files; those with labels are never replaced.
        progress: False, True for bars, or a callable.

    Raises:
        InputError: Options that contradict each other, too few points for the strata, a page without images.
        DataError, GridError: A map, layer or city that cannot be read, or is elsewhere.
        OutputError: A file exists, or holds labels.
        MissingExtraError: pyogrio is not installed (extra ``vector``).
    """
    options = SampleOptions(
        out=as_path(out), design=design, n=n, half_width=half_width, accuracy=accuracy, strata=tuple(strata),
        zones=optional_path(zones), zone_field=zone_field, confidence=optional_path(confidence), bands=tuple(bands),
        allocation=allocation, min_per_class=min_per_class, min_unit_px=min_unit_px, tolerance_m=tolerance_m, seed=seed,
        legend=None if legend is None else as_legend(legend), city=optional_path(city), backdrop=optional_path(backdrop),
        page=page if page is None or isinstance(page, bool) else Path(page), overwrite=overwrite,
    )  # fmt: skip
    with opened_bars(progress) as bars:
        sample = make_sample(as_path(map), options, bars)
    return DrawnSample(**{item.name: getattr(sample, item.name) for item in fields(sample)})
