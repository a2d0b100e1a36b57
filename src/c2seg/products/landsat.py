"""Landsat 8 and 9, Collection 2, Level 2 (surface reflectance) and Level 1 (top of atmosphere), as a folder or tar.

Reflectance = number x REFLECTANCE_MULT + REFLECTANCE_ADD of the MTL file; at Level 1 divided by the sine of the sun's elevation
at the scene's center. Surface temperature is left out.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from c2seg.errors import DataError, InputError
from c2seg.products.base import ProductFacts, ProductOptions
from c2seg.products.delivery import Delivery, is_archive, open_delivery
from c2seg.products.hyper import CubeProduct, grid_of, moment
from c2seg.products.landsat_bands import CLOUD_BITS, DEFAULT_BANDS, REFLECTIVE, oli_band, oli_number, saturation_bits
from c2seg.products.landsat_metadata import LandsatMetadata, read_mtl
from c2seg.products.native import GdalFile, NativeBand, NativeMask
from c2seg.types import Grid

__all__ = ["LOOKS_FOR", "open", "recognize"]

LOOKS_FOR = "Landsat 8 or 9 Collection 2 (LC08_... or LC09_... with its _MTL.txt, a folder or tar)"

_SCENE = re.compile(r"^L[COTEM]\d\d_", re.I)
_MTL = r"^L[COTEM]\d\d_.*_MTL\.(txt|json|xml)$"
_SURFACE, _TOP = "LEVEL2_SURFACE_REFLECTANCE_PARAMETERS", "LEVEL1_RADIOMETRIC_RESCALING"
_NODATA = 0.0


@dataclass(frozen=True)
class _Scene:
    """Metadata, the groups of a level, and what numbers are divided by."""

    metadata: LandsatMetadata
    level: int
    divisor: float

    @property
    def prefix(self) -> str:
        """What stands before a band's name."""
        return "SR_" if self.level == 2 else ""

    def scaling(self, number: int) -> tuple[float, float]:
        """Return scale and offset to reflectance of a band."""
        group = _SURFACE if self.level == 2 else _TOP
        scale = self.metadata.number(f"REFLECTANCE_MULT_BAND_{number}", group)
        return scale / self.divisor, self.metadata.number(f"REFLECTANCE_ADD_BAND_{number}", group) / self.divisor


def recognize(path: Path) -> bool:
    """Return True for a folder or archive with an MTL file, the MTL file itself, or an archive that is named as a scene."""
    if path.is_file() and is_archive(path) and not _SCENE.match(path.name):
        return False  # a tar is read to its end to list it
    if path.is_file() and is_archive(path):
        return True
    return open_delivery(path, _MTL) is not None


def open(path: Path, options: ProductOptions) -> CubeProduct:
    """Open a scene. Raises DataError if it is incomplete or damaged, of another collection or another satellite."""
    delivery = open_delivery(path, _MTL)
    if delivery is None:
        raise DataError(f"{path} lacks its _MTL.txt, which tells scales and offsets; download the whole product bundle")
    name = delivery.find(_MTL)[0]
    scene = _scene(read_mtl(delivery.read(name), f"{delivery.path}: {PurePosixPath(name).name}"))
    numbers = _chosen(scene, options, path)
    rasters = [_file(delivery, scene, number) for number in numbers]
    native = [_native(delivery.raster(raster), scene, number) for raster, number in zip(rasters, numbers, strict=True)]
    grid = native[0].place
    assert isinstance(grid, Grid)
    masks, layers, notes = _masks(delivery, scene, numbers, options)
    text = scene.metadata.text
    facts = ProductFacts(
        kind="msi", sensor=text("SPACECRAFT_ID").replace("LANDSAT_", "Landsat "), unit="reflectance",
        product=text("LANDSAT_PRODUCT_ID", "PRODUCT_CONTENTS") or PurePosixPath(name).name.rpartition("_")[0],
        level=text("PROCESSING_LEVEL", "PRODUCT_CONTENTS"),
        acquired=moment(f"{text('DATE_ACQUIRED')}T{text('SCENE_CENTER_TIME')}"),
        files=delivery.files([name, *rasters, *layers]), notes=(*_level_notes(scene, path), *notes),
        processing={
            "collection": text("COLLECTION_NUMBER"),
            "cloud_percent": scene.metadata.number_or_none("CLOUD_COVER", "IMAGE_ATTRIBUTES"),
            "scales": [band.scale for band in native],
            "offsets": [band.offset for band in native], "invalid_numbers": [_NODATA],
            "masks": [PurePosixPath(layer).name for layer in layers],
            "cloud_margin_m": options.cloud_margin_m if options.mask_clouds else None,
        },
    )  # fmt: skip
    bands = tuple(oli_band(number, scene.prefix) for number in numbers)
    return CubeProduct(facts, bands, tuple(native), tuple(masks), grid, options.kernel)


def _scene(metadata: LandsatMetadata) -> _Scene:
    craft = metadata.text("SPACECRAFT_ID")
    collection = metadata.text("COLLECTION_NUMBER")
    if craft not in ("LANDSAT_8", "LANDSAT_9"):
        raise DataError(f"{metadata.where} is of {craft or 'an unknown satellite'}; Landsat 8 and 9 are read")
    if collection.lstrip("0") != "2":
        raise DataError(
            f"{metadata.where} is of Collection {collection or 'none'}; download the scene from Collection 2"
        )
    if _SURFACE in metadata.groups:
        return _Scene(metadata, 2, 1.0)
    elevation = metadata.number("SUN_ELEVATION", "IMAGE_ATTRIBUTES")
    if elevation <= 0:
        raise DataError(f"{metadata.where}: the sun stands at {elevation:g} degrees, so there is no reflectance")
    return _Scene(metadata, 1, math.sin(math.radians(elevation)))


def _chosen(scene: _Scene, options: ProductOptions, path: Path) -> list[int]:
    known = [number for number in REFLECTIVE if scene.level == 1 or number in DEFAULT_BANDS]
    if options.bands is None:
        return list(DEFAULT_BANDS)
    numbers = []
    for text in options.bands:
        number = oli_number(text)
        if number not in known:
            names = ", ".join(f"{scene.prefix}B{item}" for item in known)
            raise InputError(f"`bands`: {path} has no band {text!r} of reflectance; it has {names}")
        numbers.append(number)
    return [number for number in numbers if number is not None]


def _file(delivery: Delivery, scene: _Scene, number: int) -> str:
    stated = scene.metadata.text(f"FILE_NAME_BAND_{number}", "PRODUCT_CONTENTS")
    pattern = f"^{re.escape(stated)}$" if stated else rf"_{scene.prefix}B{number}\.TIF$"
    if names := delivery.find(pattern) or delivery.find(rf"_{scene.prefix}B{number}\.TIF$"):
        return names[0]
    raise DataError(
        f"{delivery.path} lacks the image of band {scene.prefix}B{number}; download it again, or choose by `bands`"
    )


def _native(file: GdalFile, scene: _Scene, number: int) -> NativeBand:
    scale, offset = scene.scaling(number)
    return NativeBand(file, grid_of(file, 1, "one is right"), 1, scale, offset, (_NODATA,))


def _masks(
    delivery: Delivery, scene: _Scene, numbers: list[int], options: ProductOptions
) -> tuple[list[NativeMask], list[str], list[str]]:
    masks, layers, notes = [], [], []
    if options.mask_clouds:
        if names := delivery.find(r"_QA_PIXEL\.TIF$"):
            file = delivery.raster(names[0])
            masks.append(NativeMask(file, grid_of(file), bits=CLOUD_BITS, margin_m=options.cloud_margin_m))
            layers.append(names[0])
        else:
            notes.append("the product has no QA_PIXEL: clouds are not masked")
    else:
        notes.append("clouds are not masked (`mask_clouds`)")
    if names := delivery.find(r"_QA_RADSAT\.TIF$"):
        file = delivery.raster(names[0])
        masks.append(NativeMask(file, grid_of(file), bits=saturation_bits(numbers)))
        layers.append(names[0])
    return masks, layers, notes


def _level_notes(scene: _Scene, path: Path) -> list[str]:
    notes = []
    if scene.level == 1:
        notes.append("Level 1 is top-of-atmosphere reflectance by the sun's elevation at the scene's center; Level 2 has "
                     "surface reflectance")  # fmt: skip
    if path.name.lower().endswith((".gz", ".tgz")):
        notes.append(f"{path.name} is a compressed tar: unpack it for speed")
    return notes
