"""Whether a geocoded radar image holds dB, linear power or amplitude."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
from rasterio.enums import Resampling

from c2seg.errors import DataError
from c2seg.products.geocoded_names import RadarUnit

__all__ = ["stored_unit"]

_UNITS: dict[str, RadarUnit] = {
    "db": "dB", "decibel": "dB", "decibels": "dB", "power": "power", "linear": "power", "linear power": "power",
    "intensity": "power", "amplitude": "amplitude",
}  # fmt: skip
_TAGS = ("units", "unit", "scale", "output_scale", "unittype")
_SAMPLE_PX = 512
_MOST_MEAN_POWER = 0.25
"""Land has a mean power of 0.02 to 0.25, and an amplitude of 0.15 to 0.5: more may be either."""


def stored_unit(
    dataset: Any, number: int, where: str, named: RadarUnit | None, told: RadarUnit | None
) -> tuple[RadarUnit, str]:
    """Return the unit of a band (from 1) of an open dataset, and how it is known; a guess by values begins with "by".

    What the user told comes first, then tags, then the name, then values. Raises DataError if none tells.
    """
    if told is not None:
        return told, "as `sar_unit` says"
    tagged = _tagged(dataset, number)
    if tagged is not None:
        return tagged, "as the file states"
    if named is not None:
        return named, "as its name tells"
    values = _sample(dataset, number)
    if values.size and (values < 0).mean() > 0.5:
        return "dB", "by its values: most are negative"
    if values.size and (values >= 0).all() and values.mean() <= _MOST_MEAN_POWER:
        return "power", f"by its values: none is negative, their mean is {values.mean():.3f}"
    raise DataError(
        f"{where} does not state the unit of its values, and they do not tell it; give `sar_unit`: "
        f"{', '.join(get_args(RadarUnit))}"
    )


def _tagged(dataset: Any, number: int) -> RadarUnit | None:
    tags = {**dataset.tags(), **dataset.tags(number)}
    texts = [dataset.units[number - 1] or "", *(value for key, value in tags.items() if key.lower() in _TAGS)]
    return next((_UNITS[text.strip().lower()] for text in texts if text.strip().lower() in _UNITS), None)


def _sample(dataset: Any, number: int) -> np.ndarray:
    """Return some valid values: a part of the image's pixels."""
    shape = (min(dataset.height, _SAMPLE_PX), min(dataset.width, _SAMPLE_PX))
    values = dataset.read(number, out_shape=shape, resampling=Resampling.nearest).astype(np.float64).ravel()
    nodata = dataset.nodatavals[number - 1]
    keep = np.isfinite(values) & (values != 0) & ~np.isin(values, (-99.0, -999.0, -9999.0, -32768.0))
    if nodata is not None:
        keep &= values != nodata
    result: np.ndarray = values[keep]
    return result
