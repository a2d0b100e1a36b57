"""A MATLAB file of the full-scene release: ``augsburg_multimodal.mat``, ``beijing.mat`` with ``beijing_label.mat``, ...

Keys HSI, MSI, SAR, label (any letter case), arrays row x column x band. Classic files are read with scipy, v7.3 files
(HDF5, axes reversed) by window with h5py. A coarser HSI is recognized by its size. It may extend beyond the scene
below and to the right by less than two of its pixels (Beijing: by 2 rows and 3 columns of the scene). Pixels with 0 in all
bands are nodata. The files have no georeference: the grid is 10 m without CRS.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
import struct
import threading
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine

from c2seg.data.city import Band, City, Label, Modality, Scene
from c2seg.data.published import CITIES, DATASETS, PublishedCity, band_roles
from c2seg.errors import C2SegError, DataError, needs_extra, one_line
from c2seg.legend import c2seg13
from c2seg.raster import GridRelation
from c2seg.raster.downloads import download_problem
from c2seg.raster.hdf5 import check_link, check_stored, is_hdf5
from c2seg.types import Grid, Window

__all__ = ["LABEL_MAP", "LOOKS_FOR", "NAME", "MatArray", "images", "labels", "recognize"]

NAME = "MATLAB file"
LOOKS_FOR = "a .mat file of the full-scene release"
MODALITIES = ("msi", "sar", "hsi")
GRID_M = 10.0
LABEL_MAP = "label_map"
"""Name of the variable (classic files) or attribute of the label (v7.3) that names its label mapping."""

_DAMAGED = (
    OSError, ValueError, TypeError, LookupError, EOFError, RuntimeError, MemoryError, OverflowError, zlib.error, struct.error
)  # fmt: skip
_MOST_COMPRESSED = 2048
"""Bytes of an array per byte of the file, at most; deflate reaches 1032."""
_MOST_ELEMENTS = 1000
_MOST_BANDS = 65_535  # as in a GeoTIFF
_OVERHANG = 2  # coarse pixels
_TYPES = {"single": "float32", "double": "float64", "logical": "uint8"}


@dataclass(frozen=True)
class MatArray:
    """A variable of a .mat file as a RasterSource. ``shape`` may have fewer bands than the file: the first ones are used.

    v7.3 files are read by window, with one handle per thread. A classic variable can only be loaded whole. It is loaded on
    first use and released by ``close``.
    """

    path: Path
    key: str
    shape: tuple[int, int, int]
    """Rows, columns, bands."""
    dtype: np.dtype[Any]
    hdf5: bool
    nodata: float | None = None
    _local: threading.local = field(default_factory=threading.local, repr=False, compare=False)
    _loaded: dict[str, np.ndarray] = field(default_factory=dict, repr=False, compare=False)
    _lock: Any = field(default_factory=threading.Lock, repr=False, compare=False)

    def __reduce__(self) -> tuple[Any, ...]:
        return (MatArray, (self.path, self.key, self.shape, self.dtype, self.hdf5, self.nodata))

    @property
    def count(self) -> int:
        """Number of bands."""
        return self.shape[2]

    @property
    def height(self) -> int:
        """Number of rows."""
        return self.shape[0]

    @property
    def width(self) -> int:
        """Number of columns."""
        return self.shape[1]

    def read(self, window: Window) -> np.ndarray:
        """Return raw values [C, H, W] of a window inside the array. Raises DataError if it cannot be decoded."""
        rows, cols = window.slices
        try:
            values = self._variable()
            if not self.hdf5:
                part = np.asarray(values[rows, cols])
                return part[None] if part.ndim == 2 else part[:, :, : self.count].transpose(2, 0, 1)
            if len(values.shape) == 2:
                return np.asarray(values[cols, rows]).T[None]
            return np.asarray(values[: self.count, cols, rows]).transpose(0, 2, 1)
        except _DAMAGED as error:
            raise _damaged(self.path, self.key, error) from error

    def close(self) -> None:
        """Release a loaded variable and close the calling thread's handle."""
        self._loaded.clear()
        handle = self._local.__dict__.pop("file", None)
        if handle is not None:
            handle.close()

    def fingerprint(self) -> str:
        """Return a digest of the variable's shape and sampled parts. Other variables, such as labels, are not included."""
        digest = hashlib.sha256(f"{self.key}{self.shape}{self.dtype.str}".encode())
        try:
            if self.hdf5:
                for row in np.linspace(0, max(0, self.height - 16), 4).astype(int):
                    for col in np.linspace(0, max(0, self.width - 16), 4).astype(int):
                        part = Window(int(row), int(col), min(16, self.height), min(16, self.width))
                        digest.update(np.ascontiguousarray(self.read(part)).tobytes())
            else:
                first, size = _classic_extents(self.path)[list(_list_classic(self.path)).index(self.key)]
                digest.update(str(size).encode())
                with self.path.open("rb") as stream:
                    for offset in np.unique(np.linspace(0, max(0, size - 65536), 16).astype(np.int64)):
                        stream.seek(first + int(offset))
                        digest.update(stream.read(min(65536, size)))
        except C2SegError:
            raise
        except _DAMAGED as error:
            raise _damaged(self.path, self.key, error) from error
        return digest.hexdigest()[:16]

    def _variable(self) -> Any:
        if self.hdf5:
            h5py = _h5py()

            state = self._local.__dict__
            if state.get("process") != os.getpid():
                # A chunk cache of 32 MB: neighboring windows share chunks.
                state["file"] = h5py.File(self.path, "r", rdcc_nbytes=32 << 20)
                state["process"] = os.getpid()
                _check_claim(self.path, self.key, state["file"][self.key])
            return state["file"][self.key]
        with self._lock:
            if self.key not in self._loaded:
                from scipy.io import loadmat

                values = loadmat(self.path, variable_names=[self.key])[self.key]
                if getattr(values, "dtype", np.dtype(object)).kind not in "iufb":
                    raise TypeError("it holds complex numbers, or none")
                self._loaded[self.key] = values
            return self._loaded[self.key]


def recognize(path: Path) -> bool:
    """Return True for a .mat file."""
    return path.is_file() and path.suffix.lower() == ".mat"


def images(path: Path) -> City:
    """Open the images of a .mat file. Problems are listed in ``problems``."""
    problems: list[str] = []
    notes: list[str] = []
    scenes: tuple[Scene, ...] = ()
    name = re.sub(r"_multimodal$", "", path.stem, flags=re.IGNORECASE)
    try:
        arrays = _variables(path)
        modalities = {key: arrays[key] for key in MODALITIES if key in arrays}
        if not modalities:
            raise DataError(f"{path} has no variable HSI, MSI or SAR (found: {', '.join(arrays) or 'none'})")
        height, width = max((array.height, array.width) for array in modalities.values())
        published = _published(height, width)
        if published:
            name = published.name
            notes.append(f"{name}, the {published.split} city of {published.dataset}")
        scene, more = _scene(path, name, modalities, (height, width), published)
        scenes, notes = (scene,), [*notes, *more]
    except C2SegError as error:
        problems.append(str(error))
    return City(name, c2seg13(), scenes, tuple(problems), tuple(notes))


def labels(path: Path, city: City, label_map: str | None) -> tuple[Label, ...] | None:
    """Open the label in the same file or in ``NAME_label.mat``; None if there is none."""
    stem = re.sub(r"_multimodal$", "", path.stem, flags=re.IGNORECASE)
    for file in (path, path.with_name(f"{stem}_label.mat")):
        array = _variables(file).get("label") if file.is_file() else None
        if array is None:
            continue
        grid = city.scenes[0].grid
        if array.count != 1:
            raise DataError(f"{file}: label has {array.count} bands; a label has one")
        if (array.height, array.width) != (grid.height, grid.width):
            raise DataError(
                f"{file}: label has {array.height} x {array.width} pixels, the images {grid.height} x {grid.width}"
            )
        # Two label mappings with the same values exist for this release: detect which one it is, unless the file says so.
        return (Label(array, GridRelation(), str(file), label_map=label_map or _stated_label_map(array) or "auto"),)
    return None


def _stated_label_map(label: MatArray) -> str | None:
    """Return the label mapping that a file of ours states; None for the files of the release."""
    try:
        if label.hdf5:
            with _h5py().File(label.path, "r") as file:
                stated = file[label.key].attrs.get(LABEL_MAP)
        elif LABEL_MAP in _list_classic(label.path):
            from scipy.io import loadmat

            stated = loadmat(label.path, variable_names=[LABEL_MAP])[LABEL_MAP].item()
        else:
            return None
    except _DAMAGED as error:
        raise _damaged(label.path, LABEL_MAP, error) from error
    return None if stated is None else str(stated)


def _variables(path: Path) -> dict[str, MatArray]:
    """Return the numeric arrays of two or three axes by lower-case name."""
    try:
        hdf5 = is_hdf5(path)
        listed = _list_hdf5(path) if hdf5 else _list_classic(path)
    except _DAMAGED as error:
        raise _damaged(path, "its contents", error) from error
    except NotImplementedError as error:  # scipy raises it for a v7.3 header that h5py does not recognize
        raise _damaged(path, "its contents", error) from error
    if empty := [key for key, (shape, _) in listed.items() if len(shape) in (2, 3) and 0 in shape]:
        raise DataError(f"{path}: {empty[0]} is empty; write the file again")
    if many := [key for key, (shape, _) in listed.items() if len(shape) == 3 and shape[2] > _MOST_BANDS]:
        raise DataError(f"{path}: {many[0]} claims more than {_MOST_BANDS:,} bands; write the file again")
    return {
        key.lower(): MatArray(path, key, (shape[0], shape[1], shape[2] if len(shape) == 3 else 1), dtype, hdf5)
        for key, (shape, dtype) in listed.items()
        if len(shape) in (2, 3) and dtype.kind in "iuf"
    }


def _h5py() -> Any:
    with needs_extra("a .mat file of version 7.3", "mat"):
        import h5py
    return h5py


def _list_hdf5(path: Path) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
    h5py = _h5py()
    with h5py.File(path, "r") as file:
        for key in file:
            check_link(path, key, file.get(key, getlink=True))
        arrays = {
            key: item for key, item in file.items() if isinstance(item, h5py.Dataset) and item.dtype.kind in "iuf"
        }
        for key, item in arrays.items():
            check_stored(path, key, item)
        return {key: (tuple(reversed(item.shape)), item.dtype) for key, item in arrays.items() if item.shape}


def _check_claim(path: Path, key: str, item: Any) -> None:
    """Raise DataError for an array of which next to nothing is stored: reading it would take for ever."""
    stored = item.id.get_storage_size()
    if item.nbytes > _MOST_COMPRESSED * stored:
        raise DataError(
            f"{path}: {key} claims {item.nbytes:,} bytes, but only {stored:,} are stored; write the file again"
        )


def _list_classic(path: Path) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
    """Return shape and data type of all variables in file order. The type of non-numeric ones is object."""
    from scipy.io import whosmat

    _classic_extents(path)
    listed = {}
    most = _MOST_COMPRESSED * path.stat().st_size
    for key, shape, kind in whosmat(path):
        try:
            listed[key] = (shape, np.dtype(_TYPES.get(kind, kind)))
        except TypeError:  # cell, struct, char
            listed[key] = (shape, np.dtype(object))
        if any(side < 0 for side in shape) or math.prod(shape) > most:
            raise DataError(f"{path}: {key} claims {' x '.join(map(str, shape))} values, more than the file can hold")
    return listed


def _classic_extents(path: Path) -> list[tuple[int, int]]:
    """Return first byte and number of bytes of each element of a classic file (MAT-File Format, level 5).

    Raises EOFError if the last one is truncated.
    """
    extents: list[tuple[int, int]] = []
    end = path.stat().st_size
    with path.open("rb") as stream:
        head = stream.read(128)
        order = "<" if head[126:128] == b"IM" else ">"
        position = 128
        while position < end:
            if len(extents) == _MOST_ELEMENTS:
                raise ValueError(f"it has more than {_MOST_ELEMENTS} variables")
            stream.seek(position)
            _, size = struct.unpack(f"{order}II", stream.read(8))
            extents.append((position + 8, size))
            position += 8 + size
    if position > end:
        raise EOFError(f"it ends {position - end} bytes too early")
    return extents


def _published(height: int, width: int) -> PublishedCity | None:
    for city in CITIES.values():
        if width == city.width and height in (city.height, *city.other_heights):
            return city
    return None


def _scene(
    path: Path, name: str, arrays: Mapping[str, MatArray], size: tuple[int, int], published: PublishedCity | None
) -> tuple[Scene, list[str]]:
    height, width = size
    notes = [f"{'MATLAB v7.3 (HDF5)' if next(iter(arrays.values())).hdf5 else 'classic MATLAB'} file, no georeference"]
    modalities = {}
    for key, array in arrays.items():
        ratio = round(height / array.height) or 1
        overhang = array.height * ratio - height, array.width * ratio - width
        if not all(0 <= px < _OVERHANG * ratio for px in overhang):
            raise DataError(
                f"{path}: {array.key} has {array.height} x {array.width} pixels, which do not divide the scene's "
                f"{height} x {width} by an integer"
            )
        if ratio > 1:
            notes.append(f"{array.key} is {ratio} times coarser ({array.height} x {array.width})")
        if published:
            expected = DATASETS[published.dataset].bands()[key]
            if array.count < expected:
                raise DataError(f"{path}: {array.key} has {array.count} bands, {published.dataset} has {expected}")
            if array.count > expected:
                notes.append(f"{array.key} has {array.count} bands; the first {expected} are used")
                array = MatArray(path, array.key, (array.height, array.width, expected), array.dtype, array.hdf5)
        bands = tuple(Band(role=role) for role in band_roles(key, array.count, published))
        modalities[key] = Modality(array, GridRelation(ratio), f"{path}: {array.key}", key, bands, nodata_all_bands=0)
    grid = Grid(height, width, Affine(GRID_M, 0, 0, 0, -GRID_M, 0))
    tilings = [t for t in (published.tile_grids(("columns",)) if published else ()) if t.height == height]
    return Scene(name, grid, modalities, tiles=tilings[0] if tilings else None), notes


def _damaged(path: Path, what: str, error: BaseException) -> DataError:
    if problem := download_problem(path):
        return DataError(problem)
    return DataError(f"cannot read {what} of {path}: truncated or damaged ({one_line(error)})")
