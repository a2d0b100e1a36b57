"""Training methods, one per module, with one small interface: labeled sources and an unlabeled target train a model."""

from __future__ import annotations

from collections.abc import Callable

from c2seg.errors import InputError, unknown_name
from c2seg.methods.adversarial import Adversarial
from c2seg.methods.base import (
    Accumulation,
    Batch,
    MethodContext,
    OptimizerStep,
    TrainingMethod,
    batch_loss,
    supervised_loss,
)
from c2seg.methods.entropy import ConstrainedEntropy
from c2seg.methods.masked import Masked
from c2seg.methods.pseudo import PseudoLabeled
from c2seg.methods.slow_teacher import SlowTeacher
from c2seg.methods.supervised import Supervised
from c2seg.plugins import call, find, installed

__all__ = [
    "METHODS",
    "Accumulation",
    "Adversarial",
    "Batch",
    "ConstrainedEntropy",
    "Masked",
    "MethodContext",
    "OptimizerStep",
    "PseudoLabeled",
    "SlowTeacher",
    "Supervised",
    "TrainingMethod",
    "batch_loss",
    "build_method",
    "supervised_loss",
]

# Method by recipe name -> builder(context).
METHODS: dict[str, Callable[[MethodContext], TrainingMethod]] = {
    "adversarial": Adversarial,
    "entropy": ConstrainedEntropy,
    "masked": Masked,
    "pseudo_labels": PseudoLabeled,
    "slow_teacher": SlowTeacher,
    "supervised": Supervised,
}


def build_method(context: MethodContext) -> TrainingMethod:
    """Return the training method named in the context's settings, ours or a plug-in's; PluginError if a plug-in fails."""
    name = context.settings.method.name
    if name in METHODS:
        return METHODS[name](context)
    plugin = find("methods", name)
    if plugin is None:
        raise InputError(unknown_name("method", name, [*METHODS, *(p.name for p in installed("methods"))]))
    method: TrainingMethod = call(plugin, "build", context)
    return method
