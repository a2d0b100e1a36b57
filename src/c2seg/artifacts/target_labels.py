"""Which pixels of a target a run was trained on, so that scores can leave them out: part of the records of runs and maps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from c2seg.records import Record
from c2seg.types import Window

__all__ = ["SceneSpans", "TargetLabelsRecord", "spans_of"]

Span = tuple[int, int, int]
"""Row, first column, and number of pixels."""


class SceneSpans(Record):
    """The labeled pixels of a scene that were trained on, as runs along its rows."""

    scene: str
    spans: tuple[Span, ...]


class TargetLabelsRecord(Record):
    """The labels of the target that a run was trained on: such a run is few-shot."""

    file: str
    """Name of the file that held them."""
    digest: str
    """Of the pixels and their classes."""
    city: str
    """Fingerprint of the target's images."""
    labels: dict[str, int]
    """Points and polygons by class name."""
    pixels: int
    guard_px: int
    """Scores leave out pixels up to this far from a labeled one, along rows and columns."""
    scenes: tuple[SceneSpans, ...]

    @property
    def text(self) -> str:
        """Say what they are in a few words."""
        return f"few-shot: trained on {sum(self.labels.values())} labels of the target ({self.pixels} pixels of {self.file})"

    def mask(self, scene: str | None, window: Window) -> np.ndarray:
        """Return bool [H, W]: pixels of a window that are labeled or within the guard. None: the only scene."""
        near = np.zeros((window.height, window.width), bool)
        guard = self.guard_px
        for row, col, count in self._spans(scene):
            place = Window(row - guard, col - guard, 2 * guard + 1, count + 2 * guard).intersect(window)
            if not place.is_empty:
                near[place.shift(-window.row, -window.col).slices] = True
        return near

    def near(self, scene: str | None, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
        """Return bool [N]: which of the pixels at ``rows`` and ``cols`` (int [N]) are labeled or within the guard."""
        close = np.zeros(len(rows), bool)
        guard = self.guard_px
        for row, col, count in self._spans(scene):
            close |= (np.abs(rows - row) <= guard) & (cols >= col - guard) & (cols < col + count + guard)
        return close

    def _spans(self, scene: str | None) -> Iterator[Span]:
        for one in self.scenes:
            if scene is None or one.scene == scene or len(self.scenes) == 1:
                yield from one.spans


def spans_of(rows: np.ndarray, cols: np.ndarray) -> tuple[Span, ...]:
    """Return pixels, int [N] each, as runs along rows, in order."""
    if not len(rows):
        return ()
    order = np.lexsort((cols, rows))
    rows, cols = rows[order], cols[order]
    first = np.flatnonzero(np.append(True, (np.diff(rows) != 0) | (np.diff(cols) > 1)))
    ends: Sequence[int] = [*(first[1:] - 1).tolist(), len(rows) - 1]
    return tuple(
        (int(rows[start]), int(cols[start]), int(cols[end] - cols[start] + 1))
        for start, end in zip(first.tolist(), ends, strict=True)
    )
