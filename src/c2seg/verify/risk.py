"""Estimated error, novelty and disagreement of a map's pixels, window by window, and one score of them for sorting.

Axes: H row, W column.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from c2seg.data import SceneReader
from c2seg.metrics.reliability import Reliability
from c2seg.predict import Predictor
from c2seg.predict.layers import LAYER_NODATA, LAYER_STEPS
from c2seg.raster import RasterFile
from c2seg.types import Window
from c2seg.verify.classmap import ClassMap
from c2seg.verify.novelty import Novelty

__all__ = ["Risk", "RiskSources", "combined"]

_NEW_AT_MOST = 0.5


@dataclass(frozen=True)
class Risk:
    """Of a window, [H, W] each: ids uint8; float32 in 0..1 of error and risk; novelty (above 1: new), share of channels outside
    the training range, and share of disagreeing models, None where they are not known."""

    ids: np.ndarray
    error: np.ndarray
    risk: np.ndarray
    novelty: np.ndarray | None
    outside: np.ndarray | None
    disagreement: np.ndarray | None


@dataclass(frozen=True)
class RiskSources:
    """What risk is computed from. ``reliability`` None: the confidence is taken as it is. ``reader`` gives the images as the
    model sees them; ``others`` are maps of other models; ``parts`` predict alone."""

    map: ClassMap
    confidence: RasterFile
    reliability: Reliability | None
    novelty: Novelty | None
    reader: SceneReader | None
    others: Sequence[ClassMap] = ()
    parts: Sequence[Predictor] = ()

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of what is known, as bands of a raster."""
        names = ["risk", "error"]
        names += ["novelty", "outside"] if self.novelty is not None and self.reader is not None else []
        return (*names, *(["disagreement"] if self.others or self.parts else []))

    def read(self, window: Window) -> Risk:
        """Return the risk of a window inside the map."""
        ids = self.map.read_ids(window)
        steps = self.confidence.read(window)[0]
        confidence = np.where(steps == LAYER_NODATA, 0, steps) / np.float32(LAYER_STEPS)
        right = confidence if self.reliability is None else self.reliability.calibrated(confidence)
        error = np.asarray(1 - right, np.float32)
        novelty = outside = None
        if self.novelty is not None and self.reader is not None:
            novelty, outside = self._novelty(self.reader, self.novelty, window)
        disagreement = self._disagreement(ids, window)
        return Risk(ids, error, combined(error, novelty, disagreement), novelty, outside, disagreement)

    @staticmethod
    def _novelty(reader: SceneReader, novelty: Novelty, window: Window) -> tuple[np.ndarray, np.ndarray]:
        patch, valid = reader(window)
        values = np.concatenate([part[:, valid] for part in patch.values()]).T
        distance, outside = np.zeros(valid.shape, np.float32), np.zeros(valid.shape, np.float32)
        distance[valid], outside[valid] = novelty.distance(values), novelty.outside(values)
        return distance, outside

    def _disagreement(self, ids: np.ndarray, window: Window) -> np.ndarray | None:
        votes = [other.read_ids(window) for other in self.others] + self._predicted(window)
        if not votes:
            return None
        differing = [(vote != ids) & (vote != 0) for vote in votes]
        return np.asarray(np.mean(differing, axis=0, dtype=np.float32))

    def _predicted(self, window: Window) -> list[np.ndarray]:
        """Return the ids that each part of the model decides, 0 where not valid."""
        if not self.parts or self.reader is None:
            return []
        table, decided = self.map.legend.id_table(), []
        for part in self.parts:
            stride = int(getattr(part, "stride_px", 1))
            height, width = (-(-side // stride) * stride for side in (window.height, window.width))
            patch, valid = self.reader(Window(window.row, window.col, height, width).expand(part.halo_px))
            scores = np.asarray(part.predict({name: v[None] for name, v in patch.items()}, valid[None]))[0]
            halo = part.halo_px
            inner = valid[halo : halo + window.height, halo : halo + window.width]
            index = scores[:, : window.height, : window.width].argmax(axis=0)
            decided.append(np.where(inner, table[index], 0))
        return decided


def combined(error: np.ndarray, novelty: np.ndarray | None, disagreement: np.ndarray | None) -> np.ndarray:
    """Return the risk score float32 in 0..1: a pixel is safe if it is likely right, like others seen, and undisputed.

    ``1 - (1 - error) (1 - n) (1 - d / 2)``: n rises from 0 at the threshold of novelty to 1/2 at its double, d is the share of
    models that decide otherwise. It sorts pixels and is no probability.
    """
    safe = 1 - error
    if novelty is not None:
        safe = safe * (1 - np.clip(_NEW_AT_MOST * (novelty - 1), 0, _NEW_AT_MOST))
    if disagreement is not None:
        safe = safe * (1 - disagreement / 2)
    return np.asarray(1 - safe, np.float32)
