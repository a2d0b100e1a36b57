"""Optical sensors: from reflectance of materials to band values, with effects of atmosphere and sensor."""

from __future__ import annotations

from dataclasses import dataclass
from math import radians, sin
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import correlate1d

from c2seg.simulate.noise import F32, derive_key, normal_window
from c2seg.simulate.specs import CitySpec, package_data
from c2seg.simulate.spectra import material_reflectance, open_library
from c2seg.types import Window

__all__ = ["OpticalSensor", "band_axis", "blur", "gaussian_taps", "sun_elevation"]

F64 = npt.NDArray[np.float64]
SCALE = 10_000.0  # digital numbers per unit of reflectance


@dataclass(frozen=True)
class OpticalSensor:
    """A sensor over a city at a date: reflectance ``table`` float32 [variants, bands] and path reflectance ``path`` [bands]."""

    modality: str
    key: int
    table: F32
    path: F32
    noise: tuple[float, float]
    interpolated: tuple[tuple[int, int], ...]
    taps: F32
    dtype: str

    @classmethod
    def make(cls, spec: CitySpec, modality: str) -> OpticalSensor:
        """Create the sensor of a city at the date of the image, with the materials in its bands."""
        content = package_data("sensors.yaml")[spec.sensors[modality]]
        centers, widths, _ = band_axis(spec.sensors[modality])
        rng = np.random.Generator(np.random.Philox(derive_key(spec.seed, "sensor", modality)))
        gain, drift = _gains(spec, centers, rng)
        library = open_library()
        response = np.exp(
            -0.5 * ((library.wavelengths_nm - (centers + drift)[:, None]) / (widths[:, None] / 2.355)) ** 2
        )
        # The library has no values in water vapor bands: such a band uses its nearest neighbors.
        response += 1e-12 * np.exp(-np.abs(library.wavelengths_nm - centers[:, None]) / 10)
        response /= response.sum(axis=1, keepdims=True)
        brightness, path, vapor = _atmosphere(spec, modality, centers)
        table = material_reflectance(spec, spec.days[modality]) @ response.T * (brightness * vapor * gain)
        return cls(
            modality=modality, key=derive_key(spec.seed, spec.role, "noise", modality),
            table=table.astype(np.float32), path=(path * gain).astype(np.float32),
            noise=(content["noise"][0], content["noise"][1]),
            interpolated=tuple((a, b) for a, b in content.get("interpolated", ())),
            taps=gaussian_taps(content["psf_sigma_px"], 1), dtype=content["dtype"],
        )  # fmt: skip

    def digitize(self, reflectance: F32, window: Window) -> npt.NDArray[Any]:
        """Convert reflectance [bands, H, W] to digital numbers: haze, noise, gaps, scale. 0 is nodata and does not occur."""
        values = reflectance + self.path[:, None, None]
        constant, shot = self.noise
        sigma = np.sqrt(np.float32(constant**2) + np.float32(shot**2) * np.maximum(values, 0))
        values += sigma * normal_window(self.key, len(values), window)
        for first, last in self.interpolated:
            low, high = values[first - 1], values[last + 1]
            for band in range(first, last + 1):
                part = np.float32((band - first + 1) / (last - first + 2))
                values[band] = low + part * (high - low)
        values *= np.float32(SCALE)
        return np.asarray(np.clip(np.rint(values), 1, 32767), self.dtype)


def band_axis(sensor: str) -> tuple[F64, F64, tuple[dict[str, str], ...]]:
    """Return centers and widths (FWHM) of the bands in nm, and their names and roles, if any."""
    from scipy.interpolate import PchipInterpolator

    content = package_data("sensors.yaml")[sensor]
    if "bands" in content:
        bands = content["bands"]
        names = tuple({"name": b["name"], "role": b["role"]} for b in bands)
        if "center" not in bands[0]:
            return np.zeros(len(bands)), np.ones(len(bands)), names
        return np.array([b["center"] for b in bands], float), np.array([b["fwhm"] for b in bands], float), names
    centers = [
        PchipInterpolator(list(part["anchors"]), list(part["anchors"].values()))(np.arange(part["count"]))
        for part in content["parts"]
    ]
    widths = [np.full(part["count"], float(part["fwhm"])) for part in content["parts"]]
    return np.concatenate(centers), np.concatenate(widths), ()


def _gains(spec: CitySpec, centers: F64, rng: np.random.Generator) -> tuple[F64, F64]:
    """Return the gain of each band (a slope over the spectrum and noise) and the shift of the centers in nm."""
    amount = spec.parameters.sensor_gain if spec.is_target else 0.0
    position = (centers - 400) / 2050 if np.ptp(centers) > 600 else (centers - 650) / 400
    slope = 0.09 * spec.family["gain_slope"] * position
    ripple = 0.025 * rng.standard_normal(len(centers))
    return 1 + amount * (slope + ripple), np.full(len(centers), amount * 1.5)


def _atmosphere(spec: CitySpec, modality: str, centers: F64) -> tuple[float, F64, F64]:
    """Return brightness, path reflectance and residual absorption at 940 and 1135 nm (and oxygen at 762 nm)."""
    amount = spec.parameters.illumination if spec.is_target else 0.0
    common = spec.atmosphere[modality]
    brightness = common["brightness"] * (1 + 0.14 * amount * spec.family["brightness"])
    haze = max(0.0, common["haze"] + 0.02 * amount * spec.family["haze"])
    path = haze * (550 / centers) ** common["exponent"]
    depth = 0.15 * (1 + 0.8 * amount * spec.family["vapor"])
    dips = np.exp(-0.5 * ((centers - 940) / 14) ** 2) + 0.75 * np.exp(-0.5 * ((centers - 1135) / 18) ** 2)
    dips += 0.5 * np.exp(-0.5 * ((centers - 762) / 3.5) ** 2)
    return brightness, path, np.exp(-depth * dips)


def sun_elevation(latitude: float, day: float) -> float:
    """Return the elevation of the sun in degrees about an hour before noon (approximate declination)."""
    declination = radians(23.44) * sin(2 * np.pi * (284 + day) / 365)
    phi, hour = radians(latitude), radians(18.0)
    height = np.arcsin(np.sin(phi) * np.sin(declination) + np.cos(phi) * np.cos(declination) * np.cos(hour))
    return float(np.degrees(height))


def gaussian_taps(sigma: float, radius: int) -> F32:
    """Return the taps of a Gaussian kernel with sum 1."""
    taps = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    return np.asarray(taps / taps.sum(), np.float32)


def blur(values: F32, taps: F32) -> F32:
    """Convolve the last two axes. Values do not depend on the window: results are bit-identical."""
    return np.asarray(correlate1d(correlate1d(values, taps, axis=-1, mode="nearest"), taps, axis=-2, mode="nearest"))
