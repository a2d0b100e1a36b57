"""Reader of geocoded or terrain-corrected radar products: backscatter in dB on a grid.

OPERA RTC-S1, ASF HyP3 RTC, Planetary Computer style GeoTIFFs, pyroSAR, SNAP, and rasters whose bands are described as
polarizations. Stored dB, linear power or amplitude; resampled and averaged in linear power. Nothing else is corrected.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from rasterio.crs import CRS
from rasterio.warp import transform_bounds

from c2seg.errors import DataError
from c2seg.products.base import Fact, Kernel, ProductBand, ProductFacts, ProductOptions, Warped
from c2seg.products.geocoded_files import (
    FoundFiles,
    described_bands,
    described_in,
    find_files,
    has_images,
    is_described,
)
from c2seg.products.geocoded_names import NamedImage, RadarUnit, named_image, named_mask, polarizations_in
from c2seg.products.geocoded_units import stored_unit
from c2seg.products.native import GdalFile, NativeBand, NativeMask
from c2seg.products.warping import warp_bands
from c2seg.raster.placement import horizontal_wkt
from c2seg.types import Grid, Window

__all__ = ["LOOKS_FOR", "GeocodedRadar", "open", "recognize"]

LOOKS_FOR = (
    "geocoded radar: OPERA_L2_RTC-S1_..._VV.tif, HyP3 S1..._RTC...zip, vv.tif and vh.tif, S1..._VV_..._db.tif, or bands "
    "described as VV, VH"
)

FLOOR_DB = -50.0
_BORDERS = (-99.0, -999.0, -9999.0, -32768.0)
"""Fill values of radar images, none of which is a backscatter in dB or in power."""
_OPERA_INVALID = (1, 2, 3, 255)
_HYP3_BITS = 2 | 4 | 8 | 16
"""Layover and shadow, true or affected, in GAMMA's map."""


def recognize(path: Path) -> bool:
    """Return True for a file, folder or zip of geocoded radar images, by names; band descriptions are looked at last."""
    if path.is_dir():
        return has_images(path)
    if path.suffix.lower() == ".zip":
        return has_images(path)
    if path.suffix.lower() not in (".tif", ".tiff", ".img", ".vrt"):
        return False
    return named_image(path.name, path.resolve().parent.name) is not None or is_described(path)


def open(path: Path, options: ProductOptions) -> GeocodedRadar:
    """Open a product. Raises DataError if its unit is unknown, if it is not georeferenced, or for damaged files."""
    parts = _described(path) if path.is_file() and path.suffix.lower() != ".zip" else None
    if parts is not None:
        return _opened(*parts, options)
    files = _single(path) if path.is_file() and path.suffix.lower() != ".zip" else find_files(path)
    return _opened(files, [(image, 1) for image in files.images], options)


@dataclass(frozen=True)
class _Part:
    """The bands of one raster frame (a burst), with its masks."""

    bands: tuple[NativeBand, ...]
    masks: tuple[NativeMask, ...]


@dataclass(frozen=True)
class GeocodedRadar:
    """An open product: parts of a mosaic, each with the same polarizations; earlier parts lie on top."""

    parts: tuple[_Part, ...]
    polarizations: tuple[str, ...]
    facts: ProductFacts
    options: ProductOptions

    @property
    def bands(self) -> tuple[ProductBand, ...]:
        """One band a polarization."""
        return tuple(ProductBand(name, name.lower()) for name in self.polarizations)

    @property
    def resolution_m(self) -> float:
        """Pixel size in meters."""
        return _place(self.parts[0]).pixel_side_m() or 1.0

    @property
    def crs(self) -> str | None:
        """The CRS of the pixels."""
        return _place(self.parts[0]).crs

    @property
    def bounds_lonlat(self) -> tuple[float, float, float, float]:
        """West, south, east, north in degrees, of all parts."""
        every = [_lonlat(_place(part)) for part in self.parts]
        west, south, east, north = zip(*every, strict=True)
        return min(west), min(south), max(east), max(north)

    def warp(self, grid: Grid, window: Window) -> Warped:
        """Return backscatter in dB, float32 [C, H, W], not below -50 dB, and validity [H, W]. Raises DataError if damaged."""
        kernel: Kernel = "nearest" if self.options.kernel == "nearest" else "bilinear"  # cubic makes negative power
        values = np.zeros((len(self.polarizations), window.height, window.width), np.float32)
        valid = np.zeros((window.height, window.width), bool)
        for part in self.parts:
            power, good = warp_bands(part.bands, grid, window, kernel, part.masks)
            new = good & ~valid
            values[:, new] = 10 * np.log10(np.maximum(power[:, new], np.float32(10 ** (FLOOR_DB / 10))))
            valid |= good
            if valid.all():
                break
        return Warped(values, valid)


def _single(path: Path) -> FoundFiles:
    image = named_image(path.name, path.resolve().parent.name)
    if image is None:
        raise DataError(f"{path} is no geocoded radar image that c2seg knows by its name; describe its bands as VV, VH")
    others = [named_image(item.name) for item in path.parent.glob(f"*{path.suffix}")]
    beside = sorted(
        {o.polarization for o in others if o and o.group.rpartition("/")[2] == image.group.rpartition("/")[2]}
        - {image.polarization}
    )
    return FoundFiles(path, False, (image,), (), tuple(beside))


def _described(path: Path) -> tuple[FoundFiles, list[tuple[NamedImage, int]]] | None:
    """Return the bands of a raster that describes them as polarizations; None if it does not."""
    bands = described_bands(path)
    if not bands:
        return None
    images = []
    for name, number in bands.items():
        image = named_image(f"{name}_sar_{path.stem}.tif", path.resolve().parent.name) or named_image(f"{name}_sar.tif")
        if image is not None:
            images.append((replace(image, polarization=name, name=path.name), number))
    return FoundFiles(path, False, (), ()), images


def _opened(files: FoundFiles, images: list[tuple[NamedImage, int]], options: ProductOptions) -> GeocodedRadar:
    images = _chosen(images, options.bands, files.path)
    polarizations = tuple(dict.fromkeys(image.polarization for image, _ in images))
    units: dict[str, tuple[RadarUnit, str]] = {}
    by_frame: dict[Grid, list[NativeBand]] = {}
    for image, number in images:
        source = files.source(image.name)
        band, unit = _band(source, number, image, options)
        units[image.polarization] = unit
        by_frame.setdefault(band.place, []).append(band)  # type: ignore[arg-type]
    broken = next((len(bands) for bands in by_frame.values() if len(bands) != len(polarizations)), None)
    if broken is not None:
        raise DataError(
            f"{files.path}: its parts do not all have {' and '.join(polarizations)} on one grid; download what is missing"
        )
    masks = [_mask(files.source(name), named_mask(name)) for name in files.masks]
    parts = tuple(
        _Part(tuple(bands), tuple(mask for mask in masks if mask.place == place)) for place, bands in by_frame.items()
    )
    return GeocodedRadar(parts, polarizations, _facts(files, images[0][0], units, bool(masks), options), options)


def _chosen(
    images: list[tuple[NamedImage, int]], names: tuple[str, ...] | None, path: Path
) -> list[tuple[NamedImage, int]]:
    names = polarizations_in(names)
    if not names:
        return images
    have = dict.fromkeys(image.polarization for image, _ in images)
    missing = [name for name in names if name not in have]
    if missing:
        raise DataError(f"{path} has no polarization {missing[0]}; it has {', '.join(have)}")
    return [item for name in names for item in images if item[0].polarization == name]


def _band(
    source: GdalFile, number: int, image: NamedImage, options: ProductOptions
) -> tuple[NativeBand, tuple[RadarUnit, str]]:
    """Return a band, its stored unit, and how that is known."""
    with source.open() as dataset:
        if dataset.dtypes[number - 1].startswith("complex"):
            raise DataError(f"{source} holds complex values; only detected, geocoded images are read")
        if dataset.count > 1 and not described_in(dataset):
            raise DataError(
                f"{source} has {dataset.count} bands; describe them as polarizations (VV, VH), or give one file for each"
            )
        place, declared = _grid(source, dataset), dataset.nodatavals[number - 1]
        scale, offset = float(dataset.scales[number - 1]), float(dataset.offsets[number - 1])
        unit = stored_unit(dataset, number, str(source), image.unit, options.sar_unit)
    fill = [*_BORDERS, 0.0, *([float(declared)] if declared is not None else [])]
    band = NativeBand(
        source, place, number, scale, offset, tuple(dict.fromkeys(fill)),
        stored_as="linear" if unit[0] == "power" else unit[0], no_power=True,
    )  # fmt: skip
    return band, unit


def _mask(source: GdalFile, producer: str) -> NativeMask:
    with source.open() as dataset:
        place = _grid(source, dataset)
    return (
        NativeMask(source, place, exclude=_OPERA_INVALID)
        if producer == "OPERA"
        else NativeMask(source, place, bits=_HYP3_BITS)
    )


def _grid(source: GdalFile, dataset: object) -> Grid:
    crs, transform = dataset.crs, dataset.transform  # type: ignore[attr-defined]
    if crs is None or transform.is_identity:
        raise DataError(
            f"{source} is not georeferenced; of a Sentinel-1 GRD product give the folder ....SAFE, of others the geocoded image"
        )
    return Grid(dataset.height, dataset.width, transform, horizontal_wkt(crs.to_wkt()))  # type: ignore[attr-defined]


def _facts(
    files: FoundFiles, first: NamedImage, units: dict[str, tuple[RadarUnit, str]], masked: bool, options: ProductOptions
) -> ProductFacts:
    processing: dict[str, Fact] = {
        "producer": first.producer or "unknown",
        "stored_as": {name: f"{unit} ({why})" for name, (unit, why) in units.items()},
        "radiometry": first.radiometry,
        "terrain_flattening": "by the producer" if first.is_flattened else "unknown",
        "layover_and_shadow": "excluded by the producer's mask" if masked else "not excluded",
        "thermal_noise": "as the producer left it",
        "resampling": "in linear power",
        "speckle": "none",
        "floor_db": FLOOR_DB,
    }
    notes = [
        f"{files.path.name}: {name} is read as {unit}, {why}"
        for name, (unit, why) in units.items()
        if why.startswith("by")
    ]
    if files.beside:
        notes.append(
            f"{files.path.name}: {' and '.join(files.beside)} beside it is not read; give the folder to read all"
        )
    if options.speckle != "none":
        notes.append(f"{files.path.name}: `speckle` filters Sentinel-1 GRD only; this product is not filtered")
    return ProductFacts(
        kind="sar", sensor=first.satellite, product=files.path.resolve().name, unit="dB",
        level="geocoded", acquired=first.acquired, processing=processing, files=files.on_disk(), notes=tuple(notes),
    )  # fmt: skip


def _place(part: _Part) -> Grid:
    place = part.bands[0].place
    if not isinstance(place, Grid):
        raise AssertionError("geocoded images lie on grids")
    return place


def _lonlat(grid: Grid) -> tuple[float, float, float, float]:
    west, south, east, north = transform_bounds(CRS.from_wkt(grid.crs or ""), "EPSG:4326", *grid.bounds_xy)
    return float(west), float(south), float(east), float(north)
