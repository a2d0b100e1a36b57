"""What a submission must look like: which tiles of which size, which ids, and the limits of decoding it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from c2seg.data.tiling import Order, TileGrid
from c2seg.errors import DataError, InputError
from c2seg.metrics import find_tiles
from c2seg.raster import RasterFile
from c2seg.types import Window

__all__ = ["MAX_TILES", "MAX_TILE_PX", "Limits", "Order", "SubmissionError", "TileSet", "file_name", "tile_windows"]

MAX_TILES = 20_000
MAX_TILE_PX = 2048


class SubmissionError(DataError):
    """A submission breaks a rule. The message names the rule, and never a path of the organizer's machine."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Resources of the process that decodes one submission; ``memory_mb`` is on top of the idle process."""

    memory_mb: int = 512
    cpu_s: int = 60
    wall_s: float = 120


@dataclass(frozen=True)
class TileSet:
    """The tiles that a submission must hold: height and width by number, and the class ids it may use besides 0."""

    sizes: Mapping[int, tuple[int, int]]
    ids: tuple[int, ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.sizes) <= MAX_TILES:
            raise InputError(f"a test set has 1 to {MAX_TILES} tiles, found {len(self.sizes)}")
        largest = max(max(size) for size in self.sizes.values())
        if largest > MAX_TILE_PX:
            raise InputError(f"tiles may be at most {MAX_TILE_PX} pixels on a side, found {largest}; cut smaller ones")

    @property
    def max_archive_bytes(self) -> int:
        """Upper bound of a valid archive: uncompressed pixels and 64 kB of headers for each tile."""
        return sum(height * width + 65536 for height, width in self.sizes.values())

    @property
    def summary(self) -> str:
        """Number and size of the tiles in words."""
        sizes = sorted(set(self.sizes.values()))
        largest = f"{max(h for h, _ in sizes)} x {max(w for _, w in sizes)} pixels"
        count = f"{len(self.sizes)} tile{'s' if len(self.sizes) > 1 else ''}"
        return f"{count} of {'up to ' if len(sizes) > 1 else ''}{largest}"

    def as_dict(self) -> dict[str, object]:
        """Return plain values for JSON; ``from_dict`` reads them back."""
        return {"sizes": {str(n): list(size) for n, size in self.sizes.items()}, "ids": list(self.ids)}

    @classmethod
    def from_dict(cls, content: Any) -> TileSet:
        """Build from ``as_dict``'s values."""
        sizes = {int(n): (int(h), int(w)) for n, (h, w) in content["sizes"].items()}
        return cls(sizes, tuple(int(i) for i in content["ids"]))

    @classmethod
    def from_path(cls, path: Path, ids: tuple[int, ...], tile_px: int, order: Order) -> TileSet:
        """Take the tiles of a folder, or cut a raster (or a city folder's msi.tif) by the window rule.

        Only sizes are read, so the test images suffice.
        """
        path = path / "msi.tif" if (path / "msi.tif").is_file() else path
        if path.is_dir():
            rasters = {n: RasterFile(file) for n, file in numbered_tiles(path).items()}
            return cls({n: (r.height, r.width) for n, r in rasters.items()}, ids)
        raster = RasterFile(path)
        windows = tile_windows(raster.height, raster.width, tile_px, order)
        return cls({n: (w.height, w.width) for n, w in enumerate(windows)}, ids)


def file_name(number: int) -> str:
    """Return the name of a tile's prediction in a submission."""
    return f"{number}_prediction.tif"


def numbered_tiles(folder: Path) -> dict[int, Path]:
    """Return a folder's tiles by number. Raises DataError if one is not numbered."""
    tiles = find_tiles(folder)
    odd = [path.name for key, path in tiles.items() if not key.isdigit()]
    if odd:
        raise DataError(f"{folder}: {odd[0]} is not numbered; tiles are named N.tif or N_prediction.tif")
    return {int(key): path for key, path in tiles.items()}


def tile_windows(height: int, width: int, tile_px: int, order: Order = "columns") -> list[Window]:
    """Return the test tiles of a scene, tile N at position N: the challenge's window rule without overlap.

    The last row and column are shifted back inside, so they overlap their neighbors (there a pixel counts in every
    tile that holds it). Raises DataError for a scene smaller than a tile.
    """
    return list(TileGrid(height, width, tile_px, tile_px, order).windows())
