"""Settings that are open to other packages: ours by name, or those of an entry point of that name.

Recipes are checked without torch, so an entry point gives its class of settings without importing torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, get_args

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, model_validator
from pydantic_core import CoreSchema, core_schema

from c2seg.errors import PluginError, unknown_name
from c2seg.plugins import Group, Plugin, find, installed, load

__all__ = [
    "LossSettings",
    "MethodSettings",
    "ModelSettings",
    "Open",
    "Pluggable",
    "Strict",
    "plugin_settings",
    "plugins_of",
]


class Strict(BaseModel):
    """A frozen model that refuses unknown keys and says which exist."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, content: Any) -> Any:
        if isinstance(content, dict):
            for key in content:
                if key not in cls.model_fields:
                    raise ValueError(unknown_name("key", str(key), cls.model_fields))
        return content


class Pluggable(Strict):
    """Settings that are chosen by their ``name``."""

    group: ClassVar[Group]
    name: str


class ModelSettings(Pluggable):
    """What a recipe may say of a network."""

    group = "models"

    @property
    def physical(self) -> tuple[str, ...]:
        """Physical layers that the network takes beside the modalities (``c2seg.data.physical_layers``)."""
        return ()


class MethodSettings(Pluggable):
    """What a recipe may say of a training method."""

    group = "methods"
    uses_target: ClassVar[bool] = False
    """True if it trains on the target's images, where there are some."""
    needs_target: ClassVar[bool] = False
    """True if it cannot do without a target."""


class LossSettings(Pluggable):
    """What a recipe may say of a term of the loss that a plug-in brings."""

    group = "losses"
    weight: float = Field(default=1.0, ge=0)
    """Factor of the term in the loss."""


@dataclass(frozen=True)
class Open:
    """Annotates a field of settings: ``built_in`` is the union of ours, by ``name``; other names belong to plug-ins."""

    group: Group
    built_in: Any

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Return the union's schema for our names, behind a look for plug-ins."""
        return core_schema.no_info_wrap_validator_function(
            self._choose,
            handler.generate_schema(self.built_in),
            # By what a value is: settings of plug-ins are no part of the union.
            serialization=core_schema.wrap_serializer_function_ser_schema(
                lambda value, serialize: serialize(value), schema=core_schema.any_schema()
            ),
        )

    def _choose(self, value: Any, validate: Callable[[Any], Any]) -> Any:
        name = value.get("name") if isinstance(value, Mapping) else getattr(value, "name", None)
        ours = [option.model_fields["name"].default for option in get_args(get_args(self.built_in)[0])]
        if not isinstance(name, str) or name in ours:
            return validate(value)
        return plugin_settings(self.group, name, ours).model_validate(value)


def plugin_settings(group: Group, name: str, ours: list[str]) -> type[Pluggable]:
    """Return the class of settings of a plug-in.

    Raises ValueError for an unknown name, with ``ours`` among the valid ones; PluginError if the plug-in is broken.
    """
    plugin = find(group, name)
    if plugin is None:
        raise ValueError(unknown_name("name", name, [*ours, *(other.name for other in installed(group))]))
    settings = getattr(load(plugin), "settings", None)
    base: type[Pluggable] = {"models": ModelSettings, "methods": MethodSettings, "losses": LossSettings}[group]
    if not (isinstance(settings, type) and issubclass(settings, base)):
        raise PluginError(f"the {plugin} has no `settings` that are a subclass of c2seg.recipes.{base.__name__}")
    if get_args(settings.model_fields["name"].annotation) != (name,):
        raise PluginError(f"the {plugin} has settings without `name: Literal[{name!r}]`")
    return settings


def plugins_of(settings: BaseModel) -> tuple[Plugin, ...]:
    """Return the plug-ins that a recipe, or a part of one, names."""
    parts = list(_parts(settings))
    names: set[tuple[Group, str]] = {(p.group, p.name) for p in parts if isinstance(p, Pluggable) and not _ours(p)}
    named = (getattr(part, "encoder", None) for part in parts if isinstance(part, ModelSettings))
    names |= {("encoders", name.partition(":")[0]) for name in named if isinstance(name, str) and ":" in name}
    return tuple(plugin for group, name in sorted(names) if (plugin := find(group, name)))


def _ours(part: Pluggable) -> bool:
    return type(part).__module__.partition(".")[0] == "c2seg"


def _parts(value: object) -> Iterator[BaseModel]:
    """Yield all settings within a value."""
    if isinstance(value, BaseModel):
        yield value
        for name in type(value).model_fields:
            yield from _parts(getattr(value, name))
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _parts(item)
    elif isinstance(value, tuple):
        for item in value:
            yield from _parts(item)
