"""Recipes: one YAML file each, shipped beside this module or given as a path.

Presets (sizes and schedules) and variants (ablations) are overlays in the same file; ``base`` names a recipe under it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from c2seg.errors import RecipeError, unknown_name
from c2seg.plugins import Plugin, find, guarded, installed, load
from c2seg.recipes.plugged import LossSettings, MethodSettings, ModelSettings, Strict, plugins_of
from c2seg.recipes.schema import Recipe, overlay
from c2seg.recipes.upgrade import stored_recipe, upgrade_recipe

__all__ = [
    "LossSettings",
    "MethodSettings",
    "ModelSettings",
    "Recipe",
    "Strict",
    "load_recipe",
    "plugin_recipes",
    "plugins_of",
    "presets",
    "recipe_names",
    "recipe_text",
    "variants",
]


_log = logging.getLogger(__name__)


def recipe_names() -> tuple[str, ...]:
    """Return the names of the shipped recipes."""
    folder = resources.files("c2seg.recipes")
    return tuple(sorted(item.name.removesuffix(".yaml") for item in folder.iterdir() if item.name.endswith(".yaml")))


def plugin_recipes() -> dict[str, Plugin]:
    """Return the recipes that other packages ship, by name: their entry points in ``c2seg.recipes``. Ours come first."""
    return {plugin.name: plugin for plugin in installed("recipes") if plugin.name not in recipe_names()}


def recipe_text(name: str) -> str:
    """Return the YAML of a recipe, ours or a plug-in's, or of a file if ``name`` ends in .yaml or .yml."""
    if name.endswith((".yaml", ".yml")):
        try:
            return Path(name).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise RecipeError(f"cannot read the recipe {name}: {error}") from error
    if name in recipe_names():
        return resources.files("c2seg.recipes").joinpath(f"{name}.yaml").read_text(encoding="utf-8")
    if plugin := find("recipes", name):
        with guarded(plugin, "cannot be read"):
            return resources.files(load(plugin)).joinpath(f"{name}.yaml").read_text(encoding="utf-8")
    raise RecipeError(unknown_name("recipe", name, [*recipe_names(), *plugin_recipes()]) + " A file must end in .yaml.")


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
    """Read a recipe that was stored with ``model_dump``, also by 0.1.0."""
    return _validate(where, stored_recipe(content))


def _parse(name: str) -> dict[str, Any]:
    try:
        content = yaml.safe_load(recipe_text(name))
    except yaml.YAMLError as error:
        raise RecipeError(f"recipe {name} is not valid YAML: {error}") from error
    if not isinstance(content, dict):
        raise RecipeError(f"recipe {name} must be a mapping of keys to values")
    content = _renamed(f"recipe {name}", content)
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
    return _renamed(f"override {text!r}", content)


def _renamed(where: str, content: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a user wrote in the present keys, with a warning for those of 0.1.0."""
    upgraded, renamed = upgrade_recipe(content)
    if renamed:
        _log.warning("%s: keys were renamed and the old ones go with the next release: %s", where, ", ".join(renamed))
    return upgraded


def _validate(name: str, content: dict[str, Any]) -> Recipe:
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "top level"
        message = first["msg"].removeprefix("Value error, ")
        raise RecipeError(f"recipe {name}: {place}: {message}") from error
