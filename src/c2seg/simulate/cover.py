"""Materials of land uses at points inside blocks, gardens, fields and woods.

Everything is a function of position: street frames define lots, lots define buildings, hashes define the material of objects.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from c2seg.simulate.layout import Places
from c2seg.simulate.noise import F32, U32, SmoothNoise, derive_key, hash_bits, hash_uniform
from c2seg.simulate.plan import CityPlan
from c2seg.simulate.specs import package_data
from c2seg.simulate.spectra import VARIANTS, material_names

__all__ = ["Cover", "Coverer"]

_SHADE = 0.28  # fraction of light in a shadow, from the sky
_M = {name: number for number, name in enumerate(material_names())}


@dataclass
class Cover:
    """Surface at points: row of the material tables, light (1: sunlit), and radar power of corner reflections."""

    variant: npt.NDArray[np.int32]
    light: F32
    bounce: F32


@dataclass
class _Patch:
    """Material number, object id, light and corner reflection of the points of a land use."""

    material: npt.NDArray[np.uint8]
    thing: U32
    light: F32
    bounce: F32


class Coverer:
    """Assigns materials to points. ``sun_elevation`` in degrees sets the length of shadows."""

    def __init__(self, plan: CityPlan, sun_elevation: float) -> None:
        self.plan = plan
        spec = plan.spec
        blends = package_data("mixtures.yaml")
        amount = spec.parameters.material_mix if spec.is_target else 0.0
        self.roofs = {kind: _blend(mixes, amount) for kind, mixes in blends["roofs"].items()}
        self.crops = _blend(blends["crops"], amount)
        self.trees = _blend(blends["trees"], amount)
        self.shadow_per_height = float(np.clip(1 / np.tan(np.radians(max(sun_elevation, 12.0))), 0.3, 4.0))
        # Sun in the south, a little east: shadows fall to the north, slightly west (y grows downwards).
        self.shadow_x, self.shadow_y = -0.35 * self.shadow_per_height, -0.94 * self.shadow_per_height
        seed = derive_key(spec.seed, spec.role)
        self.thicket = SmoothNoise.make(seed, "thicket", 38.0)
        self.stand = SmoothNoise.make(seed, "stand", 240.0)
        self.vigor = SmoothNoise.make(seed, "vigour", 70.0)  # the text is part of the random key
        self.facing = _facing(plan)
        self._land: dict[int, Any] = {
            1: self._water, 2: self._street, 3: self._homes, 4: self._works, 5: self._pit, 6: self._park, 7: self._field,
            8: self._orchard, 9: self._pasture, 10: self._forest, 11: self._shrub, 12: self._open, 13: self._wetland,
        }  # fmt: skip

    def __call__(self, places: Places) -> Cover:
        """Return the cover of places by their ``land``. 0 (unknown, only in rasters) is covered like pasture."""
        count = len(places.x)
        material, thing = np.zeros(count, np.uint8), np.zeros(count, np.uint32)
        light, bounce = np.ones(count, np.float32), np.zeros(count, np.float32)
        land = np.where(places.land == 0, np.uint8(9), places.land)
        for number, make in self._land.items():
            index = np.flatnonzero(land == number)
            if len(index):
                patch = make(places.take(index))
                material[index], thing[index] = patch.material, patch.thing
                light[index], bounce[index] = patch.light, patch.bounce
        # Two variants within an object, in smooth patches: fields are never homogeneous.
        second = self.vigor(places.x, places.y) > 0.58
        pick = hash_uniform(self.plan.key("variant"), thing, second)
        variant = material.astype(np.int32) * VARIANTS + (pick * VARIANTS).astype(np.int32)
        return Cover(variant, light, bounce)

    def _key(self, name: str) -> int:
        return self.plan.key(name)

    def _grain(self, p: Places, size_m: float, name: str) -> tuple[F32, U32]:
        """Return a uniform number and an id of the square of side ``size_m`` around each point."""
        x, y = p.x, p.y
        if size_m > 9:  # large squares would be visible
            bend = 2 * size_m * self.thicket(x, y)
            x, y = x + bend, y - bend
        column, row = np.floor(x / size_m).astype(np.int32), np.floor(y / size_m).astype(np.int32)
        thing = hash_bits(self._key(name), column, row)
        return (thing >> np.uint32(8)).astype(np.float32) * np.float32(2**-24), thing

    def _patch(self, chance: F32, thing: U32, mix: Mapping[str, float]) -> _Patch:
        return _Patch(_choose(chance, mix), thing, np.ones(len(chance), np.float32), np.zeros(len(chance), np.float32))

    def _crowns(self, patch: _Patch, p: Places, depth: float = 0.35) -> None:
        """Darken the gaps between tree crowns and their shaded sides."""
        tree = np.isin(patch.material, (_M["broadleaf"], _M["conifer"], _M["orchard"], _M["bush"]))
        chance, _ = self._grain(p, 3.7, "crown")
        shade = 1 - np.float32(depth * min(1.0, 0.6 + 0.3 * self.shadow_per_height)) * chance
        patch.light[tree] *= shade[tree]

    def _ground(self, p: Places, mix: Mapping[str, float], size_m: float = 6.0) -> _Patch:
        chance, thing = self._grain(p, size_m, "ground")
        patch = self._patch(chance, thing, mix)
        self._crowns(patch, p)
        return patch

    def _water(self, p: Places) -> _Patch:
        # By quarter, because a lake may cover several districts.
        body = np.where(p.river, np.int32(-1), p.quarter)
        patch = self._patch(np.zeros(len(p.x), np.float32), hash_bits(self._key("water"), body), {"river_water": 1.0})
        patch.material[~p.river] = _M["lake_water"]
        return patch

    def _street(self, p: Places) -> _Patch:
        road = hash_bits(self._key("road"), p.quarter, (p.u / 90).astype(np.int32), (p.v / 90).astype(np.int32))
        patch = self._patch(np.zeros(len(p.x), np.float32), road, {"asphalt": 1.0})
        chance, thing = self._grain(p, 5.0, "kerb")
        built = np.isin(p.block, (3, 4))
        kerb = (p.lane > 3.2) & built
        patch.material[kerb & (chance < 0.5)] = _M["concrete"]
        trees = (p.lane > 2.5) & (chance > np.where(built, np.float32(0.93), np.float32(0.85)))
        patch.material[trees] = _M["broadleaf"]
        patch.material[(chance > 0.44) & (chance < 0.475) & (p.lane > 1.5)] = _M["roof_metal"]  # cars
        edge = kerb | trees
        patch.thing[edge] = thing[edge]
        old = self.plan.quarters.style[p.quarter] == 0
        shaded = built & (chance < np.where(old, 0.3, 0.12) * min(1.5, self.shadow_per_height))
        patch.light[shaded] = _SHADE
        verge = ~built & (p.lane > 2.6) & ~trees & (p.lane < 6)
        patch.material[verge] = _M["meadow"]
        return patch

    def _homes(self, p: Places) -> _Patch:
        q, index = self.plan.quarters, p.quarter
        along = p.u - np.floor(p.u / q.block_u_m[index]) * q.block_u_m[index]
        across = p.v - np.floor(p.v / q.block_v_m[index]) * q.block_v_m[index]
        style = q.style[index]
        patch = self._ground(
            p, {"lawn": 0.46, "broadleaf": 0.2, "bush": 0.1, "concrete": 0.12, "asphalt": 0.06, "soil": 0.06}
        )
        for kind, make in ((0, self._perimeter), (1, self._detached), (2, self._slabs)):
            sub = np.flatnonzero(style == kind)
            if len(sub):
                make(p.take(sub), along[sub], across[sub], patch, sub)
        return patch

    def _perimeter(self, p: Places, a: F32, b: F32, patch: _Patch, at: npt.NDArray[Any]) -> None:
        q = self.plan.quarters
        wide, long, half = q.block_u_m[p.quarter], q.block_v_m[p.quarter], q.half_street_m[p.quarter]
        yard = self._ground(p, {"concrete": 0.3, "asphalt": 0.16, "lawn": 0.22, "broadleaf": 0.26, "roof_flat": 0.06})
        patch.material[at], patch.thing[at], patch.light[at] = yard.material, yard.thing, yard.light
        depth = np.minimum(np.minimum(a, wide - a), np.minimum(b, long - b)) - half
        house = hash_bits(self._key("house"), p.quarter, *(np.floor(c / 17).astype(np.int32) for c in (p.u, p.v)))
        chance = (house >> np.uint32(8)).astype(np.float32) * np.float32(2**-24)
        inside = (depth > 0) & (depth < 12.5) & (chance > 0.06)
        behind = (depth >= 12.5) & (depth < 12.5 + 6 * self.shadow_per_height)
        patch.light[at[behind & (chance < 0.55)]] = _SHADE
        self._build(patch, at, inside, house, "old", 0.4, self.facing[p.quarter], depth < 4.5)

    def _detached(self, p: Places, a: F32, b: F32, patch: _Patch, at: npt.NDArray[Any]) -> None:
        q = self.plan.quarters
        lot_u, lot_v = q.block_u_m[p.quarter] / 3, np.float32(21.0)
        column, row = np.floor(p.u / lot_u).astype(np.int32), np.floor(p.v / lot_v).astype(np.int32)
        house = hash_bits(self._key("house"), p.quarter, column, row)
        size = hash_uniform(self._key("house size"), house)
        off_u, off_v = p.u - (column + np.float32(0.5)) * lot_u, p.v - (row + np.float32(0.5)) * lot_v
        half_u, half_v = 4.4 + 2.6 * size, 6.8 - 2.2 * size
        exists = size < 0.93
        inside = (np.abs(off_u) < half_u) & (np.abs(off_v) < half_v) & exists
        su, sv = self._shadow(p, 6.5)
        shaded = (np.abs(off_u - su) < half_u) & (np.abs(off_v - sv) < half_v) & exists & ~inside
        patch.light[at[shaded]] = _SHADE
        near = np.abs(off_u) > half_u - 3
        self._build(patch, at, inside, house, "house", 0.16, self.facing[p.quarter], near)

    def _slabs(self, p: Places, a: F32, b: F32, patch: _Patch, at: npt.NDArray[Any]) -> None:
        column, row = np.floor(p.u / 76).astype(np.int32), np.floor(p.v / 36).astype(np.int32)
        house = hash_bits(self._key("slab"), p.quarter, column, row)
        off_u = p.u - (column + np.float32(0.5)) * 76
        off_v = p.v - (row + np.float32(0.5)) * 36
        exists = hash_uniform(self._key("slab exists"), house) < 0.85
        inside = (np.abs(off_u) < 30) & (np.abs(off_v) < 6.5) & exists
        su, sv = self._shadow(p, 17.0)
        shaded = (np.abs(off_u - su) < 30) & (np.abs(off_v - sv) < 6.5) & exists & ~inside
        patch.light[at[shaded]] = _SHADE
        parking = (np.abs(off_u) >= 30) & (off_v > 0)
        patch.material[at[parking]] = _M["asphalt"]
        self._build(patch, at, inside, house, "slab", 0.9, self.facing[p.quarter], np.abs(off_v) > 3)

    def _works(self, p: Places) -> _Patch:
        yard = {
            "asphalt": 0.46,
            "concrete": 0.16,
            "gravel": 0.12,
            "lawn": 0.15,
            "broadleaf": 0.05,
            "subsoil": 0.04,
            "roof_metal": 0.02,
        }
        patch = self._ground(p, yard, 14.0)
        wide = self.plan.quarters.block_u_m[p.quarter] * np.float32(2 / 3)
        long = self.plan.quarters.block_v_m[p.quarter] * np.float32(2 / 3)
        column, row = np.floor(p.u / wide).astype(np.int32), np.floor(p.v / long).astype(np.int32)
        hall = hash_bits(self._key("hall"), p.quarter, column, row)
        size = hash_uniform(self._key("hall size"), hall)
        off_u, off_v = p.u - (column + np.float32(0.5)) * wide, p.v - (row + np.float32(0.5)) * long
        half_u, half_v = wide * (0.22 + 0.22 * size), long * (0.42 - 0.2 * size)
        exists = (size < 0.86) & ~p.rail
        inside = (np.abs(off_u) < half_u) & (np.abs(off_v) < half_v) & exists
        su, sv = self._shadow(p, 9.0)
        shaded = (np.abs(off_u - su) < half_u) & (np.abs(off_v - sv) < half_v) & exists & ~inside
        patch.light[shaded] = _SHADE
        indexes = np.arange(len(p.x))
        self._build(patch, indexes, inside, hall, "hall", 1.0, self.facing[p.quarter], np.abs(off_u) > half_u - 6)
        rail = np.flatnonzero(p.rail)
        if len(rail):
            track, thing = self._grain(p.take(rail), 4.0, "track")
            patch.material[rail] = _choose(
                track, {"gravel": 0.2, "wet_soil": 0.36, "roof_metal": 0.1, "roof_dark": 0.2, "meadow": 0.14}
            )
            patch.thing[rail] = hash_bits(self._key("ballast"), (thing >> np.uint32(30)).astype(np.int32))
        return patch

    def _pit(self, p: Places) -> _Patch:
        patch = self._ground(p, {"subsoil": 0.5, "gravel": 0.22, "sand": 0.12, "fallow": 0.1, "concrete": 0.06}, 24.0)
        chance, thing = self._grain(p, 9.0, "site")
        machines = chance < 0.05
        patch.material[machines], patch.thing[machines] = _M["roof_metal"], thing[machines]
        bottom = (self.thicket(p.x, p.y) > 0.8) & (self.stand(p.x, p.y) > 0.5)
        patch.material[bottom] = _M["lake_water"]
        patch.thing[bottom] = hash_bits(self._key("pond"), p.parcel[bottom])
        return patch

    def _park(self, p: Places) -> _Patch:
        wood = self.thicket(p.x, p.y)
        kind = hash_uniform(self._key("park"), p.parcel)
        turf = hash_bits(self._key("turf"), p.parcel, (self.vigor(p.x, p.y) * 5).astype(np.int32))
        patch = self._patch(np.zeros(len(p.x), np.float32), turf, {"lawn": 1.0})
        chance, thing = self._grain(p, 6.0, "park ground")
        trees = wood > np.where(kind < 0.25, np.float32(0.75), np.float32(0.55))
        patch.material[trees], patch.thing[trees] = (
            _choose(chance[trees], {"broadleaf": 0.85, "conifer": 0.15}),
            thing[trees],
        )
        path = np.abs(wood - np.float32(0.5)) < 0.018
        patch.material[path] = _M["gravel"]
        plots = np.flatnonzero(kind > 0.68)  # allotments and cemeteries: many small objects
        if len(plots):
            small = {
                "lawn": 0.36,
                "soil": 0.14,
                "bush": 0.16,
                "broadleaf": 0.14,
                "roof_dark": 0.09,
                "gravel": 0.08,
                "orchard": 0.03,
            }
            patch.material[plots], patch.thing[plots] = _choose(chance[plots], small), thing[plots]
        court = (kind < 0.25) & (self.stand(p.x, p.y) > 0.62) & ~trees  # sports grounds
        patch.material[court & (chance < 0.35)] = _M["roof_tile"]
        self._crowns(patch, p)
        return patch

    def _field(self, p: Places) -> _Patch:
        q = self.plan.quarters
        row = np.floor(p.v / q.field_width_m[p.quarter]).astype(np.int32)
        shift = hash_uniform(self._key("field shift"), p.quarter, row) * q.field_length_m[p.quarter]
        column = np.floor((p.u + shift) / q.field_length_m[p.quarter]).astype(np.int32)
        field = hash_bits(self._key("field"), p.quarter, row, column)
        patch = self._patch(hash_uniform(self._key("crop"), field), field, self.crops)
        edge = p.v - row * q.field_width_m[p.quarter]
        margin = (edge < 1.6) | (p.lane < 6)
        patch.material[margin] = _M["meadow"]
        chance, thing = self._grain(p, 8.0, "hedge")
        hedge = (edge < 4.5) & (chance < 0.06)
        patch.material[hedge], patch.thing[hedge] = _M["bush"], thing[hedge]
        return patch

    def _orchard(self, p: Places) -> _Patch:
        kind = hash_uniform(self._key("perm"), p.parcel)
        plot = hash_bits(self._key("plot"), p.parcel, (p.u / 60).astype(np.int32), (p.v / 45).astype(np.int32))
        row = p.v / np.where(kind < 0.6, np.float32(5.0), np.float32(2.6))
        crown = (row - np.floor(row)) < 0.55
        patch = self._patch(np.zeros(len(p.x), np.float32), plot, {"meadow": 1.0})
        patch.material[crown] = np.where(kind < 0.6, _M["orchard"], _M["vine"])[crown]
        bare = ~crown & (kind >= 0.6) & (hash_uniform(self._key("tilled"), plot) < 0.6)
        patch.material[bare] = _M["soil"]
        self._crowns(patch, p)
        return patch

    def _pasture(self, p: Places) -> _Patch:
        q = self.plan.quarters
        row = np.floor(p.v / (1.3 * q.field_width_m[p.quarter])).astype(np.int32)
        column = np.floor(p.u / (0.6 * q.field_length_m[p.quarter])).astype(np.int32)
        field = hash_bits(self._key("meadow"), p.quarter, row, column)
        mix = {"meadow": 0.82, "lawn": 0.1, "fallow": 0.08}
        patch = self._patch(hash_uniform(self._key("meadow kind"), field), field, mix)
        chance, thing = self._grain(p, 7.0, "lone tree")
        lone = chance < 0.012 + 0.12 * np.maximum(self.thicket(p.x, p.y) - np.float32(0.6), 0)
        patch.material[lone], patch.thing[lone] = (
            _choose(chance[lone] * 40, {"broadleaf": 0.5, "bush": 0.5}),
            thing[lone],
        )
        self._crowns(patch, p)
        return patch

    def _forest(self, p: Places) -> _Patch:
        chance, thing = self._grain(p, 6.5, "crown kind")
        tone = self.stand(p.x, p.y)
        fraction = np.float32(self.trees["conifer"])
        conifers = np.clip((tone - np.float32(0.5)) * 4 + fraction, 0.06, 0.94)
        patch = self._patch(chance, thing, {"broadleaf": 1.0})
        patch.material[chance < conifers] = _M["conifer"]
        clearing = (self.thicket(p.x, p.y) > 0.86) & (tone > 0.45)
        patch.material[clearing] = _choose(chance[clearing], {"bush": 0.5, "meadow": 0.3, "dry_plants": 0.2})
        self._crowns(patch, p, 0.62)
        return patch

    def _shrub(self, p: Places) -> _Patch:
        return self._ground(p, {"bush": 0.5, "meadow": 0.24, "dry_plants": 0.09, "broadleaf": 0.12, "soil": 0.05}, 7.0)

    def _open(self, p: Places) -> _Patch:
        return self._ground(p, {"sand": 0.5, "gravel": 0.2, "subsoil": 0.16, "dry_plants": 0.1, "meadow": 0.04}, 30.0)

    def _wetland(self, p: Places) -> _Patch:
        patch = self._ground(p, {"reed": 0.62, "wet_soil": 0.16, "bush": 0.12, "meadow": 0.1}, 16.0)
        pool = self.thicket(p.x, p.y) > 0.68
        patch.material[pool] = _M["lake_water"]
        patch.thing[pool] = hash_bits(self._key("pool"), p.parcel[pool])
        return patch

    def _shadow(self, p: Places, height_m: float) -> tuple[F32, F32]:
        """Return the offset of a building's shadow in the frame of the quarter (meters)."""
        theta = self.plan.quarters.theta
        c: F32 = np.cos(theta)[p.quarter]
        s: F32 = np.sin(theta)[p.quarter]
        x, y = np.float32(0.5 * height_m * self.shadow_x), np.float32(0.5 * height_m * self.shadow_y)
        return c * x + s * y, c * y - s * x

    def _build(
        self, patch: _Patch, at: npt.NDArray[Any], inside: npt.NDArray[np.bool_], thing: U32, kind: str,
        corner: float, facing: F32, near: npt.NDArray[np.bool_],
    ) -> None:  # fmt: skip
        """Add roofs at ``inside``. Walls that face the radar reflect up to ``corner`` (linear power) at their base."""
        roof = at[inside]
        patch.material[roof] = _choose(hash_uniform(self._key("roof " + kind), thing[inside]), self.roofs[kind])
        patch.thing[roof] = thing[inside]
        strength = hash_uniform(self._key("wall"), thing[inside])
        patch.light[roof] = np.float32(0.85) + np.float32(0.3) * hash_uniform(self._key("pitch"), thing[inside])
        patch.bounce[roof] = corner * (0.5 + 12.0 * facing[inside]) * near[inside] * (0.05 + 5.0 * strength**5)


def _blend(mixes: Sequence[Mapping[str, float]], amount: float) -> dict[str, float]:
    source, target = mixes
    names = [*source, *(name for name in target if name not in source)]
    return {n: (1 - amount) * source.get(n, 0.0) + amount * target.get(n, 0.0) for n in names}


def _choose(chance: F32, mix: Mapping[str, float]) -> npt.NDArray[np.uint8]:
    """Return material numbers drawn by weight from uniform numbers."""
    limits = np.cumsum(list(mix.values())) / sum(mix.values())
    place = np.minimum(np.searchsorted(limits, chance, side="right"), len(mix) - 1)
    return np.array([_M[name] for name in mix], np.uint8)[place]


def _facing(plan: CityPlan) -> F32:
    """Return by quarter how directly walls face the radar: 1 if perpendicular to the look, 0 beyond 20 degrees."""
    look = np.radians(100.0)  # right-looking, near-polar orbit
    angle = (plan.quarters.theta - look + np.pi / 4) % (np.pi / 2) - np.pi / 4
    return np.asarray(np.exp(-((angle / np.radians(11.0)) ** 2)), np.float32)
