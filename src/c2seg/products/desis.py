"""DESIS L2A (surface reflectance) and L1C (at-sensor radiance) as DLR delivers them: SPECTRAL_IMAGE, METADATA, QL_QUALITY-2.

Structure and meaning: DESIS ground segment (DLR, PAV-DLR-TN-004), as independent open readers (hyperproc, RemoteSensingToolbox
and others) read it. The mission ended in 2023; its archive stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from xml.etree import ElementTree

from c2seg.errors import DataError
from c2seg.products.base import ProductFacts, ProductOptions, Unit
from c2seg.products.delivery import Delivery, open_delivery
from c2seg.products.hyper import (
    CubeBand,
    CubeProduct,
    choose,
    dropped_note,
    empty_bands,
    grid_of,
    moment,
    numbers_of,
    one_of,
    packed_note,
)
from c2seg.products.native import NativeBand, NativeMask
from c2seg.products.xml import parse_xml
from c2seg.types import Grid

__all__ = ["LOOKS_FOR", "open", "recognize"]

LOOKS_FOR = "DESIS (DESIS-HSI-L2A-...-METADATA.xml and -SPECTRAL_IMAGE.tif, a folder or archive)"

_PRODUCT = r"^DESIS-HSI-.*-(METADATA\.XML|SPECTRAL_IMAGE\.TIFF?)$"
_NODATA = -32768.0
_QUALITY_BANDS = 8
_CLOUDS = {"shadow": 1, "cloud over land": 6, "cloud over water": 7}
"""Bands of QL_QUALITY-2 whose flag 1 makes pixels invalid; snow (3) and haze (4 and 5) stay valid."""


def recognize(path: Path) -> bool:
    """Return True for a folder or archive with a DESIS product, or one of its files."""
    return _delivery(path) is not None


def open(path: Path, options: ProductOptions) -> CubeProduct:
    """Open a product. Raises DataError if it is incomplete, damaged, or in the sensor's geometry (L1B)."""
    delivery = _delivery(path)
    if delivery is None:
        raise DataError(f"{path} is no DESIS product; {LOOKS_FOR} is looked for")
    name = one_of(delivery, r"-METADATA\.XML$", "METADATA.xml, which tells wavelengths and gains")
    level = next((known for known in ("L2A", "L1C", "L1B") if f"-{known}-" in name.upper()), "of no level")
    if level not in ("L2A", "L1C"):
        raise DataError(f"{path} is DESIS {level}, in the sensor's geometry; download L2A")
    image = one_of(delivery, r"-SPECTRAL_IMAGE\.TIFF?$", "its SPECTRAL_IMAGE")
    root = parse_xml(delivery.read(name), f"{delivery.path}: {name}")
    every = _bands(root, f"{delivery.path}: {name}")
    file = delivery.raster(image)
    grid = grid_of(file, len(every), PurePosixPath(name).name)
    empty = empty_bands(file, _NODATA)
    usable = [band for band in every if band.index not in empty]
    bands = choose(every, usable, options.bands, path)
    masks, layers = _masks(delivery, grid, options)
    unit: Unit = "reflectance" if level == "L2A" else "raw"
    facts = ProductFacts(
        kind="hsi", sensor="DESIS", product=PurePosixPath(name).name.rpartition("-")[0], unit=unit, level=level,
        acquired=moment(root.findtext(".//startTime")), files=delivery.files([name, image, *layers]),
        processing={
            "processor": (root.findtext(".//processorVersion") or root.findtext(".//version") or "").strip(),
            "nodata": _NODATA, "scales": [band.scale for band in bands], "offsets": [band.offset for band in bands],
            "layers": [PurePosixPath(layer).name for layer in layers],
            "cloud_margin_m": options.cloud_margin_m if options.mask_clouds else None,
        },
        notes=(
            *(() if level == "L2A" else ("L1C is at-sensor radiance; no atmospheric correction is done here, L2A has it",)),
            *(() if options.bands else dropped_note([b for b in every if b.index in empty], "they hold no data")),
            *packed_note(path, delivery.inside),
        ),
    )  # fmt: skip
    native = tuple(NativeBand(file, grid, band.index, band.scale, band.offset, (_NODATA,)) for band in bands)
    return CubeProduct(facts, tuple(band.described for band in bands), native, masks, grid, options.kernel)


def _delivery(path: Path) -> Delivery | None:
    name = path.name.lower()
    if path.is_file() and not name.startswith(("desis", "dims_op")) and not name.endswith(".zip"):
        return None  # a tar is read to its end to list it
    return open_delivery(path, _PRODUCT)


def _bands(root: ElementTree.Element, where: str) -> Sequence[CubeBand]:
    """Return the bands by wavelength. ``interiorOrientation`` lists bands too, without wavelengths."""
    bands = []
    for number, item in enumerate(root.findall(".//bandCharacterisation/band"), 1):
        keys = ("wavelengthCenterOfBand", "wavelengthWidthOfBand", "gainOfBand", "offsetOfBand")
        center, width, gain, offset = numbers_of(item, keys, where)
        if not (center > 0 and width > 0) or gain == 0:
            raise DataError(
                f"{where}: band {number} has center {center:g}, width {width:g}, gain {gain:g}, which is no band"
            )
        bands.append(CubeBand(f"DESIS {number}", number, center, width, gain, offset))
    if not bands:
        raise DataError(f"{where} describes no bands; download the product again")
    return sorted(bands, key=lambda band: band.wavelength_nm)


def _masks(delivery: Delivery, grid: Grid, options: ProductOptions) -> tuple[tuple[NativeMask, ...], list[str]]:
    """Return masks of clouds and shadows, and the file that they are read from."""
    names = delivery.find(r"-QL_QUALITY-2\.TIFF?$") if options.mask_clouds else []
    if not names:
        return (), []
    file = delivery.raster(names[0])
    with file.open() as dataset:
        count = dataset.count
    if count < _QUALITY_BANDS:
        raise DataError(
            f"{file} has {count} bands, at least {_QUALITY_BANDS} flags are expected; download the product again"
        )
    margin = options.cloud_margin_m
    masks = tuple(NativeMask(file, grid, number, exclude=(1,), margin_m=margin) for number in _CLOUDS.values())
    return masks, names[:1]
