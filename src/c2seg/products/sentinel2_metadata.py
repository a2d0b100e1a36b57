"""What the metadata of a Sentinel-2 product say: level, baseline, offsets, quantification, wavelengths, image files.

Structure: Sentinel-2 Products Specification Document (S2-PDGS-TAS-DI-PSD), issues 12 to 15. Tags of early products of Sen2Cor
(``L2A_BOA_QUANTIFICATION_VALUE``, ``IMAGE_ID_2A``) are known, too.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath
from xml.etree import ElementTree

import numpy as np

from c2seg.errors import DataError
from c2seg.products.hyper import moment
from c2seg.products.sentinel2_bands import BANDS, msi_name
from c2seg.products.xml import parse_xml

__all__ = ["Granule", "SafeMetadata", "read_metadata", "width_at_half_maximum"]

_QUANTIFICATION = {
    "L1C": ("QUANTIFICATION_VALUE",),
    "L2A": ("BOA_QUANTIFICATION_VALUE", "L2A_BOA_QUANTIFICATION_VALUE"),
}
_OFFSET = {"L1C": "RADIO_ADD_OFFSET", "L2A": "BOA_ADD_OFFSET"}
_IMAGES = ("IMAGE_FILE", "IMAGE_FILE_2A", "IMAGE_ID", "IMAGE_ID_2A")
_FIRST_WITH_OFFSETS = 4.0
_OF_USERS = 99.0
"""Sen2Cor run by users writes baseline 99.99; whether there are offsets then depends on the L1C product."""


@dataclass(frozen=True)
class Granule:
    """A tile of a product: the name of its folder, and its image files by name without folder and suffix."""

    name: str
    images: tuple[str, ...]


@dataclass(frozen=True)
class SafeMetadata:
    """Reflectance = (number + ``offsets``) / ``quantification``; offsets by band name, 0 where none is stated."""

    level: str
    product: str
    sensor: str
    baseline: str
    acquired: datetime | None
    quantification: float
    offsets: Mapping[str, float]
    special: Mapping[str, int]
    """Numbers that are no reflectance: NODATA, SATURATED."""
    wavelengths: Mapping[str, tuple[float, float | None]]
    """Center and width (full width at half maximum, from the response) in nm by band name."""
    granules: tuple[Granule, ...]
    cloud_percent: float | None = None


def read_metadata(content: bytes, where: str) -> SafeMetadata:
    """Parse a product's metadata file. Raises DataError if it is damaged or lacks what reflectance needs."""
    root = parse_xml(content, where)
    level = _level(root, where)
    baseline = (root.findtext(".//PROCESSING_BASELINE") or "").strip()
    names = _band_names(root)
    offsets = _offsets(root, _OFFSET[level], names, where)
    number = _finite(baseline)
    if not offsets and number is not None and _FIRST_WITH_OFFSETS <= number < _OF_USERS:
        raise DataError(f"{where} is of baseline {baseline} and lacks its {_OFFSET[level]}; download the product again")
    uri = next(
        (text for tag in ("PRODUCT_URI", "PRODUCT_URI_2A", "PRODUCT_URI_1C") if (text := root.findtext(f".//{tag}"))),
        "",
    )
    craft = (root.findtext(".//SPACECRAFT_NAME") or "").strip() or f"Sentinel-2{uri[2:3]}"
    return SafeMetadata(
        level=level, product=uri.strip().removesuffix(".SAFE"), sensor=craft, baseline=baseline,
        acquired=moment(root.findtext(".//PRODUCT_START_TIME") or root.findtext(".//DATATAKE_SENSING_START")),
        quantification=_quantification(root, level, where), offsets=offsets, special=_special(root),
        wavelengths=_wavelengths(root, names), granules=_granules(root),
        cloud_percent=_finite(root.findtext(".//Cloud_Coverage_Assessment")),
    )  # fmt: skip


def width_at_half_maximum(response: np.ndarray, step: float) -> float | None:
    """Return the full width at half maximum of a response sampled in steps, between the outermost crossings of half."""
    if response.size < 3 or not np.isfinite(response).all() or response.max() <= 0:
        return None
    half = response.max() / 2
    above = np.flatnonzero(response >= half)
    first, last = int(above[0]), int(above[-1])
    start = first - (response[first] - half) / (response[first] - response[first - 1]) if first > 0 else 0.0
    end = last + (response[last] - half) / (response[last] - response[last + 1]) if last + 1 < response.size else last
    return round(float(end - start) * step, 2) or None


def _level(root: ElementTree.Element, where: str) -> str:
    text = f"{root.findtext('.//PROCESSING_LEVEL') or ''} {root.findtext('.//PRODUCT_TYPE') or ''} {root.tag}".upper()
    for level in ("2A", "1C"):
        if f"LEVEL-{level}" in text or f"MSI{level}" in text or f"LEVEL-{level}P" in text:
            return f"L{level}"
    raise DataError(f"{where} is of no level that is read ({one_text(root, 'PROCESSING_LEVEL')}); L1C and L2A are")


def one_text(root: ElementTree.Element, tag: str) -> str:
    """Return the text of the first element of a tag, shortened."""
    return " ".join((root.findtext(f".//{tag}") or "none stated").split())[:40]


def _band_names(root: ElementTree.Element) -> dict[str, str]:
    """Return band names by ``band_id``: as the spectral information says, else in the order of the instrument."""
    names = {str(number): band.name for number, band in enumerate(BANDS)}
    for item in root.iter("Spectral_Information"):
        name = msi_name(item.get("physicalBand") or "")
        if name and item.get("bandId"):
            names[item.get("bandId", "")] = name
    return names


def _offsets(root: ElementTree.Element, tag: str, names: Mapping[str, str], where: str) -> dict[str, float]:
    offsets = {}
    for item in root.iter(tag):
        name, value = names.get(item.get("band_id") or item.get("bandId") or ""), _finite(item.text)
        if name is None or value is None:
            raise DataError(f"{where}: a {tag} has no band or is no number; download the product again")
        offsets[name] = value
    return offsets


def _quantification(root: ElementTree.Element, level: str, where: str) -> float:
    for tag in _QUANTIFICATION[level]:
        value = _finite(root.findtext(f".//{tag}"))
        if value is not None and value > 0:
            return value
    raise DataError(
        f"{where} lacks {_QUANTIFICATION[level][0]}, without which there is no reflectance; download it again"
    )


def _special(root: ElementTree.Element) -> dict[str, int]:
    special = {"NODATA": 0, "SATURATED": 65535}
    for item in root.iter("Special_Values"):
        name, value = (item.findtext("SPECIAL_VALUE_TEXT") or "").strip(), _finite(item.findtext("SPECIAL_VALUE_INDEX"))
        if name in special and value is not None and 0 <= value <= 65535:
            special[name] = int(value)
    return special


def _wavelengths(root: ElementTree.Element, names: Mapping[str, str]) -> dict[str, tuple[float, float | None]]:
    stated = {}
    for item in root.iter("Spectral_Information"):
        name, center = names.get(item.get("bandId") or ""), _finite(item.findtext("Wavelength/CENTRAL"))
        if name is None or center is None or not 300 < center < 3000:
            continue
        step = _finite(item.findtext("Spectral_Response/STEP")) or 1.0
        values = [_finite(part) for part in (item.findtext("Spectral_Response/VALUES") or "").split()]
        response = np.array([math.nan if value is None else value for value in values])
        stated[name] = (center, width_at_half_maximum(response, step))
    return stated


def _granules(root: ElementTree.Element) -> tuple[Granule, ...]:
    """Return granules. Compact products name files with folders; old ones name images of a granule's folder."""
    granules: dict[str, list[str]] = {}
    for item in (*root.iter("Granule"), *root.iter("Granules")):
        images = [(element.text or "").strip() for element in item if element.tag in _IMAGES]
        for image in images:
            parts = PurePosixPath(image).parts
            folder = (
                parts[1] if len(parts) > 2 and parts[0].upper() == "GRANULE" else item.get("granuleIdentifier") or ""
            )
            granules.setdefault(folder, []).append(re.sub(r"\.jp2$", "", parts[-1], flags=re.I) if parts else "")
    return tuple(Granule(name, tuple(images)) for name, images in granules.items())


def _finite(text: str | None) -> float | None:
    try:
        value = float((text or "").strip())
    except ValueError:
        return None
    return value if math.isfinite(value) else None
