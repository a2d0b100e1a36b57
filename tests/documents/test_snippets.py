"""Snippets of README and documents: those of the README run and print what stands below them, all commands can be read."""

from __future__ import annotations

import re
import shlex
from importlib import import_module
from pathlib import Path

import pytest

from c2seg.cli import COMMANDS, _application
from c2seg.cli.help import commands_of

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
PAST = {"history.md"}
NUMBER = re.compile(r"(?<![\w.])\d*\.?\d+(?![\w.])")


def command_lines(text: str) -> list[str]:
    """Return the commands of c2seg in fenced and indented blocks, continued lines joined."""
    text = re.sub(r"\\\n\s*", " ", text)
    return [
        line.strip().removeprefix("$ ")
        for line in text.splitlines()
        if re.match(r"(?:    |\$ |OMP_NUM_THREADS=1 )?\s*c2seg [a-z]", line) or re.match(r"^\s*c2seg [a-z]", line)
    ]


def read(command: str) -> str | None:
    """Return why the command line cannot read a command; None if it can."""
    words = shlex.split(re.split(r"\s#\s|\s[|>&;]+\s|;", command)[0])[1:]
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


@pytest.mark.parametrize(
    "page", [p for p in DOCUMENTS if p.name not in PAST], ids=lambda p: p.relative_to(ROOT).as_posix()
)
def test_commands_can_be_read(page, record_property):
    lines = command_lines(page.read_text(encoding="utf-8"))
    assert {line: why for line in lines if (why := read(line))} == {}
    record_property("commands read", len(lines))


def same_output(shown: str, printed: str) -> bool:
    """Whether two texts are the same but for the last digits of numbers, which follow the machine.

    A line of three dots stands for any lines.
    """
    if "\n...\n" in shown:
        first, last = (part.splitlines() for part in shown.split("\n...\n"))
        lines = [line.rstrip() for line in printed.strip("\n").splitlines()]
        shown, printed = "\n".join([*first, *last]), "\n".join([*lines[: len(first)], *lines[-len(last) :]])
    if NUMBER.sub("#", shown).split() != NUMBER.sub("#", printed).split():
        return False
    pairs = zip(NUMBER.findall(shown), NUMBER.findall(printed), strict=True)
    return all(abs(float(a) - float(b)) <= 0.02 * max(1.0, abs(float(a))) for a, b in pairs)


def test_the_readme_runs_and_prints_what_it_shows(tmp_path, monkeypatch, record_property):
    pytest.importorskip("earthlib")
    pytest.importorskip("pyogrio")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(ROOT / "docs/site"))
    readme = import_module("readme")  # what writes these outputs
    parts = readme.parts_of((ROOT / "README.md").read_text(encoding="utf-8"))
    shown = {number: part for number, part in enumerate(parts) if part.startswith("```text\n")}
    snippets = 0
    for number, printed in readme.printed_by(parts):
        code = parts[number]
        snippets += code.count("\nc2seg ") if code.startswith("```sh") else 1
        below = shown.pop(number + 2, None)
        assert below is not None, f"no output stands below:\n{code}"
        assert same_output(below.removeprefix("```text\n").removesuffix("```\n"), printed), f"now it is:\n{printed}"
    assert not shown
    assert snippets >= 6
    record_property("snippets run", snippets)
