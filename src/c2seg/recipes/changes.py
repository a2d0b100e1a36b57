"""Changes of recipes: what is laid over them, and every training or every network changed alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from c2seg.recipes.schema import Recipe, overlay

__all__ = ["comparing", "laid_over", "resized"]

_WIDTH_STEP = 8
"""Widths stay multiples of it, as group normalization needs."""

_Change = Callable[[dict[str, Any]], dict[str, Any]]


def laid_over(content: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """Return a recipe's content with a change laid over it.

    Keys of it that ``comparison`` has other values for get the change's there, too: who sets a key, sets it for all cities.
    Those of a stage or of one of its networks are such keys where ``comparison`` changes every training or network.
    """
    parts = content.get("comparison")
    there = {
        name: overlay(part, _in_both(change, part))
        for name, part in (parts.items() if isinstance(parts, dict) else ())
        if isinstance(part, dict)
    }
    return overlay(overlay(content, {"comparison": there} if there else {}), change)


def _in_both(change: Mapping[str, Any], part: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a change has of the keys of a part, mappings key by key."""
    common: dict[str, Any] = {}
    for key, value in change.items():
        below = part.get(key)
        if key in ("stages", "networks") and isinstance(value, dict) and isinstance(below, dict | None):
            common |= _in_each(key, value, part)
        elif key in part:
            common[key] = (
                _in_both(value, below) if isinstance(value, dict) and isinstance(below, dict) and below else value
            )
    return common


def _in_each(key: str, change: Mapping[str, Any], part: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a change of stages, or of a stage's networks, has of the keys that a part has for them or around them."""
    below = part.get(key) or {}
    common: dict[str, Any] = {name: None for name, settings in change.items() if settings is None and name in below}
    for name, settings in change.items():
        if isinstance(settings, dict) and (both := _in_both(settings, overlay(part, below.get(name) or {}))):
            common[name] = both
    return {key: common} if common else {}


def resized(recipe: Recipe, *, length: float = 1.0, width: float = 1.0) -> Recipe:
    """Return the recipe with the iterations of every training times ``length``, the widths of every network times ``width``.

    Iterations are at least 1. Widths are rounded to multiples of 8, at least 8, and never grow. Networks whose sizes are those
    of an encoder keep them.
    """
    if (length, width) == (1.0, 1.0):
        return recipe
    return _changed(
        recipe,
        training=lambda training: training | {"iterations": max(1, round(length * training["iterations"]))},
        model=lambda model: _narrower(model, width),
    )


def comparing(recipe: Recipe, *, sentinel: bool = False) -> Recipe:
    """Return what a recipe of ``normalization: auto`` becomes where target and sources are compared in physical units.

    ``sentinel``: with its changes for bands of Sentinel-2 and Sentinel-1. Raises ValidationError where changes have a key or a
    value that a recipe cannot have.
    """
    settings = recipe.comparison
    everywhere = {key: settings.changes[key] for key in ("model", "training") if key in settings.changes}
    content = _everywhere(
        recipe.model_dump(mode="json"), {key: _laying_over(key, change) for key, change in everywhere.items()}
    )
    rest = {key: value for key, value in settings.changes.items() if key not in everywhere}
    content = overlay(content, rest | {"normalization": "midway"})
    return Recipe.model_validate(overlay(content, (settings.sentinel or {}) if sentinel else {}))


def _laying_over(key: str, change: Mapping[str, Any]) -> _Change:
    """Return the change of a part that lays keys over it; a model of another name starts from its own defaults."""
    return lambda part: overlay({key: part}, {key: change})[key]


def _changed(recipe: Recipe, **changes: _Change) -> Recipe:
    """Return the recipe with a change of every part with that key: its own, those of stages and of their networks."""
    return Recipe.model_validate(_everywhere(recipe.model_dump(mode="json"), changes))


def _everywhere(content: dict[str, Any], changes: Mapping[str, _Change]) -> dict[str, Any]:
    changed = dict(content)
    for key, part in content.items():
        if not isinstance(part, dict):
            continue
        if key in changes:
            changed[key] = changes[key](part)
        elif key in ("stages", "networks"):
            changed[key] = {name: _everywhere(inner, changes) for name, inner in part.items()}
    return changed


def _narrower(model: dict[str, Any], factor: float) -> dict[str, Any]:
    widths = model.get("widths")
    if factor == 1.0 or model.get("encoder") or not isinstance(widths, list | tuple):
        return model
    steps = (max(1, round(factor * width / _WIDTH_STEP)) * _WIDTH_STEP for width in widths)
    return model | {"widths": [min(width, step) for width, step in zip(widths, steps, strict=True)]}
