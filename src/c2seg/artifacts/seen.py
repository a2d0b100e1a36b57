"""Pixels of the sources as a model saw them (``seen.json`` of a run): what later says how far another city is from them."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import model_validator

from c2seg.records import Artifact

__all__ = ["SeenPixels"]


class SeenPixels(Artifact):
    """A sample of the sources' pixels: normalized channels of all modalities, in the order of the model's inputs."""

    artifact: Literal["seen"] = "seen"
    run_id: str
    channels: tuple[str, ...]
    """Modality and band of each, ``msi red``."""
    values: tuple[tuple[float, ...], ...]
    """By pixel and channel."""
    blocks: tuple[int, ...]
    """By pixel: pixels of one number lie together in a source."""

    @model_validator(mode="after")
    def _fitting(self) -> SeenPixels:
        if any(len(row) != len(self.channels) for row in self.values) or len(self.values) != len(self.blocks):
            raise ValueError("values must have a number for every channel, and every pixel a block")
        return self

    def array(self) -> np.ndarray:
        """Return the values as float32 [N, C]."""
        return np.asarray(self.values, np.float32).reshape(len(self.values), len(self.channels))
