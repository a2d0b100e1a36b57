"""``c2seg serve``: a challenge server on one machine."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Literal

import typer

from c2seg.cli import serve_entries, serve_people, serve_run
from c2seg.cli.console import (
    JSON,
    OVERWRITE,
    QUIET,
    named_values,
    note,
    notes_on_stderr,
    print_json,
    progress_bar,
    tile_sides,
)
from c2seg.cli.serve_common import ACTOR, DATA, MOMENTS, opened, server_extra, utc
from c2seg.legend import c2seg13, load_legend

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True)
for _command in (
    serve_people.add_team, serve_people.teams, serve_people.disqualify_team, serve_people.reinstate_team,
    serve_people.add_token, serve_people.add_organizer, serve_people.revoke_token, serve_people.tokens,
    serve_entries.add_phase, serve_entries.set_phase, serve_entries.phases, serve_entries.entries,
    serve_entries.withdraw, serve_entries.disqualify, serve_entries.reinstate, serve_entries.requeue,
    serve_entries.board, serve_run.run,
):  # fmt: skip
    app.command(_command.__name__.replace("_", "-"))(_command)

DATABASE = typer.Option(
    None, "--database", metavar="URL", envvar="C2SEG_DATABASE", help="An empty PostgreSQL; default: SQLite in DATA."
)


@app.command()
def init(
    data: Path = DATA,
    title: str = typer.Option(..., "--title", help="Title of the challenge."),
    reference: list[str] = typer.Option(..., "--reference", metavar="NAME=PATH", help="Data set and its withheld reference."),
    tile_px: list[str] = typer.Option(["128"], "--tile-px", metavar="[NAME=]N", help="Tile side of reference rasters."),
    order: Literal["columns", "rows"] = typer.Option("columns", "--tile-order", help="How tiles of a raster are numbered."),
    label_map: str | None = typer.Option(None, "--label-map", metavar="NAME", help="Label mapping of the reference's values."),
    legend: Path | None = typer.Option(None, "--legend", metavar="FILE", help="Legend (YAML); default C2Seg-13."),
    public_share: float = typer.Option(0.3, "--public-share", help="Share of labeled pixels in public tiles; 1: all."),
    counting: Literal["best", "last"] = typer.Option("best", "--counting", help="Which entry of a team counts."),
    embargo: datetime | None = typer.Option(None, "--embargo", formats=MOMENTS, help="No private score before, in UTC."),
    organizer: str = typer.Option("organizer", "--organizer", metavar="NAME", help="Your name in the audit log."),
    database: str | None = DATABASE,
    as_json: bool = JSON,
    quiet: bool = QUIET,
) -> None:  # fmt: skip
    """Make a season in a new data folder, and print the organizer's token, which is shown once."""
    server_extra()
    from c2seg.challenge import ReferenceSource
    from c2seg.server.creating import SeasonPlan, create_season
    from c2seg.server.web.texts import write_pages

    paths = {name: Path(path) for name, path in named_values("--reference", reference).items()}
    sides = tile_sides(tile_px, list(paths))
    sources = {name: ReferenceSource(path, sides[name], order, label_map) for name, path in paths.items()}
    classes = load_legend(legend) if legend else c2seg13()
    plan = SeasonPlan(title, sources, classes, counting, public_share, utc(embargo))
    with notes_on_stderr("c2seg", quiet=quiet or as_json):
        issued = create_season(data, plan, organizer=organizer, database=database, inputs=[legend] if legend else [])
        write_pages(data / "pages")
    if as_json:
        print_json({"data": str(data), "datasets": list(paths), "id": issued.token.id, "token": issued.text})
    else:
        typer.echo(issued.text)
        note(f"{data}: keep the organizer's token above; next: c2seg serve add-phase {data}", quiet=quiet)


@app.command()
def worker(data: Path = DATA, quiet: bool = QUIET) -> None:
    """Score entries until stopped. `run` starts one of its own; more may run beside it."""
    server_extra()
    from c2seg.server.worker import run_worker

    with notes_on_stderr("c2seg", quiet=quiet):
        run_worker(data)


@app.command()
def season(
    data: Path = DATA,
    title: str | None = typer.Option(None, "--title", help="New title."),
    counting: Literal["best", "last"] | None = typer.Option(None, "--counting", help="Which entry of a team counts."),
    embargo: datetime | None = typer.Option(
        None, "--embargo", formats=MOMENTS, help="No private score before, in UTC."
    ),
    lift_embargo: bool = typer.Option(False, "--lift-embargo", help="End the embargo now."),
    closed: bool | None = typer.Option(None, "--close/--reopen", help="End the season: nothing is taken any more."),
    as_json: bool = JSON,
) -> None:
    """Change the season, and show it."""
    changes = (title, counting, embargo, closed) != (None, None, None, None) or lift_embargo
    with opened(data) as service:
        if changes:
            service.set_season(
                actor=ACTOR, title=title, counting=counting, embargo_until=utc(embargo), lift_embargo=lift_embargo,
                closed=closed,
            )  # fmt: skip
        facts, queue = service.challenge(), service.queue_state()
    content = {
        "title": facts.season.title, "counting": facts.season.counting,
        "embargo_until": facts.season.embargo_until and facts.season.embargo_until.isoformat(),
        "closed_at": facts.season.closed_at and facts.season.closed_at.isoformat(),
        "datasets": {item.name: len(item.tile_set.sizes) for item in facts.datasets},
        "phase": facts.current and facts.current.name, "queued": queue.queued, "scoring": queue.scoring,
        "workers": len(queue.workers),
    }  # fmt: skip
    if as_json:
        print_json(content)
    else:
        for key, value in content.items():
            typer.echo(f"{key.replace('_', ' ')}: {'-' if value is None else value}")


@app.command()
def audit(
    data: Path = DATA,
    limit: int = typer.Option(100, "--limit", min=1, max=1000, help="The newest so many lines."),
    as_json: bool = JSON,
) -> None:
    """Show the audit log, the newest line first."""
    with opened(data) as service:
        lines = service.audit(limit=limit)
    if as_json:
        print_json({"lines": [
            {"id": line.id, "at": line.at.isoformat(), "actor": line.actor, "action": line.action,
             "subject": line.subject, "details": dict(line.details)} for line in lines
        ]})  # fmt: skip
        return
    for line in lines:
        details = f"  {json.dumps(dict(line.details), sort_keys=True)}" if line.details else ""
        typer.echo(f"{line.at:%Y-%m-%d %H:%M:%S}  {line.actor}: {line.action}: {line.subject}{details}")


@app.command()
def backup(
    data: Path = DATA,
    out: Path = typer.Option(..., "--out", metavar="FILE.zip", help="The backup; it holds the ground truth."),
    overwrite: bool = OVERWRITE,
    quiet: bool = QUIET,
) -> None:
    """Write everything of a season into one file, also while the server runs."""
    server_extra()
    from c2seg.server.backup import back_up

    with progress_bar("backup", quiet=quiet) as progress:
        made = back_up(data, out, overwrite=overwrite, progress=progress)
    note(f"{out}: {made.tables['entry'].rows} entries, {len(made.archives)} archives", quiet=quiet)


@app.command()
def restore(
    backup: Path = typer.Argument(..., metavar="FILE.zip", help="A backup."),
    data: Path = typer.Option(..., "--data", metavar="DATA", help="The data folder to make."),
    database: str | None = DATABASE,
    quiet: bool = QUIET,
) -> None:
    """Make a new data folder of a backup; nothing exists before it is complete."""
    server_extra()
    from c2seg.server.restoring import restore as restore_backup

    with progress_bar("restore", quiet=quiet) as progress:
        made = restore_backup(backup, data, database=database, progress=progress)
    note(f"{data}: {made.tables['entry'].rows} entries as of {made.made_at}", quiet=quiet)


@app.command()
def archive(
    data: Path = DATA,
    out: Path = typer.Option(..., "--out", metavar="FILE.zip", help="The record of the season, fit to be published."),
    private: bool = typer.Option(False, "--private", help="With hidden boards and the audit log, for organizers."),
    overwrite: bool = OVERWRITE,
    quiet: bool = QUIET,
) -> None:
    """Write boards, histories, rules and texts of a season into one file, without ground truth, token or contact."""
    server_extra()
    from c2seg.server.season_archive import archive_season

    record = archive_season(data, out, private=private, overwrite=overwrite)
    note(f"{out}: {record.teams} teams, {record.entries} entries", quiet=quiet)


@app.command()
def upgrade(data: Path = DATA, quiet: bool = QUIET) -> None:
    """Bring the tables of an older c2seg to this version; make a backup before."""
    server_extra()
    from c2seg.server.database import Database
    from c2seg.server.folder import ServerFolder
    from c2seg.server.migrating import head
    from c2seg.server.migrating import upgrade as upgrade_tables

    database = Database(ServerFolder.open(data).database_url)
    try:
        upgrade_tables(database)
    finally:
        database.close()
    note(f"{data}: tables of revision {head()}", quiet=quiet)
