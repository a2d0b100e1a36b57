"""Exact pooled band statistics of a city, in one streaming pass over the pixels at which a modality is valid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from c2seg.data.city import City, Scene, blocks
from c2seg.errors import DataError
from c2seg.progress import Progress, no_progress
from c2seg.types import Window

__all__ = ["BandStatistics", "city_statistics"]


@dataclass(frozen=True)
class BandStatistics:
    """Count of pixels (fine grid) and, per band, mean, population standard deviation, minimum, maximum; float64 [C]."""

    count: int
    mean: np.ndarray
    std: np.ndarray
    minimum: np.ndarray
    maximum: np.ndarray

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

    def as_dict(self) -> dict[str, object]:
        """Return a JSON structure; ``from_dict`` reads it back exactly."""
        return {
            "count": self.count,
            **{k: getattr(self, k).tolist() for k in ("mean", "std", "minimum", "maximum")},
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, object]) -> BandStatistics:
        """Read what ``as_dict`` wrote."""
        arrays = [np.asarray(content[k], np.float64) for k in ("mean", "std", "minimum", "maximum")]
        return cls(int(str(content["count"])), *arrays)

    @classmethod
    def of(cls, values: np.ndarray, weights: np.ndarray) -> BandStatistics:
        """Return the statistics of values [C, N] with whole weights [N]; weight 0 leaves a value out."""
        used = weights > 0
        count = int(weights.sum())
        if not count:
            empty = np.zeros(values.shape[0])
            return cls(0, empty, empty, empty + np.inf, empty - np.inf)
        taken = values[:, used].astype(np.float64)
        share = weights[used] / count
        mean = taken @ share
        std = np.sqrt(((taken - mean[:, None]) ** 2) @ share)
        return cls(count, mean, std, taken.min(axis=1), taken.max(axis=1))


def city_statistics(
    city: City, modalities: Sequence[str], progress: Progress = no_progress
) -> dict[str, BandStatistics]:
    """Return the band statistics of each modality over its own valid pixels.

    Cells of a coarser modality count once per valid fine pixel they cover. Raises DataError when a modality has no
    valid pixel, naming the bands that are empty.
    """
    total = sum(scene.grid.height * scene.grid.width for scene in city.scenes) * len(modalities)
    done = 0
    result: dict[str, BandStatistics] = {}
    for name in modalities:
        for scene in city.scenes:
            source = scene.modality(name).source
            size = max(64, int((8_000_000 / max(1, source.count)) ** 0.5) // 64 * 64)
            cells = source.height * source.width
            for window in blocks(Window(0, 0, source.height, source.width), size):
                values, weights = scene.read_native(name, window)
                part = BandStatistics.of(values.reshape(values.shape[0], -1), weights.ravel())
                result[name] = result[name].merge(part) if name in result else part
                done += window.height * window.width * scene.grid.height * scene.grid.width // max(1, cells)
                progress(min(done, total), total, name)
        if not result[name].count:
            raise DataError(_why_empty(city, name))
    return result


def _why_empty(city: City, modality: str) -> str:
    """Say which bands make a modality without valid pixel."""
    for scene in city.scenes:
        stack = scene.modality(modality)
        empty = [b + 1 for b in range(stack.count) if not _band_has_data(scene, modality, b)]
        if empty:
            return (
                f"{stack.origin or modality}: bands {_ranges(empty)} hold no valid value (all nodata or NaN), so no "
                f"pixel of {modality} is valid; leave them out with `keep:` in city.yaml"
            )
    return f"city {city.name!r}: no pixel of {modality} is valid (nodata, NaN or valid.tif exclude all)"


def _band_has_data(scene: Scene, modality: str, band: int) -> bool:
    source = scene.modality(modality).source
    for window in blocks(Window(0, 0, source.height, source.width), 512):
        values = source.read(window)[band]
        usable = np.isfinite(values)
        if source.nodata is not None:
            usable &= values != source.nodata
        if usable.any():
            return True
    return False


def _ranges(numbers: Sequence[int]) -> str:
    """Write 1, 2, 3, 7 as "1-3, 7"."""
    groups: list[list[int]] = []
    for number in numbers:
        if groups and number == groups[-1][1] + 1:
            groups[-1][1] = number
        else:
            groups.append([number, number])
    return ", ".join(f"{a}-{b}" if a != b else f"{a}" for a, b in groups)
