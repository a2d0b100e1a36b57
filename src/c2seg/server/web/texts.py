"""Pages that organizers write: Markdown files with a few facts filled in. HTML in them is shown as text."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import resources
from pathlib import Path

from c2seg.documents import read_text
from c2seg.errors import DataError, one_line
from c2seg.outputs import make_folder, write_text

__all__ = ["TEXTS", "read_page", "write_pages"]

TEXTS = {
    "about": "About the challenge",
    "rules": "Rules",
    "terms": "Terms of use",
    "license": "Licenses of the data",
    "embargo": "Embargo",
}
"""Titles by name of the page. The files are ``NAME.md``."""


def write_pages(folder: Path) -> None:
    """Write the templates that are not there yet, for the organizers to edit."""
    make_folder(folder)
    for name in TEXTS:
        path = folder / f"{name}.md"
        if not path.exists():
            write_text(path, _template(name))


def read_page(folder: Path, name: str, facts: Mapping[str, object]) -> str:
    """Return the page as HTML: the organizers' file, else the template, with ``{{ facts }}`` filled in.

    Raises DataError for a file that cannot be read or filled in.
    """
    path = folder / f"{name}.md"
    source = read_text(path) if path.is_file() else _template(name)
    return _html(_filled(source, facts, path))


def _filled(source: str, facts: Mapping[str, object], path: Path) -> str:
    from jinja2 import TemplateError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True)
    try:
        return environment.from_string(source).render(**facts)
    except (TemplateError, ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise DataError(f"{path.name} cannot be filled in: {one_line(error)}; mend it or remove it") from error


@cache
def _template(name: str) -> str:
    return resources.files("c2seg.server.web").joinpath("pages", f"{name}.md.j2").read_text(encoding="utf-8")


def _html(markdown: str) -> str:
    """Links go to http, https, mailto and this site only (markdown-it's own rule); HTML is escaped; images are left out."""
    from markdown_it import MarkdownIt

    return str(MarkdownIt("commonmark", {"html": False}).enable("table").disable("image").render(markdown))
