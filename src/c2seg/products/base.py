"""What a reader of satellite products offers: the facts of a product, its bands, and pixels warped onto a grid, by window.

Axes: C band, H row, W column on the grid asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

import numpy as np

from c2seg.types import Grid, Window

__all__ = ["Kernel", "Kind", "Product", "ProductBand", "ProductFacts", "ProductOptions", "Reader", "Unit", "Warped"]

Kind = Literal["msi", "hsi", "sar"]
Unit = Literal["reflectance", "dB", "raw"]
Kernel = Literal["nearest", "bilinear", "cubic"]
Fact = str | float | int | bool | None | list[float] | list[str] | dict[str, float] | dict[str, str]


@dataclass(frozen=True, slots=True)
class ProductBand:
    """A band: its name as the agency writes it, its role (``c2seg.data.ROLES``), center wavelength and width where known."""

    name: str
    role: str | None = None
    wavelength_nm: float | None = None
    fwhm_nm: float | None = None


@dataclass(frozen=True)
class ProductFacts:
    """What a product says of itself, and what is done to it.

    ``unit`` is that of warped values: reflectance (1 = white), backscatter in dB, or raw where the product states no unit.
    ``processing`` tells an auditor what was read and done: baseline, offsets, calibration, masks. ``files`` are all files that
    are read; their digests go into the provenance.
    """

    kind: Kind
    sensor: str
    product: str
    """The product's name as delivered."""
    unit: Unit
    level: str = ""
    acquired: datetime | None = None
    """In UTC."""
    processing: Mapping[str, Fact] = field(default_factory=dict)
    files: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()
    """What the user must know, one line each."""


class Warped(NamedTuple):
    """Pixels of a window of a grid: values float32 [C, H, W] in the product's unit (0 where invalid), validity bool [H, W]."""

    values: np.ndarray
    valid: np.ndarray


class Product(Protocol):
    """An open product. It can be pickled: it holds paths and numbers; handles are opened by each thread of each process.

    Products whose pixels lie on a grid may also have ``grid`` (``c2seg.types.Grid``): that of the finest band. Where
    nobody gives an area, it is the area, so that pixels are copied.
    """

    @property
    def facts(self) -> ProductFacts:
        """What the product says of itself."""

    @property
    def bands(self) -> tuple[ProductBand, ...]:
        """The bands, in the order of warped values."""

    @property
    def resolution_m(self) -> float:
        """Pixel size of the finest band, in meters."""

    @property
    def crs(self) -> str | None:
        """The CRS of the pixels as WKT; None if they are in the sensor's geometry."""

    @property
    def bounds_lonlat(self) -> tuple[float, float, float, float]:
        """West, south, east, north in degrees; west is larger than east across the antimeridian."""

    def warp(self, grid: Grid, window: Window) -> Warped:
        """Return the pixels of a window of ``grid``, resampled once from the native pixels.

        Pixels outside the product, or excluded by its masks, are invalid. The window's content does not depend on what other
        windows are read. Raises DataError for a truncated or damaged file, which it names.
        """


@dataclass(frozen=True)
class ProductOptions:
    """How products are read. Readers ignore what does not concern them."""

    kernel: Kernel = "bilinear"
    """Kernel where the grid is as fine as the pixels or finer; coarser grids take averages."""
    bands: tuple[str, ...] | None = None
    """Names of the bands to read, in this order; None: the reader's default."""
    mask_clouds: bool = True
    """Whether clouds, their shadows, cirrus, snow flags as the reader documents make pixels invalid."""
    cloud_margin_m: float = 0.0
    """Distance by which masked clouds and shadows are dilated."""
    dem: Path | None = None
    """Elevation model for terrain correction and RPCs, meters."""
    dem_datum: Literal["ellipsoid", "egm96", "egm2008"] | None = None
    """Vertical datum of the elevation model; None: as the file states."""
    backscatter: Literal["gamma0", "sigma0"] = "gamma0"
    speckle: Literal["none", "lee", "median"] = "none"
    speckle_px: int = 5
    multilook: int | None = None
    """Native pixels averaged along each axis before geocoding; None: as the grid's resolution needs."""
    sar_unit: Literal["dB", "power", "amplitude"] | None = None
    """Unit of the stored values of a geocoded SAR raster that does not state it."""


class Reader(Protocol):
    """A module that reads one kind of product; also the protocol of plug-ins (entry points ``c2seg.products``)."""

    LOOKS_FOR: str
    """What the reader looks for, as text."""

    def recognize(self, path: Path) -> bool:
        """Return True for a file or folder that this reader opens. It looks at names first and opens little."""

    def open(self, path: Path, options: ProductOptions) -> Product:
        """Open a product. Raises DataError if it is incomplete or damaged: what, where, what to do."""
