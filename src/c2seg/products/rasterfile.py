"""Any raster that no other reader recognizes: COG, VRT, a zip with one image, any CRS, also placed by GCPs or RPCs alone."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from rasterio.crs import CRS
from rasterio.warp import transform, transform_bounds

from c2seg.errors import DataError, InputError, one_line
from c2seg.products.base import Kind, ProductBand, ProductFacts, ProductOptions, Unit, Warped
from c2seg.products.decibels import in_decibels
from c2seg.products.native import ControlPoints, GdalFile, NativeBand, NativeMask, Placement, RationalPolynomials
from c2seg.products.warping import warp_bands
from c2seg.raster import GDAL_ERRORS, FileBand, bands_of, data_files
from c2seg.raster.sensors import KnownBand, KnownBands, known_bands
from c2seg.types import Grid, Window

__all__ = ["LOOKS_FOR", "RasterProduct", "open", "open_as", "recognize"]

LOOKS_FOR = "any raster file with a CRS, control points or RPCs, or a zip with one"

_IMAGES = {
    ".tif",
    ".tiff",
    ".gtiff",
    ".jp2",
    ".j2k",
    ".vrt",
    ".img",
    ".dat",
    ".bsq",
    ".bil",
    ".bip",
    ".png",
    ".nc",
    ".h5",
}
_DEGREES = "EPSG:4326"
_MOST_BANDS_OF_MSI = 40
_ROLES = {"vv": "vv", "vh": "vh", "hh": "hh", "hv": "hv", "sigma0_vv": "vv", "sigma0_vh": "vh"}


@dataclass(frozen=True)
class RasterProduct:
    """A raster file as a product."""

    facts: ProductFacts
    bands: tuple[ProductBand, ...]
    native: tuple[NativeBand, ...]
    masks: tuple[NativeMask, ...]
    resolution_m: float
    crs: str | None
    bounds_lonlat: tuple[float, float, float, float]
    grid: Grid | None
    kernel: Literal["nearest", "bilinear", "cubic"] = "bilinear"
    decibels: bool = field(default=False)
    """Whether warped values are power that is given in dB."""

    def warp(self, grid: Grid, window: Window) -> Warped:
        """Return the pixels of a window of ``grid``; see ``Product.warp``."""
        warped = warp_bands(self.native, grid, window, self.kernel, self.masks)
        return in_decibels(warped) if self.decibels else warped


def recognize(path: Path) -> bool:
    """Return True for an image file, or a zip with one image."""
    if path.suffix.lower() == ".zip":
        return path.is_file() and zipfile.is_zipfile(path) and len(_images_in(path)) == 1
    return path.is_file() and path.suffix.lower() in _IMAGES


def open(path: Path, options: ProductOptions) -> RasterProduct:
    """Open a raster whose kind is not given; see ``open_as``."""
    return open_as(path, options, None)


def open_as(path: Path, options: ProductOptions, kind: Kind | None) -> RasterProduct:
    """Open a raster as a product of a kind; None: SAR by band names, HSI from 40 bands on, else MSI.

    Scales and offsets of the file apply. Raises DataError for a raster that nothing places, InputError for unknown bands.
    """
    file = _file(path)
    with file.open() as dataset:
        described = bands_of(dataset)
        place = _placement(dataset, file, options)
        nodata = [(value,) if value is not None else () for value in dataset.nodatavals]
        masked = any(flag.name == "per_dataset" for flag in dataset.mask_flag_enums[0])
        driver, tags = str(dataset.driver), dataset.tags()
    numbers = _chosen(described, options, path)
    chosen = [described[number] for number in numbers]
    known = known_bands([band.name for band in chosen], tags)
    kind = kind or _kind(chosen)
    unit, stored_as = _unit(kind, chosen, options)
    native = tuple(
        NativeBand(
            file, place, number + 1, described[number].scale, described[number].offset, nodata[number], stored_as,
            no_power=kind == "sar" and unit == "dB",
        )
        for number in numbers
    )  # fmt: skip
    masks = (NativeMask(_FileMask(file), place, 1, exclude=(0,)),) if masked else ()
    how = "grid" if isinstance(place, Grid) else "control points" if isinstance(place, ControlPoints) else "RPC"
    facts = ProductFacts(
        kind=kind, sensor=known.sensor or "unknown", product=path.name, unit=unit, files=_files(path),
        processing={
            "driver": driver, "placed_by": how, "stored_as": stored_as,
            "scales": [band.scale for band in chosen], "offsets": [band.offset for band in chosen],
            "nodata": [str(value) for value in nodata],
        },
        notes=(*_notes(path, kind, unit, how, options), *([known.note] if known.note else [])),
    )  # fmt: skip
    return RasterProduct(
        facts=facts, bands=_bands(chosen, kind, known), native=native, masks=masks, resolution_m=_resolution(place),
        crs=place.crs if isinstance(place, Grid) else None, bounds_lonlat=_bounds(place),
        grid=place if isinstance(place, Grid) else None, kernel=options.kernel, decibels=stored_as != "linear" or unit == "dB",
    )  # fmt: skip


@dataclass(frozen=True)
class _FileMask:
    """The mask of a file as codes: 0 where it is nodata."""

    file: GdalFile

    def read(self, indexes: Sequence[int], window: Window) -> Any:
        """Return uint8 [1, H, W]."""
        return self.file.read_mask(window)


def _file(path: Path) -> GdalFile:
    if path.suffix.lower() != ".zip":
        return GdalFile(path)
    images = _images_in(path)
    if len(images) != 1:
        raise DataError(f"{path} holds {len(images)} images; unpack it and give one of them")
    return GdalFile(path, images[0])


def _images_in(path: Path) -> list[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (OSError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} is no zip file, or it is truncated: {error}") from error
    return sorted(name for name in names if PurePosixPath(name).suffix.lower() in _IMAGES - {".vrt"})


def _files(path: Path) -> tuple[Path, ...]:
    return (path,) if path.suffix.lower() == ".zip" else data_files(path)


def _placement(dataset: Any, file: GdalFile, options: ProductOptions) -> Placement:
    """Return what places the pixels: a grid before control points before RPCs. Raises DataError if there is nothing."""
    if dataset.crs is not None and not dataset.transform.is_identity:
        if dataset.transform.determinant == 0 or not all(map(math.isfinite, dataset.transform)):
            raise DataError(f"{file}: its pixels have no size; assign a transform (gdal_edit.py -a_ullr)")
        return Grid(dataset.height, dataset.width, dataset.transform, dataset.crs.to_wkt())
    points, crs = dataset.gcps
    if points and crs is not None:
        rows = tuple((p.row, p.col, p.x, p.y, p.z or 0.0) for p in points)
        return ControlPoints(dataset.height, dataset.width, rows, crs.to_wkt(), splines=len(points) > 10)
    if dataset.rpcs is not None:
        height = float(dataset.rpcs.height_off)
        return RationalPolynomials(dataset.height, dataset.width, dataset.rpcs, options.dem, height)
    raise DataError(
        f"{file} has no CRS, no control points and no RPCs, so nobody knows where it lies; assign a CRS "
        "(gdal_edit.py -a_srs EPSG:... -a_ullr ...)"
    )


def _chosen(described: Sequence[FileBand], options: ProductOptions, path: Path) -> list[int]:
    usable = [number for number, band in enumerate(described) if band.is_good and not band.is_alpha]
    if options.bands is None:
        return usable or list(range(len(described)))
    names = {band.name: number for number, band in enumerate(described)}
    numbers = []
    for name in options.bands:
        number = names.get(name, int(name) - 1 if name.isdigit() else -1)
        if not 0 <= number < len(described):
            listed = ", ".join(band.name or str(number + 1) for number, band in enumerate(described))
            raise InputError(f"`bands`: {path} has no band {name!r}; it has {listed}")
        numbers.append(number)
    return numbers


def _kind(bands: Sequence[FileBand]) -> Kind:
    if bands and all(band.name.lower() in _ROLES for band in bands):
        return "sar"
    return "hsi" if len(bands) >= _MOST_BANDS_OF_MSI else "msi"


def _unit(kind: Kind, bands: Sequence[FileBand], options: ProductOptions) -> tuple[Unit, Any]:
    """Return the unit of warped values, and how numbers are stored."""
    if kind == "sar":
        if options.sar_unit is None:
            return "raw", "linear"
        return "dB", {"dB": "dB", "power": "linear", "amplitude": "amplitude"}[options.sar_unit]
    scaled = any((band.scale, band.offset) != (1.0, 0.0) for band in bands)
    return ("reflectance" if scaled else "raw"), "linear"


def _bands(described: Sequence[FileBand], kind: Kind, known: KnownBands) -> tuple[ProductBand, ...]:
    """Return the bands as the file describes them, completed by what their names tell."""
    bands = []
    for number, (band, fact) in enumerate(zip(described, known.bands, strict=True), 1):
        fact = fact or KnownBand(None)
        role = _ROLES.get(band.name.lower(), fact.role) if kind == "sar" else band.color or fact.role
        nm, width = band.wavelength_nm or fact.wavelength_nm, band.fwhm_nm or fact.fwhm_nm
        bands.append(ProductBand(band.name or f"band {number}", role, nm, width))
    return tuple(bands)


def _notes(path: Path, kind: Kind, unit: Unit, how: str, options: ProductOptions) -> tuple[str, ...]:
    notes = []
    if kind == "sar" and unit == "raw":
        notes.append(
            f"{path.name} does not state its unit; its numbers are passed on (`sar_unit` says dB, power or amplitude)"
        )
    elif unit == "raw":
        notes.append(f"{path.name} states no scale; its numbers are passed on as they are")
    if how == "control points":
        notes.append(f"{path.name} is placed by control points alone: terrain shifts are not corrected")
    if how == "RPC" and options.dem is None:
        notes.append(
            f"{path.name} is placed by RPCs at one height, since there is no `dem`: terrain shifts are not corrected"
        )
    return tuple(notes)


def _resolution(place: Placement) -> float:
    if isinstance(place, Grid):
        return place.pixel_side_m() or 1.0
    west, south, east, north = _bounds(place)
    middle = math.cos(math.radians((south + north) / 2))
    area = (north - south) * ((east - west) % 360) * middle * 111_195.0**2
    return float((area / (place.height * place.width)) ** 0.5)


def _bounds(place: Placement) -> tuple[float, float, float, float]:
    if isinstance(place, Grid):
        try:
            return transform_bounds(CRS.from_wkt(str(place.crs)), _DEGREES, *place.bounds_xy, densify_pts=21)  # type: ignore[no-any-return]
        except GDAL_ERRORS as error:
            raise DataError(
                f"a raster of {place.height} x {place.width} pixels lies outside of its CRS: {one_line(error)}"
            ) from error
    if isinstance(place, ControlPoints):
        x, y = [point[2] for point in place.points], [point[3] for point in place.points]
        lon, lat = transform(CRS.from_wkt(place.crs), _DEGREES, x, y)
    else:
        lon, lat = _rpc_corners(place)
    return min(lon), min(lat), max(lon), max(lat)


def _rpc_corners(place: RationalPolynomials) -> tuple[list[float], list[float]]:
    from rasterio.transform import RPCTransformer

    rows, cols = [0, 0, place.height, place.height], [0, place.width, 0, place.width]
    with RPCTransformer(place.rpc, RPC_HEIGHT=str(place.height_m)) as transformer:
        lon, lat = transformer.xy(rows, cols, offset="ul")
    return list(lon), list(lat)
