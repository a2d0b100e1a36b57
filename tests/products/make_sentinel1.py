# ruff: noqa: E501 (XML as it stands)
"""Makes small Sentinel-1 products of the agency's structure (S1-RS-MDA-52-7441), with a geometry that is known in closed form.

The satellite flies a circle around the earth's center, heading south, and looks west. A place P is seen at the time at which
P is perpendicular to the velocity, which is an arc tangent; ground range is an arc on a sphere. Nothing here uses sarsen.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import rasterio
from rasterio.control import GroundControlPoint
from rasterio.warp import transform

FIRST_LINE = np.datetime64("2023-06-01T05:26:23.500000", "ns")
INTERVAL_S = 1.5e-3
SPACING_M = 10.0
_SATELLITE_M, _SPEED_M_S, _NEAR_M = 7_071_000.0, 7_590.0, 800_000.0
_EARTH_M = 6_365_000.0
_NAME = "S1A_IW_GRDH_1SDV_20230601T052623_20230601T052648_048791_05DE1A_1A2B"


@dataclass(frozen=True)
class Flight:
    """The orbit, and the slant range of ground ranges."""

    lon: float = 18.9
    lat: float = 52.6

    @property
    def axes(self) -> tuple[np.ndarray, np.ndarray]:
        """Unit vectors to the satellite at the first line, and southward along its flight."""
        lam, phi = np.radians([self.lon, self.lat])
        up = np.array([np.cos(phi) * np.cos(lam), np.cos(phi) * np.sin(lam), np.sin(phi)])
        south = np.array([np.sin(phi) * np.cos(lam), np.sin(phi) * np.sin(lam), -np.cos(phi)])
        return up, south

    def position(self, seconds: np.ndarray) -> np.ndarray:
        """Return positions [N, 3] of the satellite."""
        angle = np.asarray(seconds)[:, None] * _SPEED_M_S / _SATELLITE_M
        up, south = self.axes
        return _SATELLITE_M * (np.cos(angle) * up + np.sin(angle) * south)

    def pixel_of(self, lon: Any, lat: Any, height: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return line and pixel of places in degrees and meters over WGS84: the exact inverse."""
        shape = np.shape(lon)
        place = np.stack(
            transform("EPSG:4979", "EPSG:4978", *(np.ravel(v).tolist() for v in (lon, lat, height))), axis=1
        )
        up, south = self.axes
        seconds = np.arctan2(place @ south, place @ up) * _SATELLITE_M / _SPEED_M_S
        slant = np.linalg.norm(place - self.position(seconds), axis=1)
        return (seconds / INTERVAL_S).reshape(shape), (ground_of(slant) / SPACING_M).reshape(shape)

    def place_of(self, line: Any, pixel: Any, height: float) -> tuple[np.ndarray, np.ndarray]:
        """Return longitudes and latitudes of pixels [N] at a height: found by halving the angle at the satellite."""
        seconds, slant = np.atleast_1d(line) * INTERVAL_S, slant_of(np.atleast_1d(pixel) * SPACING_M)[:, None]
        at = self.position(seconds)
        down = -at / np.linalg.norm(at, axis=1, keepdims=True)
        velocity = self.position(seconds + 1) - self.position(seconds - 1)
        west = np.cross(down, velocity / np.linalg.norm(velocity, axis=1, keepdims=True))
        low, high = np.zeros_like(slant), np.full_like(slant, np.radians(80))
        for _ in range(50):
            middle = (low + high) / 2
            point = at + slant * (np.cos(middle) * down + np.sin(middle) * west)
            lon, lat, above = (np.array(v) for v in transform("EPSG:4978", "EPSG:4979", *point.T.tolist()))
            is_above = above[:, None] > height
            low, high = np.where(is_above, low, middle), np.where(is_above, middle, high)
        return lon, lat


def ground_of(slant: np.ndarray) -> np.ndarray:
    """Return ground range of slant range, meters: an arc on a sphere, from the near range on."""

    def arc(value: Any) -> Any:
        return _EARTH_M * np.arccos((_SATELLITE_M**2 + _EARTH_M**2 - value**2) / (2 * _SATELLITE_M * _EARTH_M))

    return arc(slant) - arc(_NEAR_M)


def slant_of(ground: Any) -> Any:
    """Return slant range of ground range, meters."""
    angle = ground / _EARTH_M + np.arccos((_SATELLITE_M**2 + _EARTH_M**2 - _NEAR_M**2) / (2 * _SATELLITE_M * _EARTH_M))
    return np.sqrt(_SATELLITE_M**2 + _EARTH_M**2 - 2 * _SATELLITE_M * _EARTH_M * np.cos(angle))


@dataclass(frozen=True)
class Made:
    """What is written: DN uint16 [lines, pixels] by polarization, and what the tables hold."""

    images: dict[str, np.ndarray]
    ipf: str = "003.71"
    kind: str = "GRD"
    noise: str | None = "azimuth"
    """``azimuth``: tables of IPF 2.90 and later; ``range``: of earlier ones; None: no file."""
    is_denoised: bool = False
    gain: float = 400.0
    noise_power: float = 900.0
    flight: Flight = field(default_factory=Flight)

    @property
    def shape(self) -> tuple[int, int]:
        return next(iter(self.images.values())).shape

    def table(self, quantity: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return lines, pixels and values of a calibration table: it varies along both."""
        lines, pixels = self.nodes()
        factor = {"sigmaNought": 1.0, "betaNought": 0.7, "gamma": 0.9, "dn": 0.6}[quantity]
        values = self.gain * factor * (1 - 0.1 * pixels / pixels[-1] + 0.02 * lines[:, None] / lines[-1])
        return lines, pixels, np.round(values, 4)

    def nodes(self) -> tuple[np.ndarray, np.ndarray]:
        lines, pixels = self.shape
        return np.unique([*range(0, lines, 300), lines + 20]), np.unique([*range(0, pixels, 40), pixels - 1])

    def noise_table(self) -> np.ndarray:
        """Return the noise along range at the nodes."""
        lines, pixels = self.nodes()
        return np.round(
            self.noise_power * (1 + 0.3 * (pixels / pixels[-1] - 0.5) ** 2 + 0.01 * lines[:, None] / 300), 4
        )

    def azimuth(self) -> tuple[np.ndarray, np.ndarray]:
        """Return lines and factors of the noise along azimuth of the first swath; those of the second are 1.1 times them."""
        lines = np.unique([*range(0, self.shape[0], 10), self.shape[0] - 1])
        return lines, np.round(1 + 0.1 * np.sin(lines / 50), 6)

    @property
    def seam(self) -> int:
        """First pixel of the second swath."""
        return self.shape[1] // 2


def make_safe(folder: Path, made: Made, name: str = _NAME, *, compress: bool = True) -> Path:
    """Write a product as a folder; returns its path."""
    safe = folder / f"{name.replace('GRDH', made.kind + 'H' if made.kind == 'GRD' else made.kind + '_')}.SAFE"
    for part in ("measurement", "annotation/calibration"):
        (safe / part).mkdir(parents=True)
    files = []
    for number, (polarization, image) in enumerate(made.images.items(), 1):
        stem = f"s1a-iw-{made.kind.lower()}-{polarization.lower()}-20230601t052623-20230601t052648-048791-05de1a-{number:03d}"
        write_image(safe / f"measurement/{stem}.tiff", image, tie_points(made), compress=compress)
        _write(safe / f"annotation/{stem}.xml", _product(made, polarization))
        _write(safe / f"annotation/calibration/calibration-{stem}.xml", _calibration(made, polarization))
        if made.noise:
            _write(safe / f"annotation/calibration/noise-{stem}.xml", _noise(made, polarization))
        files.append((stem, bool(made.noise)))
    (safe / "manifest.safe").write_text(_manifest(made, files))
    return safe


def zipped(safe: Path) -> Path:
    """Return a zip of a product's folder, as it is downloaded."""
    path = safe.parent / f"{safe.name.removesuffix('.SAFE')}.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for item in sorted(safe.rglob("*")):
            if item.is_file():
                archive.write(item, f"{safe.name}/{item.relative_to(safe).as_posix()}")
    return path


def write_image(path: Path, image: np.ndarray, points: list[dict[str, Any]], *, compress: bool) -> None:
    """Write DN line by line, placed by control points, as the agency does (which does not compress)."""
    control = [
        GroundControlPoint(item["line"], item["pixel"], item["longitude"], item["latitude"], item["height"])
        for item in points
    ]
    with rasterio.open(
        path, "w", driver="GTiff", height=image.shape[0], width=image.shape[1], count=1, dtype=image.dtype, blockysize=1,
        gcps=control, crs="EPSG:4326", **({"compress": "zstd"} if compress else {}),
    ) as dataset:  # fmt: skip
        for row in range(0, len(image), 512):
            part = np.asarray(image[row : row + 512])
            dataset.write(part, 1, window=rasterio.windows.Window(0, row, part.shape[1], part.shape[0]))


def _write(path: Path, root: ElementTree.Element) -> None:
    ElementTree.indent(root)
    ElementTree.ElementTree(root).write(path, encoding="UTF-8", xml_declaration=True)


def _element(name: str, content: Any, **attributes: str) -> ElementTree.Element:
    """Return an element: of a dict (children by name; a list repeats), an array (its numbers with their count), or a text."""
    element = ElementTree.Element(name, attributes)
    if isinstance(content, dict):
        for key, value in content.items():
            element.extend(_element(key, item) for item in (value if isinstance(value, list) else [value]))
    elif isinstance(content, np.ndarray):
        element.set("count", str(content.size))
        element.text = " ".join(f"{value:.15e}" if content.dtype.kind == "f" else str(value) for value in content)
    else:
        element.text = (
            f"{content:.15e}"
            if isinstance(content, float)
            else str(content).lower()
            if isinstance(content, bool)
            else str(content)
        )
    return element


def _list(name: str, item: str, values: list[Any]) -> ElementTree.Element:
    element = _element(name, {item: values})
    element.set("count", str(len(values)))
    return element


def _time(seconds: float) -> str:
    return str((FIRST_LINE + np.timedelta64(round(seconds * 1e9), "ns")).astype("datetime64[us]"))


def _header(made: Made, polarization: str) -> dict[str, Any]:
    end = (made.shape[0] - 1) * INTERVAL_S
    return {
        "missionId": "S1A", "productType": made.kind, "polarisation": polarization, "mode": "IW", "swath": "IW",
        "startTime": _time(0), "stopTime": _time(end), "absoluteOrbitNumber": 48791, "missionDataTakeId": 384538, "imageNumber": "001",
    }  # fmt: skip


def _product(made: Made, polarization: str) -> ElementTree.Element:
    lines, pixels = made.shape
    root = ElementTree.Element("product")
    root.append(_element("adsHeader", _header(made, polarization)))
    general = _element("generalAnnotation", {"productInformation": {
        "pass": "Descending", "timelinessCategory": "Fast-24h", "platformHeading": -168.0, "projection": "Ground Range",
        "rangeSamplingRate": 6.434523812571428e07, "radarFrequency": 5.405000454334350e09, "azimuthSteeringRate": 1.590368784,
    }})  # fmt: skip
    seconds = np.arange(-60.0, 65.0, 10.0)
    before, after = made.flight.position(seconds - 0.5), made.flight.position(seconds + 0.5)
    general.append(_list("orbitList", "orbit", [
        {"time": _time(t), "frame": "Earth Fixed", "position": dict(zip("xyz", map(float, p), strict=True)),
         "velocity": dict(zip("xyz", map(float, v), strict=True))}
        for t, p, v in zip(seconds, made.flight.position(seconds), after - before, strict=True)
    ]))  # fmt: skip
    root.append(general)
    root.append(_element("imageAnnotation", {
        "imageInformation": {
            "productFirstLineUtcTime": _time(0), "productLastLineUtcTime": _time((lines - 1) * INTERVAL_S),
            "ascendingNodeTime": _time(-2000), "slantRangeTime": 2 * _NEAR_M / 299792458.0, "pixelValue": "Detected",
            "outputPixels": "16 bit Unsigned Integer", "rangePixelSpacing": SPACING_M, "azimuthPixelSpacing": 10.0,
            "azimuthTimeInterval": INTERVAL_S, "numberOfSamples": pixels, "numberOfLines": lines, "incidenceAngleMidSwath": 38.9,
        },
        "processingInformation": {
            "orbitDataFileUsed": True, "thermalNoiseCorrectionPerformed": made.is_denoised,
            "swathProcParamsList": {"swathProcParams": {
                "swath": "IW1", "rangeProcessing": {"numberOfLooks": 5}, "azimuthProcessing": {"numberOfLooks": 1},
            }},
        },
    }))  # fmt: skip
    timing = _element("swathTiming", {"linesPerBurst": 0, "samplesPerBurst": 0})
    timing.append(_list("burstList", "burst", []))
    root.append(timing)
    grid = ElementTree.SubElement(root, "geolocationGrid")
    grid.append(_list("geolocationGridPointList", "geolocationGridPoint", tie_points(made)))
    conversion = ElementTree.SubElement(root, "coordinateConversion")
    conversion.append(_list("coordinateConversionList", "coordinateConversion", _conversion(made)))
    return root


def tie_points(made: Made) -> list[dict[str, Any]]:
    """Return the geolocation grid: 5 x 6 points at height 0."""
    lines, pixels = (
        np.linspace(0, side - 1, count).round().astype(int) for side, count in zip(made.shape, (5, 6), strict=True)
    )
    at, to = np.repeat(lines, len(pixels)), np.tile(pixels, len(lines))
    return [
        {"azimuthTime": _time(line * INTERVAL_S), "slantRangeTime": 2 * float(slant_of(pixel * SPACING_M)) / 299792458.0,
         "line": line, "pixel": pixel, "latitude": float(y), "longitude": float(x), "height": 0.0,
         "incidenceAngle": 38.0, "elevationAngle": 33.0}
        for line, pixel, x, y in zip(at, to, *made.flight.place_of(at, to, 0.0), strict=True)
    ]  # fmt: skip


def _conversion(made: Made) -> list[dict[str, Any]]:
    """Return records half a second apart; each has its own first slant range, for the same ground range."""
    records = []
    ground = np.linspace(-2000, made.shape[1] * SPACING_M + 5000, 400)
    slant = slant_of(ground)
    for index, seconds in enumerate(np.arange(-1.0, made.shape[0] * INTERVAL_S + 1.5, 0.5)):
        first = _NEAR_M + 0.5 * index
        forward = np.polynomial.Polynomial.fit(slant - first, ground, 8).convert().coef
        backward = np.polynomial.Polynomial.fit(ground, slant, 8).convert().coef
        records.append({
            "azimuthTime": _time(seconds), "slantRangeTime": 2 * first / 299792458.0, "sr0": first, "srgrCoefficients": forward,
            "gr0": 0.0, "grsrCoefficients": backward,
        })  # fmt: skip
    return records


def _calibration(made: Made, polarization: str) -> ElementTree.Element:
    root = _element("calibration", {"adsHeader": _header(made, polarization),
                                    "calibrationInformation": {"absoluteCalibrationConstant": 1.393}})  # fmt: skip
    tables = {name: made.table(name) for name in ("sigmaNought", "betaNought", "gamma", "dn")}
    lines, pixels, _ = tables["gamma"]
    root.append(_list("calibrationVectorList", "calibrationVector", [
        {"azimuthTime": _time(line * INTERVAL_S), "line": line, "pixel": pixels, **{name: tables[name][2][k] for name in tables}}
        for k, line in enumerate(lines)
    ]))  # fmt: skip
    return root


def _noise(made: Made, polarization: str) -> ElementTree.Element:
    root = _element("noise", {"adsHeader": _header(made, polarization)})
    lines, pixels = made.nodes()
    new = made.noise == "azimuth"
    vectors = [
        {
            "azimuthTime": _time(line * INTERVAL_S),
            "line": line,
            "pixel": pixels,
            "noiseRangeLut" if new else "noiseLut": row,
        }
        for line, row in zip(lines, made.noise_table(), strict=True)
    ]
    if not new:
        root.append(_list("noiseVectorList", "noiseVector", vectors))
        return root
    root.append(_list("noiseRangeVectorList", "noiseRangeVector", vectors))
    at, factors = made.azimuth()
    swaths = [("IW1", 0, made.seam - 1, factors), ("IW2", made.seam, made.shape[1] - 1, 1.1 * factors)]
    root.append(_list("noiseAzimuthVectorList", "noiseAzimuthVector", [
        {"swath": swath, "firstAzimuthLine": 0, "firstRangeSample": first, "lastAzimuthLine": made.shape[0] - 1,
         "lastRangeSample": last, "line": at, "noiseAzimuthLut": values}
        for swath, first, last, values in swaths
    ]))  # fmt: skip
    return root


def _manifest(made: Made, files: list[tuple[str, bool]]) -> str:
    polarizations = "".join(
        f"<s1sarl1:transmitterReceiverPolarisation>{name}</s1sarl1:transmitterReceiverPolarisation>"
        for name in made.images
    )
    annotations = "".join(
        _object("s1Level1ProductSchema", f"./annotation/{stem}.xml")
        + (_object("s1Level1NoiseSchema", f"./annotation/calibration/noise-{stem}.xml") if noise else "")
        + _object("s1Level1CalibrationSchema", f"./annotation/calibration/calibration-{stem}.xml")
        for stem, noise in files
    )
    objects = annotations + "".join(
        _object("s1Level1MeasurementSchema", f"./measurement/{stem}.tiff") for stem, _ in files
    )
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<xfdu:XFDU xmlns:gml="http://www.opengis.net/gml" xmlns:xfdu="urn:ccsds:schema:xfdu:1" xmlns:safe="http://www.esa.int/safe/sentinel-1.0" xmlns:s1="http://www.esa.int/safe/sentinel-1.0/sentinel-1" xmlns:s1sarl1="http://www.esa.int/safe/sentinel-1.0/sentinel-1/sar/level-1">
<metadataSection>
<metadataObject ID="processing"><metadataWrap><xmlData><safe:processing name="GRD Post Processing"><safe:facility>
<safe:software name="Sentinel-1 IPF" version="{made.ipf}"/></safe:facility>
<safe:resource name="/data/S1A_OPER_AUX_RESORB_OPOD_20230601T083000_V20230601T035300_20230601T071030.EOF" role="AUX_RES"/>
</safe:processing></xmlData></metadataWrap></metadataObject>
<metadataObject ID="platform"><metadataWrap><xmlData><safe:platform><safe:familyName>SENTINEL-1</safe:familyName><safe:number>A</safe:number>
<safe:instrument><safe:extension><s1sarl1:instrumentMode><s1sarl1:mode>IW</s1sarl1:mode><s1sarl1:swath>IW</s1sarl1:swath></s1sarl1:instrumentMode></safe:extension></safe:instrument>
</safe:platform></xmlData></metadataWrap></metadataObject>
<metadataObject ID="measurementOrbitReference"><metadataWrap><xmlData><safe:orbitReference>
<safe:orbitNumber type="start">48791</safe:orbitNumber><safe:orbitNumber type="stop">48791</safe:orbitNumber>
<safe:relativeOrbitNumber type="start">95</safe:relativeOrbitNumber><safe:relativeOrbitNumber type="stop">95</safe:relativeOrbitNumber>
<safe:extension><s1:orbitProperties><s1:pass>DESCENDING</s1:pass><s1:ascendingNodeTime>{_time(-2000)}</s1:ascendingNodeTime></s1:orbitProperties></safe:extension>
</safe:orbitReference></xmlData></metadataWrap></metadataObject>
<metadataObject ID="generalProductInformation"><metadataWrap><xmlData><s1sarl1:standAloneProductInformation>
<s1sarl1:missionDataTakeID>384538</s1sarl1:missionDataTakeID>{polarizations}<s1sarl1:productType>{made.kind}</s1sarl1:productType>
</s1sarl1:standAloneProductInformation></xmlData></metadataWrap></metadataObject>
<metadataObject ID="acquisitionPeriod"><metadataWrap><xmlData><safe:acquisitionPeriod><safe:startTime>{_time(0)}</safe:startTime>
<safe:stopTime>{_time((made.shape[0] - 1) * INTERVAL_S)}</safe:stopTime></safe:acquisitionPeriod></xmlData></metadataWrap></metadataObject>
</metadataSection>
<dataObjectSection>{objects}</dataObjectSection>
</xfdu:XFDU>
"""


def _object(kind: str, href: str) -> str:
    name = Path(href).stem.replace("-", "")
    return f'<dataObject ID="{name}" repID="{kind}"><byteStream><fileLocation locatorType="URL" href="{href}"/></byteStream></dataObject>'
