"""Render a window of a city: all modalities, ground truth and incomplete label.

A window rendered alone equals the same window of the whole city.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from c2seg.simulate.cover import Cover, Coverer
from c2seg.simulate.layout import Places, classify
from c2seg.simulate.noise import F32, SmoothNoise, derive_key, hash_bits, hash_uniform
from c2seg.simulate.plan import CityPlan, valid_at
from c2seg.simulate.radar import RadarSensor
from c2seg.simulate.sensors import OpticalSensor, blur, sun_elevation
from c2seg.types import Window

__all__ = ["HSI_RATIO", "Chunk", "Renderer"]

HSI_RATIO = 3  # 30 m under 10 m
_HALO_PX = 9  # a multiple of HSI_RATIO that covers every filter and displacement
_FILTER_PX = 5  # margin of the radar's blur and Lee filter
# Former use of parcels by class: built-up land was a field, a field was grass, and so on.
_FORMER = np.array([0, 5, 7, 7, 7, 9, 7, 9, 7, 7, 11, 9, 11, 9], np.uint8)
# How often land of a class is missing from OpenStreetMap, relative to the average.
_UNMAPPED = np.array([0, 0.2, 0, 0.8, 0.8, 1.0, 0.9, 1.2, 0.9, 1.5, 0.5, 1.5, 1.3, 0.9], np.float32)


@dataclass(frozen=True)
class Chunk:
    """Arrays of a window of the fine grid; ``hsi`` is on the 30 m grid. Invalid pixels are not yet set to nodata."""

    msi: npt.NDArray[Any]
    hsi: npt.NDArray[Any]
    hsi_window: Window
    sar: F32
    reference: npt.NDArray[np.uint8]
    label: npt.NDArray[np.uint8]
    gap: npt.NDArray[np.bool_]
    valid: npt.NDArray[np.bool_]


class Renderer:
    """Renders windows of a planned city. Window offsets must be multiples of the HSI ratio."""

    def __init__(self, plan: CityPlan) -> None:
        spec = plan.spec
        self.plan, self.spec = plan, spec
        self.coverer = Coverer(plan, sun_elevation(spec.latitude, spec.days["msi"]))
        self.msi, self.hsi = OpticalSensor.make(spec, "msi"), OpticalSensor.make(spec, "hsi")
        self.sar = RadarSensor.make(spec)
        seed = derive_key(spec.seed, spec.role)
        self.outline = (SmoothNoise.make(seed, "outline x", 90.0), SmoothNoise.make(seed, "outline y", 90.0))
        rng = np.random.Generator(np.random.Philox(derive_key(seed, "displacement")))
        amount = spec.parameters.coregistration
        self.displacement_m = {
            name: tuple(float(v) for v in amount * limit * _unit(rng))
            for name, limit in (("msi", 3.0), ("hsi", 15.0), ("sar", 6.0))
        }

    def __call__(self, window: Window) -> Chunk:
        """Render a window that lies inside the city's grid."""
        wide = window.expand(_HALO_PX)
        x, y = self._sample_places(wide)
        now = classify(self.plan, x, y)
        reference = self._majority(now.land, wide)
        image, index, older = self._past(now)
        cover = self.coverer(image)
        hsi, hsi_window = self._render_hsi(self._recover(cover, index, older), window, wide)
        msi = blur(self._render_msi(cover, wide), self.msi.taps)
        sar_wide = window.expand(_FILTER_PX)
        sar = self.sar.observe(_inner(self._render_power(cover, wide), wide, sar_wide), sar_wide)
        label, gap = self._label(window)
        px, py = self._centers(window)
        shape = window.height, window.width
        return Chunk(
            msi=self.msi.digitize(_inner(msi, wide, window), window), hsi=hsi, hsi_window=hsi_window,
            sar=_inner(sar, sar_wide, window), reference=_inner(reference, wide, window), label=label, gap=gap,
            valid=valid_at(self.spec, px, py).reshape(shape),
        )  # fmt: skip

    def _sample_places(self, window: Window) -> tuple[F32, F32]:
        """Return coordinates of the sub-pixel samples, row by row: a regular lattice with jitter."""
        n, gsd = self.spec.subsamples, self.spec.gsd_m
        rows = np.arange(window.row * n, window.row_end * n, dtype=np.int32)[:, None]
        columns = np.arange(window.col * n, window.col_end * n, dtype=np.int32)[None, :]
        bits = hash_bits(self.plan.key("jitter"), rows, columns)
        step = np.float32(gsd / n)
        # Without jitter the lattice would alias with rows of vines and trees.
        aside_x = (bits & np.uint32(0xFFFF)).astype(np.float32) * np.float32(0.8 / 65536) + np.float32(0.1)
        aside_y = (bits >> np.uint32(16)).astype(np.float32) * np.float32(0.8 / 65536) + np.float32(0.1)
        return ((columns + aside_x) * step).ravel(), ((rows + aside_y) * step).ravel()

    def _centers(self, window: Window) -> tuple[F32, F32]:
        gsd = np.float32(self.spec.gsd_m)
        y, x = np.meshgrid(
            (np.arange(window.row, window.row_end, dtype=np.float32) + np.float32(0.5)) * gsd,
            (np.arange(window.col, window.col_end, dtype=np.float32) + np.float32(0.5)) * gsd,
            indexing="ij",
        )
        return x.ravel(), y.ravel()

    def _past(self, now: Places) -> tuple[Places, npt.NDArray[Any], Places]:
        """Return the places at the date of MSI and SAR, the indexes that differ at the earlier date of HSI, and those places.

        Main roads, rivers and railways do not change.
        """
        amount = self.spec.parameters.land_cover_change
        chance = hash_uniform(self.plan.key("change"), now.parcel)
        local = (now.land != 2) | np.isin(now.block, (3, 4))
        movable = local & ~now.rail & ~now.river
        early = movable & (chance < 0.04 * amount)
        image = replace(now, land=np.where(early, _FORMER[now.block], now.land))
        index = np.flatnonzero(movable & (chance >= 0.04 * amount) & (chance < 0.12 * amount))
        older = now.take(index)
        return image, index, replace(older, land=_FORMER[older.block])

    def _recover(self, cover: Cover, index: npt.NDArray[Any], older: Places) -> Cover:
        """Return the cover with that of the earlier places at ``index``."""
        before = self.coverer(older)
        variant, light = cover.variant.copy(), cover.light.copy()
        variant[index], light[index] = before.variant, before.light
        return Cover(variant, light, cover.bounce)

    def _pixel_sum(self, samples: npt.NDArray[Any], window: Window, shift_m: tuple[float, ...] = (0.0, 0.0)) -> Any:
        """Sum samples over pixels in a fixed order. ``shift_m`` (y, x) displaces the image, rounded to samples."""
        n = self.spec.subsamples
        grid = samples.reshape(window.height * n, window.width * n)
        steps = tuple(round(s * n / self.spec.gsd_m) for s in shift_m)
        if any(steps):  # only the halo is affected by the wrap-around
            grid = np.roll(grid, steps, (0, 1))
        total = grid[0::n, 0::n].copy()
        for i in range(n):
            for j in range(n):
                if i or j:
                    total += grid[i::n, j::n]
        return total

    def _majority(self, land: npt.NDArray[np.uint8], window: Window) -> npt.NDArray[np.uint8]:
        best = np.zeros((window.height, window.width), np.uint8)
        most = np.zeros((window.height, window.width), np.uint8)
        for number in range(1, 14):
            count = self._pixel_sum((land == number).astype(np.uint8), window)
            more = count > most
            best[more], most[more] = number, count[more]
        return best

    def _render_msi(self, cover: Cover, window: Window) -> F32:
        scale = np.float32(1 / self.spec.subsamples**2)
        shift = self.displacement_m["msi"]
        table = self.msi.table
        bands = [
            self._pixel_sum(table[:, b][cover.variant] * cover.light, window, shift) * scale
            for b in range(table.shape[1])
        ]
        return np.stack(bands)

    def _render_power(self, cover: Cover, window: Window) -> F32:
        scale = np.float32(1 / self.spec.subsamples**2)
        shift = self.displacement_m["sar"]
        bands = [
            self._pixel_sum(self.sar.table[b][cover.variant] + np.float32(part) * cover.bounce, window, shift) * scale
            for b, part in enumerate(self.sar.corner)
        ]
        return np.stack(bands)

    def _render_hsi(self, cover: Cover, window: Window, wide: Window) -> tuple[npt.NDArray[Any], Window]:
        """Average the spectra of all samples of each 30 m pixel, as a sparse matrix of fractions times the spectra."""
        n, gsd = self.spec.subsamples, self.spec.gsd_m
        target = window.coarsen(HSI_RATIO)
        area = target.expand(1)
        shift_y, shift_x = (s / gsd for s in self.displacement_m["hsi"])
        rows = (
            np.floor((wide.row + (np.arange(wide.height * n) + 0.5) / n + shift_y) / HSI_RATIO).astype(int) - area.row
        )
        cols = np.floor((wide.col + (np.arange(wide.width * n) + 0.5) / n + shift_x) / HSI_RATIO).astype(int) - area.col
        keep_rows = (rows >= 0) & (rows < area.height)
        keep_cols = (cols >= 0) & (cols < area.width)
        pixel = rows[keep_rows][:, None] * area.width + cols[keep_cols]
        count = np.bincount(rows[keep_rows], minlength=area.height)[:, None] * np.bincount(
            cols[keep_cols], minlength=area.width
        )
        selected = np.ix_(keep_rows, keep_cols)
        shape = wide.height * n, wide.width * n
        light = cover.light.reshape(shape)[selected].ravel()
        variant = cover.variant.reshape(shape)[selected].ravel()
        size = (area.height * area.width, len(self.hsi.table))
        fractions = csr_array((light, (pixel.ravel(), variant)), shape=size)
        spectra = (fractions @ self.hsi.table).reshape(area.height, area.width, -1)
        spectra /= np.maximum(count, 1).astype(np.float32)[:, :, None]
        image = blur(np.ascontiguousarray(spectra.transpose(2, 0, 1)), self.hsi.taps)
        return self.hsi.digitize(image[:, 1:-1, 1:-1].copy(), target), target

    def _label(self, window: Window) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
        """Return the mapped class at each pixel's center, with errors of position, and the unmapped pixels."""
        x, y = self._centers(window)
        shape, amount = (window.height, window.width), self.spec.parameters.label_noise
        if amount <= 0:
            places = classify(self.plan, x, y)
            return places.land.reshape(shape), np.zeros(shape, bool)
        reach = np.float32(24.0 * amount)  # noise is in 0..1 around 0.5: the offset is at most half of this
        off_x = reach * (self.outline[0](x, y) - np.float32(0.5))
        off_y = reach * (self.outline[1](x, y) - np.float32(0.5))
        places = classify(self.plan, x + off_x, y + off_y)
        land = places.land
        street = hash_bits(
            self.plan.key("street"), places.quarter, *((c / 160).astype(np.int32) for c in (places.u, places.v))
        )
        missing = (land == 2) & np.isin(places.block, (3, 4))
        missing &= hash_uniform(self.plan.key("street mapped"), street) < 0.25 * amount
        land = np.where(missing, places.block, land)
        gap = hash_uniform(self.plan.key("mapped"), places.parcel) < 0.38 * amount * _UNMAPPED[land]
        return land.reshape(shape), gap.reshape(shape)


def _inner(values: Any, outer: Window, inner: Window) -> Any:
    rows, columns = inner.shift(-outer.row, -outer.col).slices
    return np.ascontiguousarray(values[..., rows, columns])


def _unit(rng: np.random.Generator) -> npt.NDArray[np.float64]:
    angle = rng.uniform(0, 2 * np.pi)
    return np.array([np.sin(angle), np.cos(angle)])
