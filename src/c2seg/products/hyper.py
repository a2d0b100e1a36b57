"""What readers of hyperspectral products share: a cube as a product, the choice of bands, flags of single bands as a mask."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from xml.etree import ElementTree

import numpy as np
from rasterio.crs import CRS
from rasterio.warp import transform_bounds

from c2seg.errors import DataError, InputError, number_ranges, one_line
from c2seg.products.base import Kernel, ProductBand, ProductFacts, Warped
from c2seg.products.delivery import Delivery
from c2seg.products.native import GdalFile, NativeBand, NativeMask, NativeSource
from c2seg.products.warping import warp_bands
from c2seg.raster.placement import horizontal_wkt
from c2seg.types import Grid, Window

__all__ = [
    "CubeBand", "CubeProduct", "FlaggedShare", "Flags", "choose", "dropped_note", "empty_bands", "grid_of", "moment",
    "numbers_of", "one_of", "packed_note", "resolve_overlap",
]  # fmt: skip

FLAGGED_SHARE = 0.1
"""A pixel is invalid if more than this share of its bands is flagged as defective; single defective bands are common."""

_DEGREES = "EPSG:4326"
_ROWS_LOOKED_AT = 9


@dataclass(frozen=True)
class CubeProduct:
    """A cube on a georeferenced grid as a product."""

    facts: ProductFacts
    bands: tuple[ProductBand, ...]
    native: tuple[NativeBand, ...]
    masks: tuple[NativeMask, ...]
    grid: Grid
    kernel: Kernel = "bilinear"

    @property
    def resolution_m(self) -> float:
        """Pixel size in meters."""
        return self.grid.pixel_side_m() or 1.0

    @property
    def crs(self) -> str | None:
        """The CRS of the pixels as WKT."""
        return self.grid.crs

    @property
    def bounds_lonlat(self) -> tuple[float, float, float, float]:
        """West, south, east, north in degrees."""
        west, south, east, north = transform_bounds(
            CRS.from_wkt(str(self.grid.crs)), _DEGREES, *self.grid.bounds_xy, densify_pts=21
        )
        return west, south, east, north

    def warp(self, grid: Grid, window: Window) -> Warped:
        """Return the pixels of a window of ``grid``; see ``Product.warp``."""
        return warp_bands(self.native, grid, window, self.kernel, self.masks)


@dataclass(frozen=True, slots=True)
class CubeBand:
    """A band of a cube: ``index`` in its raster, from 1; ``detector`` tells spectrometers of one instrument apart."""

    name: str
    index: int
    wavelength_nm: float
    fwhm_nm: float | None = None
    scale: float = 1.0
    offset: float = 0.0
    detector: str = ""

    @property
    def described(self) -> ProductBand:
        """The band as a product's."""
        return ProductBand(self.name, None, self.wavelength_nm, self.fwhm_nm)


@dataclass(frozen=True)
class Flags:
    """Flags of single bands: band numbers in a raster (from 1), and the codes that mean defective."""

    source: NativeSource
    indexes: tuple[int, ...]
    codes: tuple[int, ...]


@dataclass(frozen=True)
class FlaggedShare:
    """Flags of single bands as one raster of codes: 1 where more than a share of the bands is defective."""

    flags: tuple[Flags, ...]
    share: float = FLAGGED_SHARE

    def read(self, indexes: Sequence[int], window: Window) -> np.ndarray:
        """Return uint8 [1, H, W]. Raises DataError for a damaged file."""
        hits = np.zeros((window.height, window.width), np.int64)
        for item in self.flags:
            hits += np.isin(item.source.read(list(item.indexes), window), item.codes).sum(axis=0)
        result: np.ndarray = (hits > self.share * sum(len(item.indexes) for item in self.flags)).astype(np.uint8)[None]
        return result


def resolve_overlap(bands: Sequence[CubeBand], later: str) -> list[CubeBand]:
    """Return the bands without those of other detectors from the first band of detector ``later`` on, by wavelength.

    Two spectrometers that overlap see the same light with different errors. The infrared one counts where both see: silicon
    detectors are weak there.
    """
    start = min((band.wavelength_nm for band in bands if band.detector == later), default=float("inf"))
    chosen = [band for band in bands if band.detector == later or band.wavelength_nm < start]
    return sorted(chosen, key=lambda band: band.wavelength_nm)


def choose(
    every: Sequence[CubeBand], usable: Sequence[CubeBand], names: Sequence[str] | None, what: object
) -> list[CubeBand]:
    """Return the bands of these names in their order, also such that are not usable; without names all usable ones.

    Raises InputError for an unknown name.
    """
    if names is None:
        return list(usable)
    by_name = {band.name.casefold(): band for band in every}
    if unknown := [name for name in names if name.casefold() not in by_name]:
        first, last = every[0].name, every[-1].name
        raise InputError(
            f"`bands`: {what} has no band {unknown[0]!r}; its {len(every)} bands are {first!r} to {last!r}"
        )
    return [by_name[name.casefold()] for name in names]


def empty_bands(file: GdalFile, nodata: float) -> set[int]:
    """Return the numbers (from 1) of bands that are nodata wherever others have values, by some rows of the raster."""
    with file.open() as dataset:
        height, width, count = dataset.height, dataset.width, dataset.count
        stated = {number for number in range(1, count + 1) if _valid_percent(dataset.tags(number)) == 0}
    if len(stated) not in (0, count):
        return stated
    filled = np.zeros(count, bool)
    for row in sorted({int(row) for row in np.linspace(0, height - 1, min(_ROWS_LOOKED_AT, height))}):
        filled |= (file.read(range(1, count + 1), Window(row, 0, 1, width)) != nodata).any(axis=(1, 2))
    return set() if not filled.any() else {int(number) + 1 for number in np.flatnonzero(~filled)}


def _valid_percent(tags: dict[str, str]) -> float | None:
    try:
        return float(tags["STATISTICS_VALID_PERCENT"])
    except (KeyError, ValueError):
        return None


def grid_of(file: GdalFile, count: int | None = None, where: str = "its metadata") -> Grid:
    """Return the grid of a raster. Raises DataError if it has no CRS, or not ``count`` bands as ``where`` says."""
    with file.open() as dataset:
        total, crs, transform = dataset.count, dataset.crs, dataset.transform
        height, width = dataset.height, dataset.width
    if count is not None and total != count:
        raise DataError(f"{file} has {total} bands, but {where} describes {count}; download the product again")
    if crs is None or transform.is_identity:
        raise DataError(f"{file} has no CRS or no transform; the product must be geocoded")
    return Grid(height, width, transform, horizontal_wkt(crs.to_wkt()))


def one_of(delivery: Delivery, pattern: str, what: str) -> str:
    """Return the one file of a delivery that matches. Raises DataError if there is none, or one of another product.

    A file and its cloud-optimized copy (``_COG``) are one.
    """
    names = delivery.find(pattern)
    if not names:
        raise DataError(f"{delivery.path} lacks {what}; download the whole product")
    if len({PurePosixPath(name).stem.upper().replace("_COG", "") for name in names}) > 1:
        shown = ", ".join(PurePosixPath(name).name for name in names[:2])
        raise DataError(f"{delivery.path} holds several products ({shown}, ...); put each into a folder of its own")
    return names[0]


def numbers_of(element: ElementTree.Element, names: Sequence[str], where: str) -> list[float]:
    """Return the numbers of an element's children of these names. Raises DataError if one is missing or no finite number."""
    values = []
    for name in names:
        text = element.findtext(name)
        try:
            value = float(text or "")
        except ValueError:
            value = float("nan")
        if not np.isfinite(value):
            raise DataError(f"{where}: {name} of a band is {'missing' if text is None else f'{one_line(text)!r}'}")
        values.append(value)
    return values


def moment(text: str | None) -> datetime | None:
    """Return a time as metadata write it, in UTC; None if it is no time."""
    match = re.search(r"(\d{4})-?(\d\d)-?(\d\d)[T ](\d\d):?(\d\d):?(\d\d)", text or "")
    try:
        return datetime.strptime("".join(match.groups()), "%Y%m%d%H%M%S").replace(tzinfo=UTC) if match else None
    except ValueError:
        return None


def dropped_note(dropped: Sequence[CubeBand], why: str) -> tuple[str, ...]:
    """Return a note on bands that are not read; empty without any."""
    if not dropped:
        return ()
    return (f"{len(dropped)} bands are not read: {why} ({number_ranges(sorted(band.index for band in dropped))})",)


def packed_note(path: Path, inside: Sequence[str]) -> tuple[str, ...]:
    """Return a note if a product lies in compressed archives, where every window is unpacked anew."""
    slow = inside or path.name.lower().endswith((".gz", ".tgz"))
    return (f"{path.name} is an archive inside an archive or a compressed tar: unpack it for speed",) if slow else ()
