"""Write a label raster from an extract, with its style and its report."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from c2seg.errors import InputError
from c2seg.labels.build import make_labels
from c2seg.labels.grids import grid_from_bounds, grid_like
from c2seg.labels.record import LabelRecord
from c2seg.labels.rules import RuleTable
from c2seg.labels.writing import write_labels
from c2seg.outputs import check_output
from c2seg.progress import Progress, no_progress
from c2seg.raster import write_qml
from c2seg.types import Grid

__all__ = ["Area", "write_label_files"]


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


def write_label_files(
    osm: Path,
    table: RuleTable,
    area: Area,
    out: Path,
    *,
    fractions: Path | None = None,
    overwrite: bool = False,
    progress: Progress = no_progress,
) -> LabelRecord:
    """Write the label raster ``out``, its style ``.qml`` and its report ``.json``; return the report.

    Raises InputError for invalid arguments, DataError or GridError for the extract, OutputError if a file exists.
    """
    if fractions is not None and fractions.resolve() == out.resolve():
        raise InputError(f"fractions and out are the same file {out}; give two names")
    style, record = out.with_suffix(".qml"), out.with_suffix(".json")
    for path in (out, style, record, *([fractions] if fractions else [])):
        check_output(path, overwrite=overwrite)
    labels = make_labels(osm, table, area.grid(), progress=progress)
    report = write_labels(labels, out, fractions=fractions, overwrite=overwrite, progress=progress)
    write_qml(style, table.legend)
    report.write(record, overwrite=overwrite)
    return report
