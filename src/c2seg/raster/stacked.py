"""Several raster files as one: bands of several files, such as those of Sentinel-2, on the grid of the finest."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from c2seg.errors import DataError, GridError
from c2seg.raster.bands import FileBand
from c2seg.raster.digests import short
from c2seg.raster.grids import GridRelation, relate_grids
from c2seg.raster.reading import RasterFile, read_boundless
from c2seg.types import Grid, Window

__all__ = ["StackedFiles", "StackedMask"]


@dataclass(frozen=True)
class StackedFiles:
    """The bands of raster files, one file after another, on the grid of the finest (the first of those).

    Coarser files are a whole number of times coarser, with pixel edges that coincide, and are repeated (nearest neighbor).
    Pixels outside a file are nodata. Each file has its own nodata value and masks, which ``mask`` knows; ``nodata`` is None.
    Raises GridError for files whose grids do not fit, DataError for none.
    """

    sources: tuple[RasterFile, ...]
    relations: tuple[GridRelation, ...] = field(init=False)
    finest: int = field(init=False)

    def __post_init__(self) -> None:
        if not self.sources:
            raise DataError("`files:` in city.yaml names no file")
        finest = min(range(len(self.sources)), key=lambda i: self.sources[i].grid.resolution_xy[0])
        base = self.sources[finest]
        relations = tuple(
            relate_grids(base.grid, source.grid, base.path.name, source.path.name) for source in self.sources
        )
        if base.grid.crs is None and any(source.grid.window != base.grid.window for source in self.sources):
            raise GridError(f"{base.path}: files of one modality without CRS must have one size")
        object.__setattr__(self, "finest", finest)
        object.__setattr__(self, "relations", relations)

    @property
    def path(self) -> Path:
        """The finest file, which stands for all in messages."""
        return self.sources[self.finest].path

    @property
    def count(self) -> int:
        """Number of bands."""
        return sum(source.count for source in self.sources)

    @property
    def total_count(self) -> int:
        """Number of bands: all are selected."""
        return self.count

    @property
    def height(self) -> int:
        """Number of rows."""
        return self.grid.height

    @property
    def width(self) -> int:
        """Number of columns."""
        return self.grid.width

    @property
    def grid(self) -> Grid:
        """The finest file's grid."""
        return self.sources[self.finest].grid

    @property
    def dtype(self) -> np.dtype[Any]:
        """Common data type of the files."""
        return np.result_type(*(source.dtype for source in self.sources))

    @property
    def nodata(self) -> float | None:
        """None: the files' nodata values are in ``mask``."""
        return None

    @property
    def mask(self) -> StackedMask:
        """Where every file has data."""
        return StackedMask(self)

    @property
    def file_bands(self) -> tuple[FileBand, ...]:
        """What the files say of their bands. A single band without a name has that of its file."""
        return tuple(band for source in self.sources for band in _described(source))

    @property
    def tags(self) -> dict[str, str]:
        """Tags of all files; those of earlier ones count first."""
        return {key: value for source in reversed(self.sources) for key, value in source.tags.items()}

    @property
    def notes(self) -> tuple[str, ...]:
        """What was recognized in the files, as text."""
        return tuple(note for source in self.sources for note in source.notes)

    @property
    def files(self) -> tuple[Path, ...]:
        """All files that are read."""
        return tuple(file for source in self.sources for file in source.files)

    def read(self, window: Window) -> np.ndarray:
        """Return raw values [C, H, W] of a window inside the raster, 0 outside a file."""
        parts = [self._part(index, window)[0] for index in range(len(self.sources))]
        return np.concatenate([part.astype(self.dtype, copy=False) for part in parts])

    def read_valid(self, window: Window) -> np.ndarray:
        """Return bool [H, W]: pixels inside every file that no file's nodata value or mask excludes."""
        valid = np.ones((window.height, window.width), bool)
        for index in range(len(self.sources)):
            valid &= self._part(index, window)[1]
        return valid

    def fingerprint(self) -> str:
        """Return a digest of every byte of all files, of their places and nodata values."""
        digest = hashlib.sha256()
        for source, relation in zip(self.sources, self.relations, strict=True):
            digest.update(repr((source.fingerprint(), source.nodata, relation)).encode())
        return short(digest)

    def close(self) -> None:
        """Close the calling thread's handles."""
        for source in self.sources:
            source.close()

    def _part(self, index: int, window: Window) -> tuple[np.ndarray, np.ndarray]:
        """Return a file's values [c, H, W] of a window of the finest grid, and where it has data, bool [H, W]."""
        source, relation = self.sources[index], self.relations[index]
        cells = relation.to_coarse(window)
        values, valid = read_boundless(source, cells)
        if source.nodata is not None and not np.isnan(source.nodata):
            valid &= (values != source.nodata).all(axis=0)
        if source.mask is not None:
            valid &= read_boundless(source.mask, cells)[0][0] != 0
        return _repeated(values, relation, window), _repeated(valid, relation, window)


@dataclass(frozen=True)
class StackedMask:
    """One band, uint8: 1 where every file of a stack has data, else 0."""

    stack: StackedFiles

    @property
    def count(self) -> int:
        """1."""
        return 1

    @property
    def height(self) -> int:
        """Number of rows."""
        return self.stack.height

    @property
    def width(self) -> int:
        """Number of columns."""
        return self.stack.width

    @property
    def dtype(self) -> np.dtype[Any]:
        """uint8."""
        return np.dtype(np.uint8)

    @property
    def nodata(self) -> float | None:
        """None."""
        return None

    def read(self, window: Window) -> np.ndarray:
        """Return uint8 [1, H, W]."""
        return self.stack.read_valid(window)[None].astype(np.uint8)

    def fingerprint(self) -> str:
        """Return the stack's digest."""
        return self.stack.fingerprint()


def _described(source: RasterFile) -> tuple[FileBand, ...]:
    bands = source.file_bands
    return (replace(bands[0], name=bands[0].name or source.path.stem),) if len(bands) == 1 else bands


def _repeated(cells: np.ndarray, relation: GridRelation, window: Window) -> np.ndarray:
    """Return cells [..., h, w] that cover a window on the fine grid [..., H, W]."""
    if relation.ratio == 1:
        return cells
    fine = relation.to_fine(relation.to_coarse(window))
    rows = (np.arange(window.row, window.row_end) - fine.row) // relation.ratio
    cols = (np.arange(window.col, window.col_end) - fine.col) // relation.ratio
    return cells.take(cols, axis=-1).take(rows, axis=-2)
