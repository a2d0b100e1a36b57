"""Recipes as 0.1.0 stored them, in today's keys."""

from __future__ import annotations

from typing import Any

__all__ = ["upgrade_recipe"]

_KEYS = {
    "reference": "citation", "normalisation": "normalization", "optimiser": "optimizer", "colours": "colors",
    "critics": "discriminators", "critic_scale": "discriminator_scale", "objective": "gan_mode", "generalised": "gce",
    "generalised_q": "gce_q", "max_share": "cat_max_ratio", "balanced": "class_balanced_fraction", "fourier": "fda",
    "gate": "source_check", "views": "tta_transforms", "copies": "radiometric_augmentations",
}  # fmt: skip


def upgrade_recipe(content: dict[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return a recipe's content in today's keys, and the old keys that it had."""
    renamed: list[str] = []
    return _upgraded(content, renamed), tuple(dict.fromkeys(renamed))


def _upgraded(content: Any, renamed: list[str]) -> Any:
    if isinstance(content, list | tuple):
        return [_upgraded(item, renamed) for item in content]
    if not isinstance(content, dict):
        return content
    result: dict[str, Any] = {}
    for key, value in content.items():
        if key == "batch_statistics":
            renamed.append(key)
            result["adabn"] = value == "target"
            continue
        if key in _KEYS:
            renamed.append(key)
        result[_KEYS.get(str(key), str(key))] = _upgraded(value, renamed)
    return result
