"""The reflective bands of Landsat 8 and 9 at 30 m: numbers, roles, wavelengths; the flags of their quality layers.

Source of wavelengths and widths: Barsi et al. 2014, The Spectral Response of the Landsat-8 Operational Land Imager, Remote
Sensing 6, table 1. Those of Landsat 9 differ by a nanometer. Flags: Landsat 8-9 Collection 2 Level 2 Science Product Guide,
LSDS-1619.
"""

from __future__ import annotations

import re

from c2seg.products.base import ProductBand

__all__ = ["CLOUD_BITS", "DEFAULT_BANDS", "REFLECTIVE", "oli_band", "oli_number", "saturation_bits"]

REFLECTIVE = {
    1: (442.96, 15.98, None), 2: (482.04, 60.04, "blue"), 3: (561.41, 57.33, "green"), 4: (654.59, 37.47, "red"),
    5: (864.67, 28.25, "nir"), 6: (1608.86, 84.72, None), 7: (2200.73, 186.66, None), 9: (1373.43, 20.39, None),
}  # fmt: skip
"""Center and width (full width at half maximum) in nm, role, by band number."""
DEFAULT_BANDS = (1, 2, 3, 4, 5, 6, 7)
CLOUD_BITS = 0b11110
"""Of QA_PIXEL: dilated cloud, cirrus, cloud, cloud shadow. Snow and water stay valid, fill is nodata of the bands."""
_OCCLUSION = 1 << 11
"""Of QA_RADSAT: the terrain hides the pixel from the sensor."""


def oli_number(text: str) -> int | None:
    """Return the number of a reflective band for SR_B4, B4, B04 or 4; None if it is none."""
    match = re.fullmatch(r"(?:SR_)?B?0?([1-79])", text.strip(), re.I)
    return int(match[1]) if match else None


def oli_band(number: int, prefix: str = "") -> ProductBand:
    """Return a band as a product's; ``prefix`` stands before its name as the agency writes it."""
    center, width, role = REFLECTIVE[number]
    return ProductBand(f"{prefix}B{number}", role, center, width)


def saturation_bits(numbers: list[int]) -> int:
    """Return the bits of QA_RADSAT that make pixels invalid: saturation of these bands, terrain occlusion."""
    return sum(1 << (number - 1) for number in set(numbers)) | _OCCLUSION
