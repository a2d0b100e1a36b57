"""The product speaks the field's words: those of tests/words.yaml do not come back in names, messages, help or documents."""

from __future__ import annotations

import ast
import json
import re
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import yaml

import c2seg

ROOT = Path(c2seg.__file__).parents[2]
SOURCES = sorted((ROOT / "src/c2seg").rglob("*.py"))
ROOMS = sorted({path.relative_to(ROOT / "src/c2seg").parts[0].removesuffix(".py") for path in SOURCES})
DOCUMENTS = sorted(
    [
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        ROOT / "SECURITY.md",
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "docs").rglob("*.ipynb"),
    ]
)
RULES = yaml.safe_load((Path(__file__).parent / "words.yaml").read_text())
# What speaks of the past keeps its words: the files of 0.1.0, and what was tried.
OF_THE_PAST = {"upgrade.py", "history.md"}


@cache
def rules(where: str, module: str = "") -> list[tuple[re.Pattern[str], re.Pattern[str] | None, str]]:
    """Return patterns of forbidden words, of phrases that allow them, and what to say, for a place in a module."""
    found = []
    for rule in RULES:
        if any(f"{module}/".startswith(f"{name}/") for name in rule.get("except", ())):
            continue
        if (rule["where"] in {where, "both"} and where != "variables") or rule["where"] == where:
            words = "|".join(re.escape(word) for word in rule["words"])
            allowed = "|".join(re.escape(phrase) for phrase in rule["allowed"])
            pattern = rf"(?<![A-Za-z])({words})(?![a-z])"
            found.append((re.compile(pattern, re.IGNORECASE), re.compile(allowed) if allowed else None, rule["say"]))
    return found


def wrong(text: str, where: str, module: str = "") -> list[str]:
    """Return the forbidden words of a text; ``module``: where it stands, such as ``cli/fit.py``."""
    said = []
    for pattern, allowed, instead in rules(where, module):
        rest = allowed.sub(" ", text) if allowed else text
        said += [f"{match.group(1)!r}, say {instead}" for match in pattern.finditer(rest)]
    return said


def names(tree: ast.Module) -> Iterator[tuple[int, str, str]]:
    """Yield line, name and kind of what a module names: definitions, parameters, attributes and variables that it sets."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
            yield node.lineno, node.name, "names"
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg, "variables"
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id, "variables"
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.attr, "names"
        elif isinstance(node, ast.keyword) and node.arg:
            yield node.value.lineno, node.arg, "names"


def prose(path: Path) -> Iterator[tuple[int, str]]:
    """Yield line and text of every string with spaces and every comment of a module; code in backquotes is left out."""
    with tokenize.open(path) as file:
        for token in tokenize.generate_tokens(file.readline):
            if token.type == tokenize.COMMENT or (token.type == tokenize.STRING and " " in token.string):
                yield token.start[0], re.sub(r"``[^`]*``|`[^`]*`|\{[^{}]*\}|https?://\S+", " ", token.string)


def of_room(room: str) -> list[Path]:
    folder = ROOT / "src/c2seg"
    return [
        p for p in SOURCES if p.relative_to(folder).parts[0].removesuffix(".py") == room and p.name not in OF_THE_PAST
    ]


@pytest.mark.parametrize("room", ROOMS)
def test_names(room):
    said = []
    for path in of_room(room):
        module = path.relative_to(ROOT / "src/c2seg").as_posix()
        for line, name, kind in names(ast.parse(path.read_text())):
            text = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name)
            plain = kind == "variables" and "_" not in text
            words = wrong(text, "names", module) + (wrong(text, "variables", module) if plain else [])
            said += [f"{path.name}:{line} {name}: {word}" for word in words]
    assert said == []


@pytest.mark.parametrize("room", ROOMS)
def test_prose(room):
    texts = [(f"{path.name}:{line}", text) for path in of_room(room) for line, text in prose(path)]
    assert [f"{place} {words}" for place, text in texts for words in wrong(text, "prose")] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_documents(path):
    if path.name in OF_THE_PAST:
        pytest.skip("it tells of the past")
    text = path.read_text()
    if path.suffix == ".ipynb":
        cells = json.loads(text)["cells"]
        text = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    text = re.sub(r"```.*?```|`[^`]*`|\]\([^)]*\)", " ", text, flags=re.DOTALL)
    assert [
        f"{number} {words}" for number, line in enumerate(text.split("\n"), 1) for words in wrong(line, "prose")
    ] == []


@pytest.mark.parametrize("path", sorted((ROOT / "src/c2seg").rglob("*.yaml")), ids=lambda path: path.name)
def test_keys_and_texts_of_recipes(path):
    lines = path.read_text().split("\n")
    assert [
        f"{k} {words}" for k, line in enumerate(lines, 1) for words in wrong(line, "names") + wrong(line, "prose")
    ] == []


def test_the_check_sees_words():
    assert wrong("the truth of it", "prose")
    assert not wrong("the ground truth of it", "prose")
    assert wrong("learnt_on", "names")
    assert not wrong("scikit-learn", "prose")
    assert wrong("found", "variables")
    assert not wrong("found", "names")
    assert wrong("add_phase", "names", "cli/fit.py")
    assert wrong("add_phase", "names", "servers.py")
    assert not wrong("add_phase", "names", "server/phases.py")
