"""What names of geocoded radar files tell: producer, polarization, product, unit, radiometry, date.

Producers: OPERA (RTC-S1 product specification, JPL D-108758), ASF HyP3 (RTC product guide), Microsoft Planetary Computer
(``sentinel-1-rtc``), pyroSAR, SNAP. Others are known by a polarization and a word of radar in the name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Literal

__all__ = ["POLARIZATIONS", "NamedImage", "RadarUnit", "named_image", "named_mask", "polarizations_in"]

POLARIZATIONS = ("VV", "VH", "HH", "HV")
RadarUnit = Literal["dB", "power", "amplitude"]

_SUFFIXES = (".tif", ".tiff", ".img")
_POLARIZATION = re.compile(r"(?<![a-z0-9])(vv|vh|hh|hv)(?![a-z0-9])")
_RADAR = re.compile(
    r"(?:^|[^a-z0-9])(?:s1[a-d]?|sentinel-?1[a-d]?|gamma0|sigma0|rtc|sar|grd|gtc|nrb|ard)(?:[^a-z0-9]|$)"
)
_HYP3 = re.compile(r"s1[a-d]_[a-z0-9]{2}_\d{8}t\d{6}_.*_rtc\d+_(?P<area>[gs])_(?P<unit>[pad])[um][nf][ec][dm]_")
_HYP3_UNITS: dict[str, RadarUnit] = {"p": "power", "a": "amplitude", "d": "dB"}
_OPERA = re.compile(r"opera_l2_rtc-s1_t\d+-\d+-[a-z]{2}\d_(?P<day>\d{8})t")
_PLANETARY = re.compile(r"^(iw|ew|sm)-(vv|vh|hh|hv)\.rtc\.tiff?$")
_PYROSAR = re.compile(r"^s1[a-d]_+[a-z0-9]{2}_+[ad]_\d{8}t\d{6}_(vv|vh|hh|hv)_")
_DECIBEL = re.compile(r"(?:^|[^a-z0-9])(?:db|decibel)(?:[^a-z0-9]|$)")
_AMPLITUDE = re.compile(r"(?:^|[^a-z0-9])(?:amp|amplitude)(?:[^a-z0-9]|$)")
_POWER = re.compile(r"(?:^|[^a-z0-9])(?:lin|linear|pow|power|intensity)(?:[^a-z0-9]|$)")
_OTHER_LAYERS = re.compile(
    r"(?:^|[^a-z0-9])(?:ls_map|inc_map|incidence|mask|dem|area|rgb|browse|angle|number_of_looks)(?:[^a-z0-9]|$)"
)


@dataclass(frozen=True, slots=True)
class NamedImage:
    """What the name of an image of one polarization tells; ``group`` is the same for images of one product."""

    name: str
    polarization: str
    producer: str
    group: str
    unit: RadarUnit | None
    radiometry: str
    """gamma0, sigma0 or unknown."""
    is_flattened: bool
    """Whether the producer corrects the area of slopes (radiometric terrain correction)."""
    acquired: datetime | None
    satellite: str
    """Such as Sentinel-1A; radar where the name does not tell."""


def polarizations_in(names: Iterable[str] | None) -> tuple[str, ...]:
    """Return the names of bands that are polarizations, in capitals; a list of bands may be of several sensors."""
    return tuple(name.upper() for name in names or () if name.upper() in POLARIZATIONS)


def named_image(name: str, folder: str = "") -> NamedImage | None:
    """Return what a file's name tells; None if it is no radar image. ``folder`` is the name of the folder it lies in."""
    path = PurePosixPath(name)
    low = path.name.lower()
    match = _POLARIZATION.search(path.stem.lower().replace("_", "-"))
    if path.suffix.lower() not in _SUFFIXES or not match or _OTHER_LAYERS.search(low):
        return None
    producer = _producer(low)
    is_bare = path.stem.lower() in ("vv", "vh", "hh", "hv")
    if not producer and not is_bare and not _RADAR.search(low):
        return None
    both = f"{folder}/{path.name}".lower()
    return NamedImage(
        name=name,
        polarization=match[1].upper(),
        producer=producer,
        group=_group(path, match[1]),
        unit=_unit(low, producer),
        radiometry=_radiometry(low, producer),
        is_flattened=producer in ("OPERA", "HyP3", "Planetary Computer") or "rtc" in both,
        acquired=_acquired(both),
        satellite=_satellite(both),
    )


def named_mask(name: str) -> str:
    """Return whose layover and shadow mask a file is by its name: ``OPERA``, ``HyP3``, or empty."""
    low = PurePosixPath(name).name.lower()
    if _OPERA.match(low) and low.endswith("_mask.tif"):
        return "OPERA"
    return "HyP3" if _HYP3.match(low) and low.endswith("_ls_map.tif") else ""


def _producer(low: str) -> str:
    known = {"OPERA": _OPERA, "HyP3": _HYP3, "Planetary Computer": _PLANETARY, "pyroSAR": _PYROSAR}
    return next((name for name, pattern in known.items() if pattern.match(low)), "")


def _group(path: PurePosixPath, polarization: str) -> str:
    """Return the name without its polarization, with its folder; bursts of an OPERA day are one product."""
    low = path.as_posix().lower()
    opera = _OPERA.match(path.name.lower())
    return (
        f"opera {opera['day']}"
        if opera
        else re.sub(rf"(?<![a-z0-9]){polarization}(?![a-z0-9])", "", low.replace("_", "-"))
    )


def _unit(low: str, producer: str) -> RadarUnit | None:
    hyp3 = _HYP3.match(low)
    if hyp3:
        return _HYP3_UNITS[hyp3["unit"]]
    if _DECIBEL.search(low):
        return "dB"
    if producer in ("OPERA", "Planetary Computer", "pyroSAR") or _POWER.search(low):
        return "power"
    return "amplitude" if _AMPLITUDE.search(low) else None


def _radiometry(low: str, producer: str) -> str:
    hyp3 = _HYP3.match(low)
    if hyp3:
        return {"g": "gamma0", "s": "sigma0"}[hyp3["area"]]
    if producer in ("OPERA", "Planetary Computer") or "gamma0" in low:
        return "gamma0"
    return "sigma0" if "sigma0" in low else "unknown"


def _satellite(text: str) -> str:
    match = re.search(r"(?<![a-z0-9])s1([a-d])(?![a-z0-9])", text)
    return f"Sentinel-1{match[1].upper()}" if match else "radar"


def _acquired(text: str) -> datetime | None:
    match = re.search(r"(20\d{6})t(\d{6})", text)
    try:
        return datetime.strptime(f"{match[1]}{match[2]}", "%Y%m%d%H%M%S").replace(tzinfo=UTC) if match else None
    except ValueError:
        return None
