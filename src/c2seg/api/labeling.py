"""Reference labels from OpenStreetMap."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from c2seg.api.arguments import FilePath, as_legend, as_path, optional_path
from c2seg.api.tables import html_table
from c2seg.labels import Area, LabelRecord, format_report, load_rules, write_label_files
from c2seg.legend import Legend
from c2seg.progress import ShowProgress, opened_bars

__all__ = ["LabelFiles", "make_labels"]


@dataclass(frozen=True)
class LabelFiles:
    """A label raster, and the report that lies beside it as JSON."""

    path: Path
    report: LabelRecord
    """Areas by class and by rule, contested tags, coverage, unmatched tags."""

    def __str__(self) -> str:
        return format_report(self.report)

    def _repr_html_(self) -> str:
        rows = [(c.name, f"{c.km2:.3f}", f"{c.share:.2%}") for c in self.report.classes]
        return html_table(("class", "km2", "share"), rows, f"{self.path}, {self.report.attribution}")


def make_labels(
    out: FilePath,
    *,
    osm: FilePath,
    like: FilePath | None = None,
    bounds: tuple[float, float, float, float] | None = None,
    resolution: float | None = None,
    crs: str | None = None,
    rules: FilePath | None = None,
    switches: Mapping[str, str] | None = None,
    legend: Legend | FilePath | None = None,
    fractions: FilePath | None = None,
    overwrite: bool = False,
    progress: ShowProgress = False,
) -> LabelFiles:
    """Write reference labels (uint8 ids, 0 without data) from an OpenStreetMap extract.

    A pixel takes the class with the largest fraction of its area; a street wins from a fraction of 0.3.

    Args:
        out: The label raster; a style ``.qml`` and a report ``.json`` are written beside it.
        osm: The extract: ``.osm.pbf``, ``.osm``, ``.osm.gz`` or ``.osm.bz2``.
        like: A raster whose grid the labels take.
        bounds: West, south, east, north in its place: degrees, or units of ``crs``.
        resolution: Pixel size in meters, with ``bounds``.
        crs: Projected CRS of ``bounds`` and of the raster; None: the UTM zone of their center.
        rules: A rule table (YAML); None: the shipped one (``docs/labels.md``).
        switches: Option by name of a contested tag.
        legend: The classes of the rule table, or their YAML file; None: C2Seg's 13.
        fractions: Also write the fraction of every class (float32 0..1, one band a class).
        overwrite: Replace existing files.
        progress: False, True for bars, or a callable.

    Raises:
        InputError: Invalid arguments, an unknown switch.
        DataError, GridError: The extract is damaged or does not overlap the area.
        OutputError: A file exists.
    """
    table = load_rules(
        optional_path(rules),
        choices=dict(switches or {}),
        legend=as_legend(legend),
    )
    area = Area(optional_path(like), bounds, resolution, crs)
    with opened_bars(progress) as bars:
        report = write_label_files(
            as_path(osm),
            table,
            area,
            as_path(out),
            fractions=optional_path(fractions),
            inputs=[as_path(p) for p in (rules, None if isinstance(legend, Legend) else legend) if p is not None],
            overwrite=overwrite,
            progress=bars("label"),
        )
    return LabelFiles(as_path(out), report)
