"""Patches for training: which patch is seen at a step is a function of (seed, step) alone."""

from __future__ import annotations

from c2seg.sampling.augment import BandUnits, augment_geometry, augment_radiometry, cut_box, drop_modality, restyle
from c2seg.sampling.patches import Draw, PatchSampler, Sample, TrainingScene, training_scenes

__all__ = [
    "BandUnits",
    "Draw",
    "PatchSampler",
    "Sample",
    "TrainingScene",
    "augment_geometry",
    "augment_radiometry",
    "cut_box",
    "drop_modality",
    "restyle",
    "training_scenes",
]
