"""Completion in the shell: of which command, and of values that are names. ``c2seg --install-completion`` sets it up."""

from __future__ import annotations

import os
from collections.abc import Collection

__all__ = ["completed_command", "device", "preset", "recipe"]


def completed_command(commands: Collection[str]) -> str | None:
    """Return the command whose options the shell is completing; None: it completes a command's name, or nothing."""
    if "_C2SEG_COMPLETE" not in os.environ:
        return None
    words = (os.environ.get("COMP_WORDS") or os.environ.get("_TYPER_COMPLETE_ARGS") or "").split()
    first = next((word for word in words[1:] if not word.startswith("-")), None)
    return first if first in commands else None


def recipe(incomplete: str) -> list[str]:
    """Return the names of recipes that begin so."""
    from c2seg.recipes import plugin_recipes, recipe_names

    return [name for name in (*recipe_names(), *plugin_recipes()) if name.startswith(incomplete)]


def preset(incomplete: str) -> list[str]:
    """Return the names of presets that begin so."""
    return [name for name in ("tiny", "small", "demo", "paper-ab", "paper-bw") if name.startswith(incomplete)]


def device(incomplete: str) -> list[str]:
    """Return the devices that begin so."""
    return [name for name in ("auto", "cpu", "cuda") if name.startswith(incomplete)]
