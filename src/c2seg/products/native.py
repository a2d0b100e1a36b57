"""Native pixels of products: where they are stored, where they lie, how stored numbers become values.

Everything here can be pickled. Files are opened anew by each thread of each process.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import rasterio
from rasterio.control import GroundControlPoint
from rasterio.io import DatasetReader
from rasterio.rpc import RPC
from rasterio.windows import Window as RasterioWindow

from c2seg.errors import DataError, one_line
from c2seg.raster import GDAL_ERRORS, open_raster, without_georeference
from c2seg.types import Grid, Window

__all__ = ["ControlPoints", "GdalFile", "NativeBand", "NativeMask", "NativeSource", "Placement", "RationalPolynomials"]

_ARCHIVES = {".zip": "/vsizip/", ".tar": "/vsitar/", ".tgz": "/vsitar/"}
_MEMBER_DRIVERS = {
    ".jp2": ("JP2OpenJPEG",), ".tif": ("GTiff",), ".tiff": ("GTiff",), ".img": ("ENVI", "HFA"), ".bsq": ("ENVI",),
    ".bil": ("ENVI",), ".bip": ("ENVI",), ".dat": ("ENVI",), ".png": ("PNG",),
}  # fmt: skip


class NativeSource(Protocol):
    """Bands stored on one native grid, read by window. Hashable, and safe to use from several threads."""

    def read(self, indexes: Sequence[int], window: Window) -> np.ndarray:
        """Return stored numbers [C, H, W] of bands (from 1) in a window inside the raster.

        Raises DataError for a truncated or damaged file, which it names.
        """


@dataclass(frozen=True)
class GdalFile:
    """A raster file, or a member of a zip or tar archive. A file's name decides its driver, as elsewhere in c2seg."""

    path: Path
    member: str | None = None
    """Path inside the archive ``path``, with slashes."""
    subdataset: str | None = None
    """A variable (netCDF, HDF5) or a page's number from 1 (TIFF); not in archives."""
    _local: threading.local = field(default_factory=threading.local, repr=False, compare=False)

    def __reduce__(self) -> tuple[Any, ...]:
        return (GdalFile, (self.path, self.member, self.subdataset))

    def __str__(self) -> str:
        return str(self.path) if self.member is None else f"{self.member} in {self.path}"

    def open(self) -> Any:
        """Return a new rasterio dataset. Raises DataError if the file is missing, damaged or of an unknown kind."""
        if self.member is None:
            return open_raster(self.path, self.subdataset)
        prefix = _ARCHIVES.get(self.path.suffix.lower())
        drivers = _MEMBER_DRIVERS.get(Path(self.member).suffix.lower())
        if prefix is None or drivers is None:
            raise DataError(f"cannot open {self}: no archive or image of a known kind; unpack the archive")
        name = f"{prefix}{{{self.path.resolve()}}}/{self.member}"
        try:
            with without_georeference(), rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="TRUE"):
                return DatasetReader(name, driver=list(drivers))
        except (*GDAL_ERRORS, TypeError, OSError) as error:
            raise DataError(f"cannot open {self} as a raster: {one_line(error.__cause__ or error)}") from error

    def read(self, indexes: Sequence[int], window: Window) -> np.ndarray:
        """Return stored numbers [C, H, W] of bands (from 1) in a window. Raises DataError for damaged blocks."""
        return self._read(window, lambda dataset, area: dataset.read(list(indexes), window=area))

    def read_mask(self, window: Window) -> np.ndarray:
        """Return the file's mask, uint8 [1, H, W]: 0 where it is nodata. Raises DataError for damaged blocks."""
        return self._read(window, lambda dataset, area: dataset.read_masks([1], window=area))

    def _read(self, window: Window, stored: Callable[[Any, RasterioWindow], np.ndarray]) -> np.ndarray:
        area = RasterioWindow(window.col, window.row, window.width, window.height)
        try:
            return stored(self._dataset(), area)
        except GDAL_ERRORS as error:
            place = f"rows {window.row}..{window.row_end - 1}, columns {window.col}..{window.col_end - 1}"
            reason = one_line(error.__cause__ or error)
            raise DataError(
                f"cannot read {self} at {place}: the file is truncated or damaged ({reason}); download it again"
            ) from error

    def close(self) -> None:
        """Close the calling thread's handle; the next read opens another one."""
        handle = self._local.__dict__.get("handles", {}).pop(os.getpid(), None)
        if handle is not None:
            handle.close()

    def _dataset(self) -> Any:
        handles = self._local.__dict__.setdefault("handles", {})
        key = os.getpid()  # a handle inherited through fork shares its file offset with the parent
        if key not in handles:
            handles[key] = self.open()
        return handles[key]


@dataclass(frozen=True)
class ControlPoints:
    """Placement by ground control points, in the CRS ``crs``: ``points`` hold (row, column, x, y, z).

    Polynomials of order 1 to 3, as many as the points allow, or thin-plate splines that pass through all points.
    """

    height: int
    width: int
    points: tuple[tuple[float, float, float, float, float], ...]
    crs: str
    splines: bool = False

    def shifted(self, row: float, col: float) -> list[GroundControlPoint]:
        """Return rasterio's points for an array that begins at a row and column."""
        return [GroundControlPoint(r - row, c - col, x, y, z) for r, c, x, y, z in self.points]


@dataclass(frozen=True)
class RationalPolynomials:
    """Placement by rational polynomials (RPC, ``rasterio.rpc.RPC``), on an elevation model or a constant height (m)."""

    height: int
    width: int
    rpc: RPC
    dem: Path | None = None
    height_m: float = 0.0

    def __hash__(self) -> int:
        return hash((self.height, self.width, self.dem, self.height_m, self.rpc.line_off, self.rpc.samp_off))

    def shifted(self, row: float, col: float) -> RPC:
        """Return the polynomials for an array that begins at a row and column."""
        moved = {"line_off": self.rpc.line_off - row, "samp_off": self.rpc.samp_off - col}
        return RPC(**(self.rpc.to_dict() | moved))


Placement = Grid | ControlPoints | RationalPolynomials
"""Where native pixels lie: a georeferenced grid, or what places them approximately."""


@dataclass(frozen=True)
class NativeBand:
    """A band as it is stored. Value = resampled number x ``scale`` + ``offset``.

    Numbers equal to one of ``nodata``, and NaN, are invalid. ``stored_as`` dB or amplitude: numbers are turned into power
    before they are resampled, and the values are power; ``scale`` and ``offset`` then apply before that.
    """

    source: NativeSource
    place: Placement
    index: int = 1
    """Band number in the source, from 1."""
    scale: float = 1.0
    offset: float = 0.0
    nodata: tuple[float, ...] = ()
    stored_as: Literal["linear", "dB", "amplitude"] = "linear"
    no_power: bool = False
    """Whether numbers of 0 or below, once linear, are invalid (backscatter)."""


@dataclass(frozen=True)
class NativeMask:
    """A raster of codes that make pixels invalid, on its own native grid.

    Codes in ``exclude`` are invalid; with ``bits``, numbers that share a bit with it are, too. What is invalid by codes
    in ``dilate`` (a part of the excluded ones; None: all), or by bits, grows by ``margin_m`` meters in native pixels. Outside
    the raster nothing is said: pixels stay valid.
    """

    source: NativeSource
    place: Placement
    index: int = 1
    exclude: tuple[int, ...] = ()
    bits: int = 0
    dilate: tuple[int, ...] | None = None
    margin_m: float = 0.0
