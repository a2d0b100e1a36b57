"""EnMAP L2A (surface reflectance) and L1C (at-sensor radiance) as DLR delivers them: a raster, METADATA.XML, quality layers.

Structure and meaning: EnMAP ground segment, product specification EN-PCV-ICD-2009, as independent open readers (SNAP,
EnMAP-Box, hyperproc, xarray-enmap) read it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path, PurePosixPath
from xml.etree import ElementTree

from c2seg.errors import DataError
from c2seg.products.base import ProductFacts, ProductOptions, Unit
from c2seg.products.delivery import Delivery, open_delivery
from c2seg.products.hyper import (
    FLAGGED_SHARE,
    CubeBand,
    CubeProduct,
    FlaggedShare,
    Flags,
    choose,
    dropped_note,
    empty_bands,
    grid_of,
    moment,
    numbers_of,
    one_of,
    packed_note,
    resolve_overlap,
)
from c2seg.products.native import GdalFile, NativeBand, NativeMask
from c2seg.products.xml import parse_xml
from c2seg.types import Grid

__all__ = ["LOOKS_FOR", "open", "recognize"]

LOOKS_FOR = "EnMAP (ENMAP01-...-METADATA.XML and -SPECTRAL_IMAGE.TIF, a folder or archive)"

_PRODUCT = r"^ENMAP.*-(METADATA\.XML|SPECTRAL_IMAGE(_VNIR|_SWIR)?(_COG)?\.(TIFF?|GEOTIFF|BSQ|BIL|BIP|JP2))$"
_IMAGE = r"-SPECTRAL_IMAGE(_COG)?\.(TIFF?|GEOTIFF|BSQ|BIL|BIP|JP2)$"
_LAYER = r"-{}(_COG)?\.(TIFF?|GEOTIFF|BSQ|BIL|BIP|JP2)$"
_NODATA = {"L2A": -32768.0, "L1C": 0.0}
_TENTHS_OF_MILLI = 1e-4
_CLOUDS = {"QL_QUALITY_CLOUD": (1,), "QL_QUALITY_CLOUDSHADOW": (1,), "QL_QUALITY_CIRRUS": (2, 3)}
"""Layers and codes that make pixels invalid. Cirrus is thin (1, valid), medium or thick; haze and snow stay valid."""
_DEFECTIVE = (1,)


@dataclass(frozen=True)
class _Metadata:
    level: str
    bands: tuple[CubeBand, ...]
    unexpected: tuple[CubeBand, ...]
    """Bands that the lists of expected channels leave out."""
    nodata: float
    start: str | None
    version: str


def recognize(path: Path) -> bool:
    """Return True for a folder or archive with an EnMAP product, or one of its files."""
    return _delivery(path) is not None


def open(path: Path, options: ProductOptions) -> CubeProduct:
    """Open a product. Raises DataError if it is incomplete, damaged, or in the sensor's geometry (L1B)."""
    delivery = _delivery(path)
    if delivery is None:
        raise DataError(f"{path} is no EnMAP product; {LOOKS_FOR} is looked for")
    name = one_of(delivery, r"-METADATA\.XML$", "METADATA.XML, which tells wavelengths and gains")
    metadata = _metadata(delivery, name)
    if metadata.level not in _NODATA:
        raise DataError(f"{path} is EnMAP {metadata.level}, in the sensor's geometry; download L2A")
    image = one_of(delivery, _IMAGE, "its SPECTRAL_IMAGE")
    file = delivery.raster(image)
    every = (*metadata.bands, *metadata.unexpected)
    grid = grid_of(file, len(every), PurePosixPath(name).name)
    empty = empty_bands(file, metadata.nodata)
    good = [band for band in metadata.bands if band.index not in empty]
    usable = resolve_overlap(good, "SWIR")
    bands = choose(sorted(every, key=lambda band: band.wavelength_nm), usable, options.bands, path)
    masks, layers = _masks(delivery, grid, bands, options)
    unit: Unit = "reflectance" if metadata.level == "L2A" else "raw"
    facts = ProductFacts(
        kind="hsi", sensor="EnMAP", product=PurePosixPath(name).name.rpartition("-")[0], unit=unit, level=metadata.level,
        acquired=moment(metadata.start), files=delivery.files([name, image, *layers]),
        processing={
            "processor": metadata.version, "nodata": metadata.nodata, "scales": [band.scale for band in bands],
            "offsets": [band.offset for band in bands], "bands_empty": sorted(map(str, empty)),
            "layers": [PurePosixPath(layer).name for layer in layers],
            "cloud_margin_m": options.cloud_margin_m if options.mask_clouds else None,
        },
        notes=() if options.bands else (*_notes(metadata, good, usable), *packed_note(path, delivery.inside)),
    )  # fmt: skip
    native = tuple(NativeBand(file, grid, band.index, band.scale, band.offset, (metadata.nodata,)) for band in bands)
    return CubeProduct(facts, tuple(band.described for band in bands), native, masks, grid, options.kernel)


def _delivery(path: Path) -> Delivery | None:
    name = path.name.lower()
    if path.is_file() and not name.startswith(("enmap", "dims_op")) and not name.endswith(".zip"):
        return None  # a tar is read to its end to list it
    return open_delivery(path, _PRODUCT)


def _metadata(delivery: Delivery, name: str) -> _Metadata:
    root = parse_xml(delivery.read(name), f"{delivery.path}: {name}")
    bands = [_band(item, name) for item in root.findall(".//bandCharacterisation/bandID")]
    if not bands:
        raise DataError(f"{delivery.path}: {name} describes no bands; download the product again")
    if sorted(band.index for band in bands) != list(range(1, len(bands) + 1)):
        raise DataError(
            f"{delivery.path}: {name} does not number its {len(bands)} bands from 1 on; download the product again"
        )
    vnir, swir = (_channels(root, f".//{detector}ProductQuality/expectedChannelsList") for detector in ("vnir", "swir"))
    if not (vnir and swir):
        vnir, swir = _by_order(bands)
    bands = [replace(band, detector="SWIR" if band.index in swir else "VNIR") for band in bands]
    level = root.findtext(".//base/level") or root.findtext(".//processingLevel") or ""
    level = next(
        (known for known in ("L2A", "L1C", "L1B") if known in (level.upper() or name.upper())), level or "of no level"
    )
    background = root.findtext(".//specific/backgroundValue")
    if level == "L2A" and all((band.scale, band.offset) == (1.0, 0.0) for band in bands):
        bands = [replace(band, scale=_TENTHS_OF_MILLI) for band in bands]  # early products state no gain
    return _Metadata(
        level=level,
        bands=tuple(band for band in bands if band.index in vnir | swir),
        unexpected=tuple(band for band in bands if band.index not in vnir | swir),
        nodata=_number(background, _NODATA.get(level, 0.0)),
        start=root.findtext(".//temporalCoverage/startTime") or root.findtext(".//startTime"),
        version=(root.findtext(".//processorVersion") or root.findtext(".//archivedVersion") or "").strip(),
    )


def _band(item: ElementTree.Element, name: str) -> CubeBand:
    keys = ("wavelengthCenterOfBand", "FWHMOfBand", "GainOfBand", "OffsetOfBand")
    center, width, gain, offset = numbers_of(item, keys, name)
    number = item.get("number", "")
    if not number.isdigit() or not (center > 0 and width > 0) or gain == 0:
        raise DataError(
            f"{name}: band {number!r} has center {center:g}, width {width:g} and gain {gain:g}, which is no band"
        )
    return CubeBand(f"EnMAP {int(number)}", int(number), center, width, gain, offset)


def _channels(root: ElementTree.Element, place: str) -> set[int]:
    """Return the numbers of a list of channels; empty if there is none."""
    return {int(part) for part in (root.findtext(place) or "").replace(",", " ").split() if part.isdigit()}


def _by_order(bands: list[CubeBand]) -> tuple[set[int], set[int]]:
    """Return which bands are of which detector where lists do not tell: wavelengths step back at the infrared one's first."""
    starts = [k + 1 for k, (a, b) in enumerate(pairwise(bands)) if b.wavelength_nm < a.wavelength_nm]
    first = starts[0] if len(starts) == 1 else len(bands)
    return {band.index for band in bands[:first]}, {band.index for band in bands[first:]}


def _number(text: str | None, otherwise: float) -> float:
    """Return the number in a text; ``otherwise`` if there is none."""
    try:
        value = float(text or "")
    except ValueError:
        return otherwise
    return value if math.isfinite(value) else otherwise


def _masks(
    delivery: Delivery, grid: Grid, bands: list[CubeBand], options: ProductOptions
) -> tuple[tuple[NativeMask, ...], list[str]]:
    """Return masks of clouds and of defective pixels, and the files that they are read from."""
    masks, layers = [], []
    for layer, codes in _CLOUDS.items() if options.mask_clouds else ():
        if names := delivery.find(_LAYER.format(layer)):
            file: GdalFile = delivery.raster(names[0])
            masks.append(NativeMask(file, grid_of(file), 1, exclude=codes, margin_m=options.cloud_margin_m))
            layers.append(names[0])
    if names := delivery.find(_LAYER.format("QL_PIXELMASK")):
        file = delivery.raster(names[0])
        with file.open() as dataset:
            count = dataset.count
        if count >= max(band.index for band in bands):
            flags = Flags(file, tuple(band.index for band in bands), _DEFECTIVE)
            masks.append(NativeMask(FlaggedShare((flags,), FLAGGED_SHARE), grid, 1, exclude=(1,)))
            layers.append(names[0])
    return tuple(masks), layers


def _notes(metadata: _Metadata, good: list[CubeBand], usable: list[CubeBand]) -> tuple[str, ...]:
    notes = []
    if metadata.level == "L1C":
        notes.append("L1C is at-sensor radiance; no atmospheric correction is done here, L2A has it")
    overlapping = [band for band in good if band not in usable]
    empty = [band for band in metadata.bands if band not in good]
    return (
        *notes,
        *dropped_note(overlapping, "the infrared detector sees the same wavelengths"),
        *dropped_note(empty, "they hold no data"),
        *dropped_note(metadata.unexpected, "the metadata do not expect them"),
    )
