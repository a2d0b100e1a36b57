"""What a file says of its bands: names, wavelengths, bad bands, scale and offset, colors, masks. One reader for all drivers."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from rasterio.enums import ColorInterp
from rasterio.windows import Window as RasterioWindow

__all__ = ["FileBand", "bands_of"]

_COLORS = ("blue", "green", "red", "nir")
_WAVELENGTHS = ("wavelength", "central_wavelength", "center_wavelength", "centre_wavelength", "centerwavelength")
_WIDTHS = ("fwhm", "full_width_half_max", "bandwidth")
_UNITS = ("wavelength_units", "wavelength_unit", "wavelengthunits")
_PER_NM = {"nm": 1.0, "nanometer": 1.0, "nanometre": 1.0, "um": 1e3, "µm": 1e3, "μm": 1e3, "micron": 1e3,
           "micrometer": 1e3, "micrometre": 1e3, "mm": 1e6, "millimeter": 1e6, "m": 1e9, "meter": 1e9}  # fmt: skip
_NUMBER = re.compile(
    r"(\d+(?:\.\d+)?)\s*(nm|nanometers?|nanometres?|um|µm|μm|microns?|micrometers?|micrometres?)\b", re.I
)
_SAMPLE_PX = 256


@dataclass(frozen=True, slots=True)
class FileBand:
    """A band as its file describes it. Value = stored value x ``scale`` + ``offset``.

    ``fwhm_nm``: full width at half maximum; ``color``: blue, green, red or nir; ``is_good``: False for a band that a bad-band
    list excludes; ``is_alpha``: it holds transparency, where 0 is nodata.
    """

    name: str = ""
    wavelength_nm: float | None = None
    fwhm_nm: float | None = None
    color: str | None = None
    is_good: bool = True
    is_alpha: bool = False
    scale: float = 1.0
    offset: float = 0.0


def bands_of(dataset: Any) -> tuple[FileBand, ...]:
    """Return what an open rasterio dataset says of each of its bands."""
    header = {key.lower(): value for key, value in dataset.tags(ns="ENVI").items()}
    listed, widths = (_numbers(header.get(key, "")) for key in ("wavelength", "fwhm"))
    bad = _numbers(header.get("bbl", ""))
    common = _unit(header) or _unit({key.lower(): value for key, value in dataset.tags().items()})
    factor = _header_factor(header)
    bands = []
    for index in range(dataset.count):
        name = dataset.descriptions[index] or ""
        tags = {key.lower(): value for key, value in dataset.tags(index + 1).items()}
        value = _tagged(tags) if index >= len(listed) else listed[index]
        unit = _unit(tags) or common or ("" if value is None or value > 30 else "micrometer")
        scale, offset = _scaling(dataset, index)
        bands.append(
            FileBand(
                name=name,
                wavelength_nm=_in_nm(value, _unit(tags) or common) or _imagery_nm(dataset, index) or _named_nm(name),
                fwhm_nm=_width_nm(widths[index] if index < len(widths) else None, tags, unit)
                or _imagery_nm(dataset, index, "FWHM_UM"),
                color=_color(dataset.colorinterp[index]),
                is_good=index >= len(bad) or bad[index] != 0,
                is_alpha=dataset.colorinterp[index] == ColorInterp.alpha and not _is_picture(dataset, index),
                scale=scale * factor,
                offset=offset * factor,
            )
        )
    return tuple(bands)


def _scaling(dataset: Any, index: int) -> tuple[float, float]:
    """Return scale and offset of a band; 1 and 0 where the file's make no sense."""
    scale, offset = float(dataset.scales[index]), float(dataset.offsets[index])
    if not (math.isfinite(scale) and math.isfinite(offset)) or scale == 0:
        return 1.0, 0.0
    return scale, offset


def _header_factor(header: dict[str, str]) -> float:
    """Return the factor to reflectance that an ENVI header gives as a divisor."""
    values = _numbers(header.get("reflectance_scale_factor", ""))
    return 1 / values[0] if len(values) == 1 and values[0] > 0 else 1.0


def _numbers(text: str) -> list[float]:
    """Return the numbers of an ENVI list such as ``{1, 2.5}``; none if one is not a number."""
    parts = [part for part in re.split(r"[\s,{}]+", text) if part]
    try:
        return [float(part) for part in parts]
    except ValueError:
        return []


def _tagged(tags: dict[str, str]) -> float | None:
    for key in _WAVELENGTHS:
        values = _numbers(tags.get(key, ""))
        if len(values) == 1:
            return values[0]
    return None


def _unit(tags: dict[str, str]) -> str:
    """Return the unit of wavelengths in tags, in the singular; empty if there is none or it is not one of length."""
    text = next((tags[key] for key in _UNITS if key in tags), "").strip().lower().rstrip("s")
    return text if text in _PER_NM else ""


def _in_nm(value: float | None, unit: str) -> float | None:
    """Return a wavelength in nm; without a unit, numbers up to 30 are micrometers (headers of optical sensors)."""
    if value is None or not math.isfinite(value) or value <= 0:
        return None
    return round(value * (_PER_NM[unit] if unit else 1e3 if value <= 30 else 1.0), 4)


def _width_nm(listed: float | None, tags: dict[str, str], unit: str) -> float | None:
    """Return a band's width in nm from an ENVI header or from tags; widths have the wavelengths' unit, nm without one."""
    if listed is None and len(stated := _numbers(tags.get("fwhm_nm", ""))) == 1:
        return _in_nm(stated[0], "nm")
    for key in _WIDTHS:
        values = _numbers(tags.get(key, ""))
        if listed is None and len(values) == 1:
            listed = values[0]
    return _in_nm(listed, unit or "nm")


def _imagery_nm(dataset: Any, index: int, key: str = "CENTRAL_WAVELENGTH_UM") -> float | None:
    """Return the wavelength, or a width, in GDAL's domain IMAGERY."""
    values = _numbers(dataset.tags(index + 1, ns="IMAGERY").get(key, ""))
    return round(values[0] * 1e3, 4) if len(values) == 1 and values[0] > 0 else None


def _named_nm(name: str) -> float | None:
    """Return the wavelength that a band's name tells with its unit, such as ``418.240 nm`` or ``Band 1 (0.44 um)``."""
    match = _NUMBER.search(name)
    return _in_nm(float(match[1]), match[2].lower().rstrip("s")) if match else None


def _color(interpretation: ColorInterp) -> str | None:
    return interpretation.name if interpretation.name in _COLORS else None


def _is_picture(dataset: Any, index: int) -> bool:
    """Return whether a band flagged as alpha holds an image.

    GDAL flags the fourth of four bytes by default, such as a near infrared. Transparency is 0 or full almost everywhere.
    """
    if dataset.descriptions[index]:
        return True
    height, width = (min(length, _SAMPLE_PX) for length in (dataset.height, dataset.width))
    window = RasterioWindow((dataset.width - width) // 2, (dataset.height - height) // 2, width, height)
    values = dataset.read(index + 1, window=window)
    full = np.iinfo(values.dtype).max if values.dtype.kind in "iu" else 1
    return bool(((values != 0) & (values != full)).mean() > 0.5)
