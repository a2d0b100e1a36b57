"""Patches for training: the patches of a step are a function of (seed, step) only."""

from __future__ import annotations

from c2seg.sampling.augment import (
    BandUnits,
    apply_fda,
    augment_geometry,
    augment_radiometry,
    cut_box,
    drop_modality,
    low_frequencies,
)
from c2seg.sampling.few_labels import sparse_scenes, with_few_labels
from c2seg.sampling.light import Light, Optics, changed_light, draw_light, optics_of
from c2seg.sampling.patches import Draw, PatchSampler, Sample, TrainingScene, training_scenes

__all__ = [
    "BandUnits",
    "Draw",
    "Light",
    "Optics",
    "PatchSampler",
    "Sample",
    "TrainingScene",
    "apply_fda",
    "augment_geometry",
    "augment_radiometry",
    "changed_light",
    "cut_box",
    "draw_light",
    "drop_modality",
    "low_frequencies",
    "optics_of",
    "sparse_scenes",
    "training_scenes",
    "with_few_labels",
]
