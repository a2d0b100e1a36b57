"""The documents cut into what a reader would run: commands, Python blocks, files that are shown."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAST = {"history.md"}
PAGES = [ROOT / "README.md", *sorted(p for p in (ROOT / "docs").rglob("*.md") if p.name not in PAST)]
SHELL = {"", "sh", "bash"}
# A fenced block, or lines that four spaces indent below an empty line or a heading: those are commands.
CODE = re.compile(
    r"^```(?P<language>\w*)\n(?P<fenced>.*?)^```$"
    r"|(?:^#[^\n]*\n+|^\n)(?P<indented> {4}\S[^\n]*\n(?: {4}[^\n]*\n)*)",
    re.M | re.S,
)
NUMBER = re.compile(r"(?<![\w.])\d*\.?\d+(?![\w.])")
LOOP = re.compile(r"for (\w+) in (.*?); do (.*?); done")


@dataclass(frozen=True)
class Snippet:
    """A block of a page, or one command of it. ``line`` counts from 1."""

    page: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}: {self.text}"

    @property
    def words(self) -> list[str]:
        """The words of a command, without its comment."""
        return shlex.split(self.text, comments=True)


def name_of(path: Path) -> str:
    """Return the name that tables of tests have for a page: its path below ``docs``."""
    return path.relative_to(ROOT).as_posix().removeprefix("docs/")


def blocks(path: Path) -> Iterator[Snippet]:
    """Yield the code of a page in its order."""
    text = path.read_text(encoding="utf-8")
    for match in CODE.finditer(text):
        kind = "fenced" if match["fenced"] is not None else "indented"
        code = match[kind] if kind == "fenced" else re.sub(r"^ {4}", "", match[kind], flags=re.M)
        line = text.count("\n", 0, match.start(kind)) + 1
        yield Snippet(name_of(path), line, "sh" if match["language"] in SHELL | {None} else match["language"], code)


def snippets(path: Path) -> Iterator[Snippet]:
    """Yield what a reader runs or reads, one command each: continued lines are joined, loops are unrolled."""
    for block in blocks(path):
        if block.language != "sh":
            yield block
            continue
        line = block.line
        for text in re.split(r"(?<!\\)\n", block.text):
            for command in unrolled(re.sub(r"\\\n\s*", " ", text).strip()):
                snippet = replace(block, line=line, text=command)
                if snippet.words:
                    yield snippet
            line += text.count("\n") + 1


def unrolled(command: str) -> list[str]:
    """Return the commands of a loop of the shell over words."""
    if not (match := LOOP.fullmatch(command)):
        return [command]
    name, values, body = match.groups()
    return [body.replace(f"${name}", value) for value in values.split()]


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
