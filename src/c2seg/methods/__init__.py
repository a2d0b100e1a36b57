"""How a model learns from labeled sources and an unlabeled target: one method per module, one small interface."""

from __future__ import annotations

from collections.abc import Callable

from c2seg.methods.adversarial import Adversarial
from c2seg.methods.base import Batch, MethodContext, OptimizerStep, TrainingMethod, supervised_loss
from c2seg.methods.masked import Masked
from c2seg.methods.pseudo import PseudoLabeled
from c2seg.methods.supervised import Supervised

__all__ = [
    "METHODS",
    "Adversarial",
    "Batch",
    "Masked",
    "MethodContext",
    "OptimizerStep",
    "PseudoLabeled",
    "Supervised",
    "TrainingMethod",
    "supervised_loss",
]

# Method by recipe name -> builder(context).
METHODS: dict[str, Callable[[MethodContext], TrainingMethod]] = {
    "adversarial": Adversarial,
    "masked": Masked,
    "pseudo_labels": PseudoLabeled,
    "supervised": Supervised,
}
