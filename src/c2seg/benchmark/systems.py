"""Systems: several recipes whose maps are fused into one, each described by a YAML file.

A system names its *parts* (recipes, each on some inputs), those whose probabilities are averaged (``mean``), and *rules*, by
which single classes are taken from experts, parts themselves. ``variants`` are overlays as those of a recipe; ``rows`` names
the ones that always stand beside the whole system in a table. Systems are shipped in ``shipped``, or given as files.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from typing import Annotated, Any

from pydantic import Field, ValidationError, field_validator, model_validator

from c2seg.documents import parse_yaml, read_text
from c2seg.errors import RecipeError, unknown_name
from c2seg.recipes import Strict, first_fault, plugin_recipes, recipe_names
from c2seg.recipes.schema import overlay

__all__ = ["Part", "System", "is_system", "load_system", "system_names", "system_text", "system_variants"]

_FILES = (".yaml", ".yml")


class Part(Strict):
    """A recipe that is trained for a system: its name (or ``recipe@variant``, or a file), and the modalities it sees."""

    recipe: str
    inputs: tuple[str, ...] | None = Field(default=None, min_length=1)
    """null: those that the recipe names."""


class System(Strict):
    """Recipes whose maps make one map. ``name`` is the row of a table, with the variant's name if it is one."""

    name: str
    description: str = ""
    citation: str = ""
    parts: dict[str, Part] = Field(min_length=1)
    """What is trained, by name within the system, in this order."""
    mean: dict[str, Annotated[float, Field(gt=0)]] = Field(min_length=1)
    """Parts whose probabilities are averaged, and their weights."""
    rules: dict[str, str] = Field(default_factory=dict)
    """Class (a name or an id of the legend) -> the part that decides it, one after the other."""
    threshold: float | None = Field(default=None, ge=0, le=1)
    """Experts decide only from this probability on."""
    soft: bool = False
    """Experts do not decide: the class's probability becomes the mean of both."""
    rows: tuple[str, ...] = ()
    """Variants that stand in tables beside the whole."""

    @field_validator("mean", "rules", mode="before")
    @classmethod
    def _without_null(cls, content: Any) -> Any:
        """Drop what a variant sets to null; classes may be written as numbers."""
        if not isinstance(content, Mapping):
            return content
        return {str(key): value for key, value in content.items() if value is not None}

    @model_validator(mode="after")
    def _parts(self) -> System:
        if not self.name or any(sign in self.name for sign in "/\\:"):
            raise ValueError(f"name: {self.name!r} names a folder, so it must not be empty or hold a / or a colon")
        for place, names in (("mean", list(self.mean)), ("rules", list(self.rules.values()))):
            for name in names:
                if name not in self.parts:
                    raise ValueError(f"{place}: {unknown_name('part', name, self.parts)}")
        if self.soft and self.threshold is not None:
            raise ValueError("a rule is soft or has a threshold, not both")
        return self

    @property
    def used_parts(self) -> dict[str, Part]:
        """The parts that the map depends on: those of the mean, and those that decide a class."""
        names = {*self.mean, *self.rules.values()}
        return {name: part for name, part in self.parts.items() if name in names}


def system_names() -> tuple[str, ...]:
    """Return the names of the shipped systems."""
    folder = resources.files("c2seg.benchmark").joinpath("shipped")
    return tuple(sorted(item.name.removesuffix(".yaml") for item in folder.iterdir() if item.name.endswith(".yaml")))


def is_system(name: str) -> bool:
    """Return True if a name, or a file (``.yaml``), is that of a system, not of a recipe; with or without ``@variant``."""
    base = name.partition("@")[0]
    if not base.endswith(_FILES):
        return base in system_names()
    content = parse_yaml(read_text(base, error=RecipeError, what="the recipe "), f"recipe {base}", RecipeError)
    return isinstance(content, dict) and "parts" in content


def system_text(name: str) -> str:
    """Return the YAML of a shipped system, or of a file."""
    if name.endswith(_FILES):
        return read_text(name, error=RecipeError, what="the system ")
    if name in system_names():
        return resources.files("c2seg.benchmark").joinpath("shipped", f"{name}.yaml").read_text(encoding="utf-8")
    raise RecipeError(unknown_name("system", name, system_names()) + " A file must end in .yaml.")


def system_variants(name: str) -> tuple[str, ...]:
    """Return the variants of a system; ``load_system("name@variant")`` loads one."""
    return tuple(_parse(name)[1])


def load_system(name: str) -> System:
    """Return a checked system, or one of its variants (``name@variant``). Raises RecipeError, which names the key."""
    base, _, variant = name.partition("@")
    content, others = _parse(base)
    if variant:
        if variant not in others:
            raise RecipeError(f"system {base}: {unknown_name('variant', variant, others)}")
        content = overlay(content, {**(others[variant] or {}), "name": f"{content.get('name')}@{variant}"})
    system = _validated(name, content)
    if wrong := [row for row in system.rows if row not in others]:
        raise RecipeError(f"system {base}: rows: {unknown_name('variant', wrong[0], others)}")
    if system.name in (*recipe_names(), *plugin_recipes()):
        raise RecipeError(f"system {base}: name: {system.name!r} is the name of a recipe")
    return system


def _parse(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a system's content and its variants."""
    content = parse_yaml(system_text(name), f"system {name}", RecipeError)
    if not isinstance(content, dict):
        raise RecipeError(f"system {name} must be a mapping of keys to values")
    others = content.pop("variants", None) or {}
    if not isinstance(others, dict) or not all(isinstance(one, dict | None) for one in others.values()):
        raise RecipeError(f"system {name}: variants must be a mapping of names to settings")
    return content, others


def _validated(name: str, content: dict[str, Any]) -> System:
    try:
        return System.model_validate(content)
    except ValidationError as error:
        raise RecipeError(f"system {name}: {first_fault(error)}") from error
