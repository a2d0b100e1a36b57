"""A few labels of a target, from a file that the user names: a type of their own, so that no other label can be meant.

A target is a ``City``, which has no labels, and ``label.tif`` beside its images stays unread. Points label the pixel that they
lie in, polygons those whose centers they cover. The files are vector files with a field of classes, and the tables that the
labeling page of ``c2seg sample`` exports.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from c2seg.data.city import City, Scene, blocks
from c2seg.data.vectors import class_numbers, in_pixels, is_vector, read_features
from c2seg.documents import read_text
from c2seg.errors import DataError, InputError, needs_extra
from c2seg.legend import Legend
from c2seg.raster import short

__all__ = ["FIELDS", "SceneLabels", "TargetLabels", "read_target_labels"]

FIELDS = ("class", "reference")
"""Names of the field of classes, the first that a file has."""
UNDECIDED = ("", "cannot tell", "none", "nan", "0", "255", "0.0", "255.0")
"""Values, in lower case, of what is not labeled or could not be told."""
_ADVICE = "Name it with `label_field`."
_TABLE_BYTES = 64 << 20
_BLOCK_PX = 256
_APART_DEG = 1e-3
"""How far x and y may be from longitude and latitude, where a table has both."""


@dataclass(frozen=True)
class SceneLabels:
    """Labeled pixels of a scene: rows, columns, and number of the point or polygon, int64 [N] each, and ids uint8 [N]."""

    rows: np.ndarray
    cols: np.ndarray
    ids: np.ndarray
    units: np.ndarray

    def among(self, chosen: np.ndarray) -> SceneLabels:
        """Return some of the pixels, chosen by bool [N]."""
        return SceneLabels(self.rows[chosen], self.cols[chosen], self.ids[chosen], self.units[chosen])


@dataclass(frozen=True)
class TargetLabels:
    """The labels of a target by scene, in the city's order, and the name of their file."""

    file: str
    scenes: tuple[SceneLabels, ...]

    @property
    def pixels(self) -> int:
        """Number of labeled pixels."""
        return sum(len(scene.rows) for scene in self.scenes)

    @property
    def ids(self) -> np.ndarray:
        """Class ids uint8 [N] of all labeled pixels, scene by scene."""
        return np.concatenate([scene.ids for scene in self.scenes])

    @property
    def units(self) -> np.ndarray:
        """Which point or polygon each pixel is of, int64 [N], scene by scene."""
        return np.concatenate([scene.units for scene in self.scenes])

    def unit_counts(self, legend: Legend) -> dict[str, int]:
        """Return the points and polygons by class name; classes without any are left out."""
        _, first = np.unique(self.units, return_index=True)
        counts = np.bincount(self.ids[first], minlength=256)
        return {item.name: int(counts[item.id]) for item in legend.classes if counts[item.id]}

    def among(self, units: np.ndarray) -> TargetLabels:
        """Return the labels of some points and polygons."""
        return replace(self, scenes=tuple(scene.among(np.isin(scene.units, units)) for scene in self.scenes))

    def digest(self) -> str:
        """Return a digest of pixels and classes: all that a training depends on."""
        digest = hashlib.sha256()
        for scene in self.scenes:
            for values in (scene.rows, scene.cols, scene.ids, scene.units):
                digest.update(np.ascontiguousarray(values).data)
        return short(digest)

    def valid_in(self, city: City, modalities: Sequence[str]) -> tuple[TargetLabels, int]:
        """Return the labels on pixels that are valid in all ``modalities``, and how many others there are."""
        scenes = []
        for scene, labels in zip(city.scenes, self.scenes, strict=True):
            scenes.append(labels.among(_valid(scene, labels, modalities)))
        valid = replace(self, scenes=tuple(scenes))
        return valid, self.pixels - valid.pixels


@dataclass(frozen=True)
class _Features:
    """Points and polygons before they are placed: shapes [N] (shapely), class ids [N], and their CRS (None: pixels' own)."""

    shapes: np.ndarray
    ids: np.ndarray
    crs: str | None


def read_target_labels(path: Path, city: City, field: str | None = None) -> TargetLabels:
    """Return the labels that a file holds for a city.

    A vector file (GeoPackage, GeoJSON, Shapefile, FlatGeobuf) has points or polygons and a ``field`` of class names or ids
    (None: ``class``, else ``reference``). A table (CSV) has ``reference`` or ``class``, and ``x`` and ``y`` in the city's CRS,
    or ``longitude`` and ``latitude``. Rows without a class, or with ``cannot tell``, are left out.

    Raises DataError for a file that is unreadable, in another place, or of other classes, for points outside the city, and for
    a pixel with two classes; MissingExtraError without pyogrio and shapely.
    """
    if not path.is_file():
        raise DataError(f"{path} does not exist; give a file of points or polygons with a class (`target_labels`)")
    if not is_vector(path) and path.suffix.lower() != ".csv":
        raise InputError(f"{path} is neither a vector file nor a CSV table; `target_labels` takes points or polygons")
    features = _of_vector(path, city, field) if is_vector(path) else _of_table(path, city, field)
    if not len(features.ids):
        raise DataError(f"{path} has no labeled point or polygon: every class is empty or `cannot tell`")
    placed = np.zeros(len(features.ids), bool)
    scenes = []
    for scene in city.scenes:
        labels = _in_scene(features, scene, path)
        placed[labels.units] = True
        scenes.append(_distinct(labels, path))
    if not placed.all():
        count = int((~placed).sum())
        raise DataError(
            f"{path}: {count} of {len(placed)} points and polygons cover no pixel of {city.name!r}; give labels of this city"
        )
    return TargetLabels(path.name, tuple(scenes))


def _valid(scene: Scene, labels: SceneLabels, modalities: Sequence[str]) -> np.ndarray:
    """Return bool [N]: which labeled pixels are valid in all modalities, read block by block."""
    valid = np.zeros(len(labels.rows), bool)
    for window in blocks(scene.grid.window, _BLOCK_PX):
        here = (labels.rows // _BLOCK_PX == window.row // _BLOCK_PX) & (
            labels.cols // _BLOCK_PX == window.col // _BLOCK_PX
        )
        if here.any():
            mask = scene.read_valid(modalities, window)
            valid[here] = mask[labels.rows[here] - window.row, labels.cols[here] - window.col]
    return valid


def _of_vector(path: Path, city: City, field: str | None) -> _Features:
    """Return the labeled points and polygons of a vector file."""
    crs, values, shapes = read_features(
        path, (field,) if field else FIELDS, (0, 3, 4, 6), advice=_ADVICE, what="labels of the target in a vector file"
    )
    georeferenced = city.scenes[0].grid.crs is not None
    if georeferenced != bool(crs):
        lacking = f"{path} has no CRS; assign one (ogr2ogr -a_srs)" if georeferenced else f"{path} has a CRS"
        raise DataError(f"{lacking}; the images of {city.name!r} have {'one' if georeferenced else 'none'}")
    decided = _decided(values)
    ids = _class_ids(values[decided], city.legend, path)
    return _Features(shapes[decided], ids, crs or None)


def _of_table(path: Path, city: City, field: str | None) -> _Features:
    """Return the labeled points of a table."""
    with needs_extra("a table of labels", "vector"):
        import shapely

    rows = list(csv.DictReader(io.StringIO(read_text(path, _TABLE_BYTES))))
    columns = list(rows[0]) if rows else []
    name = next((name for name in ((field,) if field else FIELDS) if name in columns), None)
    if name is None:
        raise DataError(f"{path} has no column {field or ' or '.join(FIELDS)} with classes")
    decided = _decided(np.array([row[name] or "" for row in rows], object))
    chosen = [row for row, is_decided in zip(rows, decided, strict=True) if is_decided]
    ids = _class_ids(np.array([row[name] for row in chosen], object), city.legend, path)
    plain = {"x", "y"} <= set(columns)
    if not plain and not {"longitude", "latitude"} <= set(columns):
        raise DataError(f"{path} has no columns x and y, nor longitude and latitude")
    x, y = _numbers_of(chosen, ("x", "y") if plain else ("longitude", "latitude"), path)
    crs = city.scenes[0].grid.crs if plain else "EPSG:4326"
    if plain and crs and {"longitude", "latitude"} <= set(columns):
        _check_place(path, crs, (x, y), _numbers_of(chosen, ("longitude", "latitude"), path))
    return _Features(shapely.points(x, y), ids, crs)


def _decided(values: np.ndarray) -> np.ndarray:
    """Return bool [N]: which values name a class."""
    texts = ["" if value is None else str(value).strip().casefold() for value in values]
    return np.array([text not in UNDECIDED for text in texts], bool)


def _class_ids(values: np.ndarray, legend: Legend, path: Path) -> np.ndarray:
    """Return ids uint8 [N] of class names or ids."""
    texts = np.array([str(value).strip() for value in values], object)
    plain = np.array([text.removesuffix(".0").isdigit() for text in texts], bool)
    numbers = np.zeros(len(texts), np.int64)
    numbers[plain] = [int(text.removesuffix(".0")) for text in texts[plain]]
    if not plain.all():
        numbers[~plain] = class_numbers(texts[~plain], legend, path, "its classes")
    unknown = sorted({*numbers.tolist()} - set(legend.ids))
    if unknown:
        raise DataError(f"{path}: {unknown[0]} is no class of legend {legend.name!r} ({', '.join(legend.names)})")
    return numbers.astype(np.uint8)


def _numbers_of(rows: Sequence[dict[str, str]], names: tuple[str, str], path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return two columns as float64 [N]."""
    try:
        values = np.array([[float(row[name]) for name in names] for row in rows], np.float64).reshape(-1, 2)
    except (TypeError, ValueError) as error:
        raise DataError(f"{path}: {' and '.join(names)} must be numbers in every labeled row") from error
    if not np.isfinite(values).all():
        raise DataError(f"{path}: {' and '.join(names)} must be finite")
    return values[:, 0], values[:, 1]


def _check_place(
    path: Path, crs: str, place: tuple[np.ndarray, np.ndarray], degrees: tuple[np.ndarray, np.ndarray]
) -> None:
    """Raise DataError where x and y, in the city's CRS, are elsewhere than longitude and latitude."""
    from rasterio.warp import transform

    there = transform(crs, "EPSG:4326", *place)
    far = max(float(np.abs(np.asarray(a) - b).max(initial=0.0)) for a, b in zip(there, degrees, strict=True))
    if not far <= _APART_DEG:
        raise DataError(f"{path}: x and y are not in the CRS of the images: longitude and latitude are elsewhere")


def _in_scene(features: _Features, scene: Scene, path: Path) -> SceneLabels:
    """Return the labeled pixels of a scene, some of them twice."""
    import shapely

    grid = scene.grid
    same = grid.crs is None
    shapes = in_pixels(features.shapes, None if same else features.crs, grid, path)
    points = np.isin(shapely.get_type_id(shapes), (0, 4))
    rows, cols, units = [], [], []
    for unit in np.flatnonzero(points).tolist():
        xy = shapely.get_coordinates(shapes[unit])
        col, row = np.floor(xy).astype(np.int64).T
        inside = (row >= 0) & (row < grid.height) & (col >= 0) & (col < grid.width)
        rows.append(row[inside])
        cols.append(col[inside])
        units.append(np.full(inside.sum(), unit))
    for unit in np.flatnonzero(~points).tolist():
        row, col = _covered(shapes[unit], grid.height, grid.width)
        rows.append(row)
        cols.append(col)
        units.append(np.full(len(row), unit))
    parts = [np.concatenate(part or [np.zeros(0, np.int64)]).astype(np.int64) for part in (rows, cols, units)]
    return SceneLabels(parts[0], parts[1], features.ids[parts[2]], parts[2])


def _covered(shape: object, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return rows and columns of the pixels whose centers a polygon, in columns and rows of the grid, covers."""
    import shapely

    west, north, east, south = shapely.bounds(shape)
    if np.isnan(west):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    first_col, last_col = max(0, int(np.floor(west))), min(width, int(np.ceil(east)) + 1)
    first_row, last_row = max(0, int(np.floor(north))), min(height, int(np.ceil(south)) + 1)
    if first_col >= last_col or first_row >= last_row:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    cols, rows = np.meshgrid(np.arange(first_col, last_col), np.arange(first_row, last_row))
    inside = shapely.contains_xy(shape, cols + 0.5, rows + 0.5)
    return rows[inside].astype(np.int64), cols[inside].astype(np.int64)


def _distinct(labels: SceneLabels, path: Path) -> SceneLabels:
    """Return every pixel once. Raises DataError where two classes meet in a pixel."""
    if not len(labels.rows):
        return labels
    places = np.stack([labels.rows, labels.cols])
    _, first, which = np.unique(places, axis=1, return_index=True, return_inverse=True)
    different = labels.ids != labels.ids[first][which.ravel()]
    if different.any():
        row, col = (int(axis[different][0]) for axis in (labels.rows, labels.cols))
        raise DataError(f"{path}: the pixel in row {row}, column {col} has two classes; keep one")
    chosen = np.zeros(len(labels.rows), bool)
    chosen[first] = True
    return SceneLabels(
        labels.rows[chosen], labels.cols[chosen], labels.ids[chosen].astype(np.uint8), labels.units[chosen]
    )
