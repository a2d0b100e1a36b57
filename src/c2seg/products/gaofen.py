"""Gaofen deliveries: GF-5 AHSI (hyperspectral), GF-6 PMS and WFV (multispectral), GF-3 (radar).

Structure: names, RPC files and calibration tables as independent open readers handle them; no format document is public in
English. Optical products of level 1 are numbers in the sensor's geometry: they are orthorectified by their RPCs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np

from c2seg.errors import DataError
from c2seg.products.base import Kernel, Kind, Product, ProductBand, ProductFacts, ProductOptions
from c2seg.products.delivery import Delivery, open_delivery
from c2seg.products.elevation import Elevation, open_elevation
from c2seg.products.gaofen_ahsi import ahsi_bands
from c2seg.products.gaofen_names import PRODUCT, GaofenImage, ImageName, image_names, open_image, wide_bands
from c2seg.products.gaofen_radar import open_radar
from c2seg.products.hyper import CubeBand, CubeProduct, choose, dropped_note, packed_note
from c2seg.products.native import NativeBand
from c2seg.products.rpc import RpcImage, RpcProduct
from c2seg.products.xml import parse_xml
from c2seg.types import Grid

__all__ = ["LOOKS_FOR", "open", "recognize"]

LOOKS_FOR = "Gaofen-5 AHSI, Gaofen-6 PMS or WFV, Gaofen-3 L2 (GF*.tiff with their .xml and .rpb, a folder or archive)"


@dataclass(frozen=True)
class _Optical:
    """What is read: bands of the product, and in each part (beside each other) images with places and bands in them."""

    kind: Kind
    described: Sequence[ProductBand]
    parts: Sequence[Sequence[tuple[GaofenImage, Sequence[tuple[int, CubeBand]]]]]
    notes: tuple[str, ...]
    calibration: str
    tables: tuple[str, ...] = ()
    """Files beside the images that are read."""

    @property
    def images(self) -> list[GaofenImage]:
        """All images."""
        return [image for part in self.parts for image, _ in part]


def recognize(path: Path) -> bool:
    """Return True for a folder or archive with images of Gaofen-3, -5 or -6, or one of the images."""
    return _delivery(path) is not None


def open(path: Path, options: ProductOptions) -> Product:
    """Open a product. Raises DataError if it is incomplete or damaged, or radar in the sensor's geometry."""
    delivery = _delivery(path)
    names = image_names(delivery.find(PRODUCT)) if delivery else []
    if delivery is None or not names:
        raise DataError(f"{path} is no Gaofen product; {LOOKS_FOR} is looked for")
    if path.is_file() and not delivery.is_packed:
        scene = next(name.scene for name in names if PurePosixPath(name.name).name == path.name)
        names = [name for name in names if name.scene == scene]
    if len(scenes := sorted({name.scene for name in names})) > 1:
        raise DataError(
            f"{path} holds {len(scenes)} Gaofen products ({scenes[0]}, ...); put each into a folder of its own"
        )
    first = names[0]
    if first.satellite.startswith("GF3"):
        return open_radar(delivery, names, options)
    optical = (_hyperspectral if first.sensor == "AHSI" else _multispectral)(delivery, names, options, path)
    facts = _facts(delivery, first, optical, path)
    for image in optical.images:
        if image.grid is None:
            image.need_model()
    if all(image.model is None for image in optical.images):
        return _on_grid(facts, optical, options, path)
    if any(image.model is None and image.grid is not None for image in optical.images):
        raise DataError(f"{path}: one of its images is geocoded, another is not; download the product again")
    return _by_rpc(facts, optical, options)


def _delivery(path: Path) -> Delivery | None:
    if path.is_file() and not path.name.lower().startswith("gf"):
        return None  # a tar is read to its end to list it
    delivery = open_delivery(path, PRODUCT)
    return delivery if delivery and image_names(delivery.find(PRODUCT)) else None


def _multispectral(delivery: Delivery, names: Sequence[ImageName], options: ProductOptions, path: Path) -> _Optical:
    first = names[0]
    wide = wide_bands(first.sensor)
    if wide is None:
        raise DataError(f"{path}: {first.satellite} {first.sensor} is not read; AHSI, PMS and WFV are")
    images = [open_image(delivery, name) for name in names if not name.part.startswith("PAN")]
    if not images:
        raise DataError(f"{path} holds the panchromatic image alone; download the multispectral one")
    for image in images:
        if image.count != len(wide):
            raise DataError(f"{image.file} has {image.count} bands, {first.sensor} has {len(wide)}; download it again")
    every = [CubeBand(band.name, k, band.center_nm, band.width_nm) for k, band in enumerate(wide, 1)]
    chosen = choose(every, every, options.bands, path)
    roles = {band.name: band.role for band in wide}
    described = [ProductBand(band.name, roles[band.name], band.wavelength_nm, band.fwhm_nm) for band in chosen]
    notes = ("numbers are digital counts: the delivery has no calibration, and nothing corrects the atmosphere",)
    return _Optical("msi", described, [[(image, list(enumerate(chosen)))] for image in images], notes, "none")


def _hyperspectral(delivery: Delivery, names: Sequence[ImageName], options: ProductOptions, path: Path) -> _Optical:
    images = [open_image(delivery, name) for name in names]
    ahsi = ahsi_bands(delivery, images, path)
    chosen = choose(ahsi.every, ahsi.usable, options.bands, path)
    described = [ProductBand(band.name, None, band.wavelength_nm or None, band.fwhm_nm) for band in chosen]
    part = [
        (image, [(place, band) for place, band in enumerate(chosen) if band.detector in detectors])
        for image, detectors in ahsi.images
    ]
    dropped = [] if options.bands else [band for band in ahsi.every if band not in ahsi.usable]
    notes = (*ahsi.notes, *dropped_note(dropped, "the infrared detector sees the same wavelengths"))
    return _Optical("hsi", described, [[use for use in part if use[1]]], notes, ahsi.calibration, ahsi.tables)


def _facts(delivery: Delivery, first: ImageName, optical: _Optical, path: Path) -> ProductFacts:
    metadata = [name for name in delivery.find(r"\.xml$") if PurePosixPath(name).name.startswith(first.scene)]
    start = ""
    for name in metadata[:1]:
        start = (parse_xml(delivery.read(name), f"{delivery.path}: {name}").findtext(".//StartTime") or "").strip()
    names = [
        *(image.name.name for image in optical.images),
        *(image.rpc for image in optical.images if image.rpc),
        *metadata[:1],
    ]
    return ProductFacts(
        kind=optical.kind, sensor=f"{first.satellite} {first.sensor}", product=first.scene, unit="raw",
        level=first.level or ("L1" if all(image.model for image in optical.images) else ""),
        files=delivery.files(dict.fromkeys([*names, *optical.tables])),
        processing={
            "start_time_as_written": start, "calibration": optical.calibration,
            "scales": _by_band(optical, "scale"), "offsets": _by_band(optical, "offset"),
        },
        notes=(*optical.notes, *packed_note(path, delivery.inside)),
    )  # fmt: skip


def _by_band(optical: _Optical, key: str) -> list[float]:
    values = {place: getattr(band, key) for _, uses in optical.parts[0] for place, band in uses}
    return [float(values[place]) for place in sorted(values)]


def _on_grid(facts: ProductFacts, optical: _Optical, options: ProductOptions, path: Path) -> CubeProduct:
    """Return a product whose images are geocoded already."""
    grids = {image.grid for image in optical.images}
    if len(optical.parts) > 1 or len(grids) > 1:
        raise DataError(f"{path} holds geocoded images on several grids; give one of them")
    grid: Grid = optical.images[0].need_grid()
    native: dict[int, NativeBand] = {}
    for image, uses in optical.parts[0]:
        for place, band in uses:
            native[place] = NativeBand(image.file, grid, band.index, band.scale, band.offset, image.nodata)
    bands = tuple(native[place] for place in sorted(native))
    return CubeProduct(facts, tuple(optical.described), bands, (), grid, options.kernel)


def _by_rpc(facts: ProductFacts, optical: _Optical, options: ProductOptions) -> RpcProduct:
    """Return a product that is orthorectified by RPCs, on an elevation model if one is given."""
    parts = tuple(
        tuple(
            RpcImage(
                image.file, image.need_model(), *image.size, tuple(band.index for _, band in uses),
                tuple(place for place, _ in uses), tuple(band.scale for _, band in uses),
                tuple(band.offset for _, band in uses), image.nodata[0] if image.nodata else None,
            )
            for image, uses in part
        )
        for part in optical.parts
    )  # fmt: skip
    elevation = open_elevation(options.dem, options.dem_datum) if options.dem else None
    kernel: Kernel = "bilinear" if options.kernel == "cubic" else options.kernel
    product = RpcProduct(facts, tuple(optical.described), parts, elevation, kernel)
    height = parts[0][0].model.height_m
    placed = "RPC on the elevation model" if elevation else f"RPC at {height:g} m over the ellipsoid"
    changed = replace(
        facts,
        files=(*facts.files, *(elevation.files if elevation else ())),
        processing={**facts.processing, "orthorectified_by": placed, "kernel": kernel},
        notes=(*facts.notes, *_terrain(product, elevation, height, options)),
    )
    return replace(product, facts=changed)


def _terrain(
    product: RpcProduct, elevation: Elevation | None, height: float, options: ProductOptions
) -> tuple[str, ...]:
    """Return notes on the elevation model. Raises DataError if it lies elsewhere."""
    if elevation is None:
        return (
            f"no `dem` is given: RPCs place all pixels at {height:g} m over the ellipsoid, and terrain shifts them by the "
            "difference in height times the tangent of the view angle",
        )
    west, south, east, north = product.bounds_lonlat
    places = np.meshgrid(np.linspace(west, east, 5), np.linspace(south, north, 5))
    share = elevation.share_covered(*(side.ravel() for side in places))
    if share == 0:
        raise DataError(f"the elevation model {options.dem} does not cover the product (it lies at {west:.3f}..{east:.3f} E, "
                        f"{south:.3f}..{north:.3f} N)")  # fmt: skip
    partly = (f"the elevation model covers {share:.0%} of the product; the rest is nodata",) if share < 1 else ()
    return (*elevation.notes, *partly)
