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
from c2seg.cli.console import JSON, OVERWRITE, QUIET, named_values, note, print_json, progress_bar, tile_sides
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
    paths = _paths("--reference", reference)
    sides = tile_sides(tile_px, list(paths))
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
    archives = _paths("--submission", submission)
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


@app.command()
def draft(
    folder: Path = typer.Argument(..., metavar="FOLDER", help="Folder to write challenge.yaml, pages and a logo into."),
    legend: Path | None = typer.Option(None, "--legend", metavar="FILE", help="Legend (YAML); default C2Seg-13."),
    overwrite: bool = OVERWRITE,
    quiet: bool = QUIET,
) -> None:
    """Write settings and pages of a challenge on Codabench, to be edited."""
    from c2seg.challenge.codabench.draft import write_draft

    folder.mkdir(parents=True, exist_ok=True)
    write_draft(folder, load_legend(legend) if legend else c2seg13(), overwrite=overwrite)
    note(f"{folder}: edit challenge.yaml and the pages, then run c2seg challenge codabench", quiet=quiet)


@app.command()
def kit(
    out: Path = typer.Argument(..., metavar="KIT.zip", help="The participants' kit to write."),
    board: Path = typer.Option(..., "--board", metavar="BOARD", help="Leaderboard with the data sets (challenge init)."),
    images: list[str] = typer.Option([], "--images", metavar="NAME=CITY", help="Put in a data set's images, without labels."),
    training: list[str] = typer.Option([], "--training", metavar="NAME=CITY", help="Put in a labeled city, with labels."),
    as_json: bool = JSON,
    overwrite: bool = OVERWRITE,
    quiet: bool = QUIET,
) -> None:  # fmt: skip
    """Make the participants' kit: reader, baseline notebook, sample entry, images. No withheld label is in it."""
    from c2seg.challenge.codabench.kit import make_kit

    with progress_bar("cities", quiet=quiet or as_json) as progress:
        files = make_kit(
            board, out, images=_paths("--images", images), training=_paths("--training", training), overwrite=overwrite,
            progress=progress,
        )  # fmt: skip
    if as_json:
        print_json({"kit": str(out), "files": files})
    else:
        note(f"{out}: {len(files)} files, {out.stat().st_size:,} bytes", quiet=quiet)


@app.command()
def codabench(
    out: Path = typer.Argument(..., metavar="OUT.zip", help="The bundle to write; it holds the ground truth."),
    board: Path = typer.Option(..., "--board", metavar="BOARD", help="Leaderboard with the data sets (challenge init)."),
    settings: Path = typer.Option(..., "--settings", metavar="FOLDER", help="Settings and pages (challenge draft)."),
    wheels: Path | None = typer.Option(None, "--wheels", metavar="FOLDER", help="Take packages from here, not an index."),
    kit: Path | None = typer.Option(None, "--kit", metavar="KIT.zip", help="Participants' kit; default: one without images."),
    as_json: bool = JSON,
    overwrite: bool = OVERWRITE,
    quiet: bool = QUIET,
) -> None:  # fmt: skip
    """Make the bundle of a challenge for Codabench: stages, pages, scoring program, references, kit."""
    from c2seg.challenge.codabench.bundle import make_bundle

    made = make_bundle(board, settings, out, wheels=wheels, kit=kit, overwrite=overwrite)
    if as_json:
        print_json({"bundle": str(out), **made.as_dict()})
    else:
        count = {
            name: f"{public} public, {made.private_tiles[name]} private" for name, public in made.public_tiles.items()
        }
        tiles = "; ".join(f"{name}: {text} tiles" for name, text in count.items())
        note(f"{out}: {out.stat().st_size:,} bytes, {len(made.wheels)} wheels; {tiles}", quiet=quiet)


def _paths(option: str, values: Sequence[str]) -> dict[str, Path]:
    return {name: Path(path) for name, path in named_values(option, values).items()}


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
