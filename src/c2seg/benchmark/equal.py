"""Table III compares equal trainings: as many iterations, batches and patches in all its recipes."""

from __future__ import annotations

from collections.abc import Sequence

from c2seg.benchmark.fused import trained_recipes
from c2seg.errors import InputError
from c2seg.recipes import Recipe, load_recipe, presets

__all__ = ["equal_preset"]

_PUBLISHED = "ablation"
"""The preset of what the paper ran for its Table III: 2000 iterations of 12 patches."""


def equal_preset(recipes: Sequence[str], preset: str, overrides: Sequence[str] = ()) -> str:
    """Return the preset with which recipes are trained alike: ``ablation`` for the paper's presets, else the one given.

    Raises InputError if they would differ in iterations, batch or patches.
    """
    recipes = trained_recipes(recipes)
    known = [set(presets(name.partition("@")[0])) for name in recipes]
    if preset.startswith("paper") and all(_PUBLISHED in names for names in known):
        preset = _PUBLISHED
    sized = "paper-ab" if preset == "paper" else preset
    resolved = {name: _size(load_recipe(name, sized, overrides)) for name in recipes}
    first, *others = resolved.items()
    if other := next((item for item in others if item[1] != first[1]), None):
        raise InputError(
            f"table III compares equal trainings: {first[0]} trains {_text(first[1])}, {other[0]} {_text(other[1])}; leave one "
            "out, or set training.iterations, training.sampling.batch_size and training.sampling.patch_px for all"
        )
    return preset


def _size(recipe: Recipe) -> tuple[int, int, int]:
    training = recipe.training
    return training.iterations, training.sampling.batch_size, training.sampling.patch_px


def _text(size: tuple[int, int, int]) -> str:
    return f"{size[0]} iterations of {size[1]} patches of {size[2]} px"
