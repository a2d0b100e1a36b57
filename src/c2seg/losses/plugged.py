"""Loss terms of plug-ins."""

from __future__ import annotations

import torch
from torch import Tensor

from c2seg.errors import PluginError
from c2seg.plugins import call, find
from c2seg.recipes.plugged import LossSettings

__all__ = ["plugin_loss"]


def plugin_loss(
    logits: Tensor, targets: Tensor, weights: Tensor | None, settings: LossSettings
) -> tuple[Tensor, Tensor]:
    """Return the sum and the divisor, scalars, of a plug-in's loss, without the weight in its settings.

    Shapes as in ``cross_entropy``. Raises PluginError if the plug-in is missing, fails or returns something else.
    """
    plugin = find("losses", settings.name)
    if plugin is None:
        raise PluginError(f"no installed package has a loss {settings.name!r}")
    pair = call(plugin, "compute", logits, targets, weights, settings)
    if not (isinstance(pair, tuple) and len(pair) == 2 and isinstance(pair[0], Tensor) and pair[0].numel() == 1):
        raise PluginError(f"the {plugin} must return two scalars: a sum and its divisor")
    return pair[0].reshape(()), torch.as_tensor(pair[1], dtype=torch.float32, device=logits.device).reshape(())
