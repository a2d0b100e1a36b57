"""Snippets of README and documents: those of the README run and print what stands below them, all commands can be read."""

from __future__ import annotations

import re
import shlex
from importlib import import_module

import pytest

from c2seg.cli import COMMANDS, _application
from c2seg.cli.help import commands_of
from helpers.pages import PAGES, ROOT, name_of, same_output, snippets


def read(command: str) -> str | None:
    """Return why the command line cannot read a command; None if it can."""
    words = shlex.split(re.split(r"\s#\s|\s[|>&;]+\s|;", command)[0].removeprefix("OMP_NUM_THREADS=1 "))[1:]
    if not words or words[0] not in COMMANDS or any(word in ("...", "[...]") for word in words):
        return None if words and words[0] in COMMANDS else f"no command {words[:1]}"
    leaves = dict(commands_of(_application(words[0])))
    path = next((path for path in (" ".join(words[:2]), words[0]) if path in leaves), None)
    if path is None:
        return None  # a group alone, such as `c2seg serve --help`
    try:
        leaves[path].make_context(path, words[len(path.split()) :])
    except SystemExit:
        return None  # --help
    except Exception as error:
        message = getattr(error, "format_message", None)
        return message() if message else str(error)
    return None


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_can_be_read(page, record_property):
    lines = [s.text for s in snippets(page) if s.language == "sh" and "c2seg" in s.words[:2]]
    assert {line: why for line in lines if (why := read(line))} == {}
    record_property("commands read", len(lines))


def test_the_readme_runs_and_prints_what_it_shows(tmp_path, monkeypatch, record_property):
    pytest.importorskip("earthlib")
    pytest.importorskip("pyogrio")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(ROOT / "docs/site"))
    readme = import_module("readme")  # what writes these outputs
    parts = readme.parts_of((ROOT / "README.md").read_text(encoding="utf-8"))
    shown = {number: part for number, part in enumerate(parts) if part.startswith("```text\n")}
    count = 0
    for number, printed in readme.printed_by(parts):
        code = parts[number]
        count += code.count("\nc2seg ") if code.startswith("```sh") else 1
        below = shown.pop(number + 2, None)
        assert below is not None, f"no output stands below:\n{code}"
        assert same_output(below.removeprefix("```text\n").removesuffix("```\n"), printed), f"now it is:\n{printed}"
    assert not shown
    assert count >= 6
    record_property("snippets run", count)
