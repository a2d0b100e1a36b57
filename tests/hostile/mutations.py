"""Ways to spoil a file: its bytes, its text, the plain values in it, or the file itself, drawn at random."""

from __future__ import annotations

import copy
import json
import os
from pathlib import Path
from random import Random
from typing import Any

import yaml

VALUES: tuple[Any, ...] = (
    None, True, False, -1, 0, 1, 2, 255, 2**31, -(2**31), 2**63 - 1, 10**9, 10**18, 10**30, 0.5, -0.0, 1e308, 5e-324,
    float("nan"), float("inf"), float("-inf"), "", " ", "x" * 5000, "../../../etc/passwd", "/dev/zero", "nan", "1e999", "a/b",
    "a.b", "é漢\u202e", "2020-01-01", "!!", "{}", [], {}, [[]], {"a": {}}, [{}], list(range(1000)), {"name": "x"}, ["x"] * 3,
    {"": 1}, {"name": None}, {"stages": {"a": {}}}, 3.7, "all", "forest", "unet", "auto", "label.tif", "city.yaml", ".", "..",
)  # fmt: skip
TEXTS = (
    "&a ", "*a", "!!binary aGk=", "!!set {a, b}", "!!python/name:os.system", "!!float x", "<<: *a\n", "? ", "- ", "\t", "'",
    '"', "2020-01-01", "2020-01-01T00:00:00Z", "%TAG ! tag:x,2000:\n", "---\n", "...\n", "\x00", "\ufeff", "{", "}", "[", "]",
    ": ", "#", "|", ">", "=", "~", ".nan", ".inf", "-.inf", "1_000", "0x1f", "1:30:00", "9" * 400, "null", "yes", "\n", ",",
    "\u2028", "\\", "NaN", "Infinity", "\\ud800", "&#x0;", "<!DOCTYPE a [<!ENTITY b 'c'>]>", "&b;", "/>", "<", "1e999",
)  # fmt: skip


def spoil_bytes(rng: Random, data: bytes) -> bytes:
    """Flip bits, cut, splice, repeat, insert, or overwrite numbers, once or a few times."""
    for _ in range(rng.choice((1, 1, 1, 2, 5, 20))):
        if not data:
            return data
        at = rng.randrange(len(data))
        # Headers decide what is built: half of the places are among the first bytes.
        at = min(at, rng.randrange(1, 400)) if rng.random() < 0.5 else at
        size = rng.choice((1, 2, 4, 8, 64))
        number = rng.choice((0, 1, 0x7F, 0x80, 0xFF))
        how = rng.randrange(7)
        if how <= 1:
            data = data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]
        elif how == 2:
            data = data[:at] + bytes([number]) * min(size, len(data) - at) + data[at + size :]
        elif how == 3:
            data = data[:at]
        elif how == 4:
            other = rng.randrange(len(data))
            data = data[:at] + data[other : other + size] + data[at + size :]
        elif how == 5:
            data = data[:at] + data[at : at + size] * rng.randrange(1, 50) + data[at + size :]
        else:
            data = data[:at] + rng.randbytes(size) + data[at:]
    return data


def spoil_text(rng: Random, text: str) -> str:
    """Insert, replace or remove pieces of a text, or double or move its lines."""
    for _ in range(rng.choice((1, 1, 2, 4))):
        at = rng.randrange(len(text) + 1)
        end = min(len(text), at + rng.choice((0, 0, 1, 3, 20)))
        lines = text.split("\n")
        how = rng.randrange(6)
        if how <= 2:
            text = text[:at] + rng.choice(TEXTS) + text[end:]
        elif how == 3:
            text = text[:at] + text[end:]
        elif how == 4:
            line = rng.randrange(len(lines))
            lines.insert(rng.randrange(len(lines) + 1), lines[line])
            text = "\n".join(lines)
        else:
            line = rng.randrange(len(lines))
            lines[line] = " " * rng.randrange(8) + lines[line].lstrip()
            text = "\n".join(lines)
    return text


def spoil_value(rng: Random, content: Any) -> Any:
    """Replace, remove, rename or swap parts of plain values, once or a few times."""
    content = copy.deepcopy(content)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        places = list(_places(content))
        if not places:
            return rng.choice(VALUES)
        parent, key = rng.choice(places)
        how = rng.randrange(10)
        if how <= 4:
            parent[key] = copy.deepcopy(rng.choice(VALUES))
        elif how == 5:
            del parent[key]
        elif how == 6 and isinstance(parent, dict):
            parent[rng.choice(("", "name", "x", "stages", "schema", "artifact", "format"))] = parent.pop(key)
        elif how == 7:
            other, place = rng.choice(places)
            parent[key] = copy.deepcopy(other[place]) if _has(other, place) else None
        elif how == 8:
            parent[key] = [parent[key]] * rng.choice((0, 1, 2, 40))
        elif isinstance(parent[key], int | float) and not isinstance(parent[key], bool):
            parent[key] = rng.choice((-1, 0.5, 10, 1000, 10**9)) * parent[key]
        else:
            parent[key] = str(parent[key])
    return content


def spoil_yaml(rng: Random, path: Path) -> None:
    """Spoil a YAML file: as values, as text, as bytes, or as a file."""
    text = path.read_text(encoding="utf-8")
    how = rng.random()
    if how < 0.55:
        path.write_text(yaml.safe_dump(spoil_value(rng, yaml.safe_load(text)), sort_keys=False), encoding="utf-8")
    elif how < 0.8:
        path.write_bytes(spoil_text(rng, text).encode("utf-8", "surrogatepass"))
    elif how < 0.92:
        path.write_bytes(spoil_bytes(rng, text.encode()))
    else:
        rng.choice((*FILES, *DOCUMENTS))(path)


def spoil_json(rng: Random, path: Path) -> None:
    """Spoil a JSON file in the same ways."""
    text = path.read_text(encoding="utf-8")
    how = rng.random()
    if how < 0.65:
        path.write_text(json.dumps(spoil_value(rng, json.loads(text))), encoding="utf-8")
    elif how < 0.8:
        path.write_bytes(spoil_text(rng, text).encode("utf-8", "surrogatepass"))
    elif how < 0.93:
        path.write_bytes(spoil_bytes(rng, text.encode()))
    else:
        rng.choice((*FILES, *DOCUMENTS))(path)


def spoil_file(rng: Random, path: Path) -> None:
    """Spoil any file: mostly its bytes."""
    if rng.random() < 0.95:
        path.write_bytes(spoil_bytes(rng, path.read_bytes()))
    else:
        rng.choice(FILES)(path)


def _places(content: Any) -> Any:
    """Yield container and key of every value within."""
    if isinstance(content, dict):
        items = list(content.items())
    else:
        items = list(enumerate(content)) if isinstance(content, list) else []
    for key, value in items:
        yield content, key
        yield from _places(value)


def _has(parent: Any, key: Any) -> bool:
    return key in parent if isinstance(parent, dict) else key < len(parent)


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _device(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _gone(path: Path) -> None:
    path.unlink()


def _circle(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _large(path: Path) -> None:
    with path.open("r+b") as stream:
        stream.truncate(1 << 36)  # sparse


FILES = (_pipe, _device, _folder, _gone, _circle, _empty, _large)


def _text(content: str) -> Any:
    return lambda path: path.write_text(content, encoding="utf-8")


DOCUMENTS = tuple(
    map(
        _text,
        (
            "[" * 200_000, "{a: " * 50_000, "- " * 100_000, "? " * 100_000, '{"a":' * 100_000, "[" * 60 + "]" * 60,
            "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
                f"{n}: &{n} [{','.join([f'*{p}'] * 9)}]\n" for p, n in zip("abcdefgh", "bcdefghi", strict=True)
            ),
            "a: &a {a: *a}", "a: &a [*a]", "&a : *a", "2020-01-01", "!!binary aGVsbG8=", "- 1\n- 2", "3", "null", "''",
            "9" * 5000, "a: " + "9" * 5000, "x" * 250_000, "'" + "x" * 250_000, "a\n" * 100_000, "name: [1, 2]\nname: 3",
            "{" + ",".join(f'"{n}": 0' for n in range(20_000)) + "}", "NaN", '{"schema": 1e999}', '{"schema": 99}', "true",
        ),
    )
)  # fmt: skip
