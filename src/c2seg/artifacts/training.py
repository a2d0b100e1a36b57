"""What must be equal for a training to go on from its state."""

from __future__ import annotations

from typing import Literal

from c2seg.artifacts.upgrade import upgraded_state
from c2seg.records import Artifact, Json

__all__ = ["TrainingIdentity"]


class TrainingIdentity(Artifact):
    """All that the bits of a training depend on. ``data`` and ``start`` are digests of what is trained on and of the first
    weights; ``threads`` are those of torch."""

    artifact: Literal["state"] = "state"
    recipe: Json
    """Of this training alone, which need not be a whole recipe: checked where it was made."""
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
