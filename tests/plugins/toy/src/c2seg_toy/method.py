"""A training method: the supervised loss, and confident outputs on the target (Grandvalet and Bengio, NIPS 2004)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from c2seg.recipes import MethodSettings

if TYPE_CHECKING:
    from c2seg.methods import MethodContext, TrainingMethod


class LowEntropySettings(MethodSettings):
    """What a recipe may say of it."""

    name: Literal["low_entropy"] = "low_entropy"
    uses_target: ClassVar[bool] = True
    needs_target: ClassVar[bool] = True
    weight: float = Field(default=0.1, ge=0)
    """Of the mean entropy of the target's probabilities."""


settings = LowEntropySettings


def build(context: MethodContext) -> TrainingMethod:
    """Return the method; torch is imported here."""
    from c2seg_toy.low_entropy import LowEntropy

    return LowEntropy(context)
