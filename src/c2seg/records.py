"""JSON files of c2seg: typed, validated when they are read, with a schema number.

Each subclass of ``Artifact`` is one kind of file. Those of runs, maps and models are in ``artifacts``. Others are next to the
code that writes them (``labels``, ``simulate``, ``data``).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from c2seg._version import __version__
from c2seg.checksums import json_checksum
from c2seg.documents import json_text, read_json, spelled
from c2seg.errors import DataError
from c2seg.outputs import write_text

__all__ = ["Artifact", "CheckedArtifact", "Json", "Record"]

Json = dict[str, Any]
"""A parsed JSON object before validation, or one for printing."""


class Record(BaseModel):
    """A part of an artifact. It is frozen and accepts declared fields only."""

    # What JSON has no number for is a text, in files as in what is printed (``documents.json_text``).
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, ser_json_inf_nan="strings")

    def as_json(self) -> Json:
        """Return plain values (dicts, lists, strings, numbers, None) under their on-disk names."""
        return self.model_dump(mode="json", by_alias=True)

    def as_line(self) -> str:
        """Return the JSON of ``as_json`` in one line, fields in their order."""
        return self.model_dump_json(by_alias=True)


class Artifact(Record):
    """A JSON file that c2seg writes and reads. It contains its kind (``artifact``) and schema number (``schema``).

    Subclasses declare ``artifact: Literal["name"] = "name"``. When a schema changes, they declare a higher
    ``schema_number``, and ``upgraded`` converts older files to the current schema.
    """

    sorted_keys: ClassVar[bool] = True
    """False where the order of a mapping means something, such as that of a recipe's stages."""
    artifact: str
    schema_number: int = Field(default=1, alias="schema")

    @classmethod
    def artifact_name(cls) -> str:
        """Return the name of this kind of file."""
        return str(cls.model_fields["artifact"].default)

    @classmethod
    def upgraded(cls, content: Json) -> Json:
        """Convert the content of an older file to the current schema. Files of 0.1.0 have no ``artifact`` key."""
        return content

    @classmethod
    def parse(cls, content: Mapping[str, Any], where: str) -> Self:
        """Validate parsed JSON. ``where`` names its origin in messages.

        Raises DataError with a one-line message for another kind of file, a newer schema, unknown fields and invalid
        values. The message names the version of c2seg.
        """
        current: int = cls.model_fields["schema_number"].default
        number, name = content.get("schema", 0), content.get("artifact", cls.artifact_name())
        if name != cls.artifact_name():
            raise DataError(f"{where} holds {name!r}, not {cls.artifact_name()!r}")
        if not isinstance(number, int) or number > current:
            raise DataError(
                f"{where} is {cls.artifact_name()!r} in schema {number}, c2seg {__version__} reads up to {current}: "
                "use a newer c2seg"
            )
        try:
            return cls.model_validate(dict(content) if number == current else cls.upgraded(dict(content)))
        except ValidationError as error:
            raise DataError(f"{where}: {_reason(error, cls.artifact_name())}") from error
        except _WRONG_CONTENT as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            raise DataError(f"{where} does not fit {cls.artifact_name()!r} of c2seg {__version__}: {reason}") from error

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Self:
        """Read a file. Raises DataError if it is missing, damaged, of another kind or written by a newer version."""
        content = read_json(path)
        if not isinstance(content, dict):
            raise DataError(f"{path} holds no JSON object; remove it or create it again")
        return cls.parse(content, str(path))

    def as_text(self) -> str:
        """Return the content of the file: keys are sorted, or in the order of the fields (``sorted_keys``)."""
        return json_text(self._content(), sort_keys=self.sorted_keys) + "\n"

    def write(self, path: str | os.PathLike[str], *, overwrite: bool = True) -> None:
        """Write the file atomically. Raises OutputError if it is not writable."""
        write_text(Path(path), self.as_text(), overwrite=overwrite)

    def _content(self) -> Json:
        return self.as_json()


class CheckedArtifact(Artifact):
    """An artifact that is used again where work resumes: its file holds a checksum, and is refused if it was changed.

    Files of 0.1.0 have none.
    """

    @classmethod
    def parse(cls, content: Mapping[str, Any], where: str) -> Self:
        """Validate parsed JSON; see ``Artifact.parse``. Raises DataError if it is not what was written, too."""
        rest = {key: value for key, value in content.items() if key != "checksum"}
        artifact = super().parse(rest, where)
        if "checksum" in content and content["checksum"] != json_checksum(rest):
            raise DataError(f"{where} was changed after it was written; remove it or create it again")
        return artifact

    def _content(self) -> Json:
        content: Json = spelled(self.as_json())
        return content | {"checksum": json_checksum(content)}


# What reading an older layout, or a value of a class of ours, meets in content that does not fit.
_WRONG_CONTENT = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
_UNKNOWN_FIELD = {"extra_forbidden", "unexpected_keyword_argument"}  # pydantic's words for models and for dataclasses


def _reason(error: ValidationError, kind: str) -> str:
    """Return in one line why the content is invalid."""
    faults = error.errors(include_url=False, include_input=False)
    unknown = [".".join(map(str, fault["loc"])) for fault in faults if fault["type"] in _UNKNOWN_FIELD]
    if unknown:
        return f"c2seg {__version__} does not know {', '.join(unknown)} in {kind!r}; the file was written by a newer version"
    first = faults[0]
    return f"{'.'.join(map(str, first['loc']))} does not fit {kind!r} of c2seg {__version__}: {first['msg']}"
