"""Plug-ins of other packages, discovered through entry points. Each kind has a group, such as ``c2seg.models``.

A recipe uses the name of the entry point. A plug-in is imported only when a recipe, a model file or data names it.
Plug-in layouts are tried when no built-in layout recognizes a path. ``docs/plugins.md`` explains how to write a plug-in;
``c2seg.testing`` checks it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args

from c2seg.errors import C2SegError, PluginError

if TYPE_CHECKING:
    from pathlib import Path

    from pydantic import BaseModel

__all__ = [
    "GROUPS",
    "Group",
    "LossPlugin",
    "MethodPlugin",
    "ModelPlugin",
    "Plugin",
    "ProductPlugin",
    "call",
    "find",
    "guarded",
    "installed",
    "load",
    "refresh",
    "require",
]

_log = logging.getLogger(__name__)

Group = Literal["models", "encoders", "methods", "losses", "layouts", "products", "recipes"]
GROUPS: tuple[Group, ...] = get_args(Group)

_KINDS: dict[Group, str] = {
    "models": "network",
    "encoders": "encoder",
    "methods": "training method",
    "losses": "loss",
    "layouts": "layout",
    "products": "product reader",
    "recipes": "recipe",
}


@dataclass(frozen=True, slots=True)
class Plugin:
    """An entry point of an installed package: group, name, package and package version."""

    group: Group
    name: str
    package: str
    version: str

    def __str__(self) -> str:
        """Such as "network 'toynet' of toy-networks 1.0"."""
        return f"{_KINDS[self.group]} {self.name!r} of {self.package} {self.version}"


class ModelPlugin(Protocol):
    """A network: the object of an entry point of ``c2seg.models``. It can be a module with these two names.

    ``settings`` is a subclass of ``c2seg.recipes.ModelSettings`` with ``name: Literal[<name of the entry point>]``. It is
    imported to check a recipe and must not import torch. Import torch inside ``build``.
    """

    settings: type[BaseModel]

    def build(self, settings: Any, bands: Mapping[str, int], num_classes: int) -> Any:
        """Return a randomly initialized ``torch.nn.Module`` that fulfills the contract of ``c2seg.models``.

        ``bands``: number of bands by modality.
        """


class MethodPlugin(Protocol):
    """A training method: the object of an entry point of ``c2seg.methods``. It can be a module with these two names.

    ``settings`` is a subclass of ``c2seg.recipes.MethodSettings`` with ``name: Literal[<name of the entry point>]``, and is
    importable without torch.
    """

    settings: type[BaseModel]

    def build(self, context: Any) -> Any:
        """Return a ``c2seg.methods.TrainingMethod`` for a ``c2seg.methods.MethodContext``."""


class LossPlugin(Protocol):
    """A term of the supervised loss: the object of an entry point of ``c2seg.losses``. It can be a module with these two names.

    ``settings`` is a subclass of ``c2seg.recipes.LossSettings`` with ``name: Literal[<name of the entry point>]``, and is
    importable without torch.
    """

    settings: type[BaseModel]

    def compute(self, logits: Any, targets: Any, weights: Any, settings: Any) -> tuple[Any, Any]:
        """Return two scalar tensors: a sum and its divisor. The divisor is summed over all processes first.

        ``logits`` [B, K, H, W]; ``targets`` int64 [B, H, W], 255 = no label; ``weights``: class weights float32 [K] or None.
        A loss that is not a sum over pixels returns its value and 1. It is averaged over the processes.
        """


class ProductPlugin(Protocol):
    """A reader of one kind of satellite product: the object of an entry point of ``c2seg.products``."""

    LOOKS_FOR: str
    """What the reader looks for, as text."""

    def recognize(self, path: Path) -> bool:
        """Return True for a file or folder that this reader can open."""

    def open(self, path: Path, options: Any) -> Any:
        """Return a ``c2seg.products.Product`` for ``c2seg.products.ProductOptions``; see ``c2seg.products.Reader``."""


def installed(group: Group) -> tuple[Plugin, ...]:
    """Return the entry points of a group in all installed packages, sorted by name, without importing them."""
    return tuple(plugin for plugin, _ in _scan(group))


def find(group: Group, name: str) -> Plugin | None:
    """Return the entry point with a name, or None. Raises PluginError if several packages have one."""
    entry = _entry(group, name)
    return entry[0] if entry else None


def load(plugin: Plugin) -> Any:
    """Import the object of an entry point. Raises PluginError with package and version if the import fails."""
    entry = _entry(plugin.group, plugin.name)
    if entry is None:
        raise PluginError(f"the {plugin} is not installed")
    with guarded(plugin, "cannot be loaded"):
        return entry[1].load()


def call(plugin: Plugin, function: str, *arguments: Any) -> Any:
    """Call a function of a plug-in. Raises PluginError if the function is missing or fails."""
    called = getattr(load(plugin), function, None)
    if called is None:
        raise PluginError(f"the {plugin} has no `{function}`")
    with guarded(plugin, f"failed in `{function}`"):
        return called(*arguments)


@contextmanager
def guarded(plugin: Plugin, problem: str) -> Iterator[None]:
    """Convert an exception inside the block to PluginError with the plug-in's package and version. C2SegErrors pass."""
    try:
        yield
    except C2SegError:
        raise
    except Exception as error:
        text = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise PluginError(f"the {plugin} {problem}: {text}") from error


def require(plugins: Iterable[Plugin], where: str) -> None:
    """Raise PluginError with the install command if a plug-in is not installed. A different version is only logged.

    ``where`` names what needs the plug-ins, such as a file.
    """
    for plugin in plugins:
        here = find(plugin.group, plugin.name)
        if here is None or here.package != plugin.package:
            raise PluginError(
                f"{where} needs the {plugin}, which is not installed: pip install '{plugin.package}=={plugin.version}'"
            )
        if here.version != plugin.version:
            _log.warning("%s was made with the %s; %s is installed", where, plugin, here.version)


def refresh() -> None:
    """Clear the cache of entry points. Call it when packages were installed in the running process."""
    _scan.cache_clear()


_Entry = tuple[Plugin, EntryPoint]


def _entry(group: Group, name: str) -> _Entry | None:
    entries = [entry for entry in _scan(group) if entry[0].name == name]
    if len(entries) > 1:
        packages = ", ".join(f"{plugin.package} {plugin.version}" for plugin, _ in entries)
        raise PluginError(f"several packages have a {_KINDS[group]} {name!r}: {packages}; uninstall all but one")
    return entries[0] if entries else None


@cache
def _scan(group: Group) -> tuple[_Entry, ...]:
    points = entry_points(group=f"c2seg.{group}")
    by_name: Callable[[_Entry], tuple[str, str]] = lambda entry: (entry[0].name, entry[0].package)  # noqa: E731
    return tuple(sorted(((_plugin(group, point), point) for point in points), key=by_name))


def _plugin(group: Group, point: EntryPoint) -> Plugin:
    package, version = (point.dist.name, point.dist.version) if point.dist else ("an unknown package", "")
    return Plugin(group, point.name, package, version)
