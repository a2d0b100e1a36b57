"""Sentinel-2 L1C and L2A of all processing baselines, as a SAFE folder or zip.

Reflectance = (number + offset of the band) / quantification value, both from the product's metadata. Baselines before 04.00
have no offsets. No atmospheric correction is done: L1C gives top-of-atmosphere reflectance.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from c2seg.errors import DataError, InputError
from c2seg.products.base import Fact, ProductFacts, ProductOptions
from c2seg.products.hyper import CubeProduct, grid_of
from c2seg.products.native import GdalFile, NativeBand, NativeMask
from c2seg.products.polygons import PolygonMask, read_mask_polygons
from c2seg.products.sentinel2_bands import BANDS, DEFAULT_BANDS, msi_band, msi_name
from c2seg.products.sentinel2_metadata import Granule, SafeMetadata, read_metadata
from c2seg.products.sentinel2_safe import Safe, is_safe, open_safe
from c2seg.types import Grid

__all__ = ["LOOKS_FOR", "SCL_CLOUDS", "SCL_DEFECTIVE", "open", "recognize"]

LOOKS_FOR = "Sentinel-2 (a .SAFE folder or its zip, with MTD_MSIL1C.xml or MTD_MSIL2A.xml)"

SCL_CLOUDS = (3, 8, 9, 10)
"""Classes of the scene classification that make pixels invalid and are dilated: shadow, cloud (medium, high), cirrus."""
SCL_DEFECTIVE = (0, 1)
"""No data, saturated or defective: invalid, not dilated. Dark areas, water, snow and unclassified pixels stay valid."""
_OPAQUE_CIRRUS = {"OPAQUE": 1, "CIRRUS": 2}
_IMAGE = re.compile(r"_(B0?[1-9]|B1[0-2]|B8A|SCL)(?:_(10|20|60)m)?$", re.I)


@dataclass(frozen=True)
class _Image:
    name: str
    band: str
    resolution_m: int | None


def recognize(path: Path) -> bool:
    """Return True for a SAFE folder, its zip or tar, its metadata file, or a granule of it."""
    return is_safe(path)


def open(path: Path, options: ProductOptions) -> CubeProduct:
    """Open a product. Raises DataError if it is incomplete or damaged, or holds several tiles; InputError for unknown bands."""
    safe = open_safe(path)
    metadata = read_metadata(safe.files.read(safe.metadata), f"{path}: {PurePosixPath(safe.metadata).name}")
    granule = _granule(safe, metadata, path)
    images = _images(safe, granule)
    names = _chosen(options, metadata, path)
    chosen = [_best(images, name, path) for name in names]
    native = [_native(safe, image, metadata) for image in chosen]
    grids = [band.place for band in native if isinstance(band.place, Grid)]
    finest = min(grids, key=lambda grid: grid.resolution_xy[0])
    masks, read, notes = _masks(safe, granule, images, finest, metadata.level, options)
    bands = tuple(msi_band(name, metadata.sensor, metadata.wavelengths.get(name)) for name in names)
    if metadata.level == "L1C":
        notes.append("L1C is top-of-atmosphere reflectance; no atmospheric correction is done here, L2A has it")
    facts = ProductFacts(
        kind="msi", sensor=metadata.sensor, product=metadata.product or path.stem, unit="reflectance", level=metadata.level,
        acquired=metadata.acquired, files=_files(safe, [safe.metadata, *(image.name for image in chosen), *read]),
        processing=_processing(metadata, granule, chosen, read, options), notes=tuple(notes),
    )  # fmt: skip
    return CubeProduct(facts, bands, tuple(native), tuple(masks), finest, options.kernel)


def _granule(safe: Safe, metadata: SafeMetadata, path: Path) -> Granule:
    """Return the one granule whose files are there. Raises DataError if there are several, or none."""
    there = {parts[k + 1] for name in safe.files.names for parts in [PurePosixPath(name).parts]
             for k, part in enumerate(parts[:-2]) if part.upper() == "GRANULE"}  # fmt: skip
    if safe.granule is not None:
        there &= {safe.granule}
    if not there:
        raise DataError(
            f"{path} has no GRANULE folder with images; it holds metadata alone, download the whole product"
        )
    if len(there) > 1:
        tiles = ", ".join(sorted(there)[:3])
        raise DataError(
            f"{path} holds {len(there)} tiles ({tiles}, ...); give one of them, unpacked, as {path.name}/GRANULE/{min(there)}"
        )
    name = there.pop()
    listed = [granule.images for granule in metadata.granules if granule.name == name]
    if not listed and len(metadata.granules) == 1:
        listed = [metadata.granules[0].images]
    return Granule(name, listed[0] if listed else ())


def _images(safe: Safe, granule: Granule) -> list[_Image]:
    """Return the images of a granule: those that the metadata list, or without a list those in IMG_DATA."""
    stems = list(granule.images) or [
        PurePosixPath(name).stem for name in safe.find(r"\.(jp2|tiff?)$", granule.name) if "IMG_DATA" in name
    ]
    images = []
    for stem in dict.fromkeys(stems):
        match = _IMAGE.search(stem)
        name = safe.image(stem, granule.name)
        if match and name:
            images.append(_Image(name, msi_name(match[1]) or "SCL", int(match[2]) if match[2] else None))
    return images


def _chosen(options: ProductOptions, metadata: SafeMetadata, path: Path) -> list[str]:
    names = []
    for text in options.bands or DEFAULT_BANDS:
        name = msi_name(text)
        if name is None or (name == "B10" and metadata.level == "L2A"):
            known = ", ".join(band.name for band in BANDS if metadata.level == "L1C" or band.name != "B10")
            raise InputError(f"`bands`: {path} has no band {text!r}; {metadata.level} has {known}")
        names.append(name)
    return names


def _best(images: list[_Image], name: str, path: Path) -> _Image:
    """Return the image of a band at its native resolution, else the next coarser, else the next finer."""
    native = next(band.resolution_m for band in BANDS if band.name == name)
    there = [image for image in images if image.band == name]
    if not there:
        known = ", ".join(dict.fromkeys(image.band for image in images if image.band != "SCL")) or "none"
        raise DataError(
            f"{path} lacks the image of band {name} (there: {known}); download it again, or choose by `bands`"
        )
    return min(there, key=lambda image: _distance(image.resolution_m or native, native))


def _distance(resolution: int, native: int) -> tuple[bool, int]:
    return resolution < native, abs(resolution - native)


def _native(safe: Safe, image: _Image, metadata: SafeMetadata) -> NativeBand:
    file: GdalFile = safe.files.raster(image.name)
    scale = 1 / metadata.quantification
    offset = metadata.offsets.get(image.band, 0.0) * scale
    return NativeBand(file, grid_of(file, 1, "one is right"), 1, scale, offset, tuple(metadata.special.values()))


def _masks(
    safe: Safe, granule: Granule, images: list[_Image], finest: Grid, level: str, options: ProductOptions
) -> tuple[list[NativeMask], list[str], list[str]]:
    """Return masks of clouds, the files that they are read from, and notes."""
    if not options.mask_clouds:
        return [], [], ["clouds are not masked (`mask_clouds`)"]
    margin = options.cloud_margin_m
    classified = [image for image in images if image.band == "SCL"]
    if classified:
        image = min(classified, key=lambda item: item.resolution_m or 60)
        file = safe.files.raster(image.name)
        every = (*SCL_DEFECTIVE, *SCL_CLOUDS)
        return (
            [NativeMask(file, grid_of(file, 1, "one is right"), 1, every, dilate=SCL_CLOUDS, margin_m=margin)],
            [image.name],
            [],
        )
    if names := safe.find(r"^MSK_CLASSI_B00\.(jp2|tiff?)$", granule.name):
        file = safe.files.raster(names[0])
        place = grid_of(file)
        return [NativeMask(file, place, index, (1,), margin_m=margin) for index in (1, 2)], names[:1], []
    if names := safe.find(r"MSK_CLOUDS.*\.gml$", granule.name):
        polygons = read_mask_polygons(safe.files.read(names[0]), f"{safe.files.path}: {names[0]}", _OPAQUE_CIRRUS)
        source = PolygonMask(finest, polygons)
        return [NativeMask(source, finest, 1, tuple(_OPAQUE_CIRRUS.values()), margin_m=margin)], names[:1], []
    what = "scene classification (SCL)" if level == "L2A" else "cloud mask (MSK_CLASSI or MSK_CLOUDS)"
    return [], [], [f"the product has no {what}: clouds are not masked"]


def _processing(
    metadata: SafeMetadata, granule: Granule, chosen: list[_Image], masks: list[str], options: ProductOptions
) -> dict[str, Fact]:
    return {
        "baseline": metadata.baseline, "granule": granule.name,
        "cloud_percent": metadata.cloud_percent, "quantification": metadata.quantification,
        "offsets": {image.band: metadata.offsets.get(image.band, 0.0) for image in chosen},
        "invalid_numbers": [float(value) for value in metadata.special.values()],
        "images": [PurePosixPath(image.name).name for image in chosen],
        "masks": [PurePosixPath(name).name for name in masks],
        "masked_classes": _masked_classes(masks),
        "cloud_margin_m": options.cloud_margin_m if options.mask_clouds else None,
    }  # fmt: skip


def _masked_classes(masks: list[str]) -> list[str]:
    if not masks:
        return []
    return [str(code) for code in (*SCL_DEFECTIVE, *SCL_CLOUDS)] if "SCL" in masks[0] else ["opaque", "cirrus"]


def _files(safe: Safe, names: list[str]) -> tuple[Path, ...]:
    return safe.files.files(names)
