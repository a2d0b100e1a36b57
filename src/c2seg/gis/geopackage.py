"""Polygons of a map as a GeoPackage, written strip by strip, with names and colors that QGIS takes from the file."""

from __future__ import annotations

import sqlite3
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, SubElement, indent, tostring

import numpy as np

from c2seg.errors import OutputError, needs_extra, one_line
from c2seg.gis.polygons import Pieces, strip_pieces
from c2seg.gis.seams import Seams
from c2seg.legend import Legend
from c2seg.progress import Progress, no_progress
from c2seg.raster import RasterFile
from c2seg.types import Grid, Window

__all__ = ["PolygonFile", "check_vector_packages", "fixed_date", "write_polygons"]

LAYER = "land_cover"
_STRIP_PX = 2_000_000
_DATE = "2000-01-01T00:00:00.000Z"


@dataclass(frozen=True)
class PolygonFile:
    """What was written: number of polygons, and how many were so large that they end at the line between two strips."""

    polygons: int
    cut: int


def check_vector_packages() -> None:
    """Raise MissingExtraError where no polygons can be written; call it before long work that ends with them."""
    with needs_extra("polygons", "vector"):
        import pyogrio  # type: ignore[import-untyped]  # noqa: F401
        import shapely  # noqa: F401


def write_polygons(
    path: Path,
    source: Path,
    legend: Legend,
    palette: str = "default",
    *,
    simplify_m: float | None = None,
    progress: Progress = no_progress,
    strip_px: int = _STRIP_PX,
) -> PolygonFile:
    """Write the areas of one class of the map at ``source`` as polygons: ``class``, ``class_id``, ``area_m2``.

    Borders follow the pixels, or are simplified by ``simplify_m`` meters (pixels without a CRS), the same for both neighbors:
    no gaps, no overlaps. Memory holds one strip and the polygons that continue below it. Without a CRS the area is in pixels.
    Raises OutputError, and MissingExtraError without pyogrio and shapely.
    """
    check_vector_packages()
    raster = RasterFile(source)
    side_m = raster.grid.pixel_side_m() or 1.0
    tolerance = (simplify_m or 0.0) / side_m
    seams = Seams(raster.width, simplified=tolerance > 0)
    written = 0
    try:
        for pieces in _strips(raster, seams, tolerance, legend, strip_px, progress):
            if len(pieces.ids) or not written:
                _write(path, pieces, raster.grid, legend, append=path.exists())
                written += len(pieces.ids)
        _add_style(path, legend, palette)
    except (RuntimeError, ValueError, OSError, sqlite3.Error) as error:
        raise OutputError(f"cannot write {path}: {one_line(error)}") from error
    return PolygonFile(written, seams.cut)


def _strips(
    raster: RasterFile, seams: Seams, tolerance: float, legend: Legend, strip_px: int, progress: Progress
) -> Iterator[Pieces]:
    """Yield polygons in pixels as they become whole."""
    height, width = raster.height, raster.width
    rows = max(1, strip_px // width)
    known = np.isin(np.arange(256), legend.ids)
    for first in range(0, height, rows):
        end = min(first + rows, height)
        ids = raster.read(Window(first, 0, end - first, width))[0].astype(np.uint8)
        ids[~known[ids]] = 0
        yield seams.add(strip_pieces(ids, first, tolerance), first, end, last=end == height)
        progress(end, height, "polygons")


def _write(path: Path, pieces: Pieces, grid: Grid, legend: Legend, *, append: bool) -> None:
    import shapely
    from pyogrio.raw import write  # type: ignore[import-untyped]

    names = dict(zip(legend.ids, legend.names, strict=True))
    a, b, c, d, e, f = grid.transform[:6]
    placed = shapely.transform(pieces.shapes, lambda points: points @ np.array([[a, d], [b, e]]) + (c, f))
    columns = {
        "class": np.array([names[i] for i in pieces.ids.tolist()], object),
        "class_id": pieces.ids.astype(np.int32),
        "area_m2": shapely.area(pieces.shapes) * (grid.pixel_area_m2() or 1.0),
    }
    if grid.crs is None:
        columns["pixels"] = columns.pop("area_m2")
    with fixed_date(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "'crs' was not provided")  # maps without a CRS are known of
        write(
            path, geometry=shapely.to_wkb(placed), field_data=list(columns.values()), fields=list(columns), layer=LAYER,
            driver="GPKG", geometry_type="Polygon", crs=grid.crs, append=append,
            dataset_options=None if append else {"VERSION": "1.2"},  # what older programs know
        )  # fmt: skip


@contextmanager
def fixed_date() -> Iterator[None]:
    """Let GDAL write a fixed date within the block: equal content gives equal bytes. Its settings are as before afterwards."""
    import pyogrio

    name = "OGR_CURRENT_DATE"
    before: Any = pyogrio.get_gdal_config_option(name)
    pyogrio.set_gdal_config_options({name: _DATE})
    try:
        yield
    finally:
        pyogrio.set_gdal_config_options({name: before})


def _add_style(path: Path, legend: Legend, palette: str) -> None:
    """Store names and colors in the table that QGIS reads the style of a layer from."""
    with sqlite3.connect(path) as database:
        database.execute(
            "CREATE TABLE layer_styles (id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, f_table_catalog TEXT(256), "
            "f_table_schema TEXT(256), f_table_name TEXT(256), f_geometry_column TEXT(256), styleName TEXT(30), "
            "styleQML TEXT, styleSLD TEXT, useAsDefault BOOLEAN, description TEXT, owner TEXT(30), ui TEXT(30), "
            "update_time DATETIME)"
        )
        database.execute(
            "INSERT INTO layer_styles (f_table_catalog, f_table_schema, f_table_name, f_geometry_column, styleName, "
            "styleQML, styleSLD, useAsDefault, description, owner, update_time) "
            "VALUES ('', '', ?, 'geom', 'classes', ?, '', 1, '', '', ?)",
            (LAYER, _style(legend, palette), _DATE),
        )
        database.execute(
            "INSERT INTO gpkg_contents (table_name, data_type, identifier, description, last_change) "
            "VALUES ('layer_styles', 'attributes', 'layer_styles', '', ?)",
            (_DATE,),
        )
    database.close()


def _fill(color: str) -> tuple[tuple[str, str], ...]:
    """Return the properties of a fill; an outline of its color, since neighbors would show the ground between them."""
    return (
        ("color", color), ("style", "solid"), ("outline_style", "solid"), ("outline_color", color),
        ("outline_width", "0.1"),
    )  # fmt: skip


def _style(legend: Legend, palette: str) -> str:
    """Return a QGIS style of polygons by class."""
    root = Element("qgis", {"styleCategories": "Symbology"})
    renderer = SubElement(root, "renderer-v2", {"type": "categorizedSymbol", "attr": "class_id"})
    categories, symbols = SubElement(renderer, "categories"), SubElement(renderer, "symbols")
    colors = legend.colors(palette)
    for number, item in enumerate(legend.classes):
        SubElement(categories, "category", {
            "symbol": str(number), "value": str(item.id), "label": item.name, "render": "true",
        })  # fmt: skip
        symbol = SubElement(symbols, "symbol", {"name": str(number), "type": "fill", "alpha": "1"})
        layer = SubElement(symbol, "layer", {"class": "SimpleFill", "enabled": "1"})
        color = ",".join(map(str, (*colors[item.id], 255)))
        for key, value in _fill(color):
            SubElement(layer, "prop", {"k": key, "v": value})
    indent(root)
    return "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n" + tostring(root, encoding="unicode")
