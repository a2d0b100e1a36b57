"""Pages of the documentation site that are written from the code: commands, recipe keys, the public interface.

MkDocs runs it (``gen-files`` in mkdocs.yml); nothing of it is committed. It also brings the documents of the repository's root
into the site.
"""

from __future__ import annotations

import importlib
import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import griffe
import mkdocs_gen_files
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

import c2seg
from c2seg.cli import _application
from c2seg.cli.help import COMMAND_GROUPS, EXAMPLES, commands_of
from c2seg.recipes import models, plugged, schema, training

ROOT = Path(__file__).parents[2]
ROOT_PAGES = {
    "CHANGELOG.md": "changelog.md",
    "CODE_OF_CONDUCT.md": "conduct.md",
    "COMPATIBILITY.md": "compatibility.md",
    "CONTRIBUTING.md": "contributing.md",
    "RELEASING.md": "releasing.md",
    "SECURITY.md": "security.md",
}


def write(page: str, text: str) -> None:
    """Write a page of the site."""
    with mkdocs_gen_files.open(page, "w") as file:
        file.write(text)


def root_page(text: str) -> str:
    """Return a document of the root with links as seen from the site's folder."""
    for name, page in ROOT_PAGES.items():
        text = text.replace(f"]({name}", f"]({page}")
    text = (
        text.replace("](docs/", "](").replace("](README.md", "](index.md").replace("](methods.md", "](methods/index.md")
    )
    # What is not part of the site (source files) is named, not linked.
    return re.sub(r"\[([^\]]+)\]\((?!https?:|#|[\w/.-]+\.md|[\w/.-]+\.ipynb)[^)]*\)", r"`\1`", text)


def cell(text: str) -> str:
    """Return text that fits into a cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")


def command_pages() -> Iterator[str]:
    """Yield the reference of every command: usage, example, options in the panels of its help."""
    for group, names in COMMAND_GROUPS.items():
        yield f"## {group}\n\n"
        for name in names:
            for path, command in commands_of(_application(name)):
                yield from command_section(path, command)


def command_section(path: str, command: Any) -> Iterator[str]:
    """Yield one command's section."""
    yield f"### c2seg {path}\n\n{inspect.cleandoc(command.help or '')}\n\n"
    yield f"    {EXAMPLES[path]}\n\n"
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option" and p.name != "help" and not p.hidden]
    if arguments:
        yield "| argument | is |\n|---|---|\n"
        yield from (f"| `{cell(p.metavar or p.name.upper())}` | {cell(p.help or '')} |\n" for p in arguments)
        yield "\n"
    panels: dict[str, list[Any]] = {}
    for option in options:
        panels.setdefault(getattr(option, "rich_help_panel", None) or "Options", []).append(option)
    for title, members in panels.items():
        yield f"| {title} | does |\n|---|---|\n"
        for option in members:
            names = ", ".join(f"`{text}`" for text in (*option.opts, *option.secondary_opts))
            required = " Required." if option.required else ""
            yield f"| {names} | {cell(option.help or '')}{required}{default(option)} |\n"
        yield "\n"


def default(option: Any) -> str:
    """Return the text of a default that tells something."""
    value = option.default
    if callable(value) or value in (None, False, (), [], "") or option.required or "default" in (option.help or ""):
        return ""
    return f" Default: `{getattr(value, 'value', value)}`."


def recipe_page() -> Iterator[str]:
    """Yield a section for every class of settings that a recipe may hold."""
    package = griffe.load("c2seg.recipes", search_paths=[str(ROOT / "src")])
    for title, module in (("Recipe", schema), ("Networks and forests", models), ("Training", training)):
        yield f"## {title}\n\n"
        source = package[module.__name__.rpartition(".")[2]]
        for name, settings in vars(module).items():
            if not (inspect.isclass(settings) and issubclass(settings, plugged.Strict)):
                continue
            if settings.__module__ == module.__name__ and settings.model_fields:
                yield from settings_section(name, settings, source[name])


def settings_section(name: str, settings: type[plugged.Strict], source: griffe.Class) -> Iterator[str]:
    """Yield the keys of one class of settings: type, default, meaning."""
    yield f"### {name}\n\n{inspect.cleandoc(settings.__doc__ or '').replace('``', '`')}\n\n"
    yield "| key | type | default | is |\n|---|---|---|---|\n"
    for key, field in settings.model_fields.items():
        member = source.members.get(key) or next(
            (base.members[key] for base in source.mro() if key in base.members), None
        )
        text = cell(member.docstring.value).replace("``", "`") if member is not None and member.docstring else ""
        kind = cell(str(member.annotation)) if member is not None else ""
        yield f"| `{key}` | `{kind}` | {value(field)} | {text} |\n"
    yield "\n"


def value(field: FieldInfo) -> str:
    """Return a key's default."""
    if field.is_required():
        return "required"
    shown = field.default if field.default is not PydanticUndefined else field.get_default(call_default_factory=True)
    if isinstance(shown, plugged.Strict):
        return "its defaults"
    return f"`{cell('null' if shown is None else str(shown))}`"


def interface_page() -> Iterator[str]:
    """Yield the public names of the package, each with its docstring."""
    modules = c2seg._MODULES
    for name in sorted(c2seg.__all__, key=lambda name: (name in {*dir(importlib.import_module("c2seg.errors"))}, name)):
        if name != "__version__":
            yield f"## {name}\n\n::: {modules.get(name, 'c2seg.errors')}.{name}\n    options:\n      heading_level: 3\n\n"


def tutorials() -> None:
    """Put tutorials that ran in the place of those without outputs, and their pictures on a page."""
    lines = ["# Gallery\n\nPictures that the [tutorials](tutorials/index.md) make.\n"]
    for source in sorted((ROOT / "docs/tutorials").glob("*.ipynb")):
        done = ROOT / "build/tutorials" / source.name
        if not done.exists() or done.stat().st_mtime < source.stat().st_mtime:
            continue  # make tutorials runs it
        write(f"tutorials/{source.name}", done.read_text(encoding="utf-8"))
        title = json.loads(source.read_text(encoding="utf-8"))["cells"][0]["source"][0].strip("# \n")
        for picture in sorted(done.parent.glob(f"{source.stem}-*.png")):
            with mkdocs_gen_files.open(f"tutorials/{picture.name}", "wb") as file:
                file.write(picture.read_bytes())
            lines.append(f"[![{title}](tutorials/{picture.name}){{ width=640 }}](tutorials/{source.name})\n")
    write("gallery.md", "\n".join(lines))


tutorials()
for root, page in ROOT_PAGES.items():
    if (ROOT / root).exists():
        write(page, root_page((ROOT / root).read_text(encoding="utf-8")))
write("reference/commands.md", "# Commands\n\nWritten from the commands themselves.\n\n" + "".join(command_pages()))
write(
    "reference/recipe-keys.md",
    "# Keys of a recipe\n\nWritten from the schema. What the keys are for: [recipes](../recipes.md).\n\n"
    + "".join(recipe_page()),
)
write(
    "reference/api.md",
    "# Python interface\n\nA guide with examples: [Python](../python.md).\n\n" + "".join(interface_page()),
)
