"""Recipes by name, from files, with changes."""

from __future__ import annotations

import os
from collections.abc import Sequence

from c2seg import recipes
from c2seg.api.arguments import FilePath
from c2seg.errors import InputError
from c2seg.recipes import Recipe

__all__ = ["as_recipe", "load_recipe"]


def load_recipe(name: FilePath, preset: str | None = None, overrides: Sequence[str] = ()) -> Recipe:
    """Return a checked recipe.

    Args:
        name: A shipped recipe, a ``recipe@variant``, or a YAML file.
        preset: What is laid over it: ``tiny``, ``small``, ``paper-ab`` or ``paper-bw``; None: ``tiny`` where there is one.
        overrides: ``key.path=value`` over both; values are YAML.

    Raises:
        RecipeError: The name, a key or a value is wrong; the message lists the valid ones.
    """
    return recipes.load_recipe(os.fspath(name), preset, overrides)


def as_recipe(recipe: Recipe | FilePath, preset: str | None, overrides: Sequence[str]) -> Recipe:
    """Return a recipe that is given as such, or load it by name."""
    if not isinstance(recipe, Recipe):
        if os.path.isdir(recipe) and os.fspath(recipe) not in recipes.recipe_names():
            raise InputError(f"{recipe} is a folder; the name of a recipe comes first, and a city is given as `source`")
        return load_recipe(recipe, preset, overrides)
    if preset is not None or overrides:
        raise InputError("preset and overrides go with the name of a recipe; give them to load_recipe")
    return recipe
