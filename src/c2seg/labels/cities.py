"""Labels of many cities: a list in, a label raster each, one table. Cities are independent tasks."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from c2seg.data import open_city
from c2seg.data.city_lists import CityEntry
from c2seg.data.inputs import city_inputs
from c2seg.errors import C2SegError, InputError, one_line
from c2seg.labels.files import standing_labels, write_label_files
from c2seg.labels.record import LabelRecord
from c2seg.labels.rules import RuleTable
from c2seg.outputs import Output, check_outputs, make_folder, write_text
from c2seg.parallel import Crew, Limits, Terms, run_tasks
from c2seg.progress import Progress, no_progress
from c2seg.types import Grid

__all__ = ["TABLE", "CityLabels", "LabelJob", "LabelTask", "label_cities"]

TABLE = "labels.csv"

_LIMITS = Limits(deadline_s=7200, start_s=7200)  # reading the extract of a country takes long


@dataclass(frozen=True)
class LabelTask:
    """A label raster to write: its city, extract, grid and places."""

    city: str
    osm: Path
    grid: Grid
    out: Path
    fractions: Path | None
    inputs: tuple[Path, ...]


@dataclass(frozen=True)
class CityLabels:
    """A label raster of a city, and the report on it."""

    path: Path
    report: LabelRecord


@dataclass(frozen=True)
class LabelJob:
    """Label rasters, written by whoever computes them: each is whole or absent, and the same from anybody."""

    table: RuleTable
    inputs: tuple[Path, ...]
    overwrite: bool

    @contextmanager
    def start(self) -> Iterator[Callable[[LabelTask], LabelRecord]]:
        """Return the function of the tasks."""
        yield self.label

    def label(self, task: LabelTask) -> LabelRecord:
        """Write a label raster, unless it stands as it would be made."""
        if not self.overwrite:
            report = standing_labels(task.osm, self.table, task.grid, task.out, task.fractions)
            if report is not None:
                return report
        return write_label_files(
            task.osm, self.table, task.grid, task.out, fractions=task.fractions, inputs=(*self.inputs, *task.inputs),
            overwrite=self.overwrite,
        )  # fmt: skip


def label_cities(
    entries: Sequence[CityEntry],
    table: RuleTable,
    out: Path,
    *,
    osm: Path | None = None,
    fractions: Path | None = None,
    inputs: Sequence[Path] = (),
    overwrite: bool = False,
    crew: Crew | None = None,
    progress: Progress = no_progress,
) -> tuple[dict[str, tuple[CityLabels, ...]], dict[str, str]]:
    """Write labels on the grids of cities into a folder; return them by city, and in one line why others have none.

    The raster of a city is ``NAME.tif``, of one with several scenes a folder of them. ``osm`` is the extract where the list
    names none. Rasters that stand as they would be made are left alone. ``labels.csv`` has a row for each.
    ``fractions`` is a folder, too. Raises OutputError.
    """
    folders = [Output(folder, is_folder=True) for folder in (out, fractions) if folder is not None]
    check_outputs(folders, inputs, overwrite=True)
    make_folder(out)
    failed: dict[str, str] = {}
    tasks: list[LabelTask] = []
    for entry in entries:
        try:
            tasks += _tasks(entry, out.absolute(), osm, fractions and fractions.absolute())
        except C2SegError as error:
            failed[entry.name] = one_line(error)
    reports: dict[int, LabelRecord] = {}
    job = LabelJob(table, tuple(path.absolute() for path in inputs), overwrite)

    def finish(index: int, report: LabelRecord, _: str = "") -> None:
        reports[index] = report
        progress(len(reports), len(tasks), tasks[index].city)

    def fail(index: int, error: C2SegError) -> None:
        failed[tasks[index].city] = one_line(error)

    _run(job, tasks, finish, fail, crew)
    labels: dict[str, tuple[CityLabels, ...]] = {}
    for index, task in enumerate(tasks):
        if task.city not in failed:
            labels[task.city] = (*labels.get(task.city, ()), CityLabels(task.out, reports[index]))
    write_text(out / TABLE, _table(entries, out.absolute(), labels, failed))
    return labels, failed


def _run(
    job: LabelJob,
    tasks: Sequence[LabelTask],
    finish: Callable[[int, LabelRecord, str], None],
    fail: Callable[[int, C2SegError], None],
    crew: Crew | None,
) -> None:
    if crew is not None:
        run_tasks(crew, job, tasks, finish, _LIMITS, terms=Terms(after={}, failed=fail))
        return
    for index, task in enumerate(tasks):
        try:
            finish(index, job.label(task), "")
        except C2SegError as error:
            fail(index, error)


def _tasks(entry: CityEntry, out: Path, osm: Path | None, fractions: Path | None) -> Iterator[LabelTask]:
    """Yield the rasters of a city, one for each scene. Raises DataError for a damaged city, InputError without an extract."""
    extract = entry.osm or osm
    if extract is None:
        raise InputError(f"{entry.name} has no extract: give `osm`, or a list with the column osm")
    city = open_city(entry.path)
    several = len(city.scenes) > 1
    inputs = tuple(path.absolute() for path in city_inputs(entry.path, city))
    for scene in city.scenes:
        place = Path(entry.name) / f"{scene.name}.tif" if several else Path(f"{entry.name}.tif")
        yield LabelTask(
            entry.name,
            extract.absolute(),
            scene.grid,
            out / place,
            None if fractions is None else fractions / place,
            inputs,
        )


def _table(
    entries: Sequence[CityEntry], out: Path, labels: dict[str, tuple[CityLabels, ...]], failed: dict[str, str]
) -> str:
    """Return a row for each raster: what the extract covers and maps, km2 by class; and one for each city without."""
    classes = list(
        dict.fromkeys(item.name for rasters in labels.values() for one in rasters for item in one.report.classes)
    )
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["name", "label", "covered_km2", "covered_share", "mapped_share", *classes, "error"])
    for entry in entries:
        for one in labels.get(entry.name, ()):
            facts, areas = one.report.coverage, {item.name: item.km2 for item in one.report.classes}
            amounts = [areas.get(name, "") for name in classes]
            place = one.path.relative_to(out).as_posix()
            writer.writerow([entry.name, place, facts.km2, facts.covered_share, facts.mapped_share, *amounts, ""])
        if entry.name in failed:
            writer.writerow([entry.name, *[""] * (4 + len(classes)), failed[entry.name]])
    return text.getvalue()
