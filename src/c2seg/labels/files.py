"""Write a label raster from an extract, with its style and its report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from c2seg._version import __version__
from c2seg.errors import C2SegError, InputError
from c2seg.labels.build import make_labels
from c2seg.labels.grids import grid_from_bounds, grid_like, wkt_of
from c2seg.labels.record import LabelRecord
from c2seg.labels.rules import RuleTable
from c2seg.labels.writing import write_labels
from c2seg.outputs import check_outputs, commit, raster_output, record_output, style_output
from c2seg.progress import Progress, no_progress
from c2seg.raster import files_digest, qml_text
from c2seg.types import Grid

__all__ = ["Area", "label_key", "standing_labels", "write_label_files"]


@dataclass(frozen=True)
class Area:
    """The grid of labels: that of the raster ``like``, or ``bounds`` with ``resolution``.

    ``bounds`` are west, south, east, north in degrees, or in units of ``crs`` if it is given. ``resolution`` is in meters.
    Without ``crs`` the grid is in the UTM zone of the bounds' center.
    """

    like: Path | None = None
    bounds: tuple[float, float, float, float] | None = None
    resolution: float | None = None
    crs: str | None = None

    def grid(self) -> Grid:
        """Return the grid. Raises InputError if both ``like`` and ``bounds``, or neither, are given."""
        if (self.like is None) == (self.bounds is None):
            raise InputError("give either like (a raster) or bounds (west, south, east, north) with resolution")
        if self.like is not None:
            if self.resolution is not None or self.crs is not None:
                raise InputError("resolution and crs are parameters of bounds; like takes them from the raster")
            return grid_like(self.like)
        assert self.bounds is not None
        if self.resolution is None:
            raise InputError("bounds needs resolution (pixel size in meters)")
        return grid_from_bounds(self.bounds, self.resolution, self.crs)


def label_key(osm: Path, table: RuleTable, grid: Grid) -> str:
    """Return a digest of all that a label raster depends on. Raises DataError if the extract cannot be read."""
    place = (grid.height, grid.width, tuple(grid.transform), wkt_of(grid))
    return files_digest([osm], (__version__, table.digest, table.legend.classes, place))


def standing_labels(osm: Path, table: RuleTable, grid: Grid, out: Path, fractions: Path | None) -> LabelRecord | None:
    """Return the report on a label raster that stands as these arguments would make it; None otherwise."""
    files = [out, style_output(out).path, *([] if fractions is None else [fractions])]
    if not all(file.is_file() for file in files):
        return None
    try:
        report = LabelRecord.read(record_output(out, "labels").path)
    except C2SegError:
        return None
    return report if report.key == label_key(osm, table, grid) else None


def write_label_files(
    osm: Path,
    table: RuleTable,
    area: Area | Grid,
    out: Path,
    *,
    fractions: Path | None = None,
    inputs: Sequence[Path] = (),
    overwrite: bool = False,
    progress: Progress = no_progress,
) -> LabelRecord:
    """Write the label raster ``out``, its style ``.qml`` and its report ``.json``; return the report. ``area`` may be the grid.

    ``inputs`` are further files that nothing may replace.

    Raises InputError for invalid arguments, DataError or GridError for the extract, OutputError if a file exists.
    """
    main, style, record = raster_output(out), style_output(out), record_output(out, "labels")
    shares = [] if fractions is None else [raster_output(fractions, "fractions")]
    like = None if isinstance(area, Grid) else area.like
    check_outputs([main, style, record, *shares], [osm, like, *inputs], overwrite=overwrite)
    grid = area if isinstance(area, Grid) else area.grid()
    key = label_key(osm, table, grid)
    labels = make_labels(osm, table, grid, progress=progress)
    with commit(overwrite=overwrite) as files:
        place = files.add(main, main=True)
        share_place = files.add(shares[0]) if shares else None
        made = write_labels(labels, place, fractions=share_place, overwrite=True, progress=progress)
        report = made.model_copy(update={"key": key})
        files.text(style, qml_text(table.legend))
        files.text(record, report.as_text())
    return report
