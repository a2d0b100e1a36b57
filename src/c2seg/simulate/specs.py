"""Specifications from the package's YAML files: pairs, cities, families, sensors, materials."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import resources
from math import cos, radians
from typing import Any

import numpy as np
from affine import Affine

from c2seg.documents import parse_yaml
from c2seg.errors import InputError, unknown_name
from c2seg.simulate.parameters import Parameters, family_of
from c2seg.types import Grid

__all__ = ["CitySpec", "city_names", "city_spec", "package_data", "pair_names"]

MODALITIES = ("msi", "hsi", "sar")
_SMALLEST_PX = 32


@dataclass(frozen=True, kw_only=True)
class CitySpec:
    """Everything that determines a city. ``seed`` is the only source of randomness."""

    pair: str
    role: str
    name: str
    seed: int
    parameters: Parameters
    scale: float
    height: int
    width: int
    crs: str
    origin_xy: tuple[float, float]
    latitude: float
    strip: bool
    center_yx: tuple[float, float]
    subsamples: int
    hsi_on_fine_grid: bool
    gsd_m: float
    """Ground meters per pixel: 10, or less in Web Mercator."""
    days: dict[str, float]
    shares: dict[int, float]
    sensors: dict[str, str]
    atmosphere: dict[str, dict[str, float]]
    family: dict[str, Any]

    @property
    def grid(self) -> Grid:
        """The 10 m grid."""
        from rasterio.crs import CRS

        x, y = self.origin_xy
        transform = Affine(10.0, 0.0, x, 0.0, -10.0, y)
        return Grid(self.height, self.width, transform, CRS.from_user_input(self.crs).to_wkt())

    @property
    def size_m(self) -> tuple[float, float]:
        """Height and width on the ground in meters."""
        return self.height * self.gsd_m, self.width * self.gsd_m

    @property
    def is_target(self) -> bool:
        """True for the city with the domain shift."""
        return self.role == "target"


@cache
def package_data(name: str) -> Any:
    """Read one of the package's YAML files."""
    return parse_yaml(resources.files("c2seg.simulate").joinpath(name).read_text(encoding="utf-8"), name)


def city_names(pair: str) -> tuple[str, str]:
    """Names of source and target of a pair. Raises InputError for an unknown pair."""
    if pair not in pair_names():
        raise InputError(unknown_name("pair", pair, pair_names()))
    cities = package_data("pairs.yaml")[pair]["cities"]
    return cities["source"]["name"], cities["target"]["name"]


def pair_names() -> tuple[str, ...]:
    """Names of the pairs."""
    return tuple(name for name in package_data("pairs.yaml") if name != "families")


def city_spec(pair: str, role: str, *, scale: float, seed: int, parameters: Parameters) -> CitySpec:
    """Return the specification of the source or target city of a pair.

    ``scale`` multiplies the sides in pixels. The pixel size remains 10 m. Districts and rivers shrink less than the scene.
    Raises InputError for an unknown pair, or if a side is below 32 pixels or above the real size.
    """
    pairs = package_data("pairs.yaml")
    if pair not in pair_names():
        raise InputError(unknown_name("pair", pair, pair_names()))
    content, family = pairs[pair], pairs["families"][family_of(seed)]
    city = content["cities"][role]
    height, width = (round(side * scale) for side in city["size"])
    if not 0 < scale <= 1 or min(height, width) < _SMALLEST_PX:
        smallest = _SMALLEST_PX / min(min(c["size"]) for c in content["cities"].values())
        raise InputError(f"scale must be within {smallest:.3f}..1 for pair {pair}, found {scale}")
    mercator = content["ground_resolution"] == "cos_latitude"
    days = {m: float(city["day"][m]) for m in MODALITIES}
    shares = {int(k): float(v) for k, v in content["cities"]["source"]["shares"].items()}
    if role == "target":
        days = {m: days[m] + parameters.season * family["days"][m] for m in MODALITIES}
        shares = _blend_shares(shares, {int(k): float(v) for k, v in city["shares"].items()}, parameters.class_shares)
    return CitySpec(
        pair=pair, role=role, name=city["name"], seed=seed, parameters=parameters, scale=scale, height=height, width=width,
        crs=city["crs"], origin_xy=tuple(city["origin"]), latitude=city["latitude"], strip=city["strip"],
        center_yx=tuple(city["center"]), subsamples=content["subsamples"],
        hsi_on_fine_grid=content["hsi_on_fine_grid"],
        gsd_m=10.0 * cos(radians(city["latitude"])) if mercator else 10.0,
        days={m: d % 365 for m, d in days.items()}, shares=shares, sensors=dict(content["sensors"]),
        atmosphere=content["atmosphere"], family=family,
    )  # fmt: skip


def _blend_shares(source: dict[int, float], target: dict[int, float], amount: float) -> dict[int, float]:
    """Return the geometric interpolation of two sets of class percentages, normalized to a sum of 100."""
    blended = {k: float(np.exp((1 - amount) * np.log(source[k]) + amount * np.log(target[k]))) for k in source}
    total = sum(blended.values())
    return {k: 100 * v / total for k, v in blended.items()}
