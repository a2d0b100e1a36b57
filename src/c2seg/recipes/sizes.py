"""Recipes whose networks train shorter, or are narrower."""

from __future__ import annotations

from typing import Any

from c2seg.recipes.schema import Recipe

__all__ = ["resized"]

_WIDTH_STEP = 8
"""Widths stay multiples of it, as group normalization needs."""


def resized(recipe: Recipe, *, length: float = 1.0, width: float = 1.0) -> Recipe:
    """Return the recipe with the iterations of every training times ``length``, the widths of every network times ``width``.

    Iterations are at least 1. Widths are rounded to multiples of 8, at least 8, and never grow. Networks whose sizes are those
    of an encoder keep them.
    """
    if (length, width) == (1.0, 1.0):
        return recipe
    return Recipe.model_validate(_resized(recipe.model_dump(mode="json"), length, width))


def _resized(content: dict[str, Any], length: float, width: float) -> dict[str, Any]:
    changed = dict(content)
    for key, part in content.items():
        if not isinstance(part, dict):
            continue
        if key == "training":
            changed[key] = part | {"iterations": max(1, round(length * part["iterations"]))}
        elif key == "model":
            changed[key] = _narrower(part, width)
        elif key in ("stages", "networks"):
            changed[key] = {name: _resized(inner, length, width) for name, inner in part.items()}
    return changed


def _narrower(model: dict[str, Any], factor: float) -> dict[str, Any]:
    widths = model.get("widths")
    if factor == 1.0 or model.get("encoder") or not isinstance(widths, list | tuple):
        return model
    steps = (max(1, round(factor * width / _WIDTH_STEP)) * _WIDTH_STEP for width in widths)
    return model | {"widths": [min(width, step) for width, step in zip(widths, steps, strict=True)]}
