"""Checks the documents' prose: one sentence a line, at most 25 words a sentence, and what proselint finds.

    python docs/site/prose.py            # what is wrong, one line each; exit code 1 if there is any
    python docs/site/prose.py --fix      # writes one sentence a line; long sentences need an author

Tables, code, headings and quoted HTML are no prose. A text in backquotes counts as one word. The changelog and the history are
of the past and are left alone.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
MOST_WORDS = 25
ITEM = re.compile(r"^(\s*(?:[-*]|\d+\.)\s+|> )")
NO_END = re.compile(r"(?:\b(?:e\.g|i\.e|et al|vs|cf|approx|resp|Fig|Eq|No|St|Dr|[A-Z])|\b[A-Z]\.[A-Z])\.$")
# Of proselint: what code, band names and figures set off, and curly quotes.
OFF = ("typography", "lexical_illusions", "weasel_words.very", "industrial_language.chatspeak", "dates_times.am_pm")


def documents() -> list[Path]:
    """Return the documents whose prose is checked."""
    pages = sorted((ROOT / "docs").rglob("*.md"))
    past = {"history.md"}
    return [
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        ROOT / "SECURITY.md",
        *(p for p in pages if p.name not in past),
    ]


def blocks(lines: list[str]) -> Iterator[tuple[int, int]]:
    """Yield the ranges of lines that hold a paragraph or an item of a list."""
    start, fence, code = None, False, False
    for number, line in enumerate([*lines, ""]):
        fence ^= line.lstrip().startswith("```")
        blank = not line.strip()
        # Four spaces after a blank line: code, until the next line that is not indented.
        code = (line.startswith("    ") and (code or (start is None and not blank))) or (code and blank)
        outside = fence or code or blank or re.match(r"\s*(```|#|\||<|!\[|!!!|---|:::|\{)", line)
        if start is not None and (outside or ITEM.match(line)):
            yield start, number
            start = None
        if not outside and start is None:
            start = number


def sentences(text: str) -> list[str]:
    """Return the sentences of a paragraph."""
    hidden: list[str] = []

    def hide(match: re.Match[str]) -> str:
        hidden.append(match.group(0))
        return f"\x00{len(hidden) - 1}\x00"

    masked = re.sub(r"``[^`]+``|`[^`]+`|\]\([^)]*\)|https?://\S+", hide, text)
    parts: list[str] = []
    start = 0
    for match in re.finditer(r"(?<=[.!?])[\")*_]*\s+(?=[A-Z\x00\[(\"*])", masked):
        if NO_END.search(masked[start : match.start()].rstrip()):
            continue
        parts.append(masked[start : match.end()].strip())
        start = match.end()
    parts.append(masked[start:].strip())
    return [re.sub(r"\x00(\d+)\x00", lambda m: hidden[int(m.group(1))], part) for part in parts if part]


def word_count(sentence: str) -> int:
    """Return the number of words; code and links count as one each."""
    plain = re.sub(r"``[^`]+``|`[^`]+`", "code", sentence)
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", plain)
    return sum(1 for word in plain.split() if re.search(r"[A-Za-z0-9]", word))


def reflowed(text: str) -> str:
    """Return a document with one sentence a line."""
    lines = text.split("\n")
    out: list[str] = []
    done = 0
    for start, end in blocks(lines):
        out += lines[done:start]
        done = end
        paragraph = lines[start:end]
        mark = ITEM.match(paragraph[0])
        indent = (
            " " * len(mark.group(0))
            if mark and not mark.group(0).startswith(">")
            else re.match(r"\s*", paragraph[0]).group(0)
        )
        joined = " ".join(line.strip() for line in paragraph)
        head = mark.group(0) if mark else indent
        if mark:
            joined = joined[len(mark.group(0).strip()) :].strip()
        out += [(head if number == 0 else indent) + sentence for number, sentence in enumerate(sentences(joined))]
    return "\n".join(out + lines[done:])


def faults(path: Path) -> Iterator[str]:
    """Yield what is wrong with a document."""
    text = path.read_text(encoding="utf-8")
    name = path.relative_to(ROOT)
    if reflowed(text) != text:
        yield f"{name}: not one sentence a line: python docs/site/prose.py --fix"
    lines = text.split("\n")
    for start, end in blocks(lines):
        for number, line in enumerate(lines[start:end], start + 1):
            for sentence in sentences(ITEM.sub("", line, count=1).strip()):
                if (count := word_count(sentence)) > MOST_WORDS:
                    yield f"{name}:{number}: {count} words: {sentence[:70]}..."


def proselint(paths: list[Path]) -> Iterator[str]:
    """Yield what proselint finds."""
    command = [str(Path(sys.executable).with_name("proselint")), "check", "--output-format", "json", *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    for path, content in json.loads(done.stdout)["result"].items():
        for item in content.get("diagnostics", []):
            if not item["check_path"].startswith(OFF):
                line, column = item["pos"]
                yield f"{Path(path.removeprefix('file://')).relative_to(ROOT)}:{line}:{column}: {item['message']}"


def main() -> int:
    """Check, or reflow, all documents."""
    paths = documents()
    if "--fix" in sys.argv[1:]:
        for path in paths:
            path.write_text(reflowed(path.read_text(encoding="utf-8")), encoding="utf-8")
        return 0
    wrong = [fault for path in paths for fault in faults(path)] + list(proselint(paths))
    print("\n".join(wrong) or f"{len(paths)} documents")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
