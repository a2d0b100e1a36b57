"""How a model learns from labelled sources and an unlabelled target: one method per module, one small interface."""

from __future__ import annotations

from collections.abc import Callable

from c2seg.methods.adversarial import Adversarial
from c2seg.methods.base import Batch, Context, Learner, Stepper, supervised_loss
from c2seg.methods.masked import Masked
from c2seg.methods.pseudo import PseudoLabelled
from c2seg.methods.supervised import Supervised

__all__ = [
    "METHODS",
    "Adversarial",
    "Batch",
    "Context",
    "Learner",
    "Masked",
    "PseudoLabelled",
    "Stepper",
    "Supervised",
    "supervised_loss",
]

# Method by recipe name -> builder(context).
METHODS: dict[str, Callable[[Context], Learner]] = {
    "adversarial": Adversarial,
    "masked": Masked,
    "pseudo_labels": PseudoLabelled,
    "supervised": Supervised,
}
