"""City, scene, modality. A city holds images only; labels come with LabeledCity, so that a training target has none.

Axes: C band, H row, W column on the scene's grid (the finest of its modalities).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from c2seg.data.folds import Folds
from c2seg.data.tiling import TileGrid
from c2seg.errors import DataError, unknown_name
from c2seg.legend import IGNORE, Legend
from c2seg.raster import GridRelation, RasterSource, read_boundless
from c2seg.types import Grid, Window

__all__ = ["Band", "City", "Label", "LabeledCity", "Layer", "Modality", "Scene", "blocks"]

ROLES = ("blue", "green", "red", "nir", "vv", "vh", "hh", "hv")

_UNKNOWN = -1  # a label value that its label mapping does not have


@dataclass(frozen=True, slots=True)
class Band:
    """What is known of a band: its name, its role (``blue`` ... ``hv``) and center wavelength, where known."""

    name: str = ""
    role: str | None = None
    wavelength_nm: float | None = None


@dataclass(frozen=True)
class Layer:
    """A raster and how it lies under the scene's grid."""

    source: RasterSource
    relation: GridRelation = field(default_factory=GridRelation)
    origin: str = ""

    def read(self, window: Window) -> tuple[np.ndarray, np.ndarray]:
        """Return values [C, H, W] on the fine grid (nearest) and inside bool [H, W]; the window may leave it."""
        values, inside = self.read_cells(window)
        return self.upsample_nearest(values, window), self.upsample_nearest(inside, window)

    def read_cells(self, window: Window) -> tuple[np.ndarray, np.ndarray]:
        """Return values [C, h, w] and inside bool [h, w] of the cells, on the raster's own grid, that cover a window."""
        return read_boundless(self.source, self.relation.to_coarse(window))

    def upsample_nearest(self, cells: np.ndarray, window: Window) -> np.ndarray:
        """Return [..., H, W]: the cells [..., h, w] that cover a window on the fine grid, by nearest neighbor."""
        relation = self.relation
        if relation.ratio == 1:
            return cells
        fine = relation.to_fine(relation.to_coarse(window))
        rows = (np.arange(window.row, window.row_end) - fine.row) // relation.ratio
        cols = (np.arange(window.col, window.col_end) - fine.col) // relation.ratio
        return cells.take(cols, axis=-1).take(rows, axis=-2)


@dataclass(frozen=True)
class Modality(Layer):
    """A named stack of bands (``hsi``, ``msi``, ``sar`` or another). Physical value = stored value x ``scale``.

    ``blank``: pixels at which every band has this stored value hold no data (layouts without nodata or valid raster).
    """

    name: str = ""
    bands: tuple[Band, ...] = ()
    scale: float = 1.0
    blank: float | None = None

    def usable(self, stored: np.ndarray, *, masked: bool = False) -> np.ndarray:
        """Return bool [H, W] of stored values [C, H, W]: no band is nodata or not finite, and the pixel is not blank.

        ``masked``: a raster of valid pixels replaces the nodata value and ``blank``; NaN is never usable.
        """
        usable = np.ones(stored.shape[1:], bool)
        if stored.dtype.kind == "f":
            usable &= np.isfinite(stored).all(axis=0)
        if masked:
            return usable
        nodata = self.source.nodata
        if nodata is not None and not np.isnan(nodata):
            usable &= (stored != nodata).all(axis=0)
        if self.blank is not None and (blank := stored[0] == self.blank).any():
            blank[blank] = (stored[:, blank] == self.blank).all(axis=0)  # few pixels: spare the other bands
            usable &= ~blank
        return usable

    def physical(self, stored: np.ndarray) -> np.ndarray:
        """Return a copy of stored values as float32 in physical units."""
        values = stored.astype(np.float32)
        if self.scale != 1.0:
            values *= np.float32(self.scale)
        return values

    @property
    def count(self) -> int:
        """Number of bands."""
        return self.source.count


@dataclass(frozen=True)
class Label(Layer):
    """Reference ids of a scene; ``label_map`` names the meaning of the stored values."""

    label_map: str = "challenge"


@dataclass(frozen=True)
class Scene:
    """Images on one grid. ``valid`` (non-zero = usable) replaces the rasters' nodata values; NaN is never valid."""

    name: str
    grid: Grid
    modalities: Mapping[str, Modality]
    valid: Layer | None = None
    tiles: TileGrid | None = None
    """The tiles in which the scene is distributed, where that is known."""

    def read(self, modality: str, window: Window) -> tuple[np.ndarray, np.ndarray]:
        """Return values float32 [C, H, W] on the fine grid and valid bool [H, W] of a window that may leave the scene.

        Values at invalid pixels are unspecified but finite only where the file's are. Raises DataError if unreadable.
        """
        stack = self.modality(modality)
        stored, usable = stack.read_cells(window)
        usable &= stack.usable(stored, masked=self.valid is not None)
        values, valid = stack.upsample_nearest(stack.physical(stored), window), stack.upsample_nearest(usable, window)
        if window.intersect(self.grid.window) != window:
            valid &= self._inside(window)
        if self.valid is not None:
            valid &= self.valid.read(window)[0][0] != 0
        return values, valid

    def read_native(self, modality: str, window: Window) -> tuple[np.ndarray, np.ndarray]:
        """Return values float32 [C, h, w] of a window on the modality's own grid (inside it) and weights int64 [h, w].

        A weight is the number of usable pixels of the fine grid in the cell, so that weighted sums over cells equal
        sums over the fine grid.
        """
        stack = self.modality(modality)
        stored = stack.source.read(window)
        return stack.physical(stored), self.weigh(modality, stored, window)

    def weigh(self, modality: str, stored: np.ndarray, window: Window) -> np.ndarray:
        """Return the weights int64 [h, w] of stored values [C, h, w] of a window on the modality's own grid."""
        stack = self.modality(modality)
        fine = stack.relation.to_fine(window)
        covered = self._inside(fine)
        if self.valid is not None:
            covered &= self.valid.read(fine)[0][0] != 0
        ratio = stack.relation.ratio
        cells = covered.reshape(window.height, ratio, window.width, ratio).sum(axis=(1, 3))
        weights: np.ndarray = cells * stack.usable(stored, masked=self.valid is not None)
        return weights

    def read_valid(self, modalities: Iterable[str], window: Window) -> np.ndarray:
        """Return bool [H, W]: pixels at which every one of ``modalities`` is valid."""
        valid = np.ones((window.height, window.width), bool)
        for name in modalities:
            valid &= self.read(name, window)[1]
        return valid

    def modality(self, name: str) -> Modality:
        """Return a modality by name; DataError lists those that exist."""
        if name not in self.modalities:
            raise DataError(f"scene {self.name!r}: {unknown_name('modality', name, self.modalities)}")
        return self.modalities[name]

    def _inside(self, window: Window) -> np.ndarray:
        rows = np.arange(window.row, window.row_end)
        cols = np.arange(window.col, window.col_end)
        row_inside = (rows >= 0) & (rows < self.grid.height)
        col_inside = (cols >= 0) & (cols < self.grid.width)
        return row_inside[:, None] & col_inside[None, :]


@dataclass(frozen=True)
class City:
    """Images of a city: one or more scenes with the same modalities. It has no label, whatever lies on disk."""

    name: str
    legend: Legend
    scenes: tuple[Scene, ...]
    problems: tuple[str, ...] = field(default=(), compare=False)
    """What is wrong, file by file."""
    notes: tuple[str, ...] = field(default=(), compare=False)
    """What was recognized or assumed, in words."""

    @property
    def modality_names(self) -> tuple[str, ...]:
        """Names of the modalities that every scene has."""
        first, *others = self.scenes
        return tuple(name for name in first.modalities if all(name in scene.modalities for scene in others))

    def band_counts(self, modalities: Sequence[str]) -> dict[str, int]:
        """Return the number of bands of each modality; DataError for a modality that is missing or differs by scene."""
        counts = {}
        for name in modalities:
            found = {scene.modality(name).count for scene in self.scenes}
            if len(found) > 1:
                raise DataError(f"city {self.name!r}: scenes have different numbers of {name} bands {sorted(found)}")
            counts[name] = found.pop()
        return counts

    def fingerprint(self) -> str:
        """Return 16 hex digits over grids, sizes and sampled blocks of every image (labels are no part of a city)."""
        digest = hashlib.sha256()
        for scene in self.scenes:
            grid = scene.grid
            digest.update(repr((scene.name, grid.height, grid.width, tuple(grid.transform), grid.crs)).encode())
            layers: list[tuple[str, Layer]] = sorted(scene.modalities.items())
            for name, layer in [*layers, *([("valid", scene.valid)] if scene.valid else [])]:
                more = (layer.scale, layer.blank) if isinstance(layer, Modality) else ()
                digest.update(repr((name, layer.relation, more, layer.source.fingerprint())).encode())
        return digest.hexdigest()[:16]


@dataclass(frozen=True)
class LabeledCity:
    """A city with one label per scene. Only this type carries labels; training targets are of type City.

    ``folds`` divide each scene for validation; ``held_out`` is the fold whose labels ``read_label`` withholds.
    """

    images: City
    labels: tuple[Label, ...]
    folds: tuple[Folds, ...] = ()
    held_out: int | None = None

    def holding_out(self, fold: int) -> LabeledCity:
        """Return the city without the labels of a fold and of what lies too near to it."""
        if not 0 <= fold < (count := self.folds[0].folds if self.folds else 0):
            raise ValueError(f"city {self.images.name!r} has {count} folds, none of number {fold}")
        return replace(self, held_out=fold)

    def read_label(self, scene: int, window: Window) -> np.ndarray:
        """Return ids uint8 [H, W]: 0 background (also outside the label raster), 255 ignore, else a class id.

        What is held out for validation is 255. Raises DataError for a value outside the legend, naming file and value.
        """
        ids = self._read_ids(scene, window)
        if self.held_out is not None:
            ids[~self.trainable(scene, window)] = IGNORE
        return ids

    def trainable(self, scene: int, window: Window) -> np.ndarray:
        """Return bool [H, W]: pixels on which a model may be trained, with or without their labels."""
        if self.held_out is None:
            return np.ones((window.height, window.width), bool)
        return self.folds[scene].training(window, self.held_out)

    def read_held_out(self, scene: int, window: Window) -> tuple[np.ndarray, np.ndarray]:
        """Return ids uint8 [H, W] as ``read_label`` without a held-out fold, and bool [H, W]: pixels of that fold."""
        return self._read_ids(scene, window), self.folds[scene].fold(window) == self.held_out

    def _read_ids(self, scene: int, window: Window) -> np.ndarray:
        label = self.labels[scene]
        stored, inside = label.read(window)
        values = stored[0]
        if values.dtype == np.uint8:
            ids = self._id_tables[label.label_map][values]
            if not (ids == _UNKNOWN).any():
                return np.where(inside, ids, 0).astype(np.uint8)
        if values.dtype.kind == "f" and not np.array_equal(values, np.round(values)):
            raise DataError(
                f"{label.origin}: labels must be whole numbers, found {values[values != np.round(values)][0]}"
            )
        try:
            ids = self.images.legend.renumber(values, label.label_map)
        except DataError as error:
            raise DataError(f"{label.origin}: {error}") from error
        ids[~inside] = 0
        return ids

    @cached_property
    def _id_tables(self) -> dict[str, np.ndarray]:
        """int16 [256] from stored value to id by label mapping; values that a label mapping does not have are ``_UNKNOWN``."""
        legend = self.images.legend
        tables = {}
        for name in {label.label_map for label in self.labels}:
            codes = {IGNORE: IGNORE, **legend.codes(name)}
            tables[name] = np.array([codes.get(value, _UNKNOWN) for value in range(256)], np.int16)
        return tables

    def label_fingerprint(self) -> str:
        """Return 16 hex digits over sizes and sampled blocks of the labels."""
        parts = "".join(label.source.fingerprint() + label.label_map for label in self.labels)
        return hashlib.sha256(parts.encode()).hexdigest()[:16]

    def class_counts(self) -> np.ndarray:
        """Return int64 [256]: labeled pixels by id over all scenes, valid or not."""
        counts = np.zeros(256, np.int64)
        for index, scene in enumerate(self.images.scenes):
            for window in blocks(scene.grid.window, 1024):
                counts += np.bincount(self.read_label(index, window).ravel(), minlength=256)
        return counts

    def check_classes(self) -> None:
        """Raise DataError when no pixel carries a class."""
        counts = self.class_counts()
        counts[[0, IGNORE]] = 0
        if not counts.any():
            raise DataError(
                f"city {self.images.name!r}: its label has no pixel of any class of {self.images.legend.name!r}"
            )


def blocks(window: Window, size: int) -> Iterator[Window]:
    """Yield windows of at most ``size`` x ``size`` that tile ``window``, row by row."""
    for row in range(window.row, window.row_end, size):
        for col in range(window.col, window.col_end, size):
            yield Window(row, col, min(size, window.row_end - row), min(size, window.col_end - col))
