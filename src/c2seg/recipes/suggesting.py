"""What was meant by a key that a recipe does not have: ``trees`` is ``model.trees``."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping

__all__ = ["meant_keys", "unknown_part"]

_SHOWN = 3


def meant_keys(settings: Mapping[str, object], path: str) -> tuple[str, ...]:
    """Return the keys of a recipe whose last part is, or nearly is, that of a path; none if the recipe has the path.

    ``settings``: the recipe with every default filled in. At most three keys are returned.
    """
    leaves = list(_leaves(settings))
    last = [key.rpartition(".")[2] for key in leaves]
    if path in leaves or any(key.startswith(f"{path}.") for key in leaves):
        return ()
    name = path.rpartition(".")[2]
    near = [name] if name in last else difflib.get_close_matches(name, dict.fromkeys(last), n=1, cutoff=0.7)
    meant = [key for key, leaf in zip(leaves, last, strict=True) if near and leaf == near[0]]
    meant = [key for key in meant if not key.startswith("stages.")] or meant  # what all stages inherit
    if "." in path:
        return tuple(difflib.get_close_matches(path, meant, n=1, cutoff=0.0))
    return tuple(meant[:_SHOWN])


def unknown_part(settings: Mapping[str, object], path: str) -> str:
    """Return the first part of a path that the settings do not have; the last one if they have them all."""
    parts = path.split(".")
    inner: object = settings
    for part in parts:
        if not isinstance(inner, Mapping) or part not in inner:
            return part
        inner = inner[part]
    return parts[-1]


def _leaves(value: Mapping[str, object], above: str = "") -> Iterator[str]:
    """Yield the dotted paths of what is no mapping."""
    for key, inner in value.items():
        if isinstance(inner, Mapping) and inner:
            yield from _leaves(inner, f"{above}{key}.")
        else:
            yield f"{above}{key}"
