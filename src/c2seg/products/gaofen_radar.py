"""Gaofen-3 L2: geocoded amplitude, calibrated to sigma nought in dB by the constants of its metadata.

sigma0 = (DN x QualifyValue / 65535)^2 x 10^(-CalibrationConst / 10), by polarization (GF-3 user manual; SNAP reads it so).
Complex products (L1A) and those in radar geometry (L1B) are refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from xml.etree import ElementTree

from c2seg.errors import DataError
from c2seg.products.base import Kernel, ProductBand, ProductFacts, ProductOptions, Warped
from c2seg.products.decibels import in_decibels
from c2seg.products.delivery import Delivery
from c2seg.products.gaofen_names import ImageName, open_image
from c2seg.products.hyper import CubeBand, CubeProduct, choose, moment, packed_note
from c2seg.products.native import NativeBand
from c2seg.products.xml import parse_xml
from c2seg.types import Grid, Window

__all__ = ["RadarProduct", "open_radar"]

_LARGEST = 65535.0


@dataclass(frozen=True)
class RadarProduct(CubeProduct):
    """Geocoded amplitude as a product in dB."""

    def warp(self, grid: Grid, window: Window) -> Warped:
        """Return the pixels of a window of ``grid`` in dB; see ``Product.warp``. Power is averaged, not dB."""
        return in_decibels(CubeProduct.warp(self, grid, window))


def open_radar(delivery: Delivery, names: Sequence[ImageName], options: ProductOptions) -> RadarProduct:
    """Open a geocoded product. Raises DataError for other levels, and if its calibration is missing."""
    first = names[0]
    if first.level.startswith("L1"):
        what = "complex, " if first.level == "L1A" else ""
        raise DataError(
            f"{delivery.path} is Gaofen-3 {first.level}, {what}in radar geometry, which is not geocoded here; order L2, or "
            "geocode it with a radar processor"
        )
    images = [open_image(delivery, name) for name in names if name.polarization]
    if not images:
        raise DataError(f"{delivery.path}: no image's name tells its polarization (_HH_, _HV_, ...)")
    if wrong := [image for image in images if image.is_complex or image.count != 1]:
        raise DataError(f"{wrong[0].file} is complex or has several bands; L2 has one amplitude for each polarization")
    metadata = delivery.find(r"\.meta\.xml$") or delivery.find(r"^GF3.*\.xml$")
    if not metadata:
        raise DataError(f"{delivery.path} lacks its .meta.xml, which tells the calibration; download the whole product")
    root = parse_xml(delivery.read(metadata[0]), f"{delivery.path}: {metadata[0]}")
    scales = {image.name.polarization: _scale(root, image.name.polarization, metadata[0]) for image in images}
    every = [CubeBand(image.name.polarization, k, 0.0) for k, image in enumerate(images, 1)]
    chosen = choose(every, every, options.bands, delivery.path)
    bands = [images[band.index - 1] for band in chosen]
    grid = bands[0].need_grid()
    native = tuple(
        NativeBand(
            image.file,
            image.need_grid(),
            1,
            scales[image.name.polarization],
            0.0,
            image.nodata,
            "amplitude",
            no_power=True,
        )
        for image in bands
    )
    kernel: Kernel = options.kernel
    facts = ProductFacts(
        kind="sar", sensor=f"{first.satellite} {first.sensor}", product=PurePosixPath(first.scene).name, unit="dB",
        level=first.level, acquired=moment(root.findtext(".//imagingTime/start")),
        files=delivery.files([*(image.name.name for image in bands), metadata[0]]),
        processing={
            "backscatter": "sigma0 of the ellipsoid", "scales": [band.scale for band in native], "terrain_corrected": False,
        },
        notes=(
            "Gaofen-3 L2 is sigma nought, geocoded on the ellipsoid: `backscatter` does not apply, terrain is not corrected",
            *((f"`speckle` {options.speckle} is not applied to Gaofen-3 L2",) if options.speckle != "none" else ()),
            *packed_note(delivery.path, delivery.inside),
        ),
    )  # fmt: skip
    described = tuple(ProductBand(image.name.polarization, image.name.polarization.lower()) for image in bands)
    return RadarProduct(facts, described, native, (), grid, kernel)


def _scale(root: ElementTree.Element, polarization: str, where: str) -> float:
    """Return the factor from numbers to amplitude. Raises DataError if a constant is missing (NULL)."""
    values = []
    for place in ("imageinfo/QualifyValue", "processinfo/CalibrationConst"):
        text = root.findtext(f".//{place}/{polarization}") or root.findtext(f".//{place.split('/')[1]}/{polarization}")
        try:
            values.append(float(text or ""))
        except ValueError:
            raise DataError(f"{where} has no {place} of {polarization}; the product cannot be calibrated") from None
    qualify, constant = values
    return float(qualify / _LARGEST / 10 ** (constant / 20))
