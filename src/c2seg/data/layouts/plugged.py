"""The protocol of layouts, and layouts of other packages."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from c2seg.data.city import City, Label
from c2seg.errors import PluginError
from c2seg.plugins import Plugin, call, load

__all__ = ["Layout", "PluggedLayout"]


class Layout(Protocol):
    """A layout of a city on disk, usually a module. ``check``, which reports more problems, is optional."""

    @property
    def NAME(self) -> str:
        """Such as "folder of rasters"."""

    @property
    def LOOKS_FOR(self) -> str:
        """Text that describes how the layout is recognized."""

    def recognize(self, path: Path) -> bool:
        """Return True for a path in this layout. It must be fast and must not raise for other paths."""

    def images(self, path: Path) -> City:
        """Open the images without reading labels. Problems are listed in ``problems`` by file."""

    def labels(self, path: Path, city: City, label_map: str | None) -> tuple[Label, ...] | None:
        """Open the labels of the city's scenes; None if a scene has none. ``label_map`` replaces that of the layout."""


@dataclass(frozen=True)
class PluggedLayout:
    """A layout of another package. If it fails, PluginError names the package."""

    plugin: Plugin
    NAME: str
    LOOKS_FOR: str

    @classmethod
    def load(cls, plugin: Plugin) -> PluggedLayout:
        """Import a plug-in's layout."""
        layout: Any = load(plugin)
        names = [getattr(layout, name, None) for name in ("NAME", "LOOKS_FOR")]
        if not all(isinstance(name, str) for name in names):
            raise PluginError(f"the {plugin} lacks the texts `NAME` and `LOOKS_FOR`")
        return cls(plugin, *map(str, names))

    def recognize(self, path: Path) -> bool:
        """Return True for a path in this layout."""
        return bool(call(self.plugin, "recognize", path))

    def images(self, path: Path) -> City:
        """Open the images."""
        city = call(self.plugin, "images", path)
        if not isinstance(city, City):
            raise PluginError(f"the {self.plugin} must return a City of images, returned {type(city).__name__}")
        return replace(city, notes=(*city.notes, f"opened by the {self.plugin}"))

    def labels(self, path: Path, city: City, label_map: str | None) -> tuple[Label, ...] | None:
        """Open the labels."""
        labels: tuple[Label, ...] | None = call(self.plugin, "labels", path, city, label_map)
        return labels

    @property
    def check(self) -> Any:
        """The function ``check`` of the plug-in, or None."""
        return getattr(load(self.plugin), "check", None)
