"""Which band a file of one band holds, by its name: B02.jp2, red.tif, T33UUU_..._B04_10m.jp2, LC08_..._SR_B4.TIF."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

from c2seg.products.base import ProductBand
from c2seg.products.landsat_bands import REFLECTIVE, oli_band
from c2seg.products.sentinel2_bands import BANDS, msi_band, msi_name

__all__ = ["NamedBand", "SensorKind", "band_of_sensor", "named_band", "sensor_of"]

SensorKind = Literal["sentinel2", "landsat"]

_COMMON: dict[SensorKind, dict[str, str]] = {
    "sentinel2": {
        "coastal": "B01", "blue": "B02", "green": "B03", "red": "B04", "rededge1": "B05", "rededge071": "B05",
        "rededge2": "B06", "rededge075": "B06", "rededge3": "B07", "rededge078": "B07", "nir": "B08", "nir08": "B8A",
        "nir09": "B09", "cirrus": "B10", "swir16": "B11", "swir22": "B12",
    },
    "landsat": {
        "coastal": "B1", "blue": "B2", "green": "B3", "red": "B4", "nir08": "B5", "nir": "B5", "swir16": "B6",
        "swir22": "B7", "cirrus": "B9",
    },
}  # fmt: skip
"""Common names of STAC's extension eo by sensor."""
_WORDS = sorted({word for names in _COMMON.values() for word in names}, key=len, reverse=True)
_MASKS = {
    "scl": "scl",
    "qa_pixel": "qa_pixel",
    "qa_radsat": "qa_radsat",
    "fmask": "fmask",
    "valid": "valid",
    "mask": "valid",
}
_BAND = re.compile(r"(?:^|[_.\-])((?:SR_)?B(?:0?[1-9]|1[0-2]|8A))(?:_(?:10|20|60)m)?$", re.I)
_WORD = re.compile(rf"(?:^|[_.\-])({'|'.join([*_WORDS, *_MASKS])})(?:[_\-](?:10|20|60)m)?$", re.I)
_SENTINEL2 = re.compile(r"(^|[_.\-])(S2[A-D]|T\d\d[A-Z]{3}|S30)([_.\-]|$)", re.I)
_LANDSAT = re.compile(r"(^|[_.\-])(L[CO]0[89]|L30|SR_B\d)([_.\-]|$)", re.I)
_LANDSAT_WORDS = {"qa_pixel", "qa_radsat"}
_SENTINEL2_WORDS = {"scl", "b8a", "rededge1", "rededge2", "rededge3", "rededge071", "rededge075", "rededge078", "nir09"}


class NamedBand(NamedTuple):
    """What a file name says: a band's name or common word in lower case, or the kind of a mask."""

    word: str
    mask: str | None = None


def named_band(stem: str) -> NamedBand | None:
    """Return what a file name without suffix says of its content; None if it names no band."""
    if match := _BAND.search(stem):
        return NamedBand(match[1].lower())
    if match := _WORD.search(stem):
        word = match[1].lower()
        return NamedBand(word, _MASKS.get(word))
    return None


def sensor_of(stems: list[str], pixel_m: float) -> SensorKind | None:
    """Return the sensor that file names tell, else pixels of 10, 20 or 60 m (Sentinel-2) or 30 m (Landsat); None otherwise."""
    words = {named.word for stem in stems if (named := named_band(stem))}
    if any(_LANDSAT.search(stem) for stem in stems) or words & _LANDSAT_WORDS:
        return "landsat"
    if any(_SENTINEL2.search(stem) for stem in stems) or words & _SENTINEL2_WORDS:
        return "sentinel2"
    by_pixel: dict[int, SensorKind] = {10: "sentinel2", 20: "sentinel2", 60: "sentinel2", 30: "landsat"}
    return by_pixel.get(round(pixel_m))


def band_of_sensor(word: str, sensor: SensorKind, craft: str = "") -> ProductBand | None:
    """Return the band that a word means for a sensor; None if the sensor has none."""
    name = _COMMON[sensor].get(word, word)
    if sensor == "sentinel2":
        known = msi_name(name)
        return msi_band(known, craft) if known in {band.name for band in BANDS} else None
    match = re.fullmatch(r"(sr_)?b0?(\d)", name, re.I)
    if match is None or int(match[2]) not in REFLECTIVE:
        return None
    return oli_band(int(match[2]), "SR_" if match[1] else "")
