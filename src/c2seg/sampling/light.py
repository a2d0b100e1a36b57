"""Changes of reflectance that light, air and season make: one of each for all optical bands of a patch.

Parameters are drawn apart from their use, so that the same change can be made elsewhere, as on a device.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from c2seg.data import Normalizer, Patch, Scene
from c2seg.data.samples import sampled_or_nothing
from c2seg.data.units import OPTICAL, unit_of_values
from c2seg.recipes.training import LightChange

__all__ = ["NDVI_LEAST", "Light", "Optics", "changed_light", "draw_light", "light_factors", "optics_of"]

_BLUE_NM = 490.0
_BY_ROLE = {"blue": 490.0, "green": 560.0, "red": 665.0, "nir": 840.0}
_RED_NM, _NIR_NM = (665.0, 35.0), (840.0, 60.0)  # center and farthest distance of the bands of the vegetation index
_SCATTERING = (0.5, 4.0)  # exponents of the wavelength: very hazy to very clear air (Chavez 1988, table 1)
_SEASON_NM = (690.0, 750.0, 1300.0, 1450.0)
_SEASON = (1.0, -0.5, -0.5, 0.5)
NDVI_LEAST = np.float32(1e-3)
"""Least sum of red and near infrared, so that none is divided by 0."""


@dataclass(frozen=True)
class Optics:
    """Reflectance of a modality's bands = normalized value x ``width`` + ``level``; their centers in nm: float32 [C] each."""

    level: np.ndarray
    width: np.ndarray
    center_nm: np.ndarray

    @cached_property
    def vegetation_bands(self) -> tuple[int, int] | None:
        """The bands of the vegetation index, red and near infrared; None if one lacks."""
        nearest = [(int(np.abs(self.center_nm - nm).argmin()), nm, reach) for nm, reach in (_RED_NM, _NIR_NM)]
        if any(abs(float(self.center_nm[band]) - nm) > reach for band, nm, reach in nearest):
            return None
        return nearest[0][0], nearest[1][0]


@dataclass(frozen=True)
class Light:
    """The change of one patch.

    ``gain``: of the light from the sun. ``haze``: reflectance that the air adds at 490 nm; it falls with the wavelength to the
    power of minus ``exponent``. ``offset``: reflectance added to every band. ``season``: above 0 plants dry, below 0 they
    green.
    """

    gain: float = 1.0
    haze: float = 0.0
    exponent: float = 1.0
    offset: float = 0.0
    season: float = 0.0


def optics_of(scene: Scene, normalizer: Normalizer) -> dict[str, Optics]:
    """Return the optics of each modality of a scene that is in reflectance and whose bands' wavelengths are known.

    Modalities that are projected or normalized by quantiles have none: their values are no shifted and scaled bands.
    """
    known = {}
    for name in OPTICAL:
        if name not in normalizer.shift or name in normalizer.projection or name in normalizer.knots:
            continue
        if name not in scene.modalities:
            continue
        stack = scene.modality(name)
        centers = [band.wavelength_nm or _BY_ROLE.get(band.role or "") for band in stack.bands]
        unit = unit_of_values(name, stack, sampled_or_nothing(scene, name))
        if unit.unit != "reflectance" or not centers or None in centers:
            continue
        shift, factor = normalizer.shift[name].astype(np.float64), normalizer.factor[name].astype(np.float64)
        width = np.where(factor > 0, unit.scale / np.where(factor > 0, factor, 1.0), 0.0)
        level = shift * unit.scale + unit.offset
        known[name] = Optics(*(np.asarray(part, np.float32) for part in (level, width, centers)))
    return known


def draw_light(settings: LightChange, rng: np.random.Generator) -> Light:
    """Return a random change: the same number of random numbers, whatever the settings."""
    sun, season = rng.standard_normal(2)
    haze, exponent, offset = rng.random(), rng.uniform(*_SCATTERING), rng.uniform(-1.0, 1.0)
    return Light(
        gain=float(np.exp(settings.sun_std * sun)),
        haze=settings.haze * haze,
        exponent=float(exponent),
        offset=settings.offset * float(offset),
        season=settings.season_std * float(season),
    )


def light_factors(optics: Optics, light: Light) -> np.ndarray:
    """Return what a light does to the bands of a modality: leaves, slope, added, level, width, float32 [5, C, 1, 1].

    With a normalized value x, reflectance r = x width + level, and vegetation v, the changed reflectance is
    slope r (1 + v leaves) + added; see ``changed_light``.
    """
    nm = optics.center_nm.astype(np.float64)
    path = light.haze * (nm / _BLUE_NM) ** -light.exponent
    leaves = light.season * np.interp(nm, _SEASON_NM, _SEASON)
    parts = (leaves, light.gain * (1 - path), path + light.offset, optics.level, optics.width)
    return np.stack(parts).astype(np.float32)[:, :, None, None]


def changed_light(patch: Patch, valid: np.ndarray, optics: Mapping[str, Optics], light: Light) -> Patch:
    """Return the patch float32 [C, H, W] by modality under another light; modalities without optics do not change.

    With reflectance r, vegetation v = NDVI within 0 and 1, path p = haze (nm / 490)^-exponent, and c(nm) from 1 in the visible
    through -1/2 in the near infrared to 1/2 beyond 1450 nm (drying leaves reflect more red and less near infrared):

        r1 = r (1 + season v c),   r2 = gain r1,   r3 = r2 (1 - p) + p + offset

    Invalid pixels stay 0. Bands without variation stay 0.
    """
    return {
        name: _changed(values, valid, optics[name], light) if name in optics else values
        for name, values in patch.items()
    }


def _changed(values: np.ndarray, valid: np.ndarray, optics: Optics, light: Light) -> np.ndarray:
    leaves, slope, added, level, width = light_factors(optics, light)
    reflectance = values * width + level
    if optics.vegetation_bands is not None:
        red, infrared = (reflectance[band] for band in optics.vegetation_bands)
        index = np.clip((infrared - red) / np.maximum(red + infrared, NDVI_LEAST), 0, 1)
        reflectance = reflectance * (1 + index * leaves)
    reflectance = slope * reflectance + added
    changed = np.where(width > 0, (reflectance - level) / np.where(width > 0, width, 1), 0) * valid
    return np.asarray(changed, np.float32)
