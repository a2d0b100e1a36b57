"""Keys that recipes of 0.1.0 had: none was part of a published system, none had shown a gain (docs/crosscity.md)."""

from __future__ import annotations

from typing import Any

from c2seg.errors import RecipeError

__all__ = ["without_removed_keys"]

# Key of a mapping below the key on the left. These told how a network was trained: a trained one is read without them.
_TRAINING = {
    "loss": {"focal", "focal_gamma"},
    "sampling": {"ignore_edge_px"},
    "method": {"agree", "require_agreement"},
}


def without_removed_keys(content: Any) -> Any:
    """Return a stored recipe, or a part of one, without keys that are gone.

    Raises RecipeError where a network depends on one: a U-Net with group normalization.
    """
    if isinstance(content, list | tuple):
        return [without_removed_keys(item) for item in content]
    if not isinstance(content, dict):
        return content
    kept = {}
    for key, value in content.items():
        gone = _TRAINING.get(str(key), set())
        if isinstance(value, dict):
            value = {name: part for name, part in value.items() if name not in gone}
            value = _batch_normalized(value) if key == "model" else value
        kept[key] = without_removed_keys(value)
    return kept


def _batch_normalized(model: dict[str, Any]) -> dict[str, Any]:
    if model.get("norm", "batch") != "batch":
        raise RecipeError(f"model.norm: {model['norm']} is gone; this version has U-Nets with batch normalization only")
    return {key: value for key, value in model.items() if key != "norm"}
