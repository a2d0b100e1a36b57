"""Rows of points in GeoPackages and CSV files, as texts and numbers, whoever edited them."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from c2seg.documents import read_text
from c2seg.errors import DataError, needs_extra, one_line

__all__ = ["CSV_COLUMNS", "PointRow", "csv_text", "read_rows"]

CSV_COLUMNS = (
    "sample_id", "point_id", "x", "y", "longitude", "latitude", "reference", "confidence", "interpreter", "comment",
)  # fmt: skip
_NEEDED = ("point_id", "reference")
_CSV_BYTES = 64 << 20
_POINT = 0  # shapely's number of this type


@dataclass(frozen=True)
class PointRow:
    """A point with what was entered for it. ``crs`` is the file's (WKT or authority code); None: a CSV has the map's."""

    sample_id: str
    point_id: int
    x: float
    y: float
    reference: str = ""
    confidence: str = ""
    interpreter: str = ""
    comment: str = ""
    crs: str | None = None


def read_rows(path: Path) -> list[PointRow]:
    """Read the points of a GeoPackage or CSV file. Raises DataError for other files and damaged ones."""
    suffix = path.suffix.lower()
    if suffix == ".gpkg":
        return _read_geopackage(path)
    if suffix == ".csv":
        return _read_csv(path)
    raise DataError(f"{path} is no sample; give a GeoPackage (.gpkg) or a CSV file (.csv) of its points")


def csv_text(rows: list[dict[str, object]]) -> str:
    """Return rows by column name as a CSV file with the columns of a sample."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, CSV_COLUMNS, lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


def _read_csv(path: Path) -> list[PointRow]:
    """Read a CSV file; spreadsheets of some countries write semicolons and decimal commas."""
    text = read_text(path, _CSV_BYTES).removeprefix("\ufeff")
    header = text.partition("\n")[0]
    semicolons = header.count(";") > header.count(",")
    try:
        lines = list(csv.DictReader(io.StringIO(text, newline=""), delimiter=";" if semicolons else ","))
    except csv.Error as error:
        raise DataError(f"{path} is no CSV file: {one_line(error)}") from error
    columns = list(lines[0]) if lines else [name.strip() for name in header.split(";" if semicolons else ",")]
    _check_columns(path, (*_NEEDED, "x", "y"), [str(name) for name in columns])
    numbers = [{key: _text(value) for key, value in line.items() if key} for line in lines]
    return [_row(path, line, None, comma=semicolons) for line in numbers if any(line.values())]


def _read_geopackage(path: Path) -> list[PointRow]:
    with needs_extra("a sample as GeoPackage", "vector"):
        import shapely
        from pyogrio.errors import DataLayerError, DataSourceError  # type: ignore[import-untyped]
        from pyogrio.raw import read  # type: ignore[import-untyped]
    try:
        with path.open("rb") as stream:
            if not stream.read(16).startswith(b"SQLite format 3\0"):
                raise DataError(f"cannot read {path}: it is no GeoPackage")
        info, _, geometries, columns = read(path)
    except DataError:
        raise
    except (DataSourceError, DataLayerError, ValueError, OSError) as error:
        raise DataError(f"cannot read {path}: {one_line(error)}") from error
    _check_columns(path, _NEEDED, list(info["fields"]))
    shapes = shapely.from_wkb(geometries, on_invalid="ignore")
    if len(shapes) and not bool((shapely.get_type_id(shapes) == _POINT).all()):
        raise DataError(f"{path} holds other shapes than points; a sample is of points")
    xy = shapely.get_coordinates(shapes)
    fields = dict(zip(info["fields"], columns, strict=True))
    lines = [{name: _text(values[k]) for name, values in fields.items()} for k in range(len(shapes))]
    return [
        _row(path, {**line, "x": repr(float(x)), "y": repr(float(y))}, info["crs"] or None)
        for line, (x, y) in zip(lines, xy, strict=True)
    ]


def _check_columns(path: Path, needed: tuple[str, ...], columns: list[str]) -> None:
    missing = [name for name in needed if name not in columns]
    if missing:
        raise DataError(f"{path} is no sample: it lacks the columns {', '.join(missing)}")


def _row(path: Path, line: dict[str, str], crs: str | None, *, comma: bool = False) -> PointRow:
    number, x, y = (_number(path, line, name, comma=comma) for name in ("point_id", "x", "y"))
    if number != int(number):
        raise DataError(f"{path}: point_id {line['point_id']!r} is no whole number")
    names = ("reference", "confidence", "interpreter", "comment")
    texts = {name: line.get(name, "").strip() for name in names}
    return PointRow(line.get("sample_id", "").strip(), int(number), x, y, **texts, crs=crs)


def _number(path: Path, line: dict[str, str], name: str, *, comma: bool) -> float:
    text = line.get(name, "").strip()
    try:
        value = float(text.replace(",", ".") if comma else text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DataError(f"{path}: {name} {text!r} is no number")
    return value


def _text(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return str(value)
