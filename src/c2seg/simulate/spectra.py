"""Reflectance of materials from measured spectra, in many variants, at the season and location of an image.

Sources: earthlib's full spectral library (MIT license; 180 bands, 400..2450 nm): built surfaces, soils, dry plants and
bark are measured, green canopies are simulated by PROSAIL. Water is a model of inherent optical properties.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from c2seg.errors import MissingExtraError
from c2seg.simulate.noise import derive_key
from c2seg.simulate.specs import CitySpec, package_data

__all__ = ["VARIANTS", "Library", "material_names", "material_radar", "material_reflectance", "open_library"]

F64 = npt.NDArray[np.float64]
VARIANTS = 40  # spectra per material; objects use one of them


@dataclass(frozen=True)
class Library:
    """Spectra by group; ``wavelengths_nm`` float64[180], each group float64 [N, 180] of reflectance 0..1."""

    wavelengths_nm: F64
    groups: dict[str, F64]


@cache
def open_library() -> Library:
    """Load earthlib's full library. Raises MissingExtraError without the extra ``simulate``."""
    try:
        import earthlib
    except ImportError as error:
        raise MissingExtraError("simulating cities", "simulate") from error
    full = earthlib.full_library
    names = np.asarray(full.metadata["LEVEL_3"])
    data = np.asarray(full.data, np.float64)
    wavelengths = np.asarray(full.sensor.band_centers, np.float64) * 1000.0
    return Library(wavelengths, {str(k): data[names == k] for k in np.unique(names)})


@cache
def material_names() -> tuple[str, ...]:
    """Names of the materials, in the order of their numbers."""
    return tuple(package_data("materials.yaml"))


def material_reflectance(spec: CitySpec, day: float) -> F64:
    """Return reflectance [materials * VARIANTS, 180] of a city at a day of the year, before atmosphere and sensor.

    A variant has the same composition on every day, so two dates of a city are consistent.
    """
    library = open_library()
    out = [_variants(library, spec, name, day) for name in material_names()]
    return np.clip(np.concatenate(out), 0.0005, 1.0)


def material_radar(spec: CitySpec, day: float) -> F64:
    """Return backscatter [2, materials * VARIANTS] in linear power: co-polarized, then cross-polarized."""
    rows = []
    for name, content in package_data("materials.yaml").items():
        rng = _rng(spec, name, "radar")
        level = np.tile(np.array(content["radar"], float), (VARIANTS, 1))
        if "radar_bare" in content:
            green = _greenness(content, spec, name, day)[:, None]
            level = green * level + (1 - green) * np.array(content["radar_bare"], float)
        level += rng.normal(0, content["radar_spread"], (VARIANTS, 1)) + rng.normal(0, 0.5, (VARIANTS, 2))
        rows.append(level)
    return np.asarray(10.0 ** (np.concatenate(rows).T / 10.0))


def _rng(spec: CitySpec, *names: str) -> np.random.Generator:
    # The city's role is not in the key: at shift 0 both cities have the same materials, which change gradually with it.
    return np.random.Generator(np.random.Philox(derive_key(spec.seed, "material", *names)))


def _variants(library: Library, spec: CitySpec, name: str, day: float) -> F64:
    content = package_data("materials.yaml")[name]
    if "water" in content:
        return _water(library.wavelengths_nm, content["water"], _rng(spec, name))
    if "spectra" in content:
        return _measured(library, spec, name, content)
    rng = _rng(spec, name)
    low, high = content["canopy"]
    leaf = _draw(_canopies(library, low, high), spec, name + " canopy", rng) * content["scale"]
    leaf *= rng.normal(1, 0.07, (VARIANTS, 1)).clip(0.75, 1.3)
    if "bloom" in content:
        leaf = _bloom(library.wavelengths_nm, leaf, content["bloom"], day, rng)
    ground = np.zeros_like(leaf)
    parts = rng.dirichlet([6 * w for w in content["background"].values()], VARIANTS)
    for part, group in zip(parts.T, content["background"], strict=True):
        scale = 0.55 if group == "soil" else 0.9
        ground += part[:, None] * scale * _draw(library.groups[group], spec, group, rng, local=group == "soil")
    ground *= content.get("background_scale", 1.0)
    green = _greenness(content, spec, name, day)[:, None]
    return np.asarray(green * leaf + (1 - green) * ground)


def _measured(library: Library, spec: CitySpec, name: str, content: dict[str, Any]) -> F64:
    """Draw variants from groups by weight. The brightness of objects varies with roughness, age and moisture."""
    rng = _rng(spec, name)
    groups, weights = list(content["spectra"]), np.array(list(content["spectra"].values()))
    counts = np.floor(np.cumsum(weights) / weights.sum() * VARIANTS + 0.5).astype(int)
    counts = np.diff(counts, prepend=0)
    local = bool(content.get("local"))
    drawn = [
        _draw(library.groups[g], spec, g, rng, local=local, count=n) for g, n in zip(groups, counts, strict=True) if n
    ]
    factor = content["scale"] * np.exp(rng.normal(0, content["spread"], (VARIANTS, 1)))
    # Shuffled, so that a variant's number is independent of its group.
    return np.asarray(rng.permutation(np.concatenate(drawn)) * factor)


def _draw(
    pool: F64, spec: CitySpec, name: str, rng: np.random.Generator, *, local: bool = False, count: int = VARIANTS
) -> F64:
    """Draw spectra from a pool. With the parameter ``material_mix`` the two cities draw from opposite ends of it.

    ``local`` restricts what is left to similar spectra: soils of a region resemble each other.
    """
    brightness = pool.mean(axis=1)
    order = np.argsort(brightness, kind="stable")
    overlap = 1 - 0.45 * spec.parameters.material_mix
    brighter = _direction(spec, name) > 0
    upper = spec.is_target == brighter
    start = int((1 - overlap) * len(pool)) if upper else 0
    part = order[start : start + max(1, int(np.ceil(overlap * len(pool))))]
    if local:
        middle = len(part) // 2 if brighter else int(0.4 * len(part))
        width = max(1, len(part) // 4)
        part = part[max(0, middle - width) : middle + width]
    return np.asarray(pool[rng.choice(part, count, replace=len(part) < count)])


def _direction(spec: CitySpec, name: str) -> float:
    """Return the end of a group from which the target draws, bright (above 0) or dark: the family's, or one of its own."""
    common = float(spec.family["mix"])
    return common or float(_rng(spec, name, "direction").choice([-1.0, 1.0]))


def _canopies(library: Library, low: float, high: float) -> F64:
    pool, wavelengths = library.groups["canopy"], library.wavelengths_nm
    red, nir = (pool[:, np.argmin(np.abs(wavelengths - nm))] for nm in (670.0, 850.0))
    ndvi = (nir - red) / (nir + red)
    return np.asarray(pool[(ndvi >= low) & (ndvi <= high)])


def _greenness(content: dict[str, Any], spec: CitySpec, name: str, day: float) -> F64:
    """Return the leaf cover of each variant, with variations in date and density."""
    rng = _rng(spec, name, "greenness")
    days, values = np.array(content["greenness"], float).T
    shifted = day + rng.normal(0, 7, VARIANTS)
    green = np.interp(shifted, days, values, period=365.0)
    return np.asarray(np.clip(green * rng.normal(1, 0.1, VARIANTS), 0.02, 0.98))


def _bloom(wavelengths: F64, leaf: F64, bloom: list[float], day: float, rng: np.random.Generator) -> F64:
    """Add yellow petals, bright above 510 nm, while the crop is in bloom (first day, last day, cover)."""
    first, last, cover = bloom
    shifted = day + rng.normal(0, 5, (VARIANTS, 1))
    flowers = cover * np.clip(np.minimum(shifted - first, last - shifted) / 6, 0, 1)
    petals = 0.03 + 0.4 / (1 + np.exp(-(wavelengths - 515) / 12))
    visible = 1 / (1 + np.exp((wavelengths - 720) / 15))
    return np.asarray(leaf + flowers * visible * (petals - leaf))


# Absorption of pure water in 1/m: Pope & Fry, Applied Optics 36 (1997) to 700 nm; Kou et al., Applied Optics 32 (1993) beyond.
_WATER_NM = (
    400,
    450,
    500,
    550,
    600,
    650,
    700,
    750,
    800,
    850,
    900,
    950,
    1000,
    1100,
    1200,
    1300,
    1450,
    1650,
    1930,
    2200,
    2450,
)
_WATER_ABSORPTION = (
    0.0066, 0.0092, 0.0204, 0.0565, 0.222, 0.34, 0.624, 2.5, 2.0, 4.2, 6.7, 39.0, 36.0, 17.0, 104.0, 110.0, 2600.0, 500.0,
    12500.0, 1650.0, 7500.0,
)  # fmt: skip


def _water(wavelengths: F64, content: dict[str, list[float]], rng: np.random.Generator) -> F64:
    """Return reflectance of deep water: R = pi * 0.54 * f/Q * bb / (a + bb), plus skylight reflected at the surface.

    Case-2 model after Gordon et al., JGR 93 (1988): absorption by water, chlorophyll (maxima at 440 and 675 nm) and
    yellow substance; backscattering by water and particles.
    """

    def between(name: str) -> F64:
        low, high = content[name]
        return np.asarray(np.exp(rng.uniform(np.log(low), np.log(high), (VARIANTS, 1))))

    pure = np.exp(np.interp(wavelengths, _WATER_NM, np.log(_WATER_ABSORPTION)))
    pigment = np.exp(-(((wavelengths - 440) / 45) ** 2)) + 0.5 * np.exp(-(((wavelengths - 675) / 14) ** 2)) + 0.08
    absorption = pure + 0.06 * between("chlorophyll") ** 0.65 * pigment * (wavelengths < 750)
    absorption = absorption + between("yellow") * np.exp(-0.014 * (wavelengths - 440))
    scattering = 0.001 * (500 / wavelengths) ** 4.3 + between("sediment") * (550 / wavelengths)
    mirrored = rng.uniform(0.004, 0.016, (VARIANTS, 1))
    return np.asarray(np.pi * 0.54 * 0.095 * scattering / (absorption + scattering) + mirrored)
