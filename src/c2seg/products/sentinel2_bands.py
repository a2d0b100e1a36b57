"""The bands of the Multi-Spectral Instrument of Sentinel-2: numbers, names, native resolutions, roles, wavelengths.

Source of wavelengths and widths: ESA, Sentinel-2 spectral response functions (S2-SRF, COPE-GSEG-EOPG-TN-15-0007), the tables of
Sentinel-2A and -2B. Products state their own, which take precedence; Sentinel-2C, within some nanometers of -2A, has those
of -2A here.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from c2seg.products.base import ProductBand

__all__ = ["BANDS", "DEFAULT_BANDS", "MsiBand", "msi_band", "msi_name"]


class MsiBand(NamedTuple):
    """A band; its number in metadata (``band_id``) is its position in ``BANDS``. Wavelengths and widths in nm."""

    name: str
    resolution_m: int
    s2a: tuple[float, float]
    s2b: tuple[float, float]
    role: str | None = None


BANDS = (
    MsiBand("B01", 60, (442.7, 20), (442.3, 20)),
    MsiBand("B02", 10, (492.7, 65), (492.3, 65), "blue"),
    MsiBand("B03", 10, (559.8, 35), (558.9, 35), "green"),
    MsiBand("B04", 10, (664.6, 30), (664.9, 31), "red"),
    MsiBand("B05", 20, (704.1, 14), (703.8, 15)),
    MsiBand("B06", 20, (740.5, 14), (739.1, 13)),
    MsiBand("B07", 20, (782.8, 19), (779.7, 19)),
    MsiBand("B08", 10, (832.8, 105), (832.9, 104), "nir"),
    MsiBand("B8A", 20, (864.7, 21), (864.0, 21)),
    MsiBand("B09", 60, (945.1, 19), (943.2, 20)),
    MsiBand("B10", 60, (1373.5, 29), (1376.9, 29)),
    MsiBand("B11", 20, (1613.7, 90), (1610.4, 94)),
    MsiBand("B12", 20, (2202.4, 174), (2185.7, 184)),
)
DEFAULT_BANDS = tuple(band.name for band in BANDS if band.resolution_m < 60)
"""The ten bands of 10 and 20 m. Those of 60 m serve atmospheric correction."""


def msi_name(text: str) -> str | None:
    """Return the name of a band, such as B02 or B8A, for B2, B02, b8a; None if it is none."""
    match = re.fullmatch(r"B(1[0-2]|8A|0?[1-9])", text.strip(), re.I)
    if match is None:
        return None
    number = match[1].upper()
    return f"B{number}" if number == "8A" else f"B{int(number):02d}"


def msi_band(name: str, sensor: str = "", stated: tuple[float, float | None] | None = None) -> ProductBand:
    """Return a band as a product's, with the wavelength and width that its product states, or those of the table."""
    band = next(item for item in BANDS if item.name == name)
    center, width = band.s2b if sensor.upper().endswith("B") else band.s2a
    if stated is not None:
        center, width = stated[0], stated[1] or width
    return ProductBand(name, band.role, float(center), float(width))
