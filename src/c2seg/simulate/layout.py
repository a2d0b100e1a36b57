"""Land use at points: districts, sites within them, water and its banks, railway, streets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from c2seg.simulate.noise import F32, derive_key, hash_uniform
from c2seg.simulate.plan import CityPlan, draw_uses, plan_city, valid_at
from c2seg.simulate.specs import CitySpec

__all__ = ["Places", "classify", "lay_out_city", "measure_shares"]

I32 = npt.NDArray[np.int32]
_BANKS = {"forest": 10, "park": 6, "wetland": 13, "pasture": 9}


@dataclass
class Places:
    """Land use and position of points; flat arrays of equal length.

    ``land`` is the class. ``block`` is the class of the land that a street or railway crosses. ``parcel`` is an id of ground
    that changes its use as a unit. ``u`` and ``v`` are meters along the two street directions of the quarter. ``lane`` is the
    distance to the axis of the nearest street in meters (large if there is none).
    """

    x: F32
    y: F32
    land: npt.NDArray[np.uint8]
    block: npt.NDArray[np.uint8]
    parcel: I32
    quarter: I32
    u: F32
    v: F32
    lane: F32
    rail: npt.NDArray[np.bool_]
    river: npt.NDArray[np.bool_]

    def take(self, index: npt.NDArray[Any]) -> Places:
        """Return the places at these indexes."""
        return Places(**{name: getattr(self, name)[index] for name in self.__dataclass_fields__})


def lay_out_city(spec: CitySpec, raster: npt.NDArray[np.uint8] | None = None) -> CityPlan:
    """Plan a city and assign uses to its districts."""
    plan = plan_city(spec, raster)
    return plan if raster is not None else draw_uses(plan, measure_shares)


def measure_shares(plan: CityPlan, points: int = 40_000) -> dict[int, float]:
    """Return the fraction of each class in the valid area, from a fixed random sample of points."""
    height_m, width_m = plan.spec.size_m
    rng = np.random.Generator(np.random.Philox(derive_key(plan.spec.seed, plan.spec.role, "survey")))
    x = (rng.random(points) * width_m).astype(np.float32)
    y = (rng.random(points) * height_m).astype(np.float32)
    inside = valid_at(plan.spec, x, y)
    land = classify(plan, x[inside], y[inside]).land
    counts = np.bincount(land, minlength=14)
    return {k: float(counts[k] / counts.sum()) for k in range(1, 14)}


def classify(plan: CityPlan, x: F32, y: F32) -> Places:
    """Return the places of points, in meters from the upper left corner (x right, y down; flat float32)."""
    quarter, _ = plan.quarters.cells.nearest(x, y)
    u, v = _street_frame(plan, quarter, x, y)
    if plan.raster is not None:
        return _from_raster(plan, x, y, quarter, u, v)
    parcel, land = _districts(plan, x, y)
    river = _banks_and_rivers(plan, x, y, land)
    block = land.copy()
    lane = _lanes(plan, quarter, u, v, land)
    _, across = plan.railway.along_across(x, y)
    yard = np.hypot(x - plan.roads.center_xy[0], y - plan.roads.center_xy[1])
    width = plan.railway.half_width_m * (1 + 2.2 * np.exp(-((yard / (120 * plan.railway.half_width_m)) ** 2)))
    rail = (np.abs(across) < width) & ~river
    land[rail] = 4
    half = plan.quarters.half_street_m[quarter]
    half[~np.isin(land, (3, 4))] = 3.5
    street = (lane < half) & ~rail & (land != 1)
    main = _main_roads(plan, x, y)
    np.minimum(lane, main, out=lane)
    street |= main < plan.roads.half_width_m
    land[street] = 2
    return Places(x, y, land, block, parcel, quarter, u, v, lane, rail, river)


def _street_frame(plan: CityPlan, quarter: I32, x: F32, y: F32) -> tuple[F32, F32]:
    quarters = plan.quarters
    c, s = np.cos(quarters.theta), np.sin(quarters.theta)
    dx, dy = x - quarters.cells.x[quarter], y - quarters.cells.y[quarter]
    return c[quarter] * dx + s[quarter] * dy, c[quarter] * dy - s[quarter] * dx


def _districts(plan: CityPlan, x: F32, y: F32) -> tuple[I32, npt.NDArray[np.uint8]]:
    """Return parcel ids and the class of the district, or of the site within it."""
    size = np.float32(plan.districts.size_m)
    bend_x, bend_y = plan.warp[0](x, y) - np.float32(0.5), plan.warp[1](x, y) - np.float32(0.5)
    fray_x, fray_y = plan.fray[0](x, y) - np.float32(0.5), plan.fray[1](x, y) - np.float32(0.5)
    cell, _ = plan.districts.nearest(x + 0.25 * size * bend_x, y + 0.25 * size * bend_y)
    land = plan.use[cell]
    # Natural boundaries are not straight: classify these points again with a stronger displacement.
    index = np.flatnonzero(np.isin(land, (1, 10, 11, 13)))
    if len(index):
        px, py = x[index] + 45 * fray_x[index], y[index] + 45 * fray_y[index]
        again, _ = plan.districts.nearest(px + 0.4 * size * bend_x[index], py + 0.4 * size * bend_y[index])
        cell[index] = again
        land[index] = plan.use[again]
    dx = x - plan.districts.x[cell] + 24 * fray_x
    dy = y - plan.districts.y[cell] + 24 * fray_y
    site = np.hypot(dx, dy) < plan.site_radius_m[cell]
    np.copyto(land, plan.site_use[cell], where=site)
    return cell * np.int32(2) + site, land


def _banks_and_rivers(plan: CityPlan, x: F32, y: F32, land: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    river = np.zeros(len(x), bool)
    bank = _BANKS[plan.spec.family["banks"]]
    for number, channel in enumerate(plan.channels):
        along, across = channel.along_across(x, y)
        # The bank's width varies along the line, independently on each side, and is 0 in places.
        ripple = plan.warp[number % 2](along * np.float32(0.6), np.sign(across) * np.float32(900.0))
        width = channel.half_width_m * (1 + 4 * np.maximum(ripple - np.float32(0.45), 0))
        distance = np.abs(across)
        land[(distance < width) & (land != 1)] = bank
        river |= distance < channel.half_width_m * (np.float32(0.85) + np.float32(0.3) * ripple)
    land[river] = 1
    return river


def _lanes(plan: CityPlan, quarter: I32, u: F32, v: F32, land: npt.NDArray[np.uint8]) -> F32:
    """Return the distance to the nearest small street. There are few outside of towns."""
    block_u, block_v = plan.quarters.block_u_m[quarter], plan.quarters.block_v_m[quarter]
    country = ~np.isin(land, (3, 4))
    works = land == 4
    stretch = np.where(works, np.float32(2.0), np.where(country, np.float32(6.0), np.float32(1.0)))
    block_u = block_u * stretch
    block_v = block_v * stretch
    lane: F32 = np.minimum(np.abs(u - np.rint(u / block_u) * block_u), np.abs(v - np.rint(v / block_v) * block_v))
    lane[np.isin(land, (1, 10, 12, 13))] = 1e4
    return lane


def _main_roads(plan: CityPlan, x: F32, y: F32) -> F32:
    """Return the distance to the nearest main road in meters."""
    roads = plan.roads
    dx, dy = x - np.float32(roads.center_xy[0]), y - np.float32(roads.center_xy[1])
    radius = np.hypot(dx, dy)
    sway = roads.wave(x, y) - np.float32(0.5)
    distance = np.full(len(x), 1e4, np.float32)
    if len(roads.rays):
        theta = np.arctan2(dy, dx) + np.float32(0.5) * sway
        for ray in roads.rays:
            turn = theta - ray
            turn -= np.float32(2 * np.pi) * np.rint(turn / np.float32(2 * np.pi))
            np.minimum(distance, np.abs(turn) * radius, out=distance)
    for ring in roads.rings_m:
        np.minimum(distance, np.abs(radius - ring * (1 + np.float32(0.5) * sway)), out=distance)
    if roads.grid_share > 0:
        c, s = np.float32(np.cos(roads.grid_angle)), np.float32(np.sin(roads.grid_angle))
        spacing = np.float32(roads.grid_spacing_m)
        for axis, across in enumerate((c * dx + s * dy, c * dy - s * dx)):
            line = np.rint(across / spacing)
            exists = hash_uniform(roads.key + axis, line.astype(np.int32)) < roads.grid_share
            gap = np.where(exists, np.abs(across - line * spacing + 60 * sway), np.float32(1e4))
            np.minimum(distance, gap, out=distance)
    return distance


def _from_raster(plan: CityPlan, x: F32, y: F32, quarter: I32, u: F32, v: F32) -> Places:
    """Return places with the classes of the plan's raster. Parcels are districts divided by class."""
    raster = plan.raster
    assert raster is not None
    gsd = np.float32(plan.spec.gsd_m)
    row = np.clip((y / gsd).astype(np.int32), 0, raster.shape[0] - 1)
    column = np.clip((x / gsd).astype(np.int32), 0, raster.shape[1] - 1)
    land = raster[row, column]
    cell, _ = plan.districts.nearest(x, y)
    lane = _lanes(plan, quarter, u, v, land)
    lane[land == 2] = 0.0
    none = np.zeros(len(x), bool)
    return Places(x, y, land, land.copy(), cell * np.int32(2), quarter, u, v, lane, none, none)
