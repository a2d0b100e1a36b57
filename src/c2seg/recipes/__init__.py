"""Recipes: one YAML file each, shipped beside this module or given as a path.

Presets (sizes and schedules) and variants (ablations) are overlays in the same file; ``base`` names a recipe under it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from c2seg.errors import RecipeError, unknown_name
from c2seg.recipes.schema import Recipe, overlay

__all__ = ["Recipe", "load_recipe", "presets", "recipe_names", "recipe_text", "variants"]


def recipe_names() -> tuple[str, ...]:
    """Return the names of the shipped recipes."""
    folder = resources.files("c2seg.recipes")
    return tuple(sorted(item.name.removesuffix(".yaml") for item in folder.iterdir() if item.name.endswith(".yaml")))


def recipe_text(name: str) -> str:
    """Return the YAML of a shipped recipe, or of a file if ``name`` ends in .yaml or .yml."""
    if name.endswith((".yaml", ".yml")):
        try:
            return Path(name).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise RecipeError(f"cannot read the recipe {name}: {error}") from error
    if name not in recipe_names():
        raise RecipeError(unknown_name("recipe", name, recipe_names()) + " A file must end in .yaml.")
    return resources.files("c2seg.recipes").joinpath(f"{name}.yaml").read_text(encoding="utf-8")


def presets(name: str) -> tuple[str, ...]:
    """Return the presets of a recipe."""
    return tuple(_parse(name).get("presets") or {})


def variants(name: str) -> tuple[str, ...]:
    """Return the variants of a recipe; ``load_recipe("name@variant")`` loads one."""
    return tuple(_parse(name).get("variants") or {})


def load_recipe(name: str, preset: str | None = None, overrides: Sequence[str] = ()) -> Recipe:
    """Return a checked recipe: the base, with a preset laid over it, a variant, and ``key.path=value`` overrides on top.

    ``name`` may be ``recipe@variant``. Values of overrides are YAML. ``preset=None`` takes ``tiny`` if the recipe has it.
    Raises RecipeError, which names the key and lists the valid ones.
    """
    recipe, _, variant = name.partition("@")
    content = _parse(recipe)
    choices: Mapping[str, Any] = content.pop("presets", None) or {}
    others: Mapping[str, Any] = content.pop("variants", None) or {}
    if preset is None:
        preset = "tiny" if "tiny" in choices else None
    if preset is not None:
        if preset not in choices:
            raise RecipeError(f"recipe {recipe}: {unknown_name('preset', preset, choices)}")
        content = overlay(content, choices[preset] or {})
    if variant:
        if variant not in others:
            raise RecipeError(f"recipe {recipe}: {unknown_name('variant', variant, others)}")
        content = overlay(content, {"name": name} | (others[variant] or {}))
    for text in overrides:
        content = overlay(content, _override(text))
    return _validate(name, content)


def recipe_from_dict(content: Mapping[str, Any], where: str) -> Recipe:
    """Read a recipe that was stored with ``model_dump``."""
    return _validate(where, dict(content))


def _parse(name: str) -> dict[str, Any]:
    try:
        content = yaml.safe_load(recipe_text(name))
    except yaml.YAMLError as error:
        raise RecipeError(f"recipe {name} is not valid YAML: {error}") from error
    if not isinstance(content, dict):
        raise RecipeError(f"recipe {name} must be a mapping of keys to values")
    if base := content.pop("base", None):
        if base == name:
            raise RecipeError(f"recipe {name} names itself as its base")
        return overlay(_parse(str(base)), content)
    return content


def _override(text: str) -> dict[str, Any]:
    path, separator, value = text.partition("=")
    keys = path.strip().split(".")
    if not separator or not all(keys):
        raise RecipeError(f"`overrides`: {text!r} is not of the form key.path=value, such as model.trees=100")
    try:
        content: Any = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise RecipeError(f"`overrides`: {text!r}: the value is not valid YAML: {error}") from error
    for key in reversed(keys):
        content = {key: content}
    return dict(content)


def _validate(name: str, content: dict[str, Any]) -> Recipe:
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "top level"
        message = first["msg"].removeprefix("Value error, ")
        raise RecipeError(f"recipe {name}: {place}: {message}") from error
