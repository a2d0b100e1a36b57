"""What other packages add to c2seg, found through their entry points: one group a kind, such as ``c2seg.models``.

The name of an entry point is the name that a recipe uses. Nothing of a package is imported until a recipe, a model file or
data asks for one of its entry points by name; a layout is asked when no layout of ours recognizes a path. How to write
one: ``docs/plugins.md``; ``c2seg.testing`` checks it.
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

Group = Literal["models", "methods", "losses", "layouts", "products", "recipes"]
GROUPS: tuple[Group, ...] = get_args(Group)

_KINDS: dict[Group, str] = {
    "models": "network",
    "methods": "training method",
    "losses": "loss",
    "layouts": "layout",
    "products": "product reader",
    "recipes": "recipe",
}


@dataclass(frozen=True, slots=True)
class Plugin:
    """An entry point of an installed package: its group, its name, and the package with its version."""

    group: Group
    name: str
    package: str
    version: str

    def __str__(self) -> str:
        """Such as "network 'toynet' of toy-networks 1.0"."""
        return f"{_KINDS[self.group]} {self.name!r} of {self.package} {self.version}"


class ModelPlugin(Protocol):
    """What an entry point of ``c2seg.models`` names: a network. A module with these two names will do.

    ``settings`` is a subclass of ``c2seg.recipes.ModelSettings`` with ``name: Literal[<name of the entry point>]``. It is
    read to check a recipe: importing it must not import torch; ``build`` does that when it is called.
    """

    settings: type[BaseModel]

    def build(self, settings: Any, bands: Mapping[str, int], num_classes: int) -> Any:
        """Return a randomly initialized ``torch.nn.Module`` that keeps the contract of ``c2seg.models``.

        ``bands``: number of bands by modality.
        """


class MethodPlugin(Protocol):
    """What an entry point of ``c2seg.methods`` names: how a network is trained. A module with these two names will do.

    ``settings`` is a subclass of ``c2seg.recipes.MethodSettings`` with ``name: Literal[<name of the entry point>]``, and is
    importable without torch.
    """

    settings: type[BaseModel]

    def build(self, context: Any) -> Any:
        """Return a ``c2seg.methods.TrainingMethod`` for a ``c2seg.methods.MethodContext``."""


class LossPlugin(Protocol):
    """What an entry point of ``c2seg.losses`` names: a term of the supervised loss. A module with these two names will do.

    ``settings`` is a subclass of ``c2seg.recipes.LossSettings`` with ``name: Literal[<name of the entry point>]``, and is
    importable without torch.
    """

    settings: type[BaseModel]

    def compute(self, logits: Any, targets: Any, weights: Any, settings: Any) -> tuple[Any, Any]:
        """Return two scalar tensors: a sum and what it is divided by. The divisor is summed over all processes first.

        ``logits`` [B, K, H, W]; ``targets`` int64 [B, H, W], 255 = no label; ``weights`` float32 [K] or None: of the classes.
        A loss that is no sum over pixels returns its value and 1, and is averaged over the processes.
        """


class ProductPlugin(Protocol):
    """What an entry point of ``c2seg.products`` names: a reader of one kind of satellite delivery."""

    LOOKS_FOR: str
    """What is looked for, in words."""

    def recognize(self, path: Path) -> bool:
        """Return True for a file or folder that this reader opens."""

    def open(self, path: Path) -> Any:
        """Return its bands as a ``c2seg.data.Modality`` on their own grid."""


def installed(group: Group) -> tuple[Plugin, ...]:
    """Return the entry points of a group in all installed packages, by name. Imports none of them."""
    return tuple(plugin for plugin, _ in _scan(group))


def find(group: Group, name: str) -> Plugin | None:
    """Return the entry point of a name, or None. Raises PluginError if several packages have one."""
    entry = _entry(group, name)
    return entry[0] if entry else None


def load(plugin: Plugin) -> Any:
    """Import what an entry point names. Raises PluginError, which names package and version, if it cannot be imported."""
    entry = _entry(plugin.group, plugin.name)
    if entry is None:
        raise PluginError(f"the {plugin} is not installed")
    with guarded(plugin, "cannot be loaded"):
        return entry[1].load()


def call(plugin: Plugin, function: str, *arguments: Any) -> Any:
    """Call a function of what an entry point names. Raises PluginError if there is none or it fails."""
    called = getattr(load(plugin), function, None)
    if called is None:
        raise PluginError(f"the {plugin} has no `{function}`")
    with guarded(plugin, f"failed in `{function}`"):
        return called(*arguments)


@contextmanager
def guarded(plugin: Plugin, problem: str) -> Iterator[None]:
    """Turn an exception inside the block into PluginError with the plug-in's package and version; ours pass."""
    try:
        yield
    except C2SegError:
        raise
    except Exception as error:
        text = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise PluginError(f"the {plugin} {problem}: {text}") from error


def require(plugins: Iterable[Plugin], where: str) -> None:
    """Raise PluginError with the command that helps if one of some plug-ins is not installed; log another version.

    ``where`` says what needs them, such as a file's name.
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
    """Forget what was found, for a process in which packages were installed meanwhile."""
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
