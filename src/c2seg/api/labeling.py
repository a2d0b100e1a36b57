"""Reference labels from OpenStreetMap."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path

from c2seg.api.arguments import FilePath, FilePaths, as_legend, as_path, as_paths, optional_path
from c2seg.api.tables import html_table
from c2seg.data.city_lists import city_entries
from c2seg.labels import Area, LabelRecord, format_report, load_rules, write_label_files
from c2seg.labels import label_cities as label_listed
from c2seg.labels.cities import TABLE
from c2seg.legend import Legend
from c2seg.parallel import open_crew
from c2seg.progress import ShowProgress, opened_bars

__all__ = ["LabelFiles", "LabeledCities", "label_cities", "make_labels"]


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


@dataclass(frozen=True)
class LabeledCities:
    """Label rasters of several cities in a folder, and the table ``labels.csv`` of them."""

    out: Path
    table: Path
    labels: dict[str, tuple[LabelFiles, ...]]
    """By city, one for each scene."""
    failed: dict[str, str]
    """Why a city has no labels, in one line, by city."""

    def _repr_html_(self) -> str:
        rows = [
            (name, one.path.name, f"{one.report.coverage.mapped_share:.1%}", "")
            for name, rasters in self.labels.items()
            for one in rasters
        ]
        rows += [(name, "", "", error) for name, error in self.failed.items()]
        return html_table(("city", "labels", "mapped", "error"), rows, str(self.table))


def label_cities(
    cities: FilePaths,
    out: FilePath,
    *,
    osm: FilePath | None = None,
    rules: FilePath | None = None,
    switches: Mapping[str, str] | None = None,
    legend: Legend | FilePath | None = None,
    fractions: FilePath | None = None,
    workers: int = 1,
    cluster: str | None = None,
    executor: Executor | None = None,
    overwrite: bool = False,
    progress: ShowProgress = False,
) -> LabeledCities:
    """Write reference labels of several cities, each on the grid of its images, and a table of them.

    A call that was stopped resumes when it is repeated: labels that stand as they would be made are left alone. A city that
    fails does not stop the others.

    Args:
        cities: Cities, or one list of them as in ``predict_cities``; it may name an extract for each (``osm``).
        out: The folder of the label rasters, with style and report each, and of ``labels.csv``.
        osm: The extract of cities for which the list names none.
        rules: As in ``make_labels``, like ``switches`` and ``legend``.
        switches: Option by name of a contested tag.
        legend: The classes of the rule table.
        fractions: A folder: also write the fraction of every class there.
        workers: Processes, each with a city at a time.
        cluster: A Dask cluster in their place, as in ``Model.predict``; it reads and writes under the same paths.
        executor: A ``concurrent.futures.Executor`` in their place.
        overwrite: Make all labels again.
        progress: False, True for bars, or a callable.

    Raises:
        DataError: A list is damaged, or has two cities of one name.
        InputError: Invalid arguments.
        OutputError: The folder cannot be written.
    """
    table = load_rules(optional_path(rules), choices=dict(switches or {}), legend=as_legend(legend))
    entries = city_entries(as_paths(cities))
    files = [as_path(p) for p in (osm, rules, None if isinstance(legend, Legend) else legend) if p is not None]
    crews = open_crew(workers, cluster, executor=executor, ahead=1)
    with opened_bars(progress) as bars, crews as crew:
        labels, failed = label_listed(
            entries, table, as_path(out), osm=optional_path(osm), fractions=optional_path(fractions), inputs=files,
            overwrite=overwrite, crew=crew, progress=bars("label"),
        )  # fmt: skip
    rasters = {name: tuple(LabelFiles(one.path, one.report) for one in ones) for name, ones in labels.items()}
    return LabeledCities(as_path(out), as_path(out) / TABLE, rasters, failed)


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
