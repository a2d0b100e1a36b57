"""What is trained on what, and what comes out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from c2seg.data import Band
from c2seg.models import PretrainedReport
from c2seg.recipes.schema import Recipe
from c2seg.sampling import TrainingScene
from c2seg.train.probe import Probe
from c2seg.train.shared import SharedResult, SharedTrainings

__all__ = ["TrainingJob", "TrainingResult"]


@dataclass(frozen=True)
class TrainingJob:
    """One training: recipe, bands by modality, scenes with and without labels, seed, and the folder of its state."""

    recipe: Recipe
    bands: Mapping[str, int]
    num_classes: int
    """Outputs of the network, including that of the background."""
    source: Sequence[TrainingScene]
    target: Sequence[TrainingScene]
    seed: int
    folder: Path
    data: str
    """Fingerprint of all training data: a state of other data is refused."""
    device: str = "auto"
    loader_threads: int = 1
    inputs: Mapping[str, Sequence[Band]] = field(default_factory=dict)
    """Metadata of the bands, for pretrained weights; empty: unknown."""
    initial_weights: Mapping[str, np.ndarray] = field(default_factory=dict)
    """By tensor name; all other weights are random or pretrained."""
    labeled_target: Sequence[TrainingScene] = ()
    """The target's scenes with a few labels, of runs that are given some; part of each batch shows them."""
    probe: Probe | None = None
    """What looks at the weights now and then; it changes nothing."""
    shared: SharedTrainings | None = None
    """Where finished trainings are that other runs may have in common; None: nothing is shared."""


@dataclass(frozen=True)
class TrainingResult:
    """The weights of a network by tensor name (averaged if the recipe says so), and the cost of its training."""

    weights: dict[str, np.ndarray]
    precision: str
    """The precision that was used: ``32``, ``bf16`` or ``16``."""
    parameters: int
    gflops_128: float
    """Of a forward pass over 128 x 128 pixels."""
    step_seconds: float | None = None
    """Of one iteration; None if too few were run to measure."""
    step_processor_seconds: float | None = None
    pretrained: PretrainedReport | None = None
    """Which pretrained weights were loaded."""
    shared: SharedResult | None = None
    """How the training was shared with other runs, if it might be."""
