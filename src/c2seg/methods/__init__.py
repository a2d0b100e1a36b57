"""How a model learns from labeled sources and an unlabeled target: one method per module, one small interface."""

from __future__ import annotations

from collections.abc import Callable

from c2seg.methods.adversarial import Adversarial
from c2seg.methods.base import Batch, Context, Learner, Stepper, supervised_loss
from c2seg.methods.masked import Masked
from c2seg.methods.pseudo import PseudoLabeled
from c2seg.methods.supervised import Supervised

__all__ = [
    "METHODS",
    "Adversarial",
    "Batch",
    "Context",
    "Learner",
    "Masked",
    "PseudoLabeled",
    "Stepper",
    "Supervised",
    "supervised_loss",
]

# Method by recipe name -> builder(context).
METHODS: dict[str, Callable[[Context], Learner]] = {
    "adversarial": Adversarial,
    "masked": Masked,
    "pseudo_labels": PseudoLabeled,
    "supervised": Supervised,
}
