"""Recipes: one YAML file each, shipped beside this module or given as a path.

Presets (sizes and schedules) and variants (ablations) are overlays in the same file; ``base`` names a recipe under it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from pydantic import ValidationError

from c2seg.documents import parse_yaml, read_text
from c2seg.errors import RecipeError, unknown_name
from c2seg.plugins import Plugin, find, guarded, installed, load
from c2seg.recipes import starts
from c2seg.recipes.changes import comparing, laid_over
from c2seg.recipes.plugged import LossSettings, MethodSettings, ModelSettings, Strict, plugins_of
from c2seg.recipes.schema import Recipe, overlay
from c2seg.recipes.suggesting import meant_keys, unknown_part
from c2seg.recipes.upgrade import stored_recipe, upgrade_recipe

__all__ = [
    "LossSettings",
    "MethodSettings",
    "ModelSettings",
    "Recipe",
    "Strict",
    "first_fault",
    "load_recipe",
    "plugin_recipes",
    "plugins_of",
    "presets",
    "random_start",
    "recipe_names",
    "recipe_text",
    "variants",
]


_log = logging.getLogger(__name__)
_BASES = 8


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
        return read_text(name, error=RecipeError, what="the recipe ")
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
        content = laid_over(content, {"name": name} | (others[variant] or {}))
    changed = content
    for text in overrides:
        changed = laid_over(changed, _override(text))
    try:
        return _validate(name, changed)
    except RecipeError as error:
        for text in overrides:
            _suggest(name, content, text, error)
        raise


def _suggest(name: str, content: dict[str, Any], override: str, error: RecipeError) -> None:
    """Raise a RecipeError that says which key an override meant, if it names none of the recipe."""
    path, _, value = (part.strip() for part in override.partition("="))
    settings = _validate(name, content).model_dump(mode="json")
    if keys := meant_keys(settings, path):
        meant, part = " or ".join(f"{key}={value}" for key in keys), unknown_part(settings, path)
        raise RecipeError(
            f"`overrides` {override}: recipe {name}: unknown key {part!r}. Did you mean {meant}?"
        ) from error


def random_start(recipe: Recipe) -> str | None:
    """Return a note if a recipe starts at random although it is published with pretrained weights; None otherwise."""
    name = recipe.name.partition("@")[0]
    if name not in (*recipe_names(), *plugin_recipes()):
        return None
    published = {key: value for key, value in _parse(name).items() if key not in ("presets", "variants")}
    return starts.random_start(recipe, _validate(name, published))


def recipe_from_dict(content: Mapping[str, Any], where: str) -> Recipe:
    """Read a recipe that was stored with ``model_dump``, also by 0.1.0."""
    return _validate(where, stored_recipe(content))


def _parse(name: str, above: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return a recipe's content over that of its base; ``above`` are the recipes that name it as theirs."""
    content = parse_yaml(recipe_text(name), f"recipe {name}", RecipeError)
    if not isinstance(content, dict):
        raise RecipeError(f"recipe {name} must be a mapping of keys to values")
    content = _renamed(f"recipe {name}", content)
    for group in ("presets", "variants"):
        _check_overlays(f"recipe {name}", group, content.get(group))
    if base := content.pop("base", None):
        if base in (*above, name):
            raise RecipeError(f"recipe {name} names itself as its base, or its base does")
        if not isinstance(base, str) or len(above) == _BASES:
            raise RecipeError(f"recipe {name}: base must be the name of a recipe, of at most {_BASES} above each other")
        return laid_over(_parse(base, (*above, name)), content)
    return content


def _check_overlays(where: str, group: str, overlays: object) -> None:
    """Raise RecipeError if presets or variants are no mappings by name."""
    if overlays is None:
        return
    if not isinstance(overlays, dict) or any(not isinstance(name, str) for name in overlays):
        raise RecipeError(f"{where}: {group} must be a mapping of names to settings")
    if wrong := [name for name, content in overlays.items() if not isinstance(content, dict | None)]:
        raise RecipeError(f"{where}: {group}.{wrong[0]} must be a mapping of keys to values")


def _override(text: str) -> dict[str, Any]:
    path, separator, value = text.partition("=")
    keys = path.strip().split(".")
    if not separator or not all(keys):
        raise RecipeError(f"`overrides`: {text!r} is not of the form key.path=value, such as model.trees=100")
    content = parse_yaml(value, f"`overrides`: {text!r}: the value", RecipeError)
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
    where = ""
    try:
        recipe = Recipe.model_validate(content)
        if recipe.normalization == "auto":
            where = "as changed by comparison: "
            comparing(recipe, sentinel=True)
    except ValidationError as error:
        raise RecipeError(f"recipe {name}: {where}{first_fault(error)}") from error
    return recipe


def first_fault(error: ValidationError) -> str:
    """Return the first thing that is wrong with settings: the key, and what is wrong with it."""
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"]) or "top level"
    return f"{place}: {first['msg'].removeprefix('Value error, ')}"
