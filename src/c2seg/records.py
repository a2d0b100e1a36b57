"""What c2seg leaves on disk as JSON: typed, checked when it is read, with a number that says how it is laid out.

A class derived from ``Artifact`` is one kind of file. Classes that concern runs, maps and models stand in ``artifacts``; those
whose producer stands above that room stand beside their producer (``labels``, ``simulate``, ``data``).
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from c2seg._version import __version__
from c2seg.errors import DataError
from c2seg.outputs import write_text

__all__ = ["Artifact", "Json", "Record", "read_json"]

Json = dict[str, Any]
"""A parsed JSON object that is not checked yet, or one to be printed."""


class Record(BaseModel):
    """A part of an artifact: frozen, and no other fields than the stated ones."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    def as_json(self) -> Json:
        """Return plain values (dicts, lists, strings, numbers, None) under the names that they have on disk."""
        return self.model_dump(mode="json", by_alias=True)

    def as_line(self) -> str:
        """Return the JSON of ``as_json`` in one line, fields in their order."""
        return self.model_dump_json(by_alias=True)


class Artifact(Record):
    """A JSON file that c2seg writes and reads back. Each kind names itself (``artifact``) and its layout (``schema``).

    Subclasses state ``artifact: Literal["name"] = "name"`` and, once their layout has changed, a higher ``schema_number``;
    ``upgraded`` then brings older files to the present layout.
    """

    artifact: str
    schema_number: int = Field(default=1, alias="schema")

    @classmethod
    def artifact_name(cls) -> str:
        """Return the name of the kind of file."""
        return str(cls.model_fields["artifact"].default)

    @classmethod
    def upgraded(cls, content: Json) -> Json:
        """Return the content of an older file in the present layout; ``content`` may name no ``artifact`` (0.1.0)."""
        return content

    @classmethod
    def parse(cls, content: Mapping[str, Any], where: str) -> Self:
        """Check parsed JSON. ``where`` names its origin in messages.

        Raises DataError, in one line that names the version, for another kind of file, a layout of a newer c2seg, fields that
        this version does not know, and values that do not fit.
        """
        present: int = cls.model_fields["schema_number"].default
        number, name = content.get("schema", 0), content.get("artifact", cls.artifact_name())
        if name != cls.artifact_name():
            raise DataError(f"{where} holds {name!r}, not {cls.artifact_name()!r}")
        if not isinstance(number, int) or number > present:
            raise DataError(
                f"{where} is {cls.artifact_name()!r} in schema {number}, c2seg {__version__} reads up to {present}: "
                "use a newer c2seg"
            )
        try:
            return cls.model_validate(dict(content) if number == present else cls.upgraded(dict(content)))
        except ValidationError as error:
            raise DataError(f"{where}: {_reason(error, cls.artifact_name())}") from error

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Self:
        """Read a file. Raises DataError if it is missing, damaged, of another kind or of a newer version."""
        content = read_json(path)
        if not isinstance(content, dict):
            raise DataError(f"{path} holds no JSON object; remove it or make it again")
        return cls.parse(content, str(path))

    def write(self, path: str | os.PathLike[str], *, overwrite: bool = True) -> None:
        """Write the file, whole or not at all: sorted keys, no NaN. Raises OutputError where it cannot be written."""
        text = json.dumps(self.as_json(), indent=2, sort_keys=True, allow_nan=False)
        write_text(Path(path), text + "\n", overwrite=overwrite)


def read_json(path: str | os.PathLike[str]) -> Any:
    """Read JSON of any kind. Raises DataError if the file is missing or damaged."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is damaged: {error}; remove it or make it again") from error


def _reason(error: ValidationError, kind: str) -> str:
    """Say in one line why content does not fit."""
    faults = error.errors(include_url=False, include_input=False)
    unknown = [".".join(map(str, fault["loc"])) for fault in faults if fault["type"] == "extra_forbidden"]
    if unknown:
        return f"c2seg {__version__} does not know {', '.join(unknown)} in {kind!r}; the file was written by a newer version"
    first = faults[0]
    return f"{'.'.join(map(str, first['loc']))} does not fit {kind!r} of c2seg {__version__}: {first['msg']}"
