"""Which points to label next for training: uncertain, different from each other and from earlier ones, rare classes too.

A pool of candidates is drawn in one pass over the map, with probabilities that follow uncertainty (weighted sampling without
replacement: Efraimidis and Spirakis 2006), evenly over the mapped classes. From it points are picked one by one: the most
uncertain times its distance in the images to all that are picked (farthest-point traversal, Gonzalez 1985), less for classes
that have points already. Axes: n candidate, F feature, K class.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from c2seg.data.city import Scene
from c2seg.progress import Progress, no_progress
from c2seg.raster import RasterFile
from c2seg.types import Window
from c2seg.verify.classmap import ClassMap, windows_of
from c2seg.verify.strata import ConfidenceLayer

__all__ = ["Pool", "Uncertainty", "draw_pool", "pick_points", "pixel_features"]

_LEAST = 0.02  # weight of a pixel without doubt: it may be wrong all the same
_EDGE = 0.25  # weight of pixels at an edge of the map's classes, which people can hardly label
_POOL_A_POINT, _POOL_LEAST = 60, 2000
_FEATURE_VALUES = 4_000_000  # values that are read together


@dataclass(frozen=True)
class Uncertainty:
    """How uncertain a map's pixels are: 1 - margin over the runner-up class, else 1 - confidence, else the same for all."""

    name: str
    margin: RasterFile | None = None
    confidence: ConfidenceLayer | None = None

    def read(self, window: Window) -> np.ndarray:
        """Return float32 [H, W] in 0..1; 0 without data."""
        if self.margin is not None:
            raw = self.margin.read(window)[1]
            values = raw.astype(np.float32) / np.float32(200.0)
            values[raw == 255] = 1.0
        elif self.confidence is not None:
            values = np.nan_to_num(self.confidence.read(window), nan=1.0)
        else:
            return np.ones((window.height, window.width), np.float32)
        doubt: np.ndarray = np.clip(1 - values, 0, 1)
        return doubt


@dataclass(frozen=True)
class Pool:
    """Candidates: row, column int64 [n], mapped class id uint8 [n], uncertainty float64 [n]."""

    row: np.ndarray
    col: np.ndarray
    ids: np.ndarray
    uncertainty: np.ndarray

    def among(self, chosen: np.ndarray) -> Pool:
        """Return some of the candidates."""
        return Pool(self.row[chosen], self.col[chosen], self.ids[chosen], self.uncertainty[chosen])


def draw_pool(
    class_map: ClassMap,
    uncertainty: Uncertainty,
    points: int,
    avoided: np.ndarray,
    apart_px: int,
    seed: int,
    progress: Progress = no_progress,
) -> Pool:
    """Draw candidates for ``points`` points in one pass, none within ``apart_px`` of ``avoided`` (row, column [m, 2]).

    Every class of the map gets the same number of candidates as far as it has pixels. Memory follows their number alone.
    """
    legend = class_map.legend
    most = -(-max(_POOL_LEAST, _POOL_A_POINT * points) // legend.num_classes)
    reservoirs = [_Reservoir(most) for _ in legend.ids]
    generator = np.random.default_rng([seed, 7])
    for window, ids in class_map.scan(progress):
        doubt = uncertainty.read(window)
        weights = np.maximum(doubt, _LEAST) * np.where(_at_edge(ids), _EDGE, 1.0)
        keys = np.log(np.maximum(generator.random(ids.shape), 1e-300)) / weights
        usable = ~_near(window, avoided, apart_px)
        for reservoir, number in zip(reservoirs, legend.ids, strict=True):
            rows, cols = np.nonzero((ids == number) & usable)
            reservoir.add(keys[rows, cols], rows + window.row, cols, doubt[rows, cols])
    parts = [reservoir.columns() for reservoir in reservoirs]
    classes = [np.full(len(part[0]), number, np.uint8) for part, number in zip(parts, legend.ids, strict=True)]
    rows, cols, doubts = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    return Pool(rows.astype(np.int64), cols.astype(np.int64), np.concatenate(classes), doubts)


def pixel_features(scene: Scene | None, row: np.ndarray, col: np.ndarray) -> np.ndarray:
    """Return float32 [n, F]: the bands of all modalities at pixels, standardized, each modality with the same weight.

    Invalid values are the mean. Without a scene: row and column, standardized.
    """
    if scene is None:
        return _standardized(np.stack([row, col], axis=1).astype(np.float32))
    parts = []
    for name, stack in scene.modalities.items():
        values = np.full((len(row), stack.count), np.nan, np.float32)
        for window, inside in windows_of(row, scene.grid, max(scene.grid.width, _FEATURE_VALUES // stack.count)):
            for first in range(0, window.height, 64):
                part = window.rows(first, min(64, window.height - first))
                here = inside[(row[inside] >= part.row) & (row[inside] < part.row_end)]
                if here.size:
                    read, valid = scene.read(name, part)
                    lines, columns = row[here] - part.row, col[here]
                    values[here] = np.where(valid[lines, columns], read[:, lines, columns], np.nan).T
        parts.append(_standardized(values) / np.sqrt(np.float32(stack.count)))
    return np.concatenate(parts, axis=1)


def pick_points(
    pool: Pool, features: np.ndarray, points: int, apart_px: int, seen: Sequence[int] = ()
) -> tuple[np.ndarray, np.ndarray]:
    """Return the indices int64 [p] of the picked candidates, and their distance to what was picked before, float64 [p].

    ``features`` are those of the pool, and then those of earlier points; ``seen`` are the classes of these. The distance of
    the very first point is infinite. There are fewer points if the pool has no more that are far enough apart.
    """
    candidates, earlier = features[: len(pool.row)], features[len(pool.row) :]
    distance = np.full(len(candidates), np.inf)
    for vector in earlier:
        distance = np.minimum(distance, np.linalg.norm(candidates - vector, axis=1))
    counts = np.bincount(np.asarray(seen, np.int64), minlength=256).astype(np.float64)
    usable = np.ones(len(candidates), bool)
    chosen: list[int] = []
    distances: list[float] = []
    for _ in range(points):
        if not usable.any():
            break
        spread = np.where(np.isfinite(distance), distance, 1.0)
        scores = np.maximum(pool.uncertainty, _LEAST) * spread / (1.0 + counts[pool.ids])
        best = int(np.argmax(np.where(usable, scores, -1.0)))
        chosen.append(best)
        distances.append(float(distance[best]))
        counts[pool.ids[best]] += 1
        distance = np.minimum(distance, np.linalg.norm(candidates - candidates[best], axis=1))
        far = np.maximum(abs(pool.row - pool.row[best]), abs(pool.col - pool.col[best])) > apart_px
        usable &= far
    return np.array(chosen, np.int64), np.array(distances)


class _Reservoir:
    """The candidates with the largest keys of a stream."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._values = np.empty((4, 0))

    def add(self, keys: np.ndarray, rows: np.ndarray, cols: np.ndarray, doubts: np.ndarray) -> None:
        if len(keys) > self._most:
            largest = np.argpartition(-keys, self._most)[: self._most]
            keys, rows, cols, doubts = keys[largest], rows[largest], cols[largest], doubts[largest]
        together = np.concatenate([self._values, np.stack([keys, rows, cols, doubts])], axis=1)
        order = np.argsort(-together[0], kind="stable")[: self._most]
        self._values = together[:, order]

    def columns(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return rows, columns and uncertainties."""
        return self._values[1], self._values[2], self._values[3]


def _at_edge(ids: np.ndarray) -> np.ndarray:
    """Return bool [H, W]: a neighbor in the window has another id."""
    edge = np.zeros(ids.shape, bool)
    down, right = ids[1:] != ids[:-1], ids[:, 1:] != ids[:, :-1]
    edge[1:] |= down
    edge[:-1] |= down
    edge[:, 1:] |= right
    edge[:, :-1] |= right
    return edge


def _near(window: Window, points: np.ndarray, distance: int) -> np.ndarray:
    """Return bool [H, W]: pixels within a distance (of rows and of columns) of a point."""
    near = np.zeros((window.height, window.width), bool)
    for row, col in points.tolist():
        first, last = row - distance - window.row, row + distance + 1 - window.row
        if last > 0 and first < window.height:
            near[
                max(first, 0) : last, max(col - distance - window.col, 0) : max(col + distance + 1 - window.col, 0)
            ] = True
    return near


def _standardized(values: np.ndarray) -> np.ndarray:
    """Return values [n, F] with mean 0 and standard deviation 1 by column; NaN becomes 0."""
    if not len(values):
        return values
    known = np.isfinite(values)
    count = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, values, 0).sum(axis=0) / count
    centered = np.where(known, values - mean, 0)
    deviation = np.sqrt((centered**2).sum(axis=0) / count)
    scaled: np.ndarray = (centered / np.where(deviation > 0, deviation, 1)).astype(np.float32)
    return scaled
