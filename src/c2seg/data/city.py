"""City, scene, modality. A City has images only. Labels are part of LabeledCity, so a training target has no labels.

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
from c2seg.raster import GridRelation, RasterSource, read_boundless, short
from c2seg.types import Grid, Window

__all__ = ["Band", "City", "Label", "LabeledCity", "Layer", "Modality", "Scene", "blocks"]

ROLES = ("blue", "green", "red", "nir", "vv", "vh", "hh", "hv")

_UNKNOWN = -1  # a label value that is not in its label mapping


@dataclass(frozen=True, slots=True)
class Band:
    """Metadata of a band: its name, its role (one of ``ROLES``), its center wavelength and its width (full width at half
    maximum), where known.

    Model files and city.yaml describe bands with the same keys. Unknown keys are errors there.
    """

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012 (read by pydantic on the class)

    name: str = ""
    role: str | None = None
    wavelength_nm: float | None = None
    fwhm_nm: float | None = None


@dataclass(frozen=True)
class Layer:
    """A raster and its relation to the scene's grid."""

    source: RasterSource
    relation: GridRelation = field(default_factory=GridRelation)
    origin: str = ""
    mask: RasterSource | None = field(default=None, kw_only=True)
    """One band on the source's grid, non-zero where the file's masks let pixels be valid; None: it has none."""

    def read(self, window: Window) -> tuple[np.ndarray, np.ndarray]:
        """Return raw values [C, H, W] on the fine grid (nearest neighbor) and a mask of pixels inside the raster, bool [H, W].

        The window may extend beyond the grid.
        """
        values, inside = self.read_cells(window)
        return self.upsample_nearest(values, window), self.upsample_nearest(inside, window)

    def read_cells(self, window: Window) -> tuple[np.ndarray, np.ndarray]:
        """Return raw values [C, h, w] on the native grid that cover a window, and a mask of existing cells, bool [h, w]."""
        return read_boundless(self.source, self.relation.to_coarse(window))

    def read_present(self, window: Window) -> tuple[np.ndarray, np.ndarray]:
        """Return the first band [H, W] on the fine grid, and where it has data, bool [H, W].

        Pixels outside the raster, masked, NaN, or of the nodata value have none.
        """
        cells = self.relation.to_coarse(window)
        values, present = read_boundless(self.source, cells)
        present &= self.unmasked(cells)
        if values.dtype.kind == "f":
            present &= ~np.isnan(values[0])
        if self.source.nodata is not None:
            present &= values[0] != self.source.nodata
        return self.upsample_nearest(values, window)[0], self.upsample_nearest(present, window)

    def read_marked(self, window: Window) -> np.ndarray:
        """Return bool [H, W]: pixels with data that are not 0, as a raster of valid pixels marks them."""
        values, present = self.read_present(window)
        marked: np.ndarray = present & (values != 0)
        return marked

    def unmasked(self, cells: Window) -> np.ndarray:
        """Return bool [h, w] of a window on the native grid: False where the file's masks exclude a pixel."""
        if self.mask is None:
            return np.ones((cells.height, cells.width), bool)
        unmasked: np.ndarray = read_boundless(self.mask, cells)[0][0] != 0
        return unmasked

    def upsample_nearest(self, cells: np.ndarray, window: Window) -> np.ndarray:
        """Upsample the cells [..., h, w] that cover a window to [..., H, W] on the fine grid, by nearest neighbor."""
        relation = self.relation
        if relation.ratio == 1:
            return cells
        rows, cols = relation.nearest(window)
        return cells.take(cols, axis=-1).take(rows, axis=-2)


@dataclass(frozen=True)
class Modality(Layer):
    """A named stack of bands (``hsi``, ``msi``, ``sar`` or another). Scaled value = raw value x ``scale`` + ``offset``.

    ``scale`` and ``offset`` are of all bands, or one for each. ``nodata_all_bands``: pixels where all bands have this raw
    value are nodata. Layouts without other marks of validity use it.
    """

    name: str = ""
    bands: tuple[Band, ...] = ()
    scale: float | tuple[float, ...] = 1.0
    nodata_all_bands: float | None = None
    offset: float | tuple[float, ...] = 0.0
    is_scaled_by_file: bool = False
    """Whether scale and offset are those that the file states."""

    def valid_pixels(self, raw: np.ndarray, cells: Window, *, masked: bool = False) -> np.ndarray:
        """Return the valid pixels, bool [H, W], of raw values [C, H, W] of a window on the native grid.

        A pixel is valid if all bands are finite, no band is nodata, the file's masks do not exclude it, and not all bands are
        ``nodata_all_bands``. ``masked``: the scene has a raster of valid pixels, which replaces both nodata values. NaN and
        masks always count.
        """
        valid = self.unmasked(cells)
        if raw.dtype.kind == "f":
            with np.errstate(
                over="ignore", invalid="ignore"
            ):  # what is too large for float32 is infinite in all that follows
                valid &= np.isfinite(raw.astype(np.float32, copy=False)).all(axis=0)
        if masked:
            return valid
        nodata = self.source.nodata
        if nodata is not None and not np.isnan(nodata):
            valid &= (raw != nodata).all(axis=0)
        if self.nodata_all_bands is not None and (empty := raw[0] == self.nodata_all_bands).any():
            empty[empty] = (raw[:, empty] == self.nodata_all_bands).all(
                axis=0
            )  # few pixels: test the other bands only there
            valid &= ~empty
        return valid

    def scaled(self, raw: np.ndarray) -> np.ndarray:
        """Return raw values times ``scale`` plus ``offset``, as a float32 copy."""
        with np.errstate(over="ignore", invalid="ignore"):
            values = raw.astype(np.float32)
            for amount, apply in ((self.scale, np.multiply), (self.offset, np.add)):
                if amount != (1.0 if apply is np.multiply else 0.0):
                    by_band = np.asarray(amount, np.float32).reshape(-1, *[1] * (raw.ndim - 1))
                    apply(values, by_band, out=values)
        return values

    @property
    def is_raw(self) -> bool:
        """Whether scaled values are the raw ones."""
        return self.scale == 1.0 and self.offset == 0.0

    @property
    def count(self) -> int:
        """Number of bands."""
        return self.source.count


@dataclass(frozen=True)
class Label(Layer):
    """Reference labels of a scene. ``label_map`` names the label mapping of the raw values."""

    label_map: str = "challenge"


@dataclass(frozen=True)
class Scene:
    """Images on one grid. The layer ``valid`` (non-zero = valid) replaces the rasters' nodata values; NaN is never valid."""

    name: str
    grid: Grid
    modalities: Mapping[str, Modality]
    valid: Layer | None = None
    tiles: TileGrid | None = None
    """The tiles in which the scene is distributed, if known."""

    def read(self, modality: str, window: Window) -> tuple[np.ndarray, np.ndarray]:
        """Return scaled values float32 [C, H, W] on the fine grid and their validity, bool [H, W].

        The window may extend beyond the scene. Values of invalid pixels are unspecified and may be NaN. Raises DataError if
        unreadable.
        """
        stack = self.modality(modality)
        raw, valid = self.read_raw(modality, window)
        return stack.upsample_nearest(stack.scaled(raw), window), valid

    def read_raw(self, modality: str, window: Window) -> tuple[np.ndarray, np.ndarray]:
        """Return raw values [C, h, w] of the native cells that cover a window, and the validity of its pixels, bool [H, W]."""
        stack = self.modality(modality)
        raw, cells = stack.read_cells(window)
        cells &= stack.valid_pixels(raw, stack.relation.to_coarse(window), masked=self.valid is not None)
        valid = stack.upsample_nearest(cells, window)
        if window.intersect(self.grid.window) != window:
            valid &= self._inside(window)
        if self.valid is not None:
            valid &= self.valid.read_marked(window)
        return raw, valid

    def read_native(self, modality: str, window: Window) -> tuple[np.ndarray, np.ndarray]:
        """Return scaled values float32 [C, h, w] of a window inside the native grid, and weights of its cells, int64 [h, w].

        The weight of a cell is its number of valid pixels on the fine grid. Weighted sums over cells therefore equal sums over
        the fine grid.
        """
        stack = self.modality(modality)
        raw = stack.source.read(window)
        return stack.scaled(raw), self.cell_weights(modality, raw, window)

    def cell_weights(self, modality: str, raw: np.ndarray, window: Window) -> np.ndarray:
        """Return the weights int64 [h, w] of raw values [C, h, w] of a window on the modality's native grid."""
        stack = self.modality(modality)
        fine = stack.relation.to_fine(window)
        covered = self._inside(fine)
        if self.valid is not None:
            covered &= self.valid.read_marked(fine)
        ratio = stack.relation.ratio
        cells = covered.reshape(window.height, ratio, window.width, ratio).sum(axis=(1, 3))
        weights: np.ndarray = cells * stack.valid_pixels(raw, window, masked=self.valid is not None)
        return weights

    def read_valid(self, modalities: Iterable[str], window: Window) -> np.ndarray:
        """Return bool [H, W]: pixels that are valid in all ``modalities``."""
        valid = np.ones((window.height, window.width), bool)
        for name in modalities:
            valid &= self.read_raw(name, window)[1]
        return valid

    def modality(self, name: str) -> Modality:
        """Return a modality by name. Raises DataError, which lists the existing ones."""
        if name not in self.modalities:
            raise DataError(
                f"scene {self.name!r}: {unknown_name('modality', name, self.modalities)} Add {name}.tif, or name its "
                f"file in city.yaml, or leave it out (key inputs of the recipe)."
            )
        return self.modalities[name]

    def _inside(self, window: Window) -> np.ndarray:
        rows = np.arange(window.row, window.row_end)
        cols = np.arange(window.col, window.col_end)
        row_inside = (rows >= 0) & (rows < self.grid.height)
        col_inside = (cols >= 0) & (cols < self.grid.width)
        return row_inside[:, None] & col_inside[None, :]


@dataclass(frozen=True)
class City:
    """Images of a city: one or more scenes with the same modalities. It never has labels, even if there are some on disk."""

    name: str
    legend: Legend
    scenes: tuple[Scene, ...]
    problems: tuple[str, ...] = field(default=(), compare=False)
    """Problems by file."""
    notes: tuple[str, ...] = field(default=(), compare=False)
    """What was recognized or assumed, as text."""

    @property
    def modality_names(self) -> tuple[str, ...]:
        """Names of the modalities that all scenes have."""
        first, *others = self.scenes
        return tuple(name for name in first.modalities if all(name in scene.modalities for scene in others))

    def as_stored(self) -> City:
        """Return the city without the scales and offsets that its files state, as version 0.1.0 read it."""

        def stored(stack: Modality) -> Modality:
            return replace(stack, scale=1.0, offset=0.0, is_scaled_by_file=False) if stack.is_scaled_by_file else stack

        scenes = (replace(s, modalities={n: stored(m) for n, m in s.modalities.items()}) for s in self.scenes)
        return replace(self, scenes=tuple(scenes))

    def band_counts(self, modalities: Sequence[str]) -> dict[str, int]:
        """Return the number of bands by modality. Raises DataError if a modality is missing or differs between scenes."""
        counts = {}
        for name in modalities:
            by_scene = {scene.modality(name).count for scene in self.scenes}
            if len(by_scene) > 1:
                raise DataError(f"city {self.name!r}: scenes have different numbers of {name} bands {sorted(by_scene)}")
            counts[name] = by_scene.pop()
        return counts

    def fingerprint(self) -> str:
        """Return a digest of the grids and of every byte of all images, equal on every machine. Labels are not included."""
        digest = hashlib.sha256()
        for scene in self.scenes:
            grid = scene.grid
            digest.update(repr((scene.name, grid.height, grid.width, tuple(grid.transform), grid.crs)).encode())
            layers: list[tuple[str, Layer]] = sorted(scene.modalities.items())
            for name, layer in [*layers, *([("valid", scene.valid)] if scene.valid else [])]:
                options = (layer.scale, layer.offset, layer.nodata_all_bands) if isinstance(layer, Modality) else ()
                digest.update(repr((name, layer.relation, options, layer.source.fingerprint())).encode())
        return short(digest)


@dataclass(frozen=True)
class LabeledCity:
    """A city with one label per scene. Only this type has labels; training targets are of type City.

    ``folds`` divide the scenes for validation. ``held_out`` is the fold whose labels ``read_label`` withholds.
    """

    images: City
    labels: tuple[Label, ...]
    folds: tuple[Folds, ...] = ()
    held_out: int | None = None

    def holding_out(self, fold: int) -> LabeledCity:
        """Return the city without the labels of a fold and of its guard."""
        if not 0 <= fold < (count := self.folds[0].folds if self.folds else 0):
            raise ValueError(f"city {self.images.name!r} has {count} folds; fold {fold} does not exist")
        return replace(self, held_out=fold)

    def read_label(self, scene: int, window: Window) -> np.ndarray:
        """Return ids uint8 [H, W]: 0 background (also outside the label raster), 255 ignored, else a class id.

        Held-out pixels are 255. Raises DataError for a value outside the legend, with file and value.
        """
        ids = self._read_ids(scene, window)
        if self.held_out is not None:
            ids[~self.trainable(scene, window)] = IGNORE
        return ids

    def trainable(self, scene: int, window: Window) -> np.ndarray:
        """Return bool [H, W]: pixels that may be used for training, with or without labels."""
        if self.held_out is None:
            return np.ones((window.height, window.width), bool)
        return self.folds[scene].training(window, self.held_out)

    def read_held_out(self, scene: int, window: Window) -> tuple[np.ndarray, np.ndarray]:
        """Return all ids, uint8 [H, W], and the pixels of the held-out fold, bool [H, W]."""
        return self._read_ids(scene, window), self.folds[scene].fold(window) == self.held_out

    def _read_ids(self, scene: int, window: Window) -> np.ndarray:
        label = self.labels[scene]
        values, present = label.read_present(window)
        if label.source.nodata in {IGNORE, *self.images.legend.codes(label.label_map)}:
            present |= values == label.source.nodata  # the label mapping says what the value means
        values = np.where(present, values, values.dtype.type(0))
        if values.dtype == np.uint8:
            ids = self._id_tables[label.label_map][values]
            if not (ids == _UNKNOWN)[present].any():
                return np.where(present, ids, 0).astype(np.uint8)
        if values.dtype.kind == "f" and not np.array_equal(values, np.round(values)):
            raise DataError(f"{label.origin}: labels must be integers, found {values[values != np.round(values)][0]}")
        ids = np.zeros(values.shape, np.uint8)
        try:
            ids[present] = self.images.legend.apply_label_map(values[present], label.label_map)
        except DataError as error:
            raise DataError(f"{label.origin}: {error}") from error
        return ids

    @cached_property
    def _id_tables(self) -> dict[str, np.ndarray]:
        """Id by raw value, int16 [256], of each label mapping. Values that are not in a mapping are ``_UNKNOWN``."""
        legend = self.images.legend
        tables = {}
        for name in {label.label_map for label in self.labels}:
            codes = {IGNORE: IGNORE, **legend.codes(name)}
            tables[name] = np.array([codes.get(value, _UNKNOWN) for value in range(256)], np.int16)
        return tables

    def label_fingerprint(self) -> str:
        """Return a digest of every byte of the labels."""
        parts = "".join(label.source.fingerprint() + label.label_map for label in self.labels)
        return short(hashlib.sha256(parts.encode()))

    def class_counts(self) -> np.ndarray:
        """Return the number of pixels by id over all scenes, int64 [256], including invalid pixels."""
        counts = np.zeros(256, np.int64)
        for index, scene in enumerate(self.images.scenes):
            for window in blocks(scene.grid.window, 1024):
                counts += np.bincount(self.read_label(index, window).ravel(), minlength=256)
        return counts

    def check_classes(self) -> None:
        """Raise DataError if no pixel has a class."""
        counts = self.class_counts()
        counts[[0, IGNORE]] = 0
        if not counts.any():
            raise DataError(
                f"city {self.images.name!r}: its label has no pixel of any class of {self.images.legend.name!r}"
            )


def blocks(window: Window, size: int) -> Iterator[Window]:
    """Yield windows of at most ``size`` x ``size`` pixels that partition ``window``, row by row."""
    for row in range(window.row, window.row_end, size):
        for col in range(window.col, window.col_end, size):
            yield Window(row, col, min(size, window.row_end - row), min(size, window.col_end - col))
