"""Accuracy and area of a map from a labeled sample, as an object."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from c2seg.api.arguments import FilePath, FilePaths, as_path, as_paths, named_files, optional_path
from c2seg.api.tables import html_table
from c2seg.legend import Legend, load_legend
from c2seg.outputs import Output, check_outputs, commit
from c2seg.progress import ShowProgress, opened_bars
from c2seg.verify.records import ClassEstimate, EstimateRecord, Measured

__all__ = ["MapEstimate", "estimate_accuracy", "percent", "verify_inputs"]

_MEASURES = ("users", "producers", "f1", "iou", "area")


@dataclass(frozen=True)
class MapEstimate:
    """Accuracy and areas of a map, estimated from a sample: shares 0..1 with standard errors and intervals."""

    record: EstimateRecord
    """All of it as on disk."""

    @property
    def overall(self) -> Measured:
        """Overall accuracy."""
        return self.record.overall

    @property
    def classes(self) -> dict[str, ClassEstimate]:
        """User's and producer's accuracy, F1, IoU and area by class name."""
        return {item.name: item for item in self.record.classes}

    @property
    def warnings(self) -> tuple[str, ...]:
        """What limits the meaning of the estimates."""
        return self.record.warnings

    def write(self, path: FilePath, *, overwrite: bool = False) -> None:
        """Write the estimates as JSON, as ``c2seg estimate --out`` does. Raises OutputError if the file exists."""
        self.record.write(path, overwrite=overwrite)

    def as_csv(self) -> str:
        """Return a table of all estimates: a line for each quantity, class and zone."""
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(
            ["zone", "class", "quantity", "value", "se", "low", "high", "worst_low", "worst_high", "points"]
        )
        for row in _rows(self.record):
            writer.writerow(["" if value is None else value for value in row])
        return stream.getvalue()

    def _repr_html_(self) -> str:
        record = self.record
        rows = [
            (
                item.name,
                *(percent(part) for part in (item.users, item.producers, item.f1, item.iou, item.area)),
                f"{100 * item.mapped_share:.1f} %",
            )
            for item in record.classes
        ]
        caption = f"{record.map.path}: overall accuracy {percent(record.overall)}, {record.sample.labeled} points"
        return html_table(("class", "user's", "producer's", "F1", "IoU", "area", "mapped"), rows, caption)


def percent(value: Measured) -> str:
    """Write a share with its interval in percent; ``-`` where it is undefined."""
    if value.value is None:
        return "-"
    return f"{100 * value.value:.1f} % [{100 * value.low:.1f}, {100 * value.high:.1f}]"


def estimate_accuracy(
    map_path: FilePath,
    sample: FilePaths,
    *,
    legend: Legend | FilePath | None = None,
    zones: FilePath | None = None,
    zone_field: str | None = None,
    compare: FilePath | None = None,
    probabilities: FilePath | None = None,
    level: float = 0.95,
    half_width: float | None = None,
    disputes: str = "majority",
    out: FilePath | None = None,
    csv: FilePath | None = None,
    overwrite: bool = False,
    progress: ShowProgress = False,
) -> MapEstimate:
    """Estimate overall, user's and producer's accuracy, F1, IoU and area by class from a labeled sample, with intervals.

    Stratified samples are estimated by their strata; random and systematic ones by the mapped classes as strata made after
    sampling. Points of ``cannot tell`` count as if they were like the others of their stratum; limits for the worst case are
    beside the intervals.

    Args:
        map_path: The map that the sample was drawn from.
        sample: The labeled sample: GeoPackage or CSV; several for several interpreters, and maybe the sample's JSON.
        legend: The classes, or their YAML file; None: those of the map.
        zones: A vector file of polygons; adds estimates for each zone.
        zone_field: Its attribute with the zones' names; None: ``name``.
        compare: Another map of the same grid and classes; adds the difference of the accuracies on the same points.
        probabilities: The probabilities that ``predict`` wrote beside the map; adds prediction-powered estimates.
        level: Of the intervals.
        half_width: Also tell how many more points reach plus or minus this for overall accuracy.
        disputes: What holds where interpreters differ: ``majority``, or ``consensus`` (such points count as not decided).
        out: Also write all of it to this JSON file; the report looks for ``MAP.estimate.json``.
        csv: Also write a table.
        overwrite: Replace ``out`` and ``csv``.
        progress: False, True for bars, or a callable.

    Raises:
        InputError: An unknown name or an invalid setting.
        DataError, GridError: Files that are damaged or do not belong together.
        OutputError: An output exists.
    """
    from c2seg.verify.estimate import EstimateSettings, estimate_map

    path, samples = as_path(map_path), list(as_paths(sample))
    outputs = [
        Output(as_path(place), name, (ending,))
        for place, name, ending in ((out, "out", ".json"), (csv, "csv", ".csv"))
        if place is not None
    ]
    if outputs:
        others = [optional_path(value) for value in (compare, zones, probabilities)]
        check_outputs(outputs, [*verify_inputs(path, samples), *others, *named_files(legend)], overwrite=overwrite)
    settings = EstimateSettings(
        level=level,
        resolution=disputes,
        zones=optional_path(zones),
        zone_field=zone_field,
        compare=optional_path(compare),
        probabilities=optional_path(probabilities),
        half_width=half_width,
        beside=optional_path(out) or path,
    )
    chosen = legend if legend is None or isinstance(legend, Legend) else load_legend(as_path(legend))
    with opened_bars(progress) as bars:
        result = MapEstimate(estimate_map(path, samples, settings, legend=chosen, bars=bars))
    if outputs:
        texts = {"out": result.record.as_text, "csv": result.as_csv}
        with commit(overwrite=overwrite) as files:
            for output in outputs:
                files.text(output, texts[output.parameter](), main=True)
    return result


def verify_inputs(map_path: Path, samples: list[Path]) -> list[Path]:
    """Return the files that an estimate reads beside those named: records of map and sample."""
    beside = [map_path.with_suffix(".json"), *(path.with_suffix(".json") for path in samples)]
    return [map_path, *samples, *(path for path in beside if path.is_file())]


def _rows(record: EstimateRecord) -> Iterator[tuple[object, ...]]:
    def line(zone: str, name: str, quantity: str, value: Measured) -> tuple[object, ...]:
        numbers = value.value, value.se, value.low, value.high, value.worst_low, value.worst_high
        return (zone, name, quantity, *numbers, value.points)

    yield line("", "", "overall accuracy", record.overall)
    if record.predicted_overall:
        yield line("", "", "overall accuracy, prediction-powered", record.predicted_overall)
    for item in record.classes:
        for measure in _MEASURES:
            yield line("", item.name, measure, getattr(item, measure))
        if item.predicted_area:
            yield line("", item.name, "area, prediction-powered", item.predicted_area)
        if item.area_km2:
            area = item.area_km2
            yield ("", item.name, "area km2", area.value, area.se, area.low, area.high, None, None, item.area.points)
    for zone in record.zones:
        yield line(zone.name, "", "overall accuracy", zone.overall)
        for item, share in zip(record.classes, zone.areas, strict=True):
            yield line(zone.name, item.name, "area", share)
