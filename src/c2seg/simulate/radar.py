"""SAR: backscatter, corner reflections, correlated speckle and speckle filter, all in linear power, then decibels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from c2seg.simulate.noise import F32, derive_key, normal_window
from c2seg.simulate.sensors import blur, gaussian_taps
from c2seg.simulate.specs import CitySpec, package_data
from c2seg.simulate.spectra import material_radar
from c2seg.types import Window

__all__ = ["RadarSensor", "lee_filter", "speckle"]

_CROSS_CORNER = 0.12  # fraction of a corner reflection in the other polarization


@dataclass(frozen=True)
class RadarSensor:
    """A radar over a city at a date. ``table`` float32 [2, variants]: linear power in the order of the file's bands."""

    key: int
    table: F32
    corner: tuple[float, float]
    looks: float
    resolution_px: float
    filter_px: int
    noise_floor: float
    offset_db: tuple[float, float]

    @classmethod
    def make(cls, spec: CitySpec) -> RadarSensor:
        """Create the radar of a pair at the date of the image."""
        content = package_data("sensors.yaml")[spec.sensors["sar"]]
        co_first = content["bands"][0]["role"] in ("hh", "vv")
        order = (0, 1) if co_first else (1, 0)
        table = material_radar(spec, spec.days["sar"])[list(order)]
        corner = (1.0, _CROSS_CORNER)
        amount = spec.parameters.sensor_gain * spec.family["gain_slope"] if spec.is_target else 0.0
        offset = (content["offset_db"] + 1.2 * amount, content["offset_db"] - 0.8 * amount)
        return cls(
            key=derive_key(spec.seed, spec.role, "speckle"), table=table.astype(np.float32),
            corner=corner if co_first else corner[::-1], looks=content["looks"],
            resolution_px=content["resolution_px"], filter_px=content["filter_px"],
            noise_floor=10 ** (content["noise_floor_db"] / 10), offset_db=offset,
        )  # fmt: skip

    def observe(self, power: F32, window: Window) -> F32:
        """Return decibels [2, H, W] from the scene's power [2, H, W]. A margin of 4 pixels is not exact."""
        scene = blur(power, gaussian_taps(self.resolution_px / 2.355, 2))
        noisy = (scene + np.float32(self.noise_floor)) * self.speckle(window)
        noisy = lee_filter(noisy, self.filter_px, self.looks)
        decibels = 10 * np.log10(np.maximum(noisy, 1e-6)) + np.array(self.offset_db, np.float32)[:, None, None]
        return np.asarray(decibels, np.float32)

    def speckle(self, window: Window) -> F32:
        """Return speckle [2, H, W] of mean 1 for a window. A margin of 2 pixels is not exact."""
        return speckle(self.key, 2, window, self.looks, self.resolution_px)


def speckle(key: int, bands: int, window: Window, looks: float, resolution_px: float) -> F32:
    """Return multi-look speckle intensity [bands, H, W], mean 1, variance 1 / ``looks``, correlated over a resolution cell.

    Each look is the power of a complex Gaussian field, low-pass filtered by the sensor. A fractional number of looks is n looks
    and another one of weight x: (n + x)^2 / (n + x^2) = looks.
    """
    whole = int(np.floor(looks + 1e-9))
    weights = np.ones(whole)
    if looks - whole > 1e-9:
        a, b, c = looks - 1, -2.0 * whole, whole * (looks - whole)
        weights = np.append(weights, (-b - np.sqrt(b * b - 4 * a * c)) / (2 * a))
    total = np.zeros((bands, window.height, window.width), np.float32)
    taps = gaussian_taps(resolution_px / 2.355, 2)
    field = blur(normal_window(key, 2 * bands * len(weights), window), taps)
    field /= np.float32((taps**2).sum())  # unit power: the two passes multiply the power by the square of this
    for look, weight in enumerate(weights):
        for band in range(bands):
            real, imaginary = field[2 * (look * bands + band)], field[2 * (look * bands + band) + 1]
            total[band] += np.float32(weight / weights.sum() / 2) * (real * real + imaginary * imaginary)
    return total


def lee_filter(power: F32, size_px: int, looks: float) -> F32:
    """Smooth speckle in homogeneous areas (Lee, IEEE TPAMI 2(2), 1980; multiplicative noise).

    ``power`` [C, H, W] is linear. The outer ``size_px // 2`` pixels use edge replication.
    """
    taps = np.full(size_px, 1 / size_px, np.float32)

    average = blur(power, taps)
    variance = np.maximum(blur(power * power, taps) - average * average, 0)
    speckle_part = average * average / np.float32(looks)
    signal = np.maximum(variance - speckle_part, 0) / np.float32(1 + 1 / looks)
    gain = signal / np.maximum(variance, 1e-12)
    return np.asarray(average + np.minimum(gain, 1) * (power - average))
