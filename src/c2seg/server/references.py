"""The withheld ground truth in the database: written once, read by workers."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from c2seg.challenge.rules import TileSet
from c2seg.challenge.split import Part, missing_classes, split_tiles
from c2seg.challenge.withheld import ReferenceSource, ReferenceTile, reference_tiles
from c2seg.legend import Legend
from c2seg.server.tables import Dataset
from c2seg.server.tables import ReferenceTile as TileRow
from c2seg.types import Window

__all__ = ["WithheldReference", "store_reference", "tile_set", "withheld"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WithheldReference:
    """The ground truth of a data set, as a worker scores with it. Only workers and backups read it."""

    dataset_id: int
    name: str
    tile_set: TileSet
    windows: Mapping[int, Window] | None
    """Places of the tiles in the scene; None where they are not known."""
    parts: Mapping[int, Part]
    labels: Mapping[int, bytes]

    def tile(self, number: int) -> ReferenceTile:
        """Return the ground truth of a tile."""
        size = self.tile_set.sizes[number]
        values = np.frombuffer(zlib.decompress(self.labels[number]), np.uint8).reshape(size)
        window = self.windows[number] if self.windows else None
        return ReferenceTile(number, values, (window.row, window.col) if window else None)


def store_reference(
    session: Session,
    name: str,
    position: int,
    source: ReferenceSource,
    legend: Legend,
    public_share: float,
    rng: np.random.Generator,
) -> None:
    """Store the ground truth of a data set, with the part of every tile.

    Raises DataError and InputError as ``reference_tiles`` does, and InputError for a split that leaves a part without labels.
    """
    dataset = Dataset(name=name, position=position)
    session.add(dataset)
    session.flush()
    rows = [_row(dataset.id, tile) for tile in reference_tiles(source, legend)]
    counts = {row.number: _class_pixels(row, legend.ids) for row in rows}
    windows = _windows(rows)
    parts = split_tiles(counts, windows, public_share, rng)
    if windows is None and public_share < 1:
        _log.warning("%s: the places of its tiles are not known; if tiles overlap, parts may share pixels", name)
    for part, classes in missing_classes(counts, parts, legend.ids).items():
        _log.warning("%s: no %s tile has the classes %s, which have too few pixels to split", name, part, classes)
    for row in rows:
        row.part = parts[row.number]
    session.add_all(rows)
    session.flush()
    session.expunge_all()


def tile_set(session: Session, dataset_id: int, ids: tuple[int, ...]) -> TileSet:
    """Return what a submission for a data set must hold."""
    query = select(TileRow.number, TileRow.height, TileRow.width).where(TileRow.dataset_id == dataset_id)
    sizes = {number: (height, width) for number, height, width in session.execute(query.order_by(TileRow.number))}
    return TileSet(sizes, ids)


def withheld(session: Session, dataset: Dataset, ids: tuple[int, ...]) -> WithheldReference:
    """Return the ground truth of a data set."""
    rows = list(session.scalars(select(TileRow).where(TileRow.dataset_id == dataset.id).order_by(TileRow.number)))
    parts: dict[int, Part] = {row.number: row.part for row in rows}  # type: ignore[misc]
    return WithheldReference(
        dataset.id,
        dataset.name,
        TileSet({row.number: (row.height, row.width) for row in rows}, ids),
        _windows(rows),
        parts,
        {row.number: row.labels for row in rows},
    )


def _row(dataset_id: int, tile: ReferenceTile) -> TileRow:
    height, width = tile.labels.shape
    row, col = tile.place or (None, None)
    return TileRow(
        dataset_id=dataset_id, number=tile.number, height=height, width=width, row=row, col=col, part="public",
        labels=zlib.compress(np.ascontiguousarray(tile.labels, np.uint8).tobytes()),
    )  # fmt: skip


def _class_pixels(row: TileRow, ids: tuple[int, ...]) -> np.ndarray:
    counts: np.ndarray = np.bincount(np.frombuffer(zlib.decompress(row.labels), np.uint8), minlength=256)[list(ids)]
    return counts


def _windows(rows: list[TileRow]) -> dict[int, Window] | None:
    """Return the places of tiles; None unless all are known."""
    windows = {
        row.number: Window(row.row, row.col, row.height, row.width)
        for row in rows
        if row.row is not None and row.col is not None
    }
    return windows if len(windows) == len(rows) else None
