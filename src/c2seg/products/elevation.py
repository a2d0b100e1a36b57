"""Elevation models as heights over the WGS84 ellipsoid, which is what orbits and RPCs are relative to.

The vertical datum is what the file states (a compound or three-dimensional CRS), what is known of a product by its name, or
what the user says; it is never assumed. Heights over a geoid are converted with EGM96 or EGM2008 (``geoid``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from rasterio.crs import CRS
from rasterio.warp import transform

from c2seg.errors import DataError
from c2seg.products.coordinates import Patch, between_nodes, block_around, sample_bilinear
from c2seg.products.geoid import Geoid, find_geoid
from c2seg.raster import RasterFile, open_raster, read_boundless
from c2seg.types import Grid, Window

__all__ = ["Datum", "Elevation", "open_elevation"]

Datum = Literal["ellipsoid", "egm96", "egm2008"]

# Products that state no vertical datum in the file, by name.
_BY_NAME: tuple[tuple[str, Datum], ...] = (
    (r"copernicus_dsm|cop[-_]?dem|glo[-_]?[39]0|fabdem", "egm2008"),
    (r"srtm|nasadem|alpsmlc30|aw3d30|^[ns]\d\d[ew]\d{3}|astgtm|aster_?gdem|merit", "egm96"),
    (r"^tdm1?_|tandem", "ellipsoid"),
)
_VERTICAL = re.compile(r'(?:VERT_CS|VERTCRS|VERT_DATUM|VDATUM)\s*\[\s*"([^"]*)"', re.I)
_MOST_PX = 64 * 2**20
_POSSIBLE_M = (-600.0, 9200.0)
"""Heights on land; others are undeclared fill values."""


@dataclass(frozen=True)
class Elevation:
    """An open elevation model, in meters."""

    file: RasterFile
    datum: Datum
    geoid: Geoid | None
    notes: tuple[str, ...] = field(default=(), compare=False)

    @property
    def files(self) -> tuple[Path, ...]:
        """All files that are read."""
        return (*self.file.files, *(self.geoid.file.files if self.geoid else ()))

    def heights(self, grid: Grid, window: Window) -> np.ndarray:
        """Return heights over the ellipsoid at the pixels of a window of ``grid``, float32 [H, W], meters; NaN where none.

        Bilinear; where the grid is coarser by two or more, of means. The last digits depend on the window: equal windows give
        equal bits. A tile of up to some kilometers is meant. Raises DataError for a damaged file.
        """
        heights = self._stored(grid, window)
        if self.geoid is not None:
            heights += _undulations(self.geoid, grid, window)
        return heights

    def share_covered(self, lon: np.ndarray, lat: np.ndarray) -> float:
        """Return the share of places, longitude and latitude [N] in degrees, inside the model's frame."""
        grid = self.file.grid
        x, y = transform("EPSG:4326", _crs(grid), lon.ravel().tolist(), lat.ravel().tolist())
        cols, rows = ~grid.transform @ (np.array(x), np.array(y))
        inside = (cols >= 0) & (rows >= 0) & (cols <= grid.width) & (rows <= grid.height)
        return float(inside.mean()) if inside.size else 1.0

    def _stored(self, grid: Grid, window: Window) -> np.ndarray:
        """Return the model's own heights at the pixels of a window."""
        source, patch = self.file.grid, Patch(grid, window)
        x, y = patch.nodes_in(_crs(source))
        cols, rows = ~source.transform @ (x, y)
        if not (np.isfinite(rows).all() and np.isfinite(cols).all()):
            return np.full((window.height, window.width), np.nan, np.float32)
        down, across = patch.weights(window)
        step = max(1, int(_pixel_m(grid) / _pixel_m(source)))
        block = block_around(rows, cols, 2 * step, source.height, source.width)
        if block.is_empty:
            return np.full((window.height, window.width), np.nan, np.float32)
        block = Window(block.row // step, block.col // step, -(-block.height // step) + 1, -(-block.width // step) + 1)
        values = self._averaged(block, step)
        return sample_bilinear(
            values,
            between_nodes(down, rows / step - 0.5, across) - block.row,
            between_nodes(down, cols / step - 0.5, across) - block.col,
        )

    def _averaged(self, block: Window, step: int) -> np.ndarray:
        """Return means of ``step`` x ``step`` heights, float32 [h, w], NaN where one has no value; ``block`` counts means."""
        whole = Window(block.row * step, block.col * step, block.height * step, block.width * step)
        if whole.height * whole.width > _MOST_PX:
            raise DataError(
                f"{self.file.path} has {whole.height} x {whole.width} pixels in one tile of the grid, far more than needed; "
                "coarsen it to about the grid's resolution first (gdalwarp -r average)"
            )
        stored, inside = read_boundless(self.file, whole)
        values: np.ndarray = stored[0].astype(np.float32)
        values[~inside | (values < _POSSIBLE_M[0]) | (values > _POSSIBLE_M[1])] = np.nan
        if self.file.nodata is not None:
            values[stored[0] == self.file.nodata] = np.nan
        if step == 1:
            return values
        means: np.ndarray = values.reshape(block.height, step, block.width, step).mean(axis=(1, 3))
        return means


def open_elevation(path: Path, datum: Datum | None = None) -> Elevation:
    """Open an elevation model; ``datum`` says its vertical datum, None: as the file states.

    Raises DataError if the file is missing or damaged, has no CRS, or does not state its vertical datum.
    """
    file = RasterFile(path, bands=(0,))
    if file.grid.crs is None:
        raise DataError(f"the elevation model {path} has no CRS; assign one (gdal_edit -a_srs)")
    stated, why = _stated(path)
    if datum is None and stated is None:
        raise DataError(
            f"the elevation model {path} does not say what its heights are over ({why}); give `dem_datum`: ellipsoid, egm96 "
            "or egm2008"
        )
    notes = []
    if datum and stated and datum != stated:
        notes.append(f"{path.name} states {stated} ({why}); its heights are read as {datum}, as `dem_datum` says")
    elif datum is None:
        notes.append(f"heights of {path.name} are over {stated} ({why})")
    chosen: Datum = datum or stated or "ellipsoid"
    geoid = None if chosen == "ellipsoid" else find_geoid(chosen)
    if geoid is not None and geoid.note:
        notes.append(geoid.note)
    return Elevation(file, chosen, geoid, tuple(notes))


def _stated(path: Path) -> tuple[Datum | None, str]:
    """Return the vertical datum that a file states or that its name tells, and where it stands."""
    with open_raster(path) as dataset:
        crs = dataset.crs
    text = crs.to_wkt() if crs else ""
    if match := _VERTICAL.search(text):
        name = match[1]
        known: dict[str, Datum] = {"egm96": "egm96", "egm2008": "egm2008", "egm08": "egm2008", "ellipsoid": "ellipsoid"}
        flat = re.sub(r"[^a-z0-9]", "", name.lower())
        return next((datum for key, datum in known.items() if key in flat), None), f"its vertical datum is {name!r}"
    if re.search(r"CS\[ellipsoidal,\s*3\]", crs.to_wkt(version="WKT2_2019") if crs else ""):
        return "ellipsoid", "its CRS has three dimensions"
    for pattern, datum in _BY_NAME:
        if re.search(pattern, path.name.lower()):
            return datum, "as products of this name are"
    return None, "its CRS has no vertical part"


def _undulations(geoid: Geoid, grid: Grid, window: Window) -> np.ndarray:
    """Return undulations float32 [H, W] at the pixels of a window: they are smooth over a tile."""
    patch = Patch(grid, window, 4)
    lon, lat = patch.nodes_in("EPSG:4326")
    nodes = geoid.undulation(lon.ravel(), lat.ravel()).reshape(lon.shape)
    down, across = patch.weights(window)
    result: np.ndarray = between_nodes(down, nodes, across).astype(np.float32)
    return result


def _pixel_m(grid: Grid) -> float:
    return grid.pixel_side_m() or 1.0


def _crs(grid: Grid) -> CRS:
    return CRS.from_wkt(grid.crs or "")
