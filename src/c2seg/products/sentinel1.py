"""Reader of Sentinel-1 GRD products (``sentinel1_product`` tells what is done)."""

from __future__ import annotations

import re
from pathlib import Path

from c2seg.errors import DataError, needs_extra
from c2seg.products.base import ProductOptions
from c2seg.products.elevation import open_elevation
from c2seg.products.geocoded_names import polarizations_in
from c2seg.products.sentinel1_annotation import parse_annotation
from c2seg.products.sentinel1_border import FIRST_CLEAN_IPF
from c2seg.products.sentinel1_calibration import parse_calibration, parse_noise
from c2seg.products.sentinel1_facts import FIRST_NOISE_IPF
from c2seg.products.sentinel1_image import GrdImage, check_measurement
from c2seg.products.sentinel1_product import Sentinel1Product
from c2seg.products.sentinel1_safe import ImageFiles, Manifest, Safe, find_safe, is_sentinel1

__all__ = ["LOOKS_FOR", "open", "recognize"]

LOOKS_FOR = "Sentinel-1 GRD: a folder or zip S1A_IW_GRDH_....SAFE"

_TABLES = {"gamma0": "gamma", "sigma0": "sigmaNought"}


def recognize(path: Path) -> bool:
    """Return True for a Sentinel-1 SAFE product of any level; others than GRD are refused when opened."""
    return is_sentinel1(path)


def open(path: Path, options: ProductOptions) -> Sentinel1Product:
    """Open a GRD product, with its tables. Raises DataError for another level, or for what is missing or damaged."""
    _check_level(path.name, path)
    safe = find_safe(path)
    _check_level(safe.name, path)
    files = _chosen(safe, options.bands)
    manifest = safe.manifest()
    images = tuple(_open_image(safe, item, manifest, options) for item in files)
    elevation = open_elevation(options.dem, options.dem_datum) if options.dem else None
    if elevation is not None:
        with needs_extra("terrain correction of Sentinel-1", "prepare"):
            import sarsen  # noqa: F401
    return Sentinel1Product(safe, files, images, manifest, elevation, options)


def _check_level(name: str, path: Path) -> None:
    match = re.match(r"S1[A-D]_[A-Z0-9]{2}_(SLC|OCN|RAW)", name, re.I)
    if match:
        kinds = {"SLC": "single look complex", "OCN": "ocean", "RAW": "raw"}
        raise DataError(
            f"{path} is a {kinds[match[1].upper()]} product ({match[1].upper()}), which is not read; download the GRD "
            "product of the same scene"
        )


def _chosen(safe: Safe, names: tuple[str, ...] | None) -> tuple[ImageFiles, ...]:
    """Return the images of the polarizations asked for, in that order. Names of bands of other sensors do not count."""
    images = safe.images()
    names = polarizations_in(names)
    if not names:
        return images
    by_name = {image.polarization: image for image in images}
    missing = [name for name in names if name not in by_name]
    if missing:
        raise DataError(f"{safe.path} has no polarization {missing[0]}; it has {', '.join(by_name)}")
    return tuple(by_name[name] for name in names)


def _open_image(safe: Safe, files: ImageFiles, manifest: Manifest, options: ProductOptions) -> GrdImage:
    annotation = parse_annotation(safe.read(files.annotation), f"{safe.path}: {files.annotation}")
    if annotation.product_type != "GRD" or not annotation.ground_range.seconds.size:
        raise DataError(
            f"{safe.path} is of type {annotation.product_type}, which is not read; download the GRD product of the same scene"
        )
    if files.calibration is None:
        raise DataError(
            f"{safe.path} has no calibration table of {files.polarization} in annotation/calibration, without which pixels are "
            "no backscatter; download the whole product"
        )
    where = f"{safe.path}: {files.calibration}"
    table = parse_calibration(safe.read(files.calibration), where, _TABLES[options.backscatter])
    noise = parse_noise(safe.read(files.noise), f"{safe.path}: {files.noise}") if files.noise else None
    raster = safe.raster(files.measurement)
    check_measurement(raster, annotation)
    usable = noise is not None and not noise.is_empty and not 0 < manifest.ipf_number < FIRST_NOISE_IPF
    old = 0 < manifest.ipf_number < FIRST_CLEAN_IPF
    return GrdImage(
        raster,
        annotation,
        table,
        noise if usable and not annotation.is_denoised else None,
        noise if usable and old else None,
    )
