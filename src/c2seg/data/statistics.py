"""Band statistics of a city, in one streaming pass over the pixels at which a modality is valid."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from c2seg.data.city import City, Scene, blocks
from c2seg.data.quantiles import PixelSample
from c2seg.errors import DataError, number_ranges
from c2seg.progress import Progress, no_progress
from c2seg.types import Window

__all__ = ["BandStatistics", "city_statistics", "unusable"]


@dataclass(frozen=True, eq=False)
class BandStatistics:
    """Count of pixels (fine grid) and, per band, mean, population standard deviation, minimum, maximum; float64 [C]."""

    count: int
    mean: np.ndarray
    std: np.ndarray
    minimum: np.ndarray
    maximum: np.ndarray
    quantiles: np.ndarray | None = None
    """Float64 [C, 256], where they were asked for; never merged, stored only on request."""

    def merge(self, other: BandStatistics) -> BandStatistics:
        """Return the statistics of both sets of pixels together (Chan, Golub and LeVeque 1983)."""
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
        names = ["mean", "std", "minimum", "maximum"]
        if self.quantiles is not None and other.quantiles is not None:
            names.append("quantiles")
        return (self.count, self.quantiles is None) == (other.count, other.quantiles is None) and all(
            np.array_equal(getattr(self, name), getattr(other, name), equal_nan=True) for name in names
        )

    __hash__ = None  # type: ignore[assignment]

    def as_dict(self, *, quantiles: bool = False) -> dict[str, object]:
        """Return a JSON structure, with the quantiles if wanted and there; ``from_dict`` reads it back exactly."""
        stored = {"quantiles": self.quantiles.tolist()} if quantiles and self.quantiles is not None else {}
        return {
            "count": self.count,
            **{k: getattr(self, k).tolist() for k in ("mean", "std", "minimum", "maximum")},
            **stored,
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, object]) -> BandStatistics:
        """Read what ``as_dict`` wrote."""
        mean, std, minimum, maximum = (
            np.asarray(content[k], np.float64) for k in ("mean", "std", "minimum", "maximum")
        )
        stored = content.get("quantiles")
        quantiles = None if stored is None else np.asarray(stored, np.float64)
        return cls(int(str(content["count"])), mean, std, minimum, maximum, quantiles)

    @classmethod
    def of(cls, values: np.ndarray, weights: np.ndarray) -> BandStatistics:
        """Return the statistics of values [C, N] with whole weights [N]; weight 0 leaves a value out."""
        used = weights > 0
        count = int(weights.sum())
        if not count:
            empty = np.zeros(values.shape[0])
            return cls(0, empty, empty, empty + np.inf, empty - np.inf)
        taken = values if used.all() else values[:, used]
        share = weights[used] / count
        centered = taken.astype(np.float64)
        mean = centered @ share
        centered -= mean[:, None]
        centered *= centered
        return cls(
            count, mean, np.sqrt(centered @ share), *(f(axis=1).astype(np.float64) for f in (taken.min, taken.max))
        )


def city_statistics(
    city: City,
    modalities: Sequence[str],
    progress: Progress = no_progress,
    *,
    kind: Literal["pooled", "tiles"] = "pooled",
    quantiles: bool = False,
) -> dict[str, BandStatistics]:
    """Return the band statistics of each modality over its own valid pixels.

    ``pooled``: exact mean and standard deviation of all pixels. ``tiles``: averages over the scenes' tiles of each tile's
    mean and standard deviation, as published for the challenge (overlapping tiles count fully, the deviations are
    smaller). Cells of a coarser modality count once per valid fine pixel they cover. ``quantiles``: with pooled ones too, of
    an even sample of 2^15 to 2^16 pixels. Raises DataError when a modality has no valid pixel, naming the bands that are
    empty, or when tiles are asked for and not known.
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
            parts_of_scene = _tile_parts(scene, name) if kind == "tiles" else _block_parts(scene, name, sample)
            for share, part in parts_of_scene:
                if kind == "pooled" and parts:
                    parts[0] = parts[0].merge(part)
                elif part.count:
                    parts.append(part)
                progress(min(total, done + share * area), total, name)
            done += area
        found = (parts[0] if kind == "pooled" else _average(parts)) if parts else None
        problem = unusable(city, name, found)
        if problem or found is None:
            raise DataError(problem)
        result[name] = replace(found, quantiles=sample.quantiles()) if sample else found
    return result


def _block_parts(scene: Scene, name: str, sample: PixelSample | None) -> Iterator[tuple[float, BandStatistics]]:
    """Yield the statistics of blocks that tile a modality on its own grid, and the share of the scene done.

    ``sample`` sees every block.
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


def _tile_parts(scene: Scene, name: str) -> Iterator[tuple[float, BandStatistics]]:
    if scene.tiles is None:
        raise DataError(f"scene {scene.name!r} is not distributed in tiles; use pooled statistics")
    for index, window in enumerate(scene.tiles.windows(), 1):
        values, valid = scene.read(name, window)
        part = BandStatistics.of(values.reshape(values.shape[0], -1), valid.ravel().astype(np.int64))
        yield index / scene.tiles.count, part


def _average(parts: Sequence[BandStatistics]) -> BandStatistics:
    return BandStatistics(
        sum(part.count for part in parts),
        np.mean([part.mean for part in parts], axis=0),
        np.mean([part.std for part in parts], axis=0),
        np.min([part.minimum for part in parts], axis=0),
        np.max([part.maximum for part in parts], axis=0),
    )


def unusable(city: City, modality: str, statistics: BandStatistics | None) -> str | None:
    """Say why a modality with these statistics cannot be used: no valid pixel, or bands without data; None if it can."""
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
        # A raster of valid pixels replaces the nodata value: a band may still be nothing but nodata inside it.
        nodata = [s.modality(modality).source.nodata for s in city.scenes]
        same = statistics.minimum == statistics.maximum
        fill = np.isin(statistics.minimum, [np.float32(n) * np.float32(stack.scale) for n in nodata if n is not None])
        empty = [int(band) + 1 for band in np.flatnonzero(same & fill)]
        if not empty:
            return None
        why = "although valid.tif says there is data"
    return (
        f"{where}: bands {number_ranges(sorted(set(empty)))} hold no valid value (all nodata or NaN), {why}; leave them out "
        "with `keep:` in city.yaml"
    )


def _bands_with_data(scene: Scene, modality: str) -> np.ndarray:
    """Return bool [C]: bands with at least one value that is neither nodata nor NaN."""
    source = scene.modality(modality).source
    filled = np.zeros(source.count, bool)
    for window in blocks(Window(0, 0, source.height, source.width), 512):
        values = source.read(window)
        usable = np.isfinite(values)
        if source.nodata is not None:
            usable &= values != source.nodata
        filled |= usable.any(axis=(1, 2))
    return filled
