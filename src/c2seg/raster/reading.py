"""Raster sources with windowed reading: files through GDAL, and arrays in memory or memory-mapped.

Axes: C band, H row, W column. A source returns raw values. Its users handle nodata and NaN.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from rasterio.enums import Resampling
from rasterio.windows import Window as RasterioWindow

from c2seg.errors import DataError, number_ranges
from c2seg.raster.bands import FileBand, bands_of
from c2seg.raster.digests import files_digest, short
from c2seg.raster.opening import data_files, open_raster, read_faults
from c2seg.raster.placement import placed_grid
from c2seg.raster.validity import RasterMask, mask_kind
from c2seg.types import Grid, Window

__all__ = ["ArrayRaster", "RasterFile", "RasterSource", "read_boundless"]


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
        """Return a short digest of every value; it is remembered while the files do not change."""


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
        """Return a digest of shape, data type, nodata value and all values."""
        digest = hashlib.sha256(f"{self.array.shape}{self.array.dtype.str}{self.nodata}".encode())
        for row in range(self.height):
            digest.update(np.ascontiguousarray(self.array[:, row]).data)
        return short(digest)


@dataclass(frozen=True)
class RasterFile:
    """A raster file. Each thread of each process opens its own handle, because GDAL datasets must not be shared.

    ``bands`` selects bands (0-based) in this order; None selects all but alpha. ``subdataset`` is a variable or a page
    (see ``open_raster``). ``declared_nodata`` takes the place of the file's nodata values. A georeferenced file stored from
    south to north, or from east to west, is read north up: grid and values are flipped. Raises
    DataError for a file that cannot be read, or is placed by control points alone.
    """

    path: Path
    bands: tuple[int, ...] | None = None
    subdataset: str | None = None
    declared_nodata: float | None = None
    _local: threading.local = field(default_factory=threading.local, repr=False, compare=False)
    _facts: _Facts = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        with open_raster(self.path, self.subdataset) as dataset, read_faults(f"cannot read the header of {self.path}"):
            facts = _read_facts(dataset, self.path, self.bands, self.declared_nodata)
        object.__setattr__(self, "_facts", facts)

    def __reduce__(self) -> tuple[Any, ...]:
        return (RasterFile, (self.path, self.bands, self.subdataset, self.declared_nodata))

    @property
    def count(self) -> int:
        """Number of bands."""
        return len(self._facts.numbers)

    @property
    def total_count(self) -> int:
        """Number of bands of the file, with alpha and those that are not selected."""
        return self._facts.total_count

    @property
    def numbers(self) -> tuple[int, ...]:
        """The selected bands (0-based)."""
        return self._facts.numbers

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
        return self._facts.dtype

    @property
    def nodata(self) -> float | None:
        """The nodata value that all bands have; None if there is none, or if they differ, which ``mask`` then knows."""
        return self._facts.nodata

    @property
    def grid(self) -> Grid:
        """Size, transform and horizontal CRS, north up."""
        return self._facts.grid

    @property
    def file_bands(self) -> tuple[FileBand, ...]:
        """What the file says of the bands."""
        return self._facts.bands

    @property
    def descriptions(self) -> tuple[str, ...]:
        """Band descriptions; empty text if the file has none."""
        return tuple(band.name for band in self._facts.bands)

    @property
    def mask(self) -> RasterMask | None:
        """Where the file marks pixels as nodata by other means than one nodata value."""
        return RasterMask(self) if self._facts.mask_kind else None

    @property
    def notes(self) -> tuple[str, ...]:
        """What was recognized in the file, as text."""
        return self._facts.notes

    @property
    def block_hw(self) -> tuple[int, int]:
        """Height and width of the blocks of the file."""
        return self._facts.block_hw

    @property
    def tags(self) -> dict[str, str]:
        """Dataset tags."""
        return dict(self._facts.tags)

    def read(self, window: Window) -> np.ndarray:
        """Return [C, H, W] of a window inside the raster. Raises DataError if a block cannot be decoded."""
        facts = self._facts

        def stored(dataset: Any, area: RasterioWindow) -> np.ndarray:
            if facts.is_mixed:  # rasterio reads bands of one type at a time
                bands = [dataset.read(number + 1, window=area) for number in facts.numbers]
                return np.stack(bands, dtype=facts.dtype, casting="unsafe")
            values: np.ndarray = dataset.read(facts.indexes, window=area)
            return values

        return self._read(window, stored)

    def read_mask(self, window: Window) -> np.ndarray:
        """Return the validity of pixels, bool [H, W], as ``mask`` has it. Raises DataError if a block cannot be decoded."""
        facts = self._facts

        def stored(dataset: Any, area: RasterioWindow) -> np.ndarray:
            if facts.mask_kind == "alpha":
                alpha: np.ndarray = (dataset.read(list(facts.alpha), window=area) != 0).all(axis=0)
                return alpha
            numbers = facts.numbers[:1] if facts.mask_kind == "dataset" else facts.numbers
            masks = dataset.read_masks([number + 1 for number in numbers], window=area)
            every: np.ndarray = np.all(masks, axis=0)
            return every

        return self._read(window, stored)

    def read_means(
        self, bands: Sequence[int], area: tuple[float, float, float, float], shape: tuple[int, int]
    ) -> np.ma.MaskedArray[Any, Any]:
        """Return the means of bands over the cells of a part of the raster, float32 [C, h, w], masked where invalid.

        ``area`` is row, column, height and width in pixels, with fractions. Overviews are used where the file has them.
        Raises DataError if a block cannot be decoded.
        """
        (row, col, height, width), (south_up, mirrored) = area, self._facts.flips
        row = self.height - row - height if south_up else row
        col = self.width - col - width if mirrored else col
        with read_faults(f"cannot read {self.path}: the file is truncated or damaged", "; copy it again"):
            means: np.ma.MaskedArray[Any, Any] = self._dataset().read(
                [self.numbers[band] + 1 for band in bands],
                window=RasterioWindow(col, row, width, height),
                out_shape=(len(bands), *shape),
                resampling=Resampling.average,
                masked=True,
                out_dtype="float32",
            )
        return means[:, :: -1 if south_up else 1, :: -1 if mirrored else 1]

    def close(self) -> None:
        """Close the calling thread's handle; the next read opens another one."""
        handle = self._local.__dict__.get("handles", {}).pop(os.getpid(), None)
        if handle is not None:
            handle.close()

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that are read: this one, its sidecars, and the sources of a VRT."""
        return data_files(self.path)

    def fingerprint(self) -> str:
        """Return a digest of every byte of ``files``, and of the bands chosen."""
        return files_digest(self.files, (self.bands, self.subdataset, self.declared_nodata))

    def _read(self, window: Window, stored: Callable[[Any, RasterioWindow], np.ndarray]) -> np.ndarray:
        south_up, mirrored = self._facts.flips
        row = self.height - window.row_end if south_up else window.row
        col = self.width - window.col_end if mirrored else window.col
        place = f"rows {window.row}..{window.row_end - 1}, columns {window.col}..{window.col_end - 1}"
        with read_faults(f"cannot read {self.path} at {place}: the file is truncated or damaged", "; copy it again"):
            values = stored(self._dataset(), RasterioWindow(col, row, window.width, window.height))
        if south_up or mirrored:
            values = np.ascontiguousarray(values[..., :: -1 if south_up else 1, :: -1 if mirrored else 1])
        return values

    def _dataset(self) -> Any:
        # One handle per process: a handle inherited through fork shares its file offset with the parent.
        handles = self._local.__dict__.setdefault("handles", {})
        key = os.getpid()
        if key not in handles:
            handles[key] = open_raster(self.path, self.subdataset)
        return handles[key]


@dataclass(frozen=True)
class _Facts:
    """What is read from a file once."""

    total_count: int
    numbers: tuple[int, ...]
    """Bands of the file, 0-based."""
    indexes: list[int] | None
    """As rasterio wants them; None: all."""
    alpha: tuple[int, ...]
    """Bands of transparency, as rasterio counts them."""
    bands: tuple[FileBand, ...]
    grid: Grid
    flips: tuple[bool, bool]
    dtype: np.dtype[Any]
    is_mixed: bool
    """Whether the bands have several data types."""
    nodata: float | None
    mask_kind: str
    tags: dict[str, str]
    block_hw: tuple[int, int]
    notes: tuple[str, ...]


def _read_facts(dataset: Any, path: Path, chosen: tuple[int, ...] | None, declared: float | None) -> _Facts:
    described = bands_of(dataset)
    if chosen and max(chosen) >= len(described):
        raise DataError(f"{path} has {len(described)} bands; band {max(chosen) + 1} was requested")
    alpha = tuple(i for i, band in enumerate(described) if band.is_alpha and i not in (chosen or ()))
    numbers = chosen or tuple(i for i in range(dataset.count) if i not in alpha)
    if not numbers:
        raise DataError(f"{path} has an alpha band only")
    types = {dataset.dtypes[number] for number in numbers}
    if any(t.startswith("complex") for t in types):
        raise DataError(f"{path} contains complex values; convert them to intensity or dB first")
    grid, flips = placed_grid(dataset, path)
    kind = mask_kind(dataset, numbers, tuple(number + 1 for number in alpha))
    nodata = {repr(value): value for value in (dataset.nodatavals[number] for number in numbers)}
    if declared is not None:
        nodata, kind = {"": declared}, "" if kind == "bands" else kind
    notes = []
    if alpha:
        notes.append(
            f"{path}: band {number_ranges(i + 1 for i in alpha)} is alpha and marks nodata; if it is an image, "
            "describe all bands in city.yaml"
        )
    if any(flips):
        notes.append(f"{path} is stored {'south-up' if flips[0] else 'mirrored'}; it is read north up")
    return _Facts(
        total_count=dataset.count,
        numbers=numbers,
        indexes=[number + 1 for number in numbers] if len(numbers) < dataset.count or chosen else None,
        alpha=tuple(number + 1 for number in alpha),
        bands=tuple(described[number] for number in numbers),
        grid=grid,
        flips=flips,
        dtype=np.result_type(*types),
        is_mixed=len(types) > 1,
        nodata=next(iter(nodata.values())) if len(nodata) == 1 else None,
        mask_kind=kind,
        tags=dataset.tags(),
        block_hw=dataset.block_shapes[numbers[0]],
        notes=tuple(notes),
    )


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
