"""Features of the sources' pixels, computed once for all forests of a run: folds and the one that stays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from c2seg.data import LabeledCity, PreparedCity
from c2seg.forest.features import FeatureSpec, features, halo_px
from c2seg.types import Window

__all__ = ["Block", "FeatureTable"]

_MOST_BYTES = 512 << 20
"""Of features in memory: all of a city of a few hundred thousand pixels. The rest is computed again for every forest."""


@dataclass(frozen=True)
class Block:
    """A window of a scene of a source, and the place of the source among the sources."""

    number: int
    source: PreparedCity[LabeledCity]
    scene: int
    window: Window


@dataclass(frozen=True)
class FeatureTable:
    """Reads features of blocks; remembers them as far as memory allows. Which labels are held out does not matter to them."""

    names: Sequence[str]
    spec: FeatureSpec
    most_bytes: int = _MOST_BYTES
    _blocks: dict[tuple[int, int, Window], tuple[np.ndarray, np.ndarray]] = field(default_factory=dict, repr=False)

    def read(self, block: Block) -> tuple[np.ndarray, np.ndarray]:
        """Return features float32 [F, H, W] and valid pixels bool [H, W], both read-only."""
        key = block.number, block.scene, block.window
        known = self._blocks.get(key)
        if known is not None:
            return known
        halo = halo_px(self.spec)
        patch, valid = block.source.readers(self.names)[block.scene](block.window.expand(halo))
        inner = valid[halo : halo + block.window.height, halo : halo + block.window.width].copy()
        values = features(patch, valid, self.spec, self.names)
        values.flags.writeable = inner.flags.writeable = False
        used = sum(array.nbytes for pair in self._blocks.values() for array in pair)
        if used + values.nbytes + inner.nbytes <= self.most_bytes:
            self._blocks[key] = values, inner
        return values, inner
