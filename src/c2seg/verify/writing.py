"""The files of a sample: points as GeoPackage and CSV with empty references, and the record.

No file but the record tells the strata's meaning; the mapped class of a point stands in none.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from c2seg.errors import C2SegError, OutputError, needs_extra, one_line
from c2seg.gis.geopackage import fixed_date
from c2seg.outputs import Output
from c2seg.types import Grid
from c2seg.verify.rows import csv_text, read_rows
from c2seg.verify.samples import SampleRecord

__all__ = [
    "Located",
    "check_unlabeled",
    "empty_texts",
    "located",
    "place_texts",
    "points_csv",
    "sample_csv",
    "sample_outputs",
    "write_points",
]


@dataclass(frozen=True)
class Located:
    """Pixel centers, float64 [n]: in the map's coordinates, and in degrees (None: the map has no CRS)."""

    x: np.ndarray
    y: np.ndarray
    longitude: np.ndarray | None = None
    latitude: np.ndarray | None = None


def located(grid: Grid, rows: np.ndarray, cols: np.ndarray) -> Located:
    """Return the centers of pixels."""
    a, b, c, d, e, f = grid.transform[:6]
    x = a * (cols + 0.5) + b * (rows + 0.5) + c
    y = d * (cols + 0.5) + e * (rows + 0.5) + f
    if grid.crs is None:
        return Located(x, y)
    from rasterio.crs import CRS
    from rasterio.warp import transform

    longitude, latitude = transform(CRS.from_wkt(grid.crs), "EPSG:4326", x.tolist(), y.tolist())
    return Located(x, y, np.array(longitude), np.array(latitude))


def sample_outputs(out: Path, page: Path | None = None) -> dict[str, Output]:
    """Return the files of a sample: points, CSV, record and page."""
    outputs = {
        "points": Output(out, "out", (".gpkg",)),
        "csv": Output(out.with_suffix(".csv"), "out"),
        "record": Output(out.with_suffix(".json"), "out"),
    }
    if page is not None:
        outputs["page"] = Output(page, "page", (".html", ".htm"))
    return outputs


def check_unlabeled(outputs: Sequence[Output]) -> None:
    """Raise OutputError for points that would be replaced and have labels: an interpreter's work is never lost."""
    for output in outputs:
        if output.path.suffix in {".gpkg", ".csv"} and output.path.is_file():
            try:
                labels = sum(bool(row.reference) for row in read_rows(output.path))
            except C2SegError:
                continue
            if labels:
                raise OutputError(
                    f"{output.path} holds labels of {labels} points, which are never replaced; give another name"
                )


def sample_csv(record: SampleRecord) -> str:
    """Return the CSV of a sample, without labels."""
    points = [(point.id, point.row, point.col) for point in record.points]
    return points_csv(record.sample_id, record.grid.grid(), points)


def points_csv(sample_id: str, grid: Grid, points: Sequence[tuple[int, int, int]]) -> str:
    """Return the CSV of points (id, row, column), without labels."""
    return csv_text([{"sample_id": sample_id, **place} for place in place_texts(grid, points)])


def place_texts(grid: Grid, points: Sequence[tuple[int, int, int]]) -> list[dict[str, object]]:
    """Return id, coordinates, and degrees (empty without a CRS) of points (id, row, column), as files have them."""
    numbers, rows, cols = (np.array(column, np.int64) for column in zip(*points, strict=True))
    place = located(grid, rows, cols)
    degrees = [("", "")] * len(numbers)
    if place.longitude is not None and place.latitude is not None:
        degrees = [(f"{a:.8f}", f"{b:.8f}") for a, b in zip(place.longitude, place.latitude, strict=True)]
    return [
        {"point_id": int(number), "x": repr(float(x)), "y": repr(float(y)), "longitude": a, "latitude": b}
        for number, x, y, (a, b) in zip(numbers, place.x, place.y, degrees, strict=True)
    ]


def write_points(path: Path, layer: str, grid: Grid, columns: dict[str, np.ndarray]) -> None:
    """Write points at pixel centers (columns ``row``, ``col``) as a GeoPackage with these attributes.

    The same points give the same bytes with the same library. Raises OutputError if it cannot be written.
    """
    with needs_extra("a GeoPackage", "vector"):
        import shapely
        from pyogrio.raw import write  # type: ignore[import-untyped]
    place = located(grid, columns["row"], columns["col"])
    shapes = shapely.to_wkb(shapely.points(place.x, place.y))
    try:
        with fixed_date(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "'crs' was not provided")  # maps without a CRS are known of
            write(
                path, geometry=shapes, field_data=list(columns.values()), fields=list(columns), layer=layer, driver="GPKG",
                geometry_type="Point", crs=grid.crs, dataset_metadata={}, SPATIAL_INDEX="NO",
            )  # fmt: skip
    except (RuntimeError, ValueError, OSError) as error:
        raise OutputError(f"cannot write {path}: {one_line(error)}") from error


def empty_texts(count: int) -> np.ndarray:
    """Return a column of empty texts."""
    column = np.empty(count, object)
    column[:] = ""
    return column
