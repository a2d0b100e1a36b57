"""Masks that products give as polygons in GML, as a raster of codes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from c2seg.errors import DataError
from c2seg.products.xml import parse_xml
from c2seg.types import Grid, Window

__all__ = ["PolygonMask", "read_mask_polygons"]

_MOST_POINTS = 5_000_000


@dataclass(frozen=True)
class PolygonMask:
    """Polygons burnt into a grid when read: the code of the last polygon that contains a pixel's center, else 0."""

    grid: Grid
    polygons: tuple[tuple[int, tuple[np.ndarray, ...]], ...] = field(repr=False, compare=False, hash=False)
    """Code, and rings (exterior first), float64 [N, 2] as x, y in the grid's CRS."""

    _boxes: np.ndarray = field(init=False, repr=False, compare=False, hash=False)
    """West, south, east, north of each polygon, float64 [N, 4]."""

    def __post_init__(self) -> None:
        boxes = [(*rings[0].min(axis=0), *rings[0].max(axis=0)) for _, rings in self.polygons]
        object.__setattr__(self, "_boxes", np.array(boxes, np.float64).reshape(-1, 4))

    def read(self, indexes: Sequence[int], window: Window) -> np.ndarray:
        """Return codes, uint8 [1, H, W]."""
        from rasterio.features import rasterize

        result = np.zeros((window.height, window.width), np.uint8)
        part = self.grid.crop(window)
        west, south, east, north = part.bounds_xy
        low, high = self._boxes[:, :2], self._boxes[:, 2:]
        near = (low < (east, north)).all(axis=1) & (high > (west, south)).all(axis=1)
        shapes = [(_geometry(rings), code) for code, rings in map(self.polygons.__getitem__, np.flatnonzero(near))]
        if shapes:
            rasterize(shapes, out=result, transform=part.transform)
        return result[None]


def read_mask_polygons(
    content: bytes, where: str, codes: Mapping[str, int]
) -> tuple[tuple[int, tuple[np.ndarray, ...]], ...]:
    """Return the polygons of a mask file of Sentinel-2 (``eop:MaskFeature``) whose type is in ``codes``.

    A file without features is an empty mask. Raises DataError for damaged files.
    """
    polygons = []
    count = 0
    for feature in parse_xml(content, where).iter("MaskFeature"):
        code = codes.get((feature.findtext("maskType") or "").strip().upper())
        if code is None:
            continue
        for polygon in feature.iter("Polygon"):
            rings = tuple(_ring(item, where) for item in polygon.iter("posList"))
            count += sum(len(ring) for ring in rings)
            if count > _MOST_POINTS:
                raise DataError(f"{where} has more than {_MOST_POINTS} points; it is no mask of a tile")
            if rings:
                polygons.append((code, rings))
    return tuple(polygons)


def _ring(item: Any, where: str) -> np.ndarray:
    size = int(item.get("srsDimension") or 2) if (item.get("srsDimension") or "2") in ("2", "3") else 2
    try:
        values = np.array((item.text or "").split(), np.float64)
    except ValueError:
        values = np.empty(0)
    if values.size < 3 * size or values.size % size or not np.isfinite(values).all():
        raise DataError(
            f"{where} is damaged: a ring of a polygon has {values.size} numbers; download the product again"
        )
    return np.ascontiguousarray(values.reshape(-1, size)[:, :2])


def _geometry(rings: tuple[np.ndarray, ...]) -> dict[str, Any]:
    return {"type": "Polygon", "coordinates": [_closed(ring).tolist() for ring in rings]}


def _closed(ring: np.ndarray) -> np.ndarray:
    return ring if (ring[0] == ring[-1]).all() else np.vstack([ring, ring[:1]])
