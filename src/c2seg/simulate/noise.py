"""Random numbers as pure functions of (key, position): a window rendered alone equals the same window of the whole city.

Objects (a parcel, a roof, a crown) use integer hashes, smooth fields use tables, sensor noise and speckle use Philox counters.
Coordinates are meters from the scene's upper left corner, x to the right, y downwards.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from c2seg.types import Window

__all__ = ["Cells", "SmoothNoise", "derive_key", "hash_bits", "hash_uniform", "normal_window"]

F32 = npt.NDArray[np.float32]
U32 = npt.NDArray[np.uint32]
_NORMAL_BLOCK = 64  # pixels; sensor noise is drawn in blocks of this side, with a counter for each block


def derive_key(seed: int, *names: str | int) -> int:
    """Return a 32-bit key for a name and a seed. It is the same on every machine."""
    import hashlib

    text = "/".join(str(part) for part in (seed, *names))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest(), "little")


def hash_bits(key: int, *fields: npt.NDArray[Any]) -> U32:
    """Return uint32 hashes of integer fields (broadcast) with well-mixed bits.

    The finalizer is C. Wellons' ``lowbias32`` (Hash Function Prospector, public domain).
    """
    state: U32 = np.asarray(key & 0xFFFFFFFF, np.uint32)
    for number, item in enumerate(fields):
        state = state ^ (item.astype(np.uint32) + np.uint32((0x9E3779B9 * (number + 1)) & 0xFFFFFFFF))
        state ^= state >> np.uint32(16)
        state *= np.uint32(0x7FEB352D)
        state ^= state >> np.uint32(15)
        state *= np.uint32(0x846CA68B)
        state ^= state >> np.uint32(16)
    return state


def hash_uniform(key: int, *fields: npt.NDArray[Any]) -> F32:
    """Return float32 in [0, 1), uniform over the hashed fields."""
    bits = hash_bits(key, *fields)
    return (bits >> np.uint32(8)).astype(np.float32) * np.float32(2**-24)


@dataclass(frozen=True)
class SmoothNoise:
    """Smooth noise in [0, 1]: a table of uniform values, smoothstep-interpolated; it repeats after 256 wavelengths."""

    wavelength_m: float
    table: F32

    @classmethod
    def make(cls, seed: int, name: str, wavelength_m: float) -> SmoothNoise:
        """Draw the table for a named field."""
        rng = np.random.Generator(np.random.Philox(derive_key(seed, "noise", name)))
        return cls(wavelength_m, rng.random((256, 256), dtype=np.float32).ravel())

    def __call__(self, x: F32, y: F32) -> F32:
        """Return the noise at points, float32 of their shape."""
        scale = np.float32(1.0 / self.wavelength_m)
        fx, fy = x * scale, y * scale
        floor_x, floor_y = np.floor(fx), np.floor(fy)
        fx -= floor_x
        fy -= floor_y
        column, row = floor_x.astype(np.int32), floor_y.astype(np.int32)
        west, east = column & 255, (column + 1) & 255
        above, below = (row & 255) << 8, ((row + 1) & 255) << 8
        fx *= fx * (3 - 2 * fx)
        fy *= fy * (3 - 2 * fy)
        table = self.table
        top: F32 = table[above + west]
        top += fx * (table[above + east] - top)
        bottom = table[below + west]
        bottom += fx * (table[below + east] - bottom)
        top += fy * (bottom - top)
        return top


@dataclass(frozen=True)
class Cells:
    """Voronoi cells of a jittered square lattice, over a scene with a margin of three cells.

    ``x`` and ``y`` are the seeds' coordinates, flat, row by row of the lattice.
    """

    size_m: float
    columns: int
    rows: int
    x: F32
    y: F32

    @classmethod
    def make(cls, seed: int, name: str, size_m: float, width_m: float, height_m: float) -> Cells:
        """Draw the seeds within their lattice squares, so that 3 x 3 squares contain the nearest seed."""
        columns, rows = int(width_m / size_m) + 7, int(height_m / size_m) + 7
        rng = np.random.Generator(np.random.Philox(derive_key(seed, "cells", name)))
        jitter = rng.uniform(0.12, 0.88, (2, rows, columns)) - 3
        x = (np.arange(columns) + jitter[0]) * size_m
        y = (np.arange(rows)[:, None] + jitter[1]) * size_m
        return cls(size_m, columns, rows, x.astype(np.float32).ravel(), y.astype(np.float32).ravel())

    def nearest(self, x: F32, y: F32) -> tuple[npt.NDArray[np.int32], F32]:
        """Return for each point the index of the nearest seed (int32) and its distance in meters."""
        scale = np.float32(1.0 / self.size_m)
        column = np.clip(np.floor(x * scale).astype(np.int32) + 3, 1, self.columns - 2)
        row = np.clip(np.floor(y * scale).astype(np.int32) + 3, 1, self.rows - 2)
        home = row * np.int32(self.columns) + column
        best = home.copy()
        distance = (self.x[home] - x) ** 2 + (self.y[home] - y) ** 2
        for step_row in (-1, 0, 1):
            for step_column in (-1, 0, 1):
                if not step_row and not step_column:
                    continue
                index = home + np.int32(step_row * self.columns + step_column)
                other = (self.x[index] - x) ** 2
                other += (self.y[index] - y) ** 2
                closer = other < distance
                np.copyto(best, index, where=closer)
                np.minimum(distance, other, out=distance)
        return best, np.sqrt(distance)


def normal_window(key: int, bands: int, window: Window) -> F32:
    """Return standard normal noise [bands, H, W] of a window. A pixel has the same values in every window."""
    out = np.empty((bands, window.height, window.width), np.float32)
    size = _NORMAL_BLOCK
    for block_row in range(window.row // size, -(-window.row_end // size)):
        for block_column in range(window.col // size, -(-window.col_end // size)):
            block = Window(block_row * size, block_column * size, size, size)
            part = block.intersect(window)
            counter = np.array([0, 0, block_row & (2**64 - 1), block_column & (2**64 - 1)], np.uint64)
            rng = np.random.Generator(np.random.Philox(key=key, counter=counter))
            values = rng.standard_normal((bands, size, size), dtype=np.float32)
            rows, columns = part.shift(-block.row, -block.col).slices
            out_rows, out_columns = part.shift(-window.row, -window.col).slices
            out[:, out_rows, out_columns] = values[:, rows, columns]
    return out
