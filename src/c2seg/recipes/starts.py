"""Which networks of a recipe start at random although the published system starts from pretrained weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from c2seg.recipes.schema import Recipe

__all__ = ["random_start"]


def random_start(recipe: Recipe, published: Mapping[str, Any]) -> str | None:
    """Return a note if a network of ``recipe`` starts at random and that of ``published``, its file's content, does not.

    ``published`` is the recipe without presets and overrides. None: all start as published.
    """
    resolved = recipe.model_dump(mode="json")
    weights = [value for path, value in _pretrained(published) if _at(resolved, path) is None]
    if not weights:
        return None
    return (
        f"{recipe.name} is published with pretrained weights ({', '.join(dict.fromkeys(weights))}) and starts at random here; "
        "`model.pretrained` names weights"
    )


def _pretrained(content: object, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield the places of pretrained weights in a recipe, and their names."""
    if not isinstance(content, Mapping):
        return
    for key, value in content.items():
        if key == "pretrained" and isinstance(value, str):
            yield (*path, key), value
        else:
            yield from _pretrained(value, (*path, str(key)))


def _at(content: Any, path: tuple[str, ...]) -> object:
    """Return the value at a place; a text of no meaning where there is no such place."""
    for key in path:
        if not isinstance(content, Mapping) or key not in content:
            return ""
        content = content[key]
    return content
