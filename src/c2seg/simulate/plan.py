"""The plan of a city: water, roads, centers and the use of districts, as small tables.

Districts are Voronoi cells. Each class gets the most suitable cells until its fraction of the city is reached. The fractions
are corrected for the area of rivers, roads and railways.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from c2seg.simulate.noise import F32, Cells, SmoothNoise, derive_key, hash_uniform
from c2seg.simulate.specs import CitySpec

__all__ = ["Channel", "CityPlan", "Quarters", "Roads", "draw_uses", "plan_city", "valid_at"]

AB_SIDE_PX = 1098.0  # mean side of the real Augsburg scene; sizes of districts and rivers refer to it
_FEWEST_CELLS = 2.5  # a class with fewer cells becomes round sites inside other districts
# Order of assignment: rare or location-bound classes first, the largest ones last.
_ORDER = (1, 13, 12, 8, 5, 11, 6, 4, 3, 10, 9)
ARABLE = 7


@dataclass(frozen=True)
class Channel:
    """A meandering line across the scene: a river, a canal or a railway."""

    angle: float
    offset_m: float
    half_width_m: float
    amplitudes_m: tuple[float, ...]
    wavelengths_m: tuple[float, ...]
    shifts_rad: tuple[float, ...]

    def along_across(self, x: F32, y: F32) -> tuple[F32, F32]:
        """Return meters along the line and signed meters across it."""
        c, s = np.float32(np.cos(self.angle)), np.float32(np.sin(self.angle))
        along = c * x + s * y
        across = c * y - s * x - np.float32(self.offset_m)
        slope = np.zeros_like(along)
        for amplitude, wavelength, shift in zip(self.amplitudes_m, self.wavelengths_m, self.shifts_rad, strict=True):
            k = np.float32(2 * np.pi / wavelength)
            angle = along * k + np.float32(shift)
            across -= np.float32(amplitude) * np.sin(angle)
            slope += np.float32(amplitude) * k * np.cos(angle)
        return along, across / np.sqrt(1 + slope * slope)


@dataclass(frozen=True)
class Roads:
    """Main roads: rays and rings around the center, and lines of a grid, of which the fraction ``grid_share`` exists."""

    center_xy: tuple[float, float]
    rays: F32
    rings_m: F32
    grid_angle: float
    grid_spacing_m: float
    grid_share: float
    half_width_m: float
    wave: SmoothNoise
    key: int


@dataclass(frozen=True)
class Quarters:
    """Neighborhoods with a common street grid: orientation, size of blocks, width of streets, building style."""

    cells: Cells
    theta: F32
    block_u_m: F32
    block_v_m: F32
    half_street_m: F32
    style: npt.NDArray[np.uint8]
    field_width_m: F32
    field_length_m: F32


@dataclass(frozen=True)
class CityPlan:
    """All tables that define the land use at any point."""

    spec: CitySpec
    districts: Cells
    use: npt.NDArray[np.uint8]
    site_use: npt.NDArray[np.uint8]
    site_radius_m: F32
    channels: tuple[Channel, ...]
    railway: Channel
    roads: Roads
    quarters: Quarters
    warp: tuple[SmoothNoise, SmoothNoise]
    fray: tuple[SmoothNoise, SmoothNoise]
    raster: npt.NDArray[np.uint8] | None = None

    def key(self, name: str) -> int:
        """Return the random key of a kind of object of this city."""
        return derive_key(self.spec.seed, self.spec.role, name)


def plan_city(spec: CitySpec, raster: npt.NDArray[np.uint8] | None = None) -> CityPlan:
    """Draw the plan of a city. ``raster`` (ids 0..13 on the fine grid) replaces the drawn land use.

    All land is arable until :func:`draw_uses` assigns the uses of districts.
    """
    height_m, width_m = spec.size_m
    side_m = float(np.sqrt(height_m * width_m))
    relative = side_m / 10.0 / AB_SIDE_PX
    seed = derive_key(spec.seed, spec.role)
    rng = np.random.Generator(np.random.Philox(derive_key(seed, "plan")))
    districts = Cells.make(seed, "districts", 260.0 * relative**0.37, width_m, height_m)
    count = len(districts.x)
    water = max(9.0, 38.0 * relative**0.5)
    channels = tuple(
        _channel(rng, spec, water * (1.0 if i == 0 else 0.55), spec.family["meander"], i)
        for i in range(spec.family["channels"])
    )
    railway = _channel(rng, spec, max(8.0, 14 * relative**0.25), 0.02, 7)
    return CityPlan(
        spec=spec, districts=districts, use=np.full(count, ARABLE, np.uint8), site_use=np.zeros(count, np.uint8),
        site_radius_m=np.zeros(count, np.float32), channels=channels, railway=railway,
        roads=_roads(rng, spec, side_m, relative), quarters=_quarters(rng, seed, spec, districts.size_m),
        warp=(SmoothNoise.make(seed, "warp x", districts.size_m), SmoothNoise.make(seed, "warp y", districts.size_m)),
        fray=(SmoothNoise.make(seed, "fray x", 55.0), SmoothNoise.make(seed, "fray y", 55.0)), raster=raster,
    )  # fmt: skip


def _channel(rng: np.random.Generator, spec: CitySpec, half_width_m: float, meander: float, number: int) -> Channel:
    height_m, width_m = spec.size_m
    # Across the longer side for a strip (Berlin's canals), roughly along it otherwise; railways cross rivers.
    steep = (number % 2 == 0) != spec.strip
    angle = (np.pi / 2 if steep else 0.0) + rng.uniform(-0.3, 0.3)
    cy, cx = spec.center_yx
    # The first river passes near the center; the position of the second one is random.
    aside = rng.uniform(0.06, 0.2) * rng.choice([-1, 1]) if number in (0, 7) else rng.uniform(-0.4, 0.4)
    if number == 7:
        aside *= 0.35
    extent = height_m if not steep else width_m
    x, y = cx * width_m, cy * height_m
    offset = np.cos(angle) * y - np.sin(angle) * x + aside * extent
    length = float(np.sqrt(height_m * width_m))
    wavelengths = (length * rng.uniform(0.5, 0.9), length * rng.uniform(0.18, 0.3), length * rng.uniform(0.07, 0.1))
    amplitudes = tuple(float(meander * length * f) for f in (1.0, 0.35, 0.1))
    shifts_rad = tuple(float(p) for p in rng.uniform(0, 2 * np.pi, 3))
    return Channel(float(angle), float(offset), half_width_m, amplitudes, wavelengths, shifts_rad)


def _roads(rng: np.random.Generator, spec: CitySpec, side_m: float, relative: float) -> Roads:
    height_m, width_m = spec.size_m
    pattern = spec.parameters.street_pattern if spec.is_target else 0.0
    rays = round(9 * min(1.0, relative**0.25) * (1 - 0.8 * pattern))
    angles = (np.arange(rays) + rng.uniform(-0.25, 0.25, rays)) * (2 * np.pi / max(rays, 1)) + rng.uniform(0, 1)
    rings = side_m * np.array([0.06, 0.17]) * rng.uniform(0.85, 1.15, 2) * (1 if pattern < 0.75 else 0)
    cy, cx = spec.center_yx
    return Roads(
        center_xy=(cx * width_m, cy * height_m), rays=angles.astype(np.float32),
        rings_m=rings[rings > 250].astype(np.float32), grid_angle=float(rng.uniform(-0.2, 0.2)),
        grid_spacing_m=max(320.0, 1000.0 * relative**0.4), grid_share=0.75 * pattern,
        half_width_m=min(9.5, 8.5 * relative**0.18),
        wave=SmoothNoise.make(spec.seed, f"{spec.role} roads", max(200.0, 1400 * relative**0.5)),
        key=derive_key(spec.seed, spec.role, "roads"),
    )  # fmt: skip


def _quarters(rng: np.random.Generator, seed: int, spec: CitySpec, district_m: float) -> Quarters:
    height_m, width_m = spec.size_m
    cells = Cells.make(seed, "quarters", max(300.0, 2.3 * district_m), width_m, height_m)
    count = len(cells.x)
    pattern = spec.parameters.street_pattern if spec.is_target else 0.0
    cy, cx = spec.center_yx
    from_x, from_y = cells.x - cx * width_m, cells.y - cy * height_m
    radial = np.arctan2(from_y, from_x) + rng.normal(0, 0.12, count)
    square = rng.normal(0.1, 0.04, count)
    theta = np.where(rng.random(count) < pattern, square, radial)
    distance = np.hypot(from_x, from_y) / np.sqrt(height_m * width_m) + rng.normal(0, 0.04, count)
    # The pattern of the center fades outwards: villages and fields follow the terrain, which is smooth.
    drift = SmoothNoise.make(seed, "terrain", 5 * cells.size_m)(cells.x, cells.y) * 3 + rng.normal(0, 0.15, count)
    theta = np.where(distance > rng.uniform(0.22, 0.34, count), drift + square, theta)
    # 0 perimeter blocks near the center, 1 detached houses, 2 slabs
    style = np.where(distance < 0.09, 0, np.where(rng.random(count) < 0.2 + 0.3 * pattern, 2, 1)).astype(np.uint8)
    scale = 1 + 0.35 * pattern
    block_u = np.choose(style, (rng.uniform(70, 105, count), rng.uniform(60, 85, count), rng.uniform(100, 150, count)))
    block_v = np.choose(
        style, (rng.uniform(90, 150, count), rng.uniform(120, 210, count), rng.uniform(130, 200, count))
    )
    field_scale = 1 + 0.9 * pattern
    return Quarters(
        cells=cells, theta=theta.astype(np.float32), block_u_m=(block_u * scale).astype(np.float32),
        block_v_m=(block_v * scale).astype(np.float32),
        half_street_m=np.choose(style, (6.5, 4.5, 6.0)).astype(np.float32), style=style,
        field_width_m=(rng.uniform(55, 150, count) * field_scale).astype(np.float32),
        field_length_m=(rng.uniform(180, 480, count) * field_scale).astype(np.float32),
    )  # fmt: skip


def valid_at(spec: CitySpec, x: F32, y: F32) -> npt.NDArray[np.bool_]:
    """Return whether points are in the imaged area: everywhere, or in a slanted strip as over Berlin."""
    if not spec.strip:
        return np.ones(len(x), bool)
    height_m, width_m = spec.size_m
    s, t = x / np.float32(width_m), y / np.float32(height_m)
    # Four straight edges from figure 1 of the dataset paper; a fifth of the box is empty.
    return (s > 0.02 + 0.19 * t) & (s < 0.795 + 0.2 * t) & (t > 0.012 * (1 - s)) & (t < 1 - 0.01 * s)


def draw_uses(plan: CityPlan, measure: Any) -> CityPlan:
    """Assign uses to all districts, so that the class fractions of the city are as specified.

    ``measure(plan)`` returns the class fractions of a plan by id. Rivers, banks, roads and railways reduce the area of
    districts, so the demand is corrected four times by the measured fractions.
    """
    goal = {k: v / 100 for k, v in plan.spec.shares.items()}
    suitability = _suitability(plan)
    demand = dict(goal)
    best, best_error = plan, np.inf
    for _ in range(5):
        trial = replace(plan, **_assign(plan, suitability, demand))
        measured = measure(trial)
        error = sum(abs(measured.get(k, 0.0) - goal[k]) for k in goal)
        if error < best_error:
            best, best_error = trial, error
        for k in goal:
            demand[k] = max(demand[k] + 0.8 * (goal[k] - measured.get(k, 0.0)), 0.25 * goal[k])
        total = sum(v for k, v in demand.items() if k != 2)
        demand = {k: v / total for k, v in demand.items() if k != 2} | {2: 0.0}
    return best


def _suitability(plan: CityPlan) -> dict[int, F32]:
    """Return by class the suitability of each district (only the order matters)."""
    spec, cells = plan.spec, plan.districts
    height_m, width_m = spec.size_m
    side = np.sqrt(height_m * width_m)
    seed = derive_key(spec.seed, spec.role, "uses")
    rng = np.random.Generator(np.random.Philox(seed))
    clump = spec.family["clumping"]

    def noise(name: str, size: float) -> F32:
        return SmoothNoise.make(seed, name, size * cells.size_m)(cells.x, cells.y) - np.float32(0.5)

    def white(amount: float) -> F32:
        return rng.normal(0, amount, len(cells.x)).astype(np.float32)

    town = _urbanity(plan, rng, side)
    water = np.min([np.abs(c.along_across(cells.x, cells.y)[1]) for c in plan.channels], axis=0) / side
    rail = np.abs(plan.railway.along_across(cells.x, cells.y)[1]) / side
    hills = noise("hills", 1.6 * clump)
    return {
        1: -2 * water + noise("lakes", clump) + white(0.05),
        13: -4 * water - town + white(0.1),
        12: -0.5 * town + noise("open", clump) + white(0.1),
        8: -np.abs(town - 0.35) + noise("orchards", clump) + white(0.05),
        5: -np.abs(town - 0.4) - rail + noise("pits", 1.0) + white(0.1),
        11: -0.3 * town + 0.4 * hills + white(0.2),
        6: 0.5 * np.minimum(town, 0.8) - water + white(0.28),
        4: -0.8 * np.abs(town - 0.55) - 1.5 * rail + 0.9 * noise("works", 0.8 * clump) + white(0.05),
        3: town + 0.25 * noise("homes", 0.8 * clump) + white(0.06),
        10: -0.6 * town + 2.2 * hills + white(0.04),
        9: -0.4 * town - 1.5 * water - hills + 0.6 * noise("meadows", clump) + white(0.1),
    }


def _urbanity(plan: CityPlan, rng: np.random.Generator, side: float) -> F32:
    spec, cells = plan.spec, plan.districts
    height_m, width_m = spec.size_m
    cy, cx = spec.center_yx
    places = [(cx * width_m, cy * height_m, 0.32 * side, 1.0)]
    places += [
        (rng.uniform(0.1, 0.9) * width_m, rng.uniform(0.08, 0.92) * height_m, 0.16 * side, 0.85)
        for _ in range(spec.family["centers"] - 1)
    ]
    places += [
        (rng.uniform(0, 1) * width_m, rng.uniform(0, 1) * height_m, rng.uniform(0.035, 0.08) * side, 0.75)
        for _ in range(spec.family["villages"])
    ]
    town = np.zeros(len(cells.x), np.float32)
    for x, y, radius, height in places:
        distance = np.hypot(cells.x - x, cells.y - y) / radius
        np.maximum(town, (height * np.exp(-(distance**1.5))).astype(np.float32), out=town)
    return town


def _assign(plan: CityPlan, suitability: dict[int, F32], demand: dict[int, float]) -> dict[str, Any]:
    """Assign districts to classes by suitability. Small demands become sites within districts."""
    cells = plan.districts
    height_m, width_m = plan.spec.size_m
    inside = (cells.x >= 0) & (cells.x < width_m) & (cells.y >= 0) & (cells.y < height_m)
    inside &= valid_at(plan.spec, cells.x, cells.y)
    number = len(cells.x)
    use = np.full(number, ARABLE, np.uint8)
    site_use, radius = np.zeros(number, np.uint8), np.zeros(number, np.float32)
    free = np.ones(number, bool)
    jitter = hash_uniform(derive_key(plan.spec.seed, plan.spec.role, "sites"), np.arange(number))
    for land in _ORDER:
        cells_demanded = demand[land] * inside.sum()
        order = np.argsort(-suitability[land], kind="stable")
        sited = cells_demanded if cells_demanded < _FEWEST_CELLS else 0.0
        if land == 1:  # the family sets the fraction of still water in ponds
            sited = max(sited, cells_demanded * plan.spec.family["ponds"])
        # Suitable districts in the margin are assigned too, but only those within the city count.
        candidates = order[free[order]]
        reached = np.cumsum(inside[candidates])
        cut = int(np.searchsorted(reached, round(cells_demanded - sited))) + 1 if sited < cells_demanded else 0
        assigned = candidates[:cut]
        use[assigned], free[assigned] = land, False
        if sited > 0:
            # Discs cover a third of a district. Sites of less than about twenty pixels would consist of mixed pixels only.
            hosts = order[(inside & (site_use == 0) & (use != 1))[order]][: max(1, int(np.ceil(sited / 0.35)))]
            area = sited * cells.size_m**2 / max(1, len(hosts)) * (0.7 + 0.6 * jitter[hosts])
            site_use[hosts] = land
            radius[hosts] = np.clip(np.sqrt(area / np.pi), 26.0, 0.45 * cells.size_m)
    return {"use": use, "site_use": site_use, "site_radius_m": radius}
