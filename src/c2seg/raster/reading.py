"""Raster sources with windowed reading: files through GDAL, and arrays in memory or memory-mapped.

Axes: C band, H row, W column. A source returns raw values. Its users handle nodata and NaN.
"""

from __future__ import annotations

import os
import threading
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import rasterio
from rasterio.errors import NotGeoreferencedWarning, RasterioIOError
from rasterio.windows import Window as RasterioWindow

from c2seg.errors import DataError
from c2seg.types import Grid, Window

__all__ = ["ArrayRaster", "RasterFile", "RasterSource", "file_fingerprint", "open_raster", "read_boundless"]


@runtime_checkable
class RasterSource(Protocol):
    """A raster with windowed reading that is safe to use from several threads."""

    @property
    def count(self) -> int:
        """Number of bands."""

    @property
    def height(self) -> int:
        """Number of rows."""

    @property
    def width(self) -> int:
        """Number of columns."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Data type of the raw values."""

    @property
    def nodata(self) -> float | None:
        """Value that marks missing data; None if there is none. NaN always marks missing data."""

    def read(self, window: Window) -> np.ndarray:
        """Return raw values [C, H, W]; ``window`` lies inside the source. Raises DataError if unreadable."""

    def fingerprint(self) -> str:
        """Return a short digest of size and sampled blocks. It is fast for rasters of any size."""


@dataclass(frozen=True)
class ArrayRaster:
    """An array [C, H, W] (in memory or a memory map) as a RasterSource."""

    array: np.ndarray
    nodata: float | None = None

    def __post_init__(self) -> None:
        if self.array.ndim != 3:
            raise DataError(f"an array source needs axes [band, row, column], found shape {self.array.shape}")

    @property
    def count(self) -> int:
        """Number of bands."""
        return int(self.array.shape[0])

    @property
    def height(self) -> int:
        """Number of rows."""
        return int(self.array.shape[1])

    @property
    def width(self) -> int:
        """Number of columns."""
        return int(self.array.shape[2])

    @property
    def dtype(self) -> np.dtype[Any]:
        """Data type of the values."""
        return self.array.dtype

    def read(self, window: Window) -> np.ndarray:
        """Return a view of the window."""
        rows, cols = window.slices
        return self.array[:, rows, cols]

    def fingerprint(self) -> str:
        """Return a digest of shape, dtype and up to 64 evenly spaced rows."""
        import hashlib

        digest = hashlib.sha256(f"{self.array.shape}{self.array.dtype.str}{self.nodata}".encode())
        for row in np.unique(np.linspace(0, self.height - 1, 64).astype(int)) if self.height else ():
            digest.update(np.ascontiguousarray(self.array[:, row]).tobytes())
        return digest.hexdigest()[:16]


@dataclass(frozen=True)
class RasterFile:
    """A raster file. Each thread of each process opens its own handle, because GDAL datasets must not be shared.

    ``bands`` selects bands (0-based) in this order; None selects all.
    """

    path: Path
    bands: tuple[int, ...] | None = None
    _local: threading.local = field(default_factory=threading.local, repr=False, compare=False)
    _profile: dict[str, Any] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        with open_raster(self.path) as dataset:
            if self.bands and max(self.bands) >= dataset.count:
                raise DataError(f"{self.path} has {dataset.count} bands; band {max(self.bands) + 1} was requested")
            types = set(dataset.dtypes)
            if any(t.startswith("complex") for t in types):
                raise DataError(f"{self.path} contains complex values; convert them to intensity or dB first")
            profile = {
                "count": len(self.bands) if self.bands else dataset.count,
                "grid": Grid(
                    dataset.height, dataset.width, dataset.transform, dataset.crs.to_wkt() if dataset.crs else None
                ),
                "dtype": np.result_type(*types),
                "nodata": dataset.nodata,
                "descriptions": tuple(dataset.descriptions[b] or "" for b in (self.bands or range(dataset.count))),
                "tags": dataset.tags(),
                "block": dataset.block_shapes[0],
            }
        object.__setattr__(self, "_profile", profile)

    def __reduce__(self) -> tuple[Any, ...]:
        return (RasterFile, (self.path, self.bands))

    @property
    def count(self) -> int:
        """Number of bands."""
        return int(self._profile["count"])

    @property
    def height(self) -> int:
        """Number of rows."""
        return self.grid.height

    @property
    def width(self) -> int:
        """Number of columns."""
        return self.grid.width

    @property
    def dtype(self) -> np.dtype[Any]:
        """Common data type of the bands."""
        dtype: np.dtype[Any] = self._profile["dtype"]
        return dtype

    @property
    def nodata(self) -> float | None:
        """The file's nodata value."""
        value: float | None = self._profile["nodata"]
        return value

    @property
    def grid(self) -> Grid:
        """Size, transform and CRS."""
        grid: Grid = self._profile["grid"]
        return grid

    @property
    def descriptions(self) -> tuple[str, ...]:
        """Band descriptions; empty text if the file has none."""
        descriptions: tuple[str, ...] = self._profile["descriptions"]
        return descriptions

    @property
    def block_hw(self) -> tuple[int, int]:
        """Height and width of the blocks of the file."""
        height, width = self._profile["block"]
        return height, width

    @property
    def tags(self) -> dict[str, str]:
        """Dataset tags."""
        return dict(self._profile["tags"])

    def read(self, window: Window) -> np.ndarray:
        """Return [C, H, W] of a window inside the raster. Raises DataError if a block cannot be decoded."""
        indexes = [b + 1 for b in self.bands] if self.bands else None
        area = RasterioWindow(window.col, window.row, window.width, window.height)
        try:
            values: np.ndarray = self._dataset().read(indexes, window=area)
        except RasterioIOError as error:
            cause = error.__cause__ or error
            raise DataError(
                f"cannot read {self.path} at rows {window.row}..{window.row_end - 1}, columns {window.col}.."
                f"{window.col_end - 1}: the file is truncated or damaged ({_one_line(cause)}); copy it again"
            ) from error
        return values

    def close(self) -> None:
        """Close the calling thread's handle; the next read opens another one."""
        handle = self._local.__dict__.get("handles", {}).pop(os.getpid(), None)
        if handle is not None:
            handle.close()

    def fingerprint(self) -> str:
        """Return a digest of the file's size and sampled blocks."""
        return file_fingerprint(self.path)

    def _dataset(self) -> Any:
        # One handle per process: a handle inherited through fork shares its file offset with the parent.
        handles = self._local.__dict__.setdefault("handles", {})
        key = os.getpid()
        if key not in handles:
            handles[key] = open_raster(self.path)
        return handles[key]


def file_fingerprint(path: Path) -> str:
    """Return 16 hex digits of a file's size and up to 16 evenly spaced blocks of 64 kB. Raises DataError if unreadable."""
    import hashlib

    try:
        size = path.stat().st_size
        digest = hashlib.sha256(f"{size}".encode())
        with path.open("rb") as stream:
            for offset in np.unique(np.linspace(0, max(0, size - 65536), 16).astype(np.int64)):
                stream.seek(int(offset))
                digest.update(stream.read(65536))
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    return digest.hexdigest()[:16]


def open_raster(path: Path) -> Any:
    """Open a raster for reading, without a warning if it has no georeference. Raises DataError if it is missing or invalid."""
    if not path.is_file():
        raise DataError(f"{path} does not exist" if not path.exists() else f"{path} is not a file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            return rasterio.open(path)
    except RasterioIOError as error:
        raise DataError(f"cannot open {path} as a raster: {_one_line(error)}") from error


def read_boundless(source: RasterSource, window: Window, fill: float = 0) -> tuple[np.ndarray, np.ndarray]:
    """Read a window that may extend beyond the source.

    Returns raw values [C, H, W] (``fill`` outside) and a mask of pixels inside the source, bool [H, W].
    """
    whole = Window(0, 0, source.height, source.width)
    part = window.intersect(whole)
    if part == window:
        return source.read(window), np.ones((window.height, window.width), bool)
    values = np.full((source.count, window.height, window.width), fill, source.dtype)
    inside = np.zeros((window.height, window.width), bool)
    if not part.is_empty:
        rows, cols = part.shift(-window.row, -window.col).slices
        values[:, rows, cols] = source.read(part)
        inside[rows, cols] = True
    return values, inside


def _one_line(error: object) -> str:
    return " ".join(str(error).split())
