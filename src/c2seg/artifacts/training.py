"""The state of a training, and what must be equal for a training to resume from it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from c2seg.artifacts.upgrade import upgraded_state
from c2seg.recipes import Recipe
from c2seg.recipes.models import Model
from c2seg.recipes.training import Training
from c2seg.records import Artifact, CheckedArtifact, Json, Record

__all__ = ["SharedTrainingCosts", "StateHeader", "TrainedSettings", "TrainingIdentity"]


class TrainedSettings(Record):
    """The settings of a recipe on which the weights of one of its networks depend."""

    model: Model
    training: Training
    background: str
    normalization: str
    max_bands: int | None

    @classmethod
    def of(cls, recipe: Recipe) -> TrainedSettings:
        """Return the settings of a recipe of one network."""
        return cls(**{name: getattr(recipe, name) for name in cls.model_fields})


class TrainingIdentity(Artifact):
    """All that a training depends on: equal identities give bit-identical weights. ``data`` and ``start`` are digests of the
    training data and of the initial weights; ``threads`` are those of torch."""

    artifact: Literal["state"] = "state"
    settings: TrainedSettings
    plugins: str = ""
    """Plug-ins that the settings name, with package and version."""
    seed: int
    data: str
    start: str
    torch: str
    device: str
    threads: int
    precision: str
    processes: int

    @classmethod
    def upgraded(cls, content: Json) -> Json:
        """Return the identity in a state of 0.1.0 in the present layout."""
        return upgraded_state(content)


class SharedTrainingCosts(CheckedArtifact):
    """What a training that several runs share cost the one that ran it; None: too few iterations to measure."""

    artifact: Literal["shared_training"] = "shared_training"
    step_seconds: float | None
    step_processor_seconds: float | None


class StateHeader(Artifact):
    """The JSON in a training's state, beside its tensors: completed steps, identity, and all that the next step depends on.

    ``content`` is as ``train.plain`` writes it.
    """

    artifact: Literal["training_state"] = "training_state"
    step: int = Field(ge=0)
    identity: TrainingIdentity
    content: Any
