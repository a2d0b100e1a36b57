"""Layers of a map in parts: each strip's rows are a GeoTIFF that the task which computed them writes.

A part is whole or absent, and known by its mark, which the ledger notes. Parts lie in a folder that all workers see, or in
object storage. Where workers may see no common folder, they return the bytes of the parts, and the caller writes them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os.path import relpath
from pathlib import Path

import numpy as np

from c2seg.checksums import checksum
from c2seg.errors import C2SegError, InputError
from c2seg.legend import Legend
from c2seg.predict.layers import LAYER_NODATA, LAYER_STEPS
from c2seg.raster import (
    RasterPart,
    RasterTags,
    object_url,
    part_bytes,
    parts_text,
    put_whole,
    remove_stored,
    stored_folders,
    stored_marks,
    stored_text,
    sync_stored,
)
from c2seg.types import Grid

__all__ = ["NO_PARTS", "Encoded", "LayerParts", "StripParts", "layer_tags", "part_name", "remove_older_parts"]

_SCALED = 1 / LAYER_STEPS, "1"
"""Scale and unit of probabilities, as GDAL's bands state them."""
_SEEN = "run.txt"
_RUN = re.compile(r"[0-9a-f]{8}")


@dataclass(frozen=True)
class Encoded:
    """A strip's rows of a layer as a file, and their checksum as values [C, H, W]."""

    data: bytes
    checksum: int


@dataclass(frozen=True)
class LayerParts:
    """The parts of one layer. Picklable."""

    layer: str
    folder: Path
    """On a disk, or in object storage as GDAL has it."""
    grid: Grid
    tags: RasterTags
    by_tasks: bool = True
    """The tasks write them; else they return them to the caller, who does."""

    @property
    def count(self) -> int:
        """Number of bands."""
        return len(self.tags.descriptions)

    def encoded(self, first: int, rows: np.ndarray) -> Encoded:
        """Return rows [H, W] or [H, C, W], from row ``first`` of the map on, as a part."""
        values = rows[None] if rows.ndim == 2 else rows.transpose(1, 0, 2)
        total = 0
        for band in values:
            total = checksum(band, total)
        return Encoded(part_bytes(values, first, self.grid, self.tags, LAYER_NODATA), total)

    def put(self, strip: int, data: bytes) -> str:
        """Write the part of a strip; return its mark. Raises OutputError."""
        return put_whole(self.folder / part_name(strip), data)

    def text(self, strips: Sequence[tuple[int, int]], beside: Path | None = None) -> str:
        """Return a VRT of the parts; ``beside``: the folder that paths in it are seen from, in place of whole paths."""
        folder = str(self.folder.absolute()) if beside is None else relpath(self.folder, beside)
        parts = [RasterPart(f"{folder}/{part_name(strip)}", first, last) for strip, (first, last) in enumerate(strips)]
        return parts_text(parts, self.grid, self.tags, self.count, LAYER_NODATA)


@dataclass(frozen=True)
class StripParts:
    """The layers of a map that are kept in parts. Picklable. ``run`` tells the map whose parts these are."""

    layers: tuple[LayerParts, ...] = ()
    run: str = ""

    @property
    def names(self) -> frozenset[str]:
        """The layers."""
        return frozenset(parts.layer for parts in self.layers)

    @property
    def by_tasks(self) -> frozenset[str]:
        """The layers that tasks write."""
        return frozenset(parts.layer for parts in self.layers if parts.by_tasks)

    def layer(self, name: str) -> LayerParts:
        """Return the parts of a layer."""
        return next(parts for parts in self.layers if parts.layer == name)

    def open(self) -> None:
        """Write into each folder what tells workers that they see it. Raises OutputError."""
        for parts in self.layers:
            put_whole(parts.folder / _SEEN, self.run.encode())

    def check_seen(self) -> None:
        """Raise InputError where this process, a worker, does not see a folder that the caller opened."""
        for parts in self.layers:
            if parts.by_tasks and _seen(parts.folder) != self.run:
                raise InputError(
                    f"`parts_folder`: a worker does not see the folder {object_url(parts.folder)} of the calling process; "
                    "give one on storage that they share, or s3://"
                )

    def encoded(self, first: int, layers: Mapping[str, np.ndarray]) -> dict[str, Encoded]:
        """Return the part of each layer, from row ``first`` of the map on."""
        return {parts.layer: parts.encoded(first, layers[parts.layer]) for parts in self.layers}

    def put(self, strip: int, encoded: Mapping[str, Encoded]) -> dict[str, str]:
        """Write the parts of a strip; return their marks by layer. Raises OutputError."""
        return {name: self.layer(name).put(strip, part.data) for name, part in encoded.items()}

    def damaged(self, marks: Mapping[int, Mapping[str, str]]) -> set[int]:
        """Return the strips whose parts are not those that were noted. Files are read; objects are known by their tags."""
        damaged: set[int] = set()
        for parts in self.layers:
            there = stored_marks(parts.folder)
            damaged |= {strip for strip, noted in marks.items() if there.get(part_name(strip)) != noted[parts.layer]}
        return damaged

    def close(self) -> None:
        """Remove what ``open`` wrote, and flush the rest. Raises OutputError."""
        for parts in self.layers:
            remove_stored(parts.folder / _SEEN)
            sync_stored(parts.folder)


def _seen(folder: Path) -> str:
    try:
        return stored_text(folder / _SEEN)
    except C2SegError as error:
        raise InputError(f"`parts_folder`: a worker cannot read {object_url(folder)}: {error}") from error


def layer_tags(layer: str, legend: Legend, model: str) -> RasterTags:
    """Return the tags of a layer's file."""
    bands = {"probabilities": legend.names, "runner_up": ("runner-up", "margin")}.get(layer, (layer,))
    scales, units = zip(*((1.0, "") if band == "runner-up" else _SCALED for band in bands), strict=True)
    tags = {"MODEL": model, "SOFTWARE": "c2seg", "SCALE": "0.005", "UNIT": "probability"}
    return RasterTags(tags, [], bands, scales, units)


NO_PARTS = StripParts()
"""Of a map without other layers."""


def part_name(strip: int) -> str:
    """Return the file name of a strip's part."""
    return f"{strip:06}.tif"


def remove_older_parts(folder: Path, run: str) -> None:
    """Remove the parts of other runs in the folder of a layer that stays in parts; anything else stays."""
    for name in stored_folders(folder):
        if _RUN.fullmatch(name) and name != run:
            remove_stored(folder / name)
