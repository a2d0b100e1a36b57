"""Polygons of strips joined across the lines between them, in memory that the largest polygon bounds, not the map."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from c2seg.gis.polygons import Pieces

__all__ = ["MOST_POINTS", "Seams"]

MOST_POINTS = 200_000
"""Of a polygon that is not finished: one with more ends at the line between two strips."""


@dataclass(frozen=True)
class _Open:
    """Parts of a polygon that continues below."""

    id: int
    shapes: tuple[object, ...]
    points: int


@dataclass
class Seams:
    """Takes strips from top to bottom and gives polygons when they are whole. ``cut`` counts those that were ended early."""

    width: int
    simplified: bool = False
    most_points: int = MOST_POINTS
    cut: int = 0
    _open: list[_Open] = field(default_factory=list)
    _above: np.ndarray | None = None
    """Number of the open polygon by column of the last row."""

    def add(self, pieces: Pieces, first: int, end: int, *, last: bool) -> Pieces:
        """Return the polygons that are whole once the strip of rows ``first`` to ``end`` is added; all with the ``last``."""
        import shapely

        count = len(pieces.ids)
        below = np.full(self.width, -1) if last or not count else pieces.at_row(end, self.width)
        groups = self._groups(pieces, first)
        points = shapely.get_num_coordinates(pieces.shapes)
        goes_on = np.zeros(count, bool)
        goes_on[below[below >= 0]] = True
        alone = ~goes_on
        alone[[k for areas in groups for k in areas[1]]] = False
        grouped = {k for _, areas in groups for k in areas}
        groups += [([], [k]) for k in np.flatnonzero(goes_on).tolist() if k not in grouped]
        opened: list[_Open] = []
        number = np.full(count, -1, np.int64)
        whole: list[Pieces] = [Pieces(pieces.shapes[alone], pieces.ids[alone])]
        for above, areas in groups:
            parts = tuple(shape for k in above for shape in self._open[k].shapes) + tuple(pieces.shapes[areas])
            total = sum(self._open[k].points for k in above) + int(points[areas].sum())
            id_ = self._open[above[0]].id if above else int(pieces.ids[areas[0]])
            continues = bool(goes_on[areas].any()) if areas else False
            if continues and total <= self.most_points:
                number[areas] = len(opened)
                opened.append(_Open(id_, parts, total))
            else:
                self.cut += continues
                whole.append(self._joined(id_, parts))
        self._open = opened
        self._above = np.where(below >= 0, number[below], -1) if count else below
        return Pieces(np.concatenate([part.shapes for part in whole]), np.concatenate([part.ids for part in whole]))

    def _groups(self, pieces: Pieces, first: int) -> list[tuple[list[int], list[int]]]:
        """Return the open polygons and the pieces of the strip that are one area, for each open polygon."""
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        before, count = len(self._open), len(pieces.ids)
        if not before:
            return []
        pairs = np.zeros((0, 2), np.int64)
        if self._above is not None and count:
            top = pieces.at_row(first, self.width)
            both = (self._above >= 0) & (top >= 0)
            pairs = np.unique(np.stack([self._above[both], top[both]], axis=1), axis=0)
            ids = np.array([part.id for part in self._open])
            pairs = pairs[ids[pairs[:, 0]] == pieces.ids[pairs[:, 1]]]
        size = before + count
        links = coo_array((np.ones(len(pairs)), (pairs[:, 0], before + pairs[:, 1])), (size, size))
        _, label = connected_components(links, directed=False)
        areas: dict[int, tuple[list[int], list[int]]] = {int(k): ([], []) for k in np.unique(label[:before])}
        for node in np.flatnonzero(np.isin(label, list(areas))).tolist():
            above, here = areas[int(label[node])]
            (above if node < before else here).append(node if node < before else node - before)
        return list(areas.values())

    def _joined(self, id_: int, shapes: tuple[object, ...]) -> Pieces:
        import shapely

        joined = shapely.union_all(np.array(shapes, object)) if len(shapes) > 1 else shapes[0]
        if not self.simplified:
            joined = shapely.simplify(joined, 0.0)  # points in the middle of straight edges
        parts = shapely.get_parts(joined)
        return Pieces(parts, np.full(len(parts), id_, np.uint8))
