"""PRISMA L2D (surface reflectance, geocoded) as ASI delivers it: one HDF5 file ``.he5`` with a cube for each detector.

Structure and meaning: PRISMA Product Specification (ASI), as independent open readers (SNAP's reader, prismaread,
EnMAP-Box, hyperproc) read it. Cubes have axes [line, band, sample]; wavelengths descend; bands of wavelength 0 are not
acquired.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from affine import Affine
from rasterio.crs import CRS
from rasterio.errors import CRSError

from c2seg.errors import DataError, needs_extra, one_line
from c2seg.products.base import ProductFacts, ProductOptions
from c2seg.products.hyper import (
    FLAGGED_SHARE,
    CubeBand,
    CubeProduct,
    FlaggedShare,
    Flags,
    choose,
    dropped_note,
    moment,
    resolve_overlap,
)
from c2seg.products.native import NativeBand, NativeMask
from c2seg.raster.hdf5 import check_all_stored
from c2seg.types import Grid, Window

__all__ = ["LOOKS_FOR", "PrismaCube", "open", "recognize"]

LOOKS_FOR = "PRISMA (PRS_L2D_STD_...he5)"

_SWATH = "HDFEOS/SWATHS/PRS_L2D_HCO"
_DETECTORS = ("Vnir", "Swir")
_PIXEL_M = 30.0
_LARGEST = 65535.0
_INVALID = (1,)
"""Code of the error matrix: invalid at L1. Others mean clipped at 0 (2) or at the top (3) and stay."""
_FAULTS = (OSError, RuntimeError, KeyError, ValueError)


@dataclass(frozen=True)
class PrismaCube:
    """A cube in a file: ``kind`` numbers of reflectance (float32, NaN outside the swath), or flags of single bands."""

    path: Path
    detector: str
    kind: Literal["reflectance", "flags"] = "reflectance"
    _local: threading.local = field(default_factory=threading.local, repr=False, compare=False)

    def __reduce__(self) -> tuple[Any, ...]:
        return (PrismaCube, (self.path, self.detector, self.kind))

    def read(self, indexes: Sequence[int], window: Window) -> np.ndarray:
        """Return numbers [C, H, W] of bands (from 1). Raises DataError for a damaged file."""
        rows, cols = window.slices
        numbers = np.asarray(indexes) - 1
        first, last = int(numbers.min()), int(numbers.max()) + 1
        name = f"{self.detector.upper()}_{'Cube' if self.kind == 'reflectance' else 'PIXEL_L2_ERR_MATRIX'}"
        try:
            cube = self._file()[f"{_SWATH}/Data Fields/{name}"][rows, first:last, cols]
            values: np.ndarray = np.moveaxis(cube, 1, 0)[numbers - first]
            if self.kind == "flags":
                return values
            values = values.astype(np.float32)
            values[:, self._outside(rows, cols)] = np.nan
        except _FAULTS as error:
            place = f"rows {window.row}..{window.row_end - 1}"
            raise DataError(
                f"cannot read {name} of {self.path} at {place}: the file is truncated or damaged ({one_line(error)}); download "
                "it again"
            ) from error
        return values

    def _outside(self, rows: slice, cols: slice) -> np.ndarray:
        """Return bool [H, W]: padding around the swath, where the sun's angle is 0, or else all numbers are."""
        file = self._file()
        angle = f"{_SWATH}/Geometric Fields/Solar_Zenith_Angle"
        if angle in file:
            outside: np.ndarray = file[angle][rows, cols] == 0
            return outside
        padding: np.ndarray = (file[f"{_SWATH}/Data Fields/VNIR_Cube"][rows, :, cols] == 0).all(axis=1)
        return padding

    def _file(self) -> Any:
        import h5py

        handles = self._local.__dict__.setdefault("handles", {})
        key = os.getpid()  # a handle inherited through fork shares its file offset with the parent
        if key not in handles:
            handles[key] = h5py.File(self.path, "r")
        return handles[key]

    def close(self) -> None:
        """Close the calling thread's handle; the next read opens another one."""
        handle = self._local.__dict__.get("handles", {}).pop(os.getpid(), None)
        if handle is not None:
            handle.close()


def recognize(path: Path) -> bool:
    """Return True for a file of PRISMA of any level, packed or not."""
    return path.is_file() and path.name.upper().startswith("PRS_L") and path.suffix.lower() in (".he5", ".h5", ".zip")


def open(path: Path, options: ProductOptions) -> CubeProduct:
    """Open a product. Raises DataError if it is of another level, incomplete or damaged, MissingExtraError without h5py."""
    if path.suffix.lower() == ".zip":
        raise DataError(f"{path} is packed, and HDF5 cannot be read in a zip; unpack it and give the .he5")
    with needs_extra("reading PRISMA", "prepare"):
        import h5py
    level = path.name.upper()[4:].partition("_")[0]
    if level != "L2D":
        raise DataError(
            f"{path} is PRISMA {level}, in the sensor's geometry; download L2D, which is geocoded reflectance"
        )
    check_all_stored(path)
    try:
        with h5py.File(path, "r") as file:
            every, grid, flagged, attributes = _described(file, path)
    except _FAULTS as error:
        if isinstance(error, DataError):
            raise
        raise DataError(
            f"cannot read {path}: it is truncated, or lacks what a product has ({one_line(error)}); download it again"
        ) from error
    usable = resolve_overlap(every, "Swir")
    bands = choose(every, usable, options.bands, path)
    dropped = [band for band in every if band not in usable]
    masks = _masks(path, grid, bands) if flagged else ()
    facts = ProductFacts(
        kind="hsi", sensor="PRISMA", product=path.stem, unit="reflectance", level=level, files=(path,),
        acquired=moment(_text(attributes.get("Product_StartTime"))),
        processing={
            "processor": _text(attributes.get("Processor_Version")), "error_matrix": bool(masks),
            "scales": {band.detector: band.scale for band in bands}, "offsets": {band.detector: band.offset for band in bands},
        },
        notes=(
            "PRISMA L2D has no mask of clouds: choose a scene without them, or give its area",
            *(() if options.bands else dropped_note(dropped, "the infrared detector sees the same wavelengths")),
        ),
    )  # fmt: skip
    sources = {detector: PrismaCube(path, detector) for detector in _DETECTORS}
    native = tuple(NativeBand(sources[band.detector], grid, band.index, band.scale, band.offset) for band in bands)
    return CubeProduct(facts, tuple(band.described for band in bands), native, masks, grid, options.kernel)


def _described(file: Any, path: Path) -> tuple[list[CubeBand], Grid, bool, Mapping[str, Any]]:
    """Return all acquired bands by wavelength, the grid, whether there are error matrices, and the attributes."""
    attributes = dict(file.attrs)
    shapes = {detector: file[f"{_SWATH}/Data Fields/{detector.upper()}_Cube"].shape for detector in _DETECTORS}
    bands = [band for detector in _DETECTORS for band in _bands(attributes, detector, shapes[detector][1], path)]
    lines, samples = {(shape[0], shape[2]) for shape in shapes.values()}.pop()
    if any((shape[0], shape[2]) != (lines, samples) for shape in shapes.values()):
        raise DataError(f"{path}: the cubes of both detectors differ in size; download it again")
    if not bands:
        raise DataError(f"{path} has no acquired bands")
    flagged = all(f"{_SWATH}/Data Fields/{d.upper()}_PIXEL_L2_ERR_MATRIX" in file for d in _DETECTORS)
    return (
        sorted(bands, key=lambda band: band.wavelength_nm),
        _grid(attributes, lines, samples, path),
        flagged,
        attributes,
    )


def _bands(attributes: Mapping[str, Any], detector: str, count: int, path: Path) -> list[CubeBand]:
    """Return the acquired bands of a detector."""
    keys = (f"List_Cw_{detector}", f"List_Fwhm_{detector}", f"List_Cw_{detector}_Flags")
    if missing := [key for key in keys[:2] if key not in attributes]:
        raise DataError(f"{path} lacks {missing[0]}, its wavelengths or widths; download it again")
    lists = [np.asarray(attributes[key], np.float64).ravel() for key in keys if key in attributes]
    if any(len(values) != count for values in lists):
        raise DataError(
            f"{path} has {count} {detector.upper()} bands, but {keys[0]} describes {len(lists[0])}; download it again"
        )
    low, high = (float(np.asarray(attributes[f"L2Scale{detector}{end}"]).ravel()[0]) for end in ("Min", "Max"))
    if not low < high:
        raise DataError(f"{path}: L2Scale{detector}Min ({low:g}) is not below L2Scale{detector}Max ({high:g})")
    centers, widths, flags = lists[0], lists[1], (lists[2] if len(lists) == 3 else np.ones(count))
    return [
        CubeBand(
            f"PRISMA {detector.upper()} {k + 1}", k + 1, round(float(centers[k]), 4), round(float(widths[k]), 4) or None,
            (high - low) / _LARGEST, low, detector,
        )
        for k in range(count)
        if centers[k] > 0 and flags[k] != 0
    ]  # fmt: skip


def _grid(attributes: Mapping[str, Any], lines: int, samples: int, path: Path) -> Grid:
    """Return the grid. Corners are those of pixels or of pixel centers: whichever gives pixels of 30 m."""

    def corner(name: str, axis: str) -> float:
        return float(np.asarray(attributes[f"Product_{name}corner_{axis}"]).ravel()[0])

    west, east = corner("UL", "easting"), corner("LR", "easting")
    north, south = corner("UL", "northing"), corner("LR", "northing")
    code = int(np.asarray(attributes["Epsg_Code"]).ravel()[0])
    for less, shift in ((1, 0.5), (0, 0.0)):
        across, down = (east - west) / max(samples - less, 1), (north - south) / max(lines - less, 1)
        if max(abs(across - _PIXEL_M), abs(down - _PIXEL_M)) < _PIXEL_M * 1e-4:
            transform = Affine(_PIXEL_M, 0, west - shift * _PIXEL_M, 0, -_PIXEL_M, north + shift * _PIXEL_M)
            with suppress(CRSError):
                return Grid(lines, samples, transform, CRS.from_epsg(code).to_wkt())
            raise DataError(f"{path}: Epsg_Code {code} is no CRS")
    raise DataError(
        f"{path}: its corners ({east - west:g} x {north - south:g} m) do not fit {samples} x {lines} pixels of {_PIXEL_M:g} m"
    )


def _masks(path: Path, grid: Grid, bands: Sequence[CubeBand]) -> tuple[NativeMask, ...]:
    """Return the mask of pixels that are invalid in many bands."""
    numbers = {d: tuple(band.index for band in bands if band.detector == d) for d in _DETECTORS}
    flags = [Flags(PrismaCube(path, d, "flags"), listed, _INVALID) for d, listed in numbers.items() if listed]
    return (NativeMask(FlaggedShare(tuple(flags), FLAGGED_SHARE), grid, 1, exclude=(1,)),)


def _text(value: Any) -> str | None:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else None if value is None else str(value)
