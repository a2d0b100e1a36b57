"""What a network says of an encoder that can be pretrained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import nn

from c2seg.data import Band

__all__ = ["EncoderPart", "Inputs"]

Inputs = Mapping[str, Sequence[Band]]
"""Bands by modality, in stacking order."""


@dataclass(frozen=True)
class EncoderPart:
    """An encoder of a network: its module, its name in segmentation-models-pytorch, and its bands by modality.

    ``fit_first=False``: a first convolution of the file's shape is loaded as it is, and one of another shape is not loaded.
    ``bands``: the bands of the file's first convolution by role or wavelength in nm; empty: red, green, blue.
    """

    module: nn.Module
    name: str
    inputs: Inputs
    fit_first: bool = True
    bands: tuple[str | float, ...] = ()
