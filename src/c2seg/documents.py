"""Text files that people or c2seg wrote: YAML and JSON, read with limits into plain values, and JSON as text.

A file may come from anywhere. What is read here is a regular file of a bounded size, and its content is bounded in nesting and
number of values: aliases count as often as they are used. Errors are one line with the file and the place in it.
"""

from __future__ import annotations

import json
import math
import os
import stat
from collections.abc import Iterator
from typing import Any

import yaml

from c2seg.errors import C2SegError, DataError, InputError, one_line

__all__ = ["json_text", "parse_json", "parse_yaml", "read_bytes", "read_json", "read_text", "read_yaml", "spelled"]

YAML_BYTES = 256 << 10
"""Of a YAML file; the largest of ours has 11 kB."""
JSON_BYTES = 256 << 20
"""Of a JSON file: the table of a benchmark contains every result."""
_DEPTH = 64
_YAML_VALUES = 20_000
_LARGEST = 1 << 63
_OTHER_FLOATS = ("nan", "inf", "-inf")


def read_bytes(
    path: str | os.PathLike[str], limit: int, error: type[C2SegError] = DataError, *, what: str = ""
) -> bytes:
    """Return the content of a regular file. Pipes and devices, which may never end, are refused without being read.

    ``what`` stands before its name in messages, such as "the legend ". Raises ``error`` if it is missing, unreadable, not a
    regular file, or larger than ``limit`` bytes.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            status = os.fstat(descriptor)
            content = _content(descriptor, limit) if stat.S_ISREG(status.st_mode) else b""
        finally:
            os.close(descriptor)
    except (OSError, ValueError) as fault:  # ValueError: a name with a null byte
        raise error(f"cannot read {what}{path}: {getattr(fault, 'strerror', None) or fault}") from fault
    if not stat.S_ISREG(status.st_mode):
        raise error(f"cannot read {what}{path}: it is a {_kind(status.st_mode)}; give a file")
    if len(content) > limit:
        raise error(f"{path} has more than {limit >> 10} KiB, which are read at most; it is not the file that is meant")
    return content


def read_text(
    path: str | os.PathLike[str], limit: int = YAML_BYTES, error: type[C2SegError] = DataError, *, what: str = ""
) -> str:
    """Return a file as text (UTF-8). Raises ``error`` as ``read_bytes`` does, and for bytes that are no text."""
    try:
        return read_bytes(path, limit, error, what=what).decode("utf-8")
    except UnicodeDecodeError as fault:
        raise error(f"{what}{path} is not a text in UTF-8: {fault.reason} at byte {fault.start}") from fault


def read_yaml(path: str | os.PathLike[str], error: type[C2SegError] = InputError, *, what: str = "") -> Any:
    """Return the content of a YAML file; see ``parse_yaml``. Raises ``error`` as ``read_text`` does, too."""
    return parse_yaml(read_text(path, YAML_BYTES, error, what=what), f"{what}{path}", error)


def parse_yaml(text: str, where: str, error: type[C2SegError] = InputError) -> Any:
    """Return YAML as dicts, lists, texts, numbers, booleans and None. Keys are texts or whole numbers; a date is its text.

    Raises ``error`` with line and column for other tags (``!!binary``, ``!!set``, ...), a key that occurs twice, a number
    beyond 64 bits, more than 64 levels or 20,000 values, and for what is no YAML. ``where`` names the origin.
    """
    loader = None
    try:
        loader = _Loader(text)
        return loader.get_single_data()
    except yaml.MarkedYAMLError as fault:
        mark = fault.problem_mark or fault.context_mark
        place = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        raise error(f"{where} is not valid YAML: {_line(fault.problem or fault.context)}{place}") from fault
    except yaml.YAMLError as fault:
        raise error(f"{where} is not valid YAML: {_line(fault)}") from fault
    finally:
        if loader is not None:
            loader.dispose()


def read_json(path: str | os.PathLike[str], error: type[C2SegError] = DataError) -> Any:
    """Return the content of a JSON file; see ``parse_json``. Raises ``error`` as ``read_text`` does, too."""
    return parse_json(read_text(path, JSON_BYTES, error), str(path), error)


def parse_json(text: str | bytes, where: str, error: type[C2SegError] = DataError) -> Any:
    """Return JSON as plain values.

    Raises ``error`` for what is no JSON, a key that occurs twice, numbers that are not finite or beyond 64 bits, and more than
    64 levels. ``where`` names the origin.
    """
    try:
        content = json.loads(text, object_pairs_hook=_object, parse_constant=_not_finite)
        _check_values(content)
    except (ValueError, RecursionError) as fault:
        reason = "it is nested too deeply" if isinstance(fault, RecursionError) else _line(fault)
        raise error(f"{where} is damaged: {reason}; remove it or create it again") from fault
    return content


def json_text(content: Any, *, sort_keys: bool = False) -> str:
    """Return plain values as indented JSON. What JSON has no number for is a text: ``nan``, ``inf``, ``-inf``."""
    return json.dumps(spelled(content), indent=2, sort_keys=sort_keys, allow_nan=False)


def spelled(value: Any) -> Any:
    """Return plain values with the texts ``nan``, ``inf`` and ``-inf`` in the place of these numbers."""
    if isinstance(value, float):
        return value if math.isfinite(value) else str(float(value))
    if isinstance(value, dict):
        return {spelled(key): spelled(item) for key, item in value.items()}
    return [spelled(item) for item in value] if isinstance(value, list | tuple) else value


def _content(descriptor: int, limit: int) -> bytes:
    with open(descriptor, "rb", closefd=False) as stream:
        return stream.read(limit + 1)


def _kind(mode: int) -> str:
    kinds = {stat.S_IFDIR: "folder", stat.S_IFIFO: "pipe", stat.S_IFSOCK: "socket"}
    return kinds.get(stat.S_IFMT(mode), "device")


def _line(fault: object) -> str:
    return one_line(fault)[:200]


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice[:80]!r} occurs twice")
    return content


def _not_finite(text: str) -> float:
    raise ValueError(f"{text} is no number of JSON")


def _check_values(content: Any) -> None:
    """Raise ValueError for levels or numbers beyond the limits, level by level and without recursion."""
    level = [content]
    for _ in range(_DEPTH + 1):
        for value in level:
            if isinstance(value, int) and not -_LARGEST <= value < _LARGEST:
                raise ValueError("a whole number exceeds 64 bits")
            if isinstance(value, float) and not math.isfinite(value):
                raise ValueError("a number is too large")
            if isinstance(value, str) and _halved(value):
                raise ValueError("a text holds half a character (a lone surrogate)")
        level = [item for value in level for item in _items(value)]
        if not level:
            return
    raise ValueError(f"it has more than {_DEPTH} levels")


def _items(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value
        yield from value.values()
    elif isinstance(value, list):
        yield from value


def _halved(text: str) -> bool:
    return not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text)


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with limits that hold before values are built."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0
        self._values = 0
        self._sizes: dict[str, int] = {}  # values under each anchor, once they are known

    def compose_node(self, parent: Any, index: Any) -> Any:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent) and event.anchor in self.anchors:
            if event.anchor not in self._sizes:
                raise _fault(f"the alias *{event.anchor} stands within what it names", event.start_mark)
            self._count(self._sizes[event.anchor], event)
            return super().compose_node(parent, index)
        before = self._values
        self._count(1, event)
        self._depth += 1
        if self._depth > _DEPTH:
            raise _fault(f"there are more than {_DEPTH} levels", event.start_mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        if getattr(event, "anchor", None) is not None:
            self._sizes[event.anchor] = self._values - before
        return node

    def _count(self, values: int, event: Any) -> None:
        self._values += values
        if self._values > _YAML_VALUES:
            raise _fault(f"there are more than {_YAML_VALUES:,} values, aliases expanded", event.start_mark)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        if isinstance(node, yaml.MappingNode):
            self._check_keys(node)
        return super().construct_mapping(node, deep=deep)

    def _check_keys(self, node: yaml.MappingNode) -> None:
        """Refuse keys that are no texts or whole numbers, and those given twice; merged ones (``<<``) may be given again."""
        seen = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True) if isinstance(key_node, yaml.ScalarNode) else None
            if not isinstance(key, str | int) or isinstance(key, bool):
                raise _fault("a key must be a text or a whole number; put it in quotes", key_node.start_mark)
            if key in seen:
                raise _fault(f"the key {str(key)[:80]!r} occurs twice", key_node.start_mark)
            seen.add(key)

    def construct_number(self, node: Any) -> int | float:
        value: int | float
        if node.tag.endswith(":int"):
            value = self.construct_yaml_int(node) if len(self.construct_scalar(node)) < 100 else _LARGEST
            if not -_LARGEST <= value < _LARGEST:
                raise _fault("a whole number exceeds 64 bits", node.start_mark)
            return value
        value = self.construct_yaml_float(node)
        if math.isinf(value) and "inf" not in self.construct_scalar(node).lower():
            raise _fault("a number is too large", node.start_mark)
        return value

    def construct_checked(self, node: Any) -> Any:
        """Return a scalar whose tag was given in the file and may not fit it (``!!int x``)."""
        try:
            return self.construct_number(node) if node.tag[-4:] in (":int", "loat") else self.construct_yaml_bool(node)
        except (ValueError, LookupError) as fault:
            kind = node.tag.rpartition(":")[2]
            raise _fault(f"{str(node.value)[:40]!r} does not fit its tag !!{kind}", node.start_mark) from fault

    def construct_text(self, node: Any) -> str:
        text = str(self.construct_scalar(node))
        if _halved(text):
            raise _fault("a text holds half a character (a lone surrogate)", node.start_mark)
        return text

    def construct_refused(self, node: Any) -> Any:
        tag = node.tag.replace("tag:yaml.org,2002:", "!!")
        raise _fault(f"the tag {tag[:80]} is not read here; write plain values", node.start_mark)


def _fault(problem: str, mark: Any) -> yaml.constructor.ConstructorError:
    return yaml.constructor.ConstructorError(None, None, problem, mark)


_TAG = "tag:yaml.org,2002:"
_Loader.yaml_constructors = {
    f"{_TAG}null": yaml.SafeLoader.construct_yaml_null,
    **{f"{_TAG}{kind}": _Loader.construct_checked for kind in ("bool", "int", "float")},
    # A date or a lone = is the text that stands there.
    **{f"{_TAG}{kind}": _Loader.construct_text for kind in ("str", "timestamp", "value")},
    f"{_TAG}seq": yaml.SafeLoader.construct_yaml_seq,
    f"{_TAG}map": yaml.SafeLoader.construct_yaml_map,
    None: _Loader.construct_refused,
}
