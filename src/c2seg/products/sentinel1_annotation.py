"""The annotation of a Sentinel-1 image: size, times, orbit, slant to ground range, geolocation grid.

Source: Sentinel-1 Product Specification S1-RS-MDA-52-7441. Lines and pixels count from 0; whole numbers are pixel centers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from xml.etree import ElementTree

import numpy as np

from c2seg.errors import DataError, one_line
from c2seg.products.xml import parse_xml

__all__ = ["Annotation", "GroundRange", "Orbit", "TiePoints", "numbers", "parse_annotation"]

Element = ElementTree.Element

_POINT_COLUMNS = ("line", "pixel", "longitude", "latitude", "height")


@dataclass(frozen=True, eq=False)
class Orbit:
    """State vectors: times datetime64[ns] [N], positions float64 [N, 3] in meters, Earth fixed."""

    times: np.ndarray
    positions: np.ndarray


@dataclass(frozen=True, eq=False)
class GroundRange:
    """Records of slant range to ground range, in time order.

    Ground range = sum of coefficients[k] x (slant range - sr0)^k, meters; coefficients [N, K] and sr0 [N] are linear between
    times. ``seconds`` [N] count from the first line.
    """

    seconds: np.ndarray
    sr0: np.ndarray
    coefficients: np.ndarray


@dataclass(frozen=True, eq=False)
class TiePoints:
    """The geolocation grid: line, pixel, longitude and latitude in degrees, height over the ellipsoid in meters, each [N]."""

    line: np.ndarray
    pixel: np.ndarray
    lon: np.ndarray
    lat: np.ndarray
    height: np.ndarray

    @property
    def crosses_antimeridian(self) -> bool:
        """Whether longitudes jump from 180 to -180."""
        return bool(np.ptp(self.lon) > 180)

    @property
    def continuous_lon(self) -> np.ndarray:
        """Longitudes without a jump, up to 360 degrees."""
        return np.where(self.lon < 0, self.lon + 360, self.lon) if self.crosses_antimeridian else self.lon


@dataclass(frozen=True, eq=False)
class Annotation:
    """What the annotation says of the image of one polarization."""

    mission: str
    mode: str
    product_type: str
    polarization: str
    direction: str
    """Ascending or Descending."""
    lines: int
    pixels: int
    range_spacing_m: float
    azimuth_spacing_m: float
    first_line: np.datetime64
    line_interval_s: float
    looks: int
    """Looks along range times looks along azimuth."""
    is_denoised: bool
    """Whether the agency subtracted thermal noise already."""
    precise_orbit: bool
    """Whether an orbit file was used, instead of what the satellite measured itself."""
    orbit: Orbit = field(repr=False)
    ground_range: GroundRange = field(repr=False)
    points: TiePoints = field(repr=False)

    def seconds(self, times: np.ndarray) -> np.ndarray:
        """Return times as seconds from the first line, float64."""
        return (times - self.first_line) / np.timedelta64(1, "s")


def numbers(text: str | None) -> np.ndarray:
    """Return the numbers of an element, float64."""
    return np.array((text or "").split(), dtype=np.float64)


def parse_annotation(text: bytes, where: str) -> Annotation:
    """Return the annotation in an XML file. Raises DataError for a damaged or incomplete one; ``where`` names it."""
    root = parse_xml(text, where)
    try:
        return _annotation(root)
    except (KeyError, ValueError, IndexError) as error:
        raise DataError(
            f"{where} is not the annotation of a Sentinel-1 image, or incomplete: {one_line(error)}; download the product again"
        ) from error


def _annotation(root: Element) -> Annotation:
    head, general, image = (_part(root, name) for name in ("adsHeader", "generalAnnotation", "imageAnnotation"))
    information, processing = _part(image, "imageInformation"), _part(image, "processingInformation")
    first, last = (_time(_text(information, f"product{name}LineUtcTime")) for name in ("First", "Last"))
    lines = int(_text(information, "numberOfLines"))
    if lines < 2 or last <= first:
        raise ValueError("the image has no duration")
    return Annotation(
        mission=_text(head, "missionId"),
        mode=_text(head, "mode"),
        product_type=_text(head, "productType"),
        polarization=_text(head, "polarisation").upper(),
        direction=_text(general, "productInformation/pass"),
        lines=lines,
        pixels=int(_text(information, "numberOfSamples")),
        range_spacing_m=float(_text(information, "rangePixelSpacing")),
        azimuth_spacing_m=float(_text(information, "azimuthPixelSpacing")),
        first_line=first,
        line_interval_s=float((last - first) / np.timedelta64(1, "s")) / (lines - 1),
        looks=_looks(processing),
        is_denoised=processing.findtext("thermalNoiseCorrectionPerformed") == "true",
        precise_orbit=processing.findtext("orbitDataFileUsed") == "true",
        orbit=_orbit(_part(general, "orbitList")),
        ground_range=_ground_range(root, first),
        points=_points(root),
    )


def _looks(processing: Element) -> int:
    swath = _part(processing, "swathProcParams")
    return int(_text(swath, "rangeProcessing/numberOfLooks")) * int(_text(swath, "azimuthProcessing/numberOfLooks"))


def _orbit(vectors: Element) -> Orbit:
    items = vectors.findall("orbit")
    positions = [[float(_text(item, f"position/{axis}")) for axis in "xyz"] for item in items]
    if len(items) < 6:
        raise ValueError(f"{len(items)} orbit state vectors, at least 6 are needed")
    return Orbit(np.array([_time(_text(item, "time")) for item in items]), np.array(positions))


def _ground_range(root: Element, first: np.datetime64) -> GroundRange:
    """Return the records; none for an image in slant range."""
    items = root.findall("coordinateConversion/coordinateConversionList/coordinateConversion")
    times = np.array([_time(_text(item, "azimuthTime")) for item in items], dtype="datetime64[ns]")
    return GroundRange(
        seconds=(times - first) / np.timedelta64(1, "s"),
        sr0=np.array([float(_text(item, "sr0")) for item in items]),
        coefficients=np.array([numbers(_text(item, "srgrCoefficients")) for item in items]),
    )


def _points(root: Element) -> TiePoints:
    items = root.findall("geolocationGrid/geolocationGridPointList/geolocationGridPoint")
    if len(items) < 4:
        raise ValueError(f"{len(items)} geolocation grid points, at least 4 are needed")
    columns = [np.array([float(_text(item, name)) for item in items]) for name in _POINT_COLUMNS]
    return TiePoints(*columns)


def _part(element: Element, name: str) -> Element:
    part = element.find(name)
    if part is None:
        part = element.find(f".//{name}")
    if part is None:
        raise KeyError(f"<{name}> is missing")
    return part


def _text(element: Element, path: str) -> str:
    text = element.findtext(path)
    if not text:
        raise KeyError(f"<{path}> is missing")
    return text.strip()


def _time(text: str) -> np.datetime64:
    return np.datetime64(text.removesuffix("Z"), "ns")
