"""Band statistics of a city, in one streaming pass over the valid pixels of each modality."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from c2seg.data.city import City, Scene, blocks
from c2seg.data.quantiles import PixelSample
from c2seg.data.tiling import TileGrid
from c2seg.errors import DataError, number_ranges
from c2seg.progress import Progress, no_progress
from c2seg.types import Window

__all__ = ["BandStatistics", "city_statistics", "statistics_problem"]


@dataclass(frozen=True, eq=False)
class BandStatistics:
    """Number of pixels (fine grid), and mean, population standard deviation, minimum and maximum by band, float64 [C]."""

    count: int
    mean: np.ndarray
    std: np.ndarray
    minimum: np.ndarray
    maximum: np.ndarray
    quantiles: np.ndarray | None = None
    """Float64 [C, 256], if requested. They are never merged."""

    def merge(self, other: BandStatistics) -> BandStatistics:
        """Return the statistics of both sets of pixels together (Chan, Golub and LeVeque, 1983)."""
        if not self.count or not other.count:
            return other if not self.count else self
        count = self.count + other.count
        delta = other.mean - self.mean
        mean = self.mean + delta * (other.count / count)
        squares = self.std**2 * self.count + other.std**2 * other.count + delta**2 * (self.count * other.count / count)
        return BandStatistics(
            count,
            mean,
            np.sqrt(squares / count),
            np.minimum(self.minimum, other.minimum),
            np.maximum(self.maximum, other.maximum),
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, BandStatistics):
            return NotImplemented
        names: tuple[str, ...] = ("mean", "std", "minimum", "maximum")
        if self.quantiles is not None and other.quantiles is not None:
            names = (*names, "quantiles")
        return (self.count, self.quantiles is None) == (other.count, other.quantiles is None) and all(
            np.array_equal(getattr(self, name), getattr(other, name), equal_nan=True) for name in names
        )

    __hash__ = None  # type: ignore[assignment]

    def as_dict(self, *, quantiles: bool = False) -> dict[str, object]:
        """Return plain values for JSON, on request with the quantiles. ``from_dict`` reads them exactly."""
        optional = {"quantiles": self.quantiles.tolist()} if quantiles and self.quantiles is not None else {}
        return {
            "count": self.count,
            **{k: getattr(self, k).tolist() for k in ("mean", "std", "minimum", "maximum")},
            **optional,
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, object]) -> BandStatistics:
        """Read what ``as_dict`` wrote. Raises ValueError if it does not describe bands."""
        try:
            count, levels = int(str(content["count"])), content.get("quantiles")
            bands = [np.asarray(content[name], np.float64) for name in ("mean", "std", "minimum", "maximum")]
            quantiles = None if levels is None else np.asarray(levels, np.float64)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"they are no band statistics: {error!r}") from error
        if bands[0].ndim != 1 or any(values.shape != bands[0].shape for values in bands):
            raise ValueError("band statistics must be lists of numbers, one number a band")
        if quantiles is not None and (quantiles.ndim != 2 or len(quantiles) != len(bands[0]) or quantiles.shape[1] < 2):
            raise ValueError("quantiles must be a list of at least two numbers for every band")
        numbers = bands if count else bands[:2]  # without pixels the extremes are infinite
        if count < 0 or not all(
            np.isfinite(values).all() for values in (*numbers, *([] if quantiles is None else [quantiles]))
        ):
            raise ValueError("band statistics must be finite")
        if (bands[1] < 0).any():
            raise ValueError("standard deviations must not be negative")
        mean, std, minimum, maximum = bands
        return cls(count, mean, std, minimum, maximum, quantiles)

    @classmethod
    def of(cls, values: np.ndarray, weights: np.ndarray) -> BandStatistics:
        """Return the statistics of values [C, N] with integer weights [N]. Values of weight 0 are ignored."""
        used = weights > 0
        count = int(weights.sum())
        if not count:
            empty = np.zeros(values.shape[0])
            return cls(0, empty, empty, empty + np.inf, empty - np.inf)
        pixels = values if used.all() else values[:, used]
        fractions = weights[used] / count
        centered = pixels.astype(np.float64)
        mean = centered @ fractions
        centered -= mean[:, None]
        centered *= centered
        return cls(
            count,
            mean,
            np.sqrt(centered @ fractions),
            *(f(axis=1).astype(np.float64) for f in (pixels.min, pixels.max)),
        )


def city_statistics(
    city: City,
    modalities: Sequence[str],
    progress: Progress = no_progress,
    *,
    kind: Literal["pooled", "tiles"] = "pooled",
    tile_px: int | None = None,
    quantiles: bool = False,
) -> dict[str, BandStatistics]:
    """Return the band statistics of the scaled values of each modality over its valid pixels.

    ``pooled``: exact mean and standard deviation of all pixels. ``tiles``: mean over tiles of each tile's mean and standard
    deviation, as published for the challenge. Overlaps then count several times, and the deviations are smaller. A cell of a
    coarser modality has the weight of its valid fine pixels. ``quantiles``: also compute quantiles from a uniform sample
    of 2^15 to 2^16 pixels. ``tile_px``: side of the half-overlapping tiles of scenes that are not distributed in tiles. Raises
    DataError if a modality has no valid pixel (with the empty bands), or if the tiles are unknown.
    """
    jobs = [(name, scene) for name in modalities for scene in city.scenes]
    total = sum(scene.grid.height * scene.grid.width for _, scene in jobs)
    done = 0
    result: dict[str, BandStatistics] = {}
    for name in modalities:
        parts: list[BandStatistics] = []
        sample = PixelSample() if quantiles else None
        for scene in city.scenes:
            area = scene.grid.height * scene.grid.width
            parts_of_scene = _tile_parts(scene, name, tile_px) if kind == "tiles" else _block_parts(scene, name, sample)
            for fraction, part in parts_of_scene:
                if kind == "pooled" and parts:
                    parts[0] = parts[0].merge(part)
                elif part.count:
                    parts.append(part)
                progress(min(total, done + fraction * area), total, name)
            done += area
        statistics = (parts[0] if kind == "pooled" else _average(parts)) if parts else None
        problem = statistics_problem(city, name, statistics)
        if problem or statistics is None:
            raise DataError(problem)
        result[name] = replace(statistics, quantiles=sample.quantiles()) if sample else statistics
    return result


def _block_parts(scene: Scene, name: str, sample: PixelSample | None) -> Iterator[tuple[float, BandStatistics]]:
    """Yield the fraction of the scene done and the statistics of each block of a modality on its native grid.

    Every block is added to ``sample``.
    """
    source = scene.modality(name).source
    size = max(64, int((8_000_000 / max(1, source.count)) ** 0.5) // 64 * 64)
    done = 0
    for window in blocks(Window(0, 0, source.height, source.width), size):
        values, weights = scene.read_native(name, window)
        done += window.height * window.width
        pixels, counts = values.reshape(values.shape[0], -1), weights.ravel()
        if sample is not None:
            sample.add(pixels, counts)
        yield done / (source.height * source.width), BandStatistics.of(pixels, counts)


def _tile_parts(scene: Scene, name: str, tile_px: int | None) -> Iterator[tuple[float, BandStatistics]]:
    tiles = scene.tiles
    if tiles is None and tile_px is not None:
        side = min(tile_px, scene.grid.height, scene.grid.width)
        tiles = TileGrid(scene.grid.height, scene.grid.width, side, max(1, side // 2))
    if tiles is None:
        raise DataError(f"scene {scene.name!r} is not distributed in tiles; use pooled statistics")
    for index, window in enumerate(tiles.windows(), 1):
        values, valid = scene.read(name, window)
        part = BandStatistics.of(values.reshape(values.shape[0], -1), valid.ravel().astype(np.int64))
        yield index / tiles.count, part


def _average(parts: Sequence[BandStatistics]) -> BandStatistics:
    return BandStatistics(
        sum(part.count for part in parts),
        np.mean([part.mean for part in parts], axis=0),
        np.mean([part.std for part in parts], axis=0),
        np.min([part.minimum for part in parts], axis=0),
        np.max([part.maximum for part in parts], axis=0),
    )


def statistics_problem(city: City, modality: str, statistics: BandStatistics | None) -> str | None:
    """Return why a modality with these statistics is invalid (no valid pixel, or bands without data); None if it is valid."""
    stack = city.scenes[0].modality(modality)
    where = stack.origin or modality
    if statistics is None or not statistics.count:
        empty = [
            band + 1
            for scene in city.scenes
            for band, filled in enumerate(_bands_with_data(scene, modality))
            if not filled
        ]
        if not empty:
            return f"city {city.name!r}: no pixel of {modality} is valid (nodata, NaN or valid.tif exclude all)"
        why = f"so no pixel of {modality} is valid"
    else:
        # A raster of valid pixels replaces the nodata value, so a band may contain only nodata.
        nodata = [s.modality(modality).source.nodata for s in city.scenes]
        same = statistics.minimum == statistics.maximum
        fills = [stack.scaled(np.full(stack.count, n)) for n in nodata if n is not None]
        fill = (
            np.any([statistics.minimum == values for values in fills], axis=0) if fills else np.zeros(same.shape, bool)
        )
        empty = [int(band) + 1 for band in np.flatnonzero(same & fill)]
        if not empty:
            return None
        why = "although valid.tif marks valid pixels"
    return (
        f"{where}: bands {number_ranges(sorted(set(empty)))} have no valid value (all nodata or NaN), {why}; exclude them "
        "with `keep:` in city.yaml"
    )


def _bands_with_data(scene: Scene, modality: str) -> np.ndarray:
    """Return bool [C]: bands with a value that is neither nodata nor NaN."""
    source = scene.modality(modality).source
    filled = np.zeros(source.count, bool)
    for window in blocks(Window(0, 0, source.height, source.width), 512):
        values = source.read(window)
        valid = np.isfinite(values)
        if source.nodata is not None:
            valid &= values != source.nodata
        filled |= valid.any(axis=(1, 2))
    return filled
