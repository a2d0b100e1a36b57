"""Reference labels as polygons (GeoPackage, GeoJSON, Shapefile): burned into a grid when they are opened."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from affine import Affine

from c2seg.errors import DataError, InputError, needs_extra, one_line, unknown_name
from c2seg.legend import Legend
from c2seg.raster import GDAL_ERRORS
from c2seg.types import Grid

__all__ = [
    "DEFAULT_FIELD",
    "VECTOR_SUFFIXES",
    "burn_labels",
    "class_numbers",
    "in_pixels",
    "is_vector",
    "read_features",
]

VECTOR_SUFFIXES = (".gpkg", ".geojson", ".json", ".shp", ".fgb")
DEFAULT_FIELD = "class"
_STARTS = {
    ".gpkg": rb"SQLite format 3\0", ".shp": rb"\x00\x00\x27\x0a", ".fgb": rb"fgb",
    **dict.fromkeys((".geojson", ".json"), rb"(\xef\xbb\xbf)?\s*\{(?!.*gdal_streamed_alg).*\"Feature"),
}  # fmt: skip
"""How the content of a file begins, by its suffix: GDAL follows what others, such as virtual sources, name."""
_HEAD_BYTES = 65536


def is_vector(path: Path) -> bool:
    """Return whether a file's name is that of a vector file."""
    return path.suffix.lower() in VECTOR_SUFFIXES


def burn_labels(path: Path, grid: Grid, legend: Legend, field: str | None = None) -> np.ndarray:
    """Return the label values of polygons, int32 [1, H, W]: a pixel has the value of the polygon that covers its center.

    ``field`` is the attribute with the values (default ``class``): integers, or class names of the legend, which become
    ids. Later polygons cover earlier ones; pixels without a polygon are 0. Raises DataError for a file that is unreadable, has
    no CRS, does not overlap the grid, or has a value that is neither, and MissingExtraError without pyogrio.
    """
    if grid.crs is None:
        raise DataError(f"{path} is a vector file, and the images have no CRS; rasterize the labels (gdal_rasterize)")
    crs, values, shapes = read_features(path, (field or DEFAULT_FIELD,))
    if not crs:
        raise DataError(f"{path} has no CRS; assign one (ogr2ogr -a_srs)")
    from rasterio.features import rasterize

    numbers = class_numbers(values, legend, path, field or DEFAULT_FIELD)
    pixels = in_pixels(shapes, crs, grid, path)
    burned = rasterize(
        zip(pixels, numbers.tolist(), strict=True), (grid.height, grid.width), fill=0, transform=Affine.identity(),
        dtype="int32",
    )  # fmt: skip
    if not burned.any():
        raise DataError(f"{path}: no polygon with a class covers a pixel of the grid (bounds {grid.bounds_xy})")
    array: np.ndarray = burned[None]
    return array


_KINDS = {0: "point", 3: "polygon"}
"""Of shapely's geometries, without those of several parts."""


def read_features(
    path: Path,
    fields: Sequence[str],
    kinds: Sequence[int] = (3, 6),
    *,
    advice: str = "Name it with `label_field`, or `field:` in city.yaml.",
    what: str = "a vector file as label",
) -> tuple[str | None, np.ndarray, np.ndarray]:
    """Return the CRS (None: it has none), the values of a field and the shapes, [N] each, of a file's first layer.

    The field is the first of ``fields`` that the file has. ``kinds`` are shapely's numbers of the geometries that count
    (3, 6: polygons); others are left out. ``advice`` ends the message on a missing field, ``what`` begins that on a missing
    extra. Raises DataError for a file that is unreadable or has none of these, InputError
    without the field, and MissingExtraError without pyogrio.
    """
    with needs_extra(what, "vector"):
        import shapely
        from pyogrio.errors import DataLayerError, DataSourceError  # type: ignore[import-untyped]
        from pyogrio.raw import read  # type: ignore[import-untyped]
    try:
        with path.open("rb") as stream:
            if not re.match(_STARTS[path.suffix.lower()], stream.read(_HEAD_BYTES), re.DOTALL):
                raise DataError(f"cannot read the vector file {path}: its content is not what its name says")
        info, _, geometries, columns = read(path, layer=0)
    except DataError:
        raise
    except (DataSourceError, DataLayerError, ValueError, OSError) as error:
        raise DataError(f"cannot read the vector file {path}: {one_line(error)}") from error
    names = list(info["fields"])
    field = next((name for name in fields if name in names), None)
    if field is None:
        raise InputError(f"{path}: {unknown_name('field', fields[0], names)} {advice}")
    shapes = shapely.from_wkb(geometries, on_invalid="ignore")
    counted = np.isin(shapely.get_type_id(shapes), kinds) & ~shapely.is_empty(shapes)
    if not counted.any():
        raise DataError(f"{path} has no {' and no '.join(name for kind, name in _KINDS.items() if kind in kinds)}")
    return info["crs"] or None, np.asarray(columns[names.index(field)])[counted], shapes[counted]


def class_numbers(values: np.ndarray, legend: Legend, path: Path, field: str) -> np.ndarray:
    """Return label values as integers; class names become ids."""
    if values.dtype.kind in "iu":
        return values.astype(np.int64)
    if values.dtype.kind == "f" and np.array_equal(values, np.round(values)):
        return values.astype(np.int64)
    ids = {item.name.casefold(): item.id for item in legend.classes}
    texts = [str(value).strip() for value in values]
    if all(text.lstrip("-").isdigit() for text in texts):
        return np.array([int(text) for text in texts], np.int64)
    unknown = sorted({text for text in texts if text.casefold() not in ids})
    if unknown:
        raise DataError(
            f"{path}: values {', '.join(map(repr, unknown[:5]))} of {field} are neither integers nor classes of legend "
            f"{legend.name!r} ({', '.join(legend.names)})"
        )
    return np.array([ids[text.casefold()] for text in texts], np.int64)


def in_pixels(shapes: np.ndarray, crs: str | None, grid: Grid, path: Path) -> np.ndarray:
    """Return shapes in columns and rows of the grid. Their coordinates are in ``crs``; None: in the grid's own."""
    import shapely
    from rasterio.crs import CRS
    from rasterio.warp import transform

    there = None if crs is None else CRS.from_wkt(grid.crs or "")
    here = there if crs is None else CRS.from_user_input(crs)
    inverse = ~grid.transform

    def place(points: np.ndarray) -> np.ndarray:
        x, y = (points[:, 0], points[:, 1]) if here == there else map(np.asarray, transform(here, there, *points.T))
        return np.column_stack([inverse.a * x + inverse.b * y + inverse.c, inverse.d * x + inverse.e * y + inverse.f])

    try:
        placed: np.ndarray = shapely.transform(shapes, place)
    except GDAL_ERRORS as error:
        raise DataError(
            f"{path}: its coordinates cannot be transformed to the grid's CRS: {one_line(error)}"
        ) from error
    return placed
