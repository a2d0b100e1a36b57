"""What an organizer says of a challenge on Codabench: ``challenge.yaml`` and the pages beside it, in one folder."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from c2seg.documents import read_text, read_yaml
from c2seg.errors import DataError, one_line
from c2seg.records import Record

__all__ = ["SETTINGS_FILE", "CodabenchSettings", "Page", "Stage", "read_settings"]

SETTINGS_FILE = "challenge.yaml"
_IMAGE = re.compile(r"[a-z0-9][a-z0-9._/:@-]{1,200}")
_OFFICIAL = re.compile(r"python:(\d+\.\d+)")


class Page(Record):
    """A page of the challenge: its title, and its Markdown or HTML file."""

    title: str = Field(min_length=1, max_length=200)
    file: str = Field(min_length=1)


class Stage(Record):
    """When a stage is open (UTC), and how many entries a participant may send in a day and in all."""

    start: datetime
    end: datetime | None = None
    entries_per_day: int = Field(ge=1)
    entries: int = Field(ge=1)

    @field_validator("start", "end")
    @classmethod
    def _in_utc(cls, value: datetime | None) -> datetime | None:
        return value and (value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC))


class CodabenchSettings(Record):
    """All that ``challenge.yaml`` may say."""

    title: str = Field(min_length=1, max_length=200)
    description: str = ""
    contact_email: str | None = None
    reward: str | None = None
    logo: str = "logo.png"
    terms: str = "terms.md"
    pages: tuple[Page, ...] = Field(min_length=1)
    development: Stage
    final: Stage
    hidden_final: bool = True
    """The final's columns are seen by organizers only, until they open them in the editor."""
    counts: Literal["best", "last"] = "best"
    """Which entry of a participant is on the leaderboard."""
    approve_participants: bool = True
    """Organizers approve each participant; false: everybody may take part."""
    public_share: float = Field(default=0.3, gt=0, le=1)
    """Of the labeled pixels, in the development's score; the final scores the others. 1: both score all."""
    seed: int = Field(default=0, ge=0)
    """Of the draw of tiles."""
    python: str = Field(default="3.12", pattern=r"^3\.\d{1,2}$")
    docker_image: str = "python:3.12-slim"
    """Where the scoring program runs: it needs Python with pip and glibc 2.28, and no other package."""
    queue: str | None = None
    """Vhost of an own queue of workers; null: Codabench's."""
    time_limit_s: int = Field(default=600, ge=30)

    @field_validator("docker_image")
    @classmethod
    def _is_image(cls, value: str) -> str:
        if not _IMAGE.fullmatch(value):
            raise ValueError(f"{value!r} is no name of an image, such as python:3.12-slim")
        return value

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if int(self.python.split(".")[1]) < 11:
            raise ValueError(f"python: {self.python} is too old; c2seg needs 3.11 or newer")
        stated = _OFFICIAL.match(self.docker_image)
        if stated and stated[1] != self.python:
            raise ValueError(f"docker_image has Python {stated[1]}, python says {self.python}; make them equal")
        if self.development.end is None or self.development.end <= self.development.start:
            raise ValueError("development: its end must come after its start")
        if self.final.start <= self.development.end:
            raise ValueError("final: it must start after the development's end")
        if self.final.end is not None and self.final.end <= self.final.start:
            raise ValueError("final: its end must come after its start")
        return self


def read_settings(folder: Path) -> CodabenchSettings:
    """Read the settings of a folder. Raises DataError that names what is missing or wrong, files that pages name included."""
    path = folder / SETTINGS_FILE
    if not path.is_file():
        raise DataError(f"{path} does not exist; make a draft of it with c2seg challenge draft")
    try:
        settings = CodabenchSettings.model_validate(read_yaml(path))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise DataError(f"{path}: {place + ': ' if place else ''}{one_line(first['msg'])}") from None
    for name in (settings.terms, *(page.file for page in settings.pages)):
        if not read_text(_inside(folder, name)).strip():
            raise DataError(f"{folder / name} is empty; Codabench takes no empty page")
    _inside(folder, settings.logo)
    return settings


def _inside(folder: Path, name: str) -> Path:
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise DataError(f"{name} lies outside {folder}; pages and logo are files in it")
    if not path.is_file():
        raise DataError(f"{path} does not exist; {SETTINGS_FILE} names it")
    return path
