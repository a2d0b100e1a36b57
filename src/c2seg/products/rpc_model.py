"""Rational polynomials (RPC) that place an image, and the files that hold them.

Source: the RPC00B model (NITF, STDI-0002): normalized line and sample are quotients of cubic polynomials in longitude, latitude
and height over the ellipsoid. Lines and samples count from 0; whole numbers are pixel centers.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import numpy as np

from c2seg.errors import DataError

__all__ = ["RpcModel", "parse_rpc"]

_KEYS = ("line", "samp", "lat", "lon", "height")
_LISTS = ("line_num", "line_den", "samp_num", "samp_den")
_COUNT = 20


@dataclass(frozen=True)
class RpcModel:
    """Offsets and scales of line, sample, latitude, longitude, height, and four lists of 20 coefficients, in RPC00B's order."""

    offsets: tuple[float, ...]
    scales: tuple[float, ...]
    line_num: tuple[float, ...]
    line_den: tuple[float, ...]
    samp_num: tuple[float, ...]
    samp_den: tuple[float, ...]

    @property
    def height_m(self) -> float:
        """The height that the polynomials are centered on, over the ellipsoid."""
        return self.offsets[4]

    def pixels(self, lon: np.ndarray, lat: np.ndarray, height: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return lines and samples, float64, of places in degrees and meters over the ellipsoid; NaN far outside the model."""
        x = (np.asarray(lon) - self.offsets[3] + 180) % 360 - 180
        x, y, z = (
            x / self.scales[3],
            (lat - self.offsets[2]) / self.scales[2],
            (height - self.offsets[4]) / self.scales[4],
        )
        terms = (
            np.ones_like(x), x, y, z, x * y, x * z, y * z, x * x, y * y, z * z, x * y * z, x * x * x, x * y * y, x * z * z,
            x * x * y, y * y * y, y * z * z, x * x * z, y * y * z, z * z * z,
        )  # fmt: skip
        line, line_den, samp, samp_den = (
            sum(c * term for c, term in zip(coefficients, terms, strict=True) if c)
            for coefficients in (self.line_num, self.line_den, self.samp_num, self.samp_den)
        )
        inside = (np.abs(x) < 2) & (np.abs(y) < 2)  # polynomials mean nothing far outside
        with np.errstate(divide="ignore", invalid="ignore"):
            rows = np.where(inside, line / line_den, np.nan) * self.scales[0] + self.offsets[0]
            cols = np.where(inside, samp / samp_den, np.nan) * self.scales[1] + self.offsets[1]
        return rows, cols

    def footprint(self, height: int, width: int) -> tuple[float, float, float, float]:
        """Return west, south, east, north in degrees of an image of this size at the model's own height."""
        lon, lat = self._place(np.array([0, 0, height - 1, height - 1]), np.array([0, width - 1, 0, width - 1]))
        return float(lon.min()), float(lat.min()), float(lon.max()), float(lat.max())

    def _place(self, rows: np.ndarray, cols: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return longitudes and latitudes of pixels by Newton's method with a numeric derivative."""
        lon, lat = np.full(len(rows), self.offsets[3]), np.full(len(rows), self.offsets[2])
        high = np.full(len(rows), self.height_m)
        step = 1e-4
        for _ in range(20):
            r, c = self.pixels(lon, lat, high)
            r_lon, c_lon = self.pixels(lon + step, lat, high)
            r_lat, c_lat = self.pixels(lon, lat + step, high)
            a, b, d, e = (r_lon - r) / step, (r_lat - r) / step, (c_lon - c) / step, (c_lat - c) / step
            det = a * e - b * d
            dr, dc = rows - r, cols - c
            lon, lat = lon + (e * dr - b * dc) / det, lat + (a * dc - d * dr) / det
        if not (np.isfinite(lon).all() and np.isfinite(lat).all()):
            raise DataError("its rational polynomials (RPC) place no pixel; the file of RPCs belongs to another image")
        return lon, lat


def parse_rpc(text: str, where: str) -> RpcModel:
    """Return the model in the text of a ``.rpb`` or ``_rpc.txt`` file. Raises DataError if something is missing."""
    flat = {
        key.lower().replace("_", ""): value for key, value in re.findall(r"(\w+)\s*[=:]\s*(\([^)]*\)|[^\s;]+)", text)
    }
    names = {
        "samp": ("samp", "sample"),
        "lon": ("long", "lon"),
        "line": ("line",),
        "lat": ("lat",),
        "height": ("height",),
    }

    def number(key: str, what: tuple[str, ...]) -> float:
        for end in what:
            for name in names[key]:
                if f"{name}{end}" in flat:
                    return _float(flat[f"{name}{end}"], where)
        raise DataError(f"{where} lacks the {what[0]} of {key}; it is no file of rational polynomials (RPC)")

    def coefficients(name: str) -> tuple[float, ...]:
        start = name.replace("_", "")
        if listed := flat.get(f"{start}coef") or flat.get(f"{start}coeff"):
            values = [_float(part, where) for part in re.split(r"[\s,()]+", listed) if part]
        else:
            keys = [f"{start}coeff{k}" for k in range(1, _COUNT + 1)]
            values = [_float(flat[key], where) for key in keys if key in flat]
        if len(values) != _COUNT:
            raise DataError(
                f"{where} has {len(values)} coefficients {name}, {_COUNT} are needed; download the product again"
            )
        return tuple(values)

    offsets = tuple(number(key, ("offset", "off")) for key in _KEYS)
    scales = tuple(number(key, ("scale",)) for key in _KEYS)
    if not all(scales):
        raise DataError(f"{where} has a scale of 0; download the product again")
    return RpcModel(offsets, scales, *(coefficients(name) for name in _LISTS))


def _float(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DataError(f"{where}: {text!r} is no number; download the product again")
    return value
