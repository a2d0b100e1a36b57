"""The library names parameters, the commands name options, and one table goes from one to the other."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import c2seg
from c2seg.cli import COMMANDS, run
from c2seg.cli.options import OPTIONS, with_options
from c2seg.errors import OutputError

ROOT = Path(c2seg.__file__).parent


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("give `target`", "give --target"),
        ("give another name or `overwrite=True`", "give another name or --overwrite"),
        ("use `precision='32'`, not `label_map=mat`", "use --precision 32, not --label-map mat"),
        ("`overrides`: 'a' is wrong", "--set: 'a' is wrong"),
        ("there is no column `step`; use `keep:` or `c2seg export`", None),
    ],
)
def test_messages_with_options(message, shown):
    assert with_options(message) == (shown or message)


def test_a_python_caller_sees_the_parameter_and_a_user_the_option(cities, tmp_path, capsys):
    out = tmp_path / "run"
    small = ["model.trees=5", "validation.folds=0"]
    c2seg.fit("forest", source=cities[0], out=out, overrides=small)
    with pytest.raises(OutputError, match="holds a model already; give another folder or `overwrite=True`"):
        c2seg.fit("forest", source=cities[0], out=out, overrides=small)
    assert run(["fit", "forest", "--source", str(cities[0]), "--out", str(out)]) == 2
    assert "holds a model already; give another folder or --overwrite" in capsys.readouterr().err


def test_every_option_of_the_table_is_one_of_a_command(capsys):
    helps = []
    parts = {"challenge": ("init", "add", "rank", "codabench"), "submit": ("pack", "check"), "serve": ("init", "run")}
    for words in [[command, part] for command in COMMANDS for part in ("", *parts.get(command, ()))]:
        run([*filter(None, words), "--help"])
        helps.append(capsys.readouterr().out)
    known = set(re.findall(r"--[a-z][a-z-]*", " ".join(helps)))
    assert not set(OPTIONS.values()) - known


def sentences(path: Path) -> list[str]:
    """Return the texts of a module that are no docstrings, remarks below fields among them, nor single words."""
    tree = ast.parse(path.read_text())
    said = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    texts = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in said]
    return [text for text in texts if isinstance(text, str) and " " in text]


def test_the_library_speaks_of_no_options():
    modules = [path for path in ROOT.rglob("*.py") if path.relative_to(ROOT).parts[0] != "cli"]
    assert len(modules) > 100
    of_others = "osmium extract --strategy smart"  # a command of another program
    texts = [(path.name, text.replace(of_others, "")) for path in modules for text in sentences(path)]
    found = [(name, text) for name, text in texts if re.search(r"(?<![\w-])--[a-z]", text)]
    assert not found


def test_parameters_in_messages_are_in_the_table():
    """A message may quote other words: a column, what a plug-in must have; keys of city.yaml have a colon."""
    others = {"step", "c2seg", "settings", "NAME", "LOOKS_FOR", "recognize", "open"}
    modules = [path for path in ROOT.rglob("*.py") if path.relative_to(ROOT).parts[0] != "cli"]
    quoted = {
        name
        for path in modules
        for text in sentences(path)
        for name in re.findall(r"(?<!`)`(\w+)(?:=[^`]*)?`(?!`)", text)
    }
    assert "overwrite" in quoted
    assert quoted <= set(OPTIONS) | others
