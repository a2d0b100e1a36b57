"""Failures of checks, and the contract of all plug-in settings."""

from __future__ import annotations

import subprocess
import sys

from c2seg.plugins import find
from c2seg.recipes import plugins_of
from c2seg.recipes.plugged import Pluggable

__all__ = ["check_settings", "expect"]

_IMPORT = """
import sys
from c2seg.plugins import find, load
settings = load(find({group!r}, {name!r})).settings
sys.exit("torch" in sys.modules)
"""


def expect(condition: bool, message: str) -> None:
    """Raise AssertionError with a message if a condition is false; unlike ``assert``, also under ``python -O``."""
    if not condition:
        raise AssertionError(message)


def check_settings(settings: Pluggable) -> None:
    """Check that settings survive writing and reading, and that a plug-in's are imported without torch."""
    name, kind = settings.name, type(settings)
    again = kind.model_validate(settings.model_dump(mode="json"))
    expect(again == settings, f"{kind.__name__} reads back {again} where {settings} was written")
    if kind.__module__.partition(".")[0] == "c2seg":
        return
    plugin = find(settings.group, name)
    if plugin is None:
        raise AssertionError(f"no entry point {name!r} in c2seg.{settings.group}; is the package installed?")
    expect(plugins_of(settings) == (plugin,), f"{kind.__name__} does not name the {plugin}")
    code = _IMPORT.format(group=settings.group, name=name)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    expect(done.returncode == 0, f"the settings of the {plugin} cannot be imported without torch {done.stderr[-500:]}")
