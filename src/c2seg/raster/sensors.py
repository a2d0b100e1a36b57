"""Bands that their names tell, by sensor: ``B8A`` of Sentinel-2, ``SR_B4`` of Landsat, ``Oa08`` of OLCI, ``VV``, ``nir08``.

The same name means different bands: ``B8`` is the near infrared of Sentinel-2 and the panchromatic band of Landsat 8. The
sensor is therefore inferred from all names and the tags of a file. Where several sensors fit, only what they agree on counts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

__all__ = ["KnownBand", "KnownBands", "known_bands"]


class KnownBand(NamedTuple):
    """Role, center wavelength and width (full width at half maximum) of a band, where known."""

    role: str | None
    wavelength_nm: float | None = None
    fwhm_nm: float | None = None


@dataclass(frozen=True)
class KnownBands:
    """The sensor that names tell, None if they tell none or several; its bands (None: not known); what the user must know."""

    sensor: str | None
    bands: tuple[KnownBand | None, ...]
    note: str = ""


# Sentinel-2A: ESA, Sentinel-2 spectral response functions. Landsat: USGS, Landsat satellites' band designations.
# OLCI: ESA, Sentinel-3 OLCI instrument. Centers and widths in nm.
_SENTINEL_2 = {
    "1": (None, 442.7, 20.0), "2": ("blue", 492.7, 65.0), "3": ("green", 559.8, 35.0), "4": ("red", 664.6, 30.0),
    "5": (None, 704.1, 14.0), "6": (None, 740.5, 14.0), "7": (None, 782.8, 19.0), "8": ("nir", 832.8, 105.0),
    "8A": (None, 864.7, 21.0), "9": (None, 945.1, 19.0), "10": (None, 1373.5, 29.0), "11": (None, 1613.7, 90.0),
    "12": (None, 2202.4, 174.0),
}  # fmt: skip
_LANDSAT_8 = {
    "1": (None, 443.0, 16.0), "2": ("blue", 482.0, 60.0), "3": ("green", 561.0, 57.0), "4": ("red", 655.0, 37.0),
    "5": ("nir", 865.0, 28.0), "6": (None, 1609.0, 85.0), "7": (None, 2201.0, 187.0), "8": (None, 590.0, 172.0),
    "9": (None, 1373.0, 21.0), "10": (None, 10895.0, 590.0), "11": (None, 12005.0, 1010.0),
}  # fmt: skip
_LANDSAT_5 = {
    "1": ("blue", 485.0, 70.0), "2": ("green", 560.0, 80.0), "3": ("red", 660.0, 60.0), "4": ("nir", 830.0, 130.0),
    "5": (None, 1650.0, 200.0), "6": (None, 11450.0, 2100.0), "7": (None, 2215.0, 270.0),
}  # fmt: skip
_OLCI_NM = (
    (400, 15), (412.5, 10), (442.5, 10), (490, 10), (510, 10), (560, 10), (620, 10), (665, 10), (673.75, 7.5), (681.25, 7.5),
    (708.75, 10), (753.75, 7.5), (761.25, 2.5), (764.375, 3.75), (767.5, 2.5), (778.75, 15), (865, 20), (885, 10), (900, 10),
    (940, 20), (1020, 40),
)  # fmt: skip
_OLCI_ROLES = {4: "blue", 6: "green", 8: "red", 17: "nir"}
_TABLES = {
    "Sentinel-2": {number: KnownBand(*facts) for number, facts in _SENTINEL_2.items()},
    "Landsat 8/9": {number: KnownBand(*facts) for number, facts in _LANDSAT_8.items()},
    "Landsat 4-7": {number: KnownBand(*facts) for number, facts in _LANDSAT_5.items()},
}
_OLCI = {
    number: KnownBand(_OLCI_ROLES.get(number), float(nm), float(width))
    for number, (nm, width) in enumerate(_OLCI_NM, start=1)
}
_COMMON = {name: KnownBand(name) for name in ("blue", "green", "red", "nir")} | {"nir08": KnownBand("nir")}
_POLARIZATIONS = ("vv", "vh", "hh", "hv")

_NUMBERED = re.compile(r"(?:^|[_\s-])(SR_|ST_)?B(0?)(\d{1,2})(A?)(?:$|[_\s(:,-])", re.I)
_OLCI_NAME = re.compile(r"(?:^|[_\s-])Oa(\d\d)(?:$|[_\s(:,-])", re.I)
_IN_TAGS = {
    "Sentinel-2": re.compile(r"sentinel-?2|S2[ABC]_MSI", re.I),
    "Landsat 8/9": re.compile(r"landsat[-_ ]?[89]|L[CO]0[89]_|OLI_TIRS", re.I),
    "Landsat 4-7": re.compile(r"landsat[-_ ]?[4-7]|L[ET]0[4-7]_", re.I),
}
_SAME_NM = 20.0


def known_bands(names: Sequence[str], tags: Mapping[str, str] | None = None) -> KnownBands:
    """Return what the names of a file's bands, and its tags, tell of its bands.

    Bands that several possible sensors have in common keep what these agree on: the role, and the mean wavelength if they
    differ by less than 20 nm.
    """
    if olci := _olci(names):
        return olci
    numbered = [_NUMBERED.search(name.strip()) for name in names]
    if any(numbered) and len({match[0].upper() for match in numbered if match}) == sum(map(bool, numbered)):
        return _by_number(numbered, " ".join((tags or {}).values()))
    return KnownBands(None, _by_common_name(names))


def _olci(names: Sequence[str]) -> KnownBands | None:
    numbers = [int(match[1]) if (match := _OLCI_NAME.search(name.strip())) else 0 for name in names]
    bands = tuple(_OLCI.get(number) for number in numbers)
    return KnownBands("Sentinel-3 OLCI", bands) if any(bands) else None


def _by_number(numbered: Sequence[re.Match[str] | None], tags: str) -> KnownBands:
    numbers = [match[3] + match[4].upper() if match else "" for match in numbered]
    fitting = {
        sensor: table for sensor, table in _TABLES.items() if all(number in table for number in numbers if number)
    }
    if any(match and match[1] for match in numbered):  # SR_B4: Landsat, Collection 2
        fitting.pop("Sentinel-2", None)
    if any(match and match[2] for match in numbered):  # B04: Landsat 4 to 7 never writes it so
        fitting.pop("Landsat 4-7", None)
    stated = [sensor for sensor in fitting if _IN_TAGS[sensor].search(tags)]
    if len(stated) == 1:
        fitting = {stated[0]: fitting[stated[0]]}
    bands = tuple(_agreed([table[number] for table in fitting.values()]) if number else None for number in numbers)
    if len(fitting) == 1:
        return KnownBands(next(iter(fitting)), _with_narrow_nir(next(iter(fitting)), numbers, bands))
    unclear = [match[0].strip(" _-(:,") for match, band in zip(numbered, bands, strict=True) if match and band is None]
    if not fitting or not unclear:
        return KnownBands(None, bands)
    note = (
        f"bands {', '.join(unclear[:8])}{', ...' if len(unclear) > 8 else ''} differ between {' and '.join(fitting)}; "
        "say what they are with `bands:` in city.yaml"
    )
    return KnownBands(None, bands, note)


def _with_narrow_nir(
    sensor: str, numbers: Sequence[str], bands: tuple[KnownBand | None, ...]
) -> tuple[KnownBand | None, ...]:
    """Return the bands with B8A of Sentinel-2 as near infrared where B8 is absent."""
    if sensor != "Sentinel-2" or "8" in numbers or "8A" not in numbers:
        return bands
    index = numbers.index("8A")
    narrow = _TABLES[sensor]["8A"]._replace(role="nir")
    return (*bands[:index], narrow, *bands[index + 1 :])


def _agreed(facts: Sequence[KnownBand]) -> KnownBand | None:
    """Return what several sensors agree on; None if they disagree on the role or on the wavelength."""
    if not facts or len({band.role for band in facts}) > 1:
        return None
    if len(facts) == 1:
        return facts[0]
    wavelengths = [band.wavelength_nm for band in facts if band.wavelength_nm]
    if max(wavelengths) - min(wavelengths) > _SAME_NM:
        return None
    return KnownBand(facts[0].role, round(sum(wavelengths) / len(wavelengths), 1))


def _by_common_name(names: Sequence[str]) -> tuple[KnownBand | None, ...]:
    """Return roles of polarizations and of the common names of STAC; a role that two bands claim is nobody's."""
    bands = [_common(name) for name in names]
    roles = [band.role for band in bands if band]
    if roles.count("nir") == 2:  # Sentinel-2 in STAC: nir and nir08
        bands = [None if name.strip().lower() == "nir08" else band for name, band in zip(names, bands, strict=True)]
        roles.remove("nir")
    return tuple(band if band and roles.count(band.role) == 1 else None for band in bands)


def _common(name: str) -> KnownBand | None:
    plain = name.strip().lower()
    parts = re.split(r"[_\s-]+", plain)
    polarizations = [part for part in parts if part in _POLARIZATIONS]
    return _COMMON.get(plain) or (KnownBand(polarizations[0]) if len(polarizations) == 1 else None)
