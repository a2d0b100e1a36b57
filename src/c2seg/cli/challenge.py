"""``c2seg challenge``: a leaderboard with withheld ground truth in one file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import typer

from c2seg.challenge import (
    MAX_ENTRIES,
    METRICS,
    ReferenceSource,
    Row,
    add_entry,
    create_board,
    publish_board,
)
from c2seg.cli.console import JSON, OVERWRITE, QUIET, note, print_json
from c2seg.errors import InputError
from c2seg.legend import c2seg13, load_legend

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True)

BOARD = typer.Argument(..., metavar="BOARD", help="The leaderboard's file (SQLite).")


@app.command()
def init(
    board: Path = BOARD,
    reference: list[str] = typer.Option(..., "--reference", metavar="NAME=PATH", help="Data set and its withheld reference."),
    tile_px: list[str] = typer.Option(["128"], "--tile-px", metavar="[NAME=]N", help="Tile side of reference rasters."),
    order: Literal["columns", "rows"] = typer.Option("columns", "--tile-order", help="How tiles of a raster are numbered."),
    label_map: str | None = typer.Option(None, "--label-map", metavar="NAME", help="Label mapping of the reference's values."),
    legend: Path | None = typer.Option(None, "--legend", metavar="FILE", help="Legend (YAML); default C2Seg-13."),
    opening: bool = typer.Option(False, "--opening/--empty", help="List the 2023 challenge's Table I, or begin empty."),
    max_entries: int = typer.Option(MAX_ENTRIES, "--max-entries", min=1, help="Entries that a team may add."),
    as_json: bool = JSON,
    overwrite: bool = OVERWRITE,
    quiet: bool = QUIET,
) -> None:  # fmt: skip
    """Make a leaderboard; its file holds copies of the ground truths (folders of tiles, rasters, cities)."""
    paths = {name: Path(path) for name, path in _named("--reference", reference).items()}
    sides = _sides(tile_px, list(paths))
    sources = {name: ReferenceSource(path, sides[name], order, label_map) for name, path in paths.items()}
    made = create_board(
        board,
        sources,
        load_legend(legend) if legend else c2seg13(),
        opening=opening,
        max_entries=max_entries,
        inputs=[legend] if legend else [],
        overwrite=overwrite,
    )
    tiles = {name: len(made.tile_set(name).sizes) for name in made.datasets}
    if as_json:
        print_json({"board": str(board), "datasets": tiles})
    else:
        note(f"{board}: " + ", ".join(f"{name} with {count} tiles" for name, count in tiles.items()), quiet=quiet)


@app.command()
def add(
    board: Path = BOARD,
    submission: list[str] = typer.Option(..., "--submission", metavar="NAME=FILE.zip", help="Data set and archive; repeat."),
    team: str = typer.Option(..., "--team", help="Name of the team."),
    method: str = typer.Option("main", "--method", help="Name of the method, to tell a team's entries apart."),
    submitted_at: datetime | None = typer.Option(None, "--submitted-at", help="Time of receipt in UTC, if not now."),
    as_json: bool = JSON,
    quiet: bool = QUIET,
) -> None:  # fmt: skip
    """Check and score an entry on every data set, and record it."""
    archives = {name: Path(path) for name, path in _named("--submission", submission).items()}
    time = submitted_at.replace(tzinfo=UTC) if submitted_at else None
    row = add_entry(board, team, method, archives, time)
    if as_json:
        print_json(row.as_dict())
    else:
        typer.echo(_table([row], list(row.datasets)))


@app.command()
def rank(
    board: Path = BOARD,
    history: bool = typer.Option(False, "--history", help="Every entry by time instead of each method's best."),
    csv: Path | None = typer.Option(None, "--csv", metavar="FILE", help="Write the table as CSV."),
    html: Path | None = typer.Option(None, "--html", metavar="FILE", help="Write the table as a web page."),
    title: str = typer.Option("C2Seg leaderboard", "--title", help="Title of the web page."),
    as_json: bool = JSON,
    overwrite: bool = OVERWRITE,
) -> None:
    """Show the leaderboard: plain means over the data sets, ranked by mIoU, ties by time."""
    table = publish_board(board, history=history, csv=csv, html=html, title=title, overwrite=overwrite)
    if as_json:
        print_json({"datasets": list(table.datasets), "rows": [row.as_dict() for row in table.rows]})
    else:
        typer.echo(_table(table.rows, []))


def _named(option: str, values: Sequence[str]) -> dict[str, str]:
    named: dict[str, str] = {}
    for value in values:
        name, equals, rest = value.partition("=")
        if not (name and equals and rest):
            raise InputError(f"{option} {value!r}: give NAME=PATH")
        if name in named:
            raise InputError(f"{option}: data set {name!r} is given twice")
        named[name] = rest
    return named


def _sides(values: Sequence[str], names: Sequence[str]) -> dict[str, int]:
    """Tile side by data set: ``N`` sets all, ``NAME=N`` one."""
    sides = dict.fromkeys(names, 128)
    for value in sorted(values, key=lambda v: "=" in v):
        name, _, number = value.rpartition("=")
        if not number.isdecimal() or (name and name not in sides):
            raise InputError(f"--tile-px {value!r}: give pixels, or NAME=pixels with one of {', '.join(names)}")
        sides |= dict.fromkeys([name] if name else names, int(number))
    return sides


def _table(rows: Sequence[Row], datasets: Sequence[str]) -> str:
    team = max([4, *(len(row.team) for row in rows)])
    method = max([6, *(len(row.method) for row in rows), *(len(name) for name in datasets)])
    scores = f"{'OA':>6}  {'Kappa':>6}  {'mF1':>6}  {'mIoU':>6}"
    lines = [f"{'':>11} {'':<{team}}  {'':<{method}}  {'tile-counted':<30}    mosaic"]
    lines.append(f"{'rank':>4}  {'id':>4}  {'team':<{team}}  {'method':<{method}}  {scores}    {scores}")
    for row in rows:
        start = f"{row.rank or '-':>4}  {row.entry:>4}  {row.team:<{team}}  {row.method:<{method}}"
        lines.append(f"{start}  {_show(row.tiles.means)}    {_show(row.mosaic.means)}")
        for name in datasets:
            both = "    ".join(_show(scored.datasets.get(name, {})) for scored in (row.tiles, row.mosaic))
            lines.append(f"{'':>10}  {'':<{team}}  {name:<{method}}  {both}")
    if any(row.published for row in rows):
        lines.append("Published: challenge paper, Table I (C2Seg-AB and C2Seg-BW)")
    return "\n".join(lines)


def _show(scores: Mapping[str, float | None]) -> str:
    values = (scores.get(metric) for metric in METRICS)
    return "  ".join(f"{'-':>6}" if value is None else f"{value:6.4f}" for value in values)
