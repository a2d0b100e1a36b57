"""A folder of settings and pages to edit, and the words that are filled into the pages when a bundle is made."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from importlib import resources
from pathlib import Path
from string import Template

import yaml

from c2seg.challenge.board import Board
from c2seg.challenge.codabench.settings import SETTINGS_FILE, CodabenchSettings, Stage
from c2seg.challenge.rules import TileSet
from c2seg.legend import Legend
from c2seg.outputs import Output, check_outputs, commit

__all__ = ["PAGE_FILES", "filled", "page_words", "write_draft"]

PAGE_FILES = ("overview.md", "data.md", "evaluation.md", "submitting.md", "terms.md")
_DEVELOPMENT, _PAUSE, _FINAL = timedelta(days=60), timedelta(days=1), timedelta(days=7)
_LOGO_PX = 240


def write_draft(folder: Path, legend: Legend, *, start: datetime | None = None, overwrite: bool = False) -> None:
    """Write ``challenge.yaml``, its pages and a logo of the legend's colors, to be edited.

    ``start`` of the development; default: tomorrow. Raises OutputError where a file exists.
    """
    texts = resources.files("c2seg.challenge.codabench").joinpath("pages")
    outputs = [Output(folder / name) for name in (SETTINGS_FILE, *PAGE_FILES, "logo.png")]
    check_outputs(outputs, overwrite=overwrite)
    with commit(overwrite=overwrite) as files:
        for output in outputs[:-1]:
            text = texts.joinpath(output.path.name).read_text(encoding="utf-8")
            is_settings = output.path.name == SETTINGS_FILE
            text = Template(text).safe_substitute(_dates(start)) if is_settings else text
            files.text(output, text, main=is_settings)
        _draw_logo(files.add(outputs[-1]), legend)


def page_words(settings: CodabenchSettings, board: Board) -> dict[str, str]:
    """Return what stands for ``$word`` in a page."""
    sets = {name: board.tile_set(name) for name in board.datasets}
    classes = board.legend.classes
    development, final = settings.development, settings.final
    return {
        "title": settings.title,
        "datasets": ", ".join(sets),
        "classes": "; ".join(c.name for c in classes),
        "class_ids": "; ".join(f"{c.id} {c.name}" for c in classes),
        "development": _span(development),
        "final": _span(final),
        "hidden": ", and its scores are hidden until the organizers open them" if settings.hidden_final else "",
        "counts": settings.counts,
        "development_limits": _limits(development),
        "final_limits": _limits(final),
        "data_table": _table(sets),
        **_commands(sets),
    }


def filled(text: str, words: Mapping[str, str]) -> str:
    """Return a page with its words; other dollar signs stay."""
    return Template(text).safe_substitute(words)


def _dates(start: datetime | None) -> dict[str, str]:
    tomorrow = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    first = start or tomorrow
    times = [first, first + _DEVELOPMENT, first + _DEVELOPMENT + _PAUSE, first + _DEVELOPMENT + _PAUSE + _FINAL]
    names = ("development_start", "development_end", "final_start", "final_end")
    return {name: f"{time:%Y-%m-%d %H:%M:%S}" for name, time in zip(names, times, strict=True)}


def _span(stage: Stage) -> str:
    end = f" to {stage.end:%Y-%m-%d %H:%M}" if stage.end else " on"
    return f"from {stage.start:%Y-%m-%d %H:%M}{end}"


def _limits(stage: Stage) -> str:
    return f"{stage.entries_per_day} a day, {stage.entries} in all"


def _table(sets: Mapping[str, TileSet]) -> str:
    rows = "\n".join(f"| {name} | {tiles.summary} |" for name, tiles in sets.items())
    return f"| data set | test tiles |\n|---|---|\n{rows}"


def _commands(sets: Mapping[str, TileSet]) -> dict[str, str]:
    """Return the commands that make an entry, as code of a Markdown page."""
    text = resources.files("c2seg.challenge.codabench").joinpath("pages/commands.yaml").read_text(encoding="utf-8")
    sides = {name: max(max(size) for size in tiles.sizes.values()) for name, tiles in sets.items()}
    lines = {
        kind: [Template(line).substitute(name=name, side=side) for name, side in sides.items()]
        for kind, line in yaml.safe_load(text).items()
    }
    return {
        "pack_commands": "\n".join(lines["pack"]),
        "check_commands": "\n".join(lines["check"]),
        "join_arguments": " ".join(lines["join"]),
    }


def _draw_logo(path: Path, legend: Legend) -> None:
    """Draw a square of the legend's colors; a logo is needed, and is the organizer's to replace."""
    from PIL import Image

    colors = list(legend.colors().values())
    side = next(n for n in range(1, 17) if n * n >= len(colors))
    image = Image.new("RGB", (side, side))
    image.putdata([colors[n % len(colors)] for n in range(side * side)])
    image.resize((_LOGO_PX, _LOGO_PX), Image.Resampling.NEAREST).save(path, "PNG")
