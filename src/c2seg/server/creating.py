"""Make a season: a data folder and its database, whole or not at all."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from sqlalchemy.orm import Session

from c2seg.challenge.withheld import ReferenceSource
from c2seg.errors import InputError
from c2seg.legend import Legend
from c2seg.outputs import Output, check_outputs, commit
from c2seg.server import tokens
from c2seg.server.audit import note
from c2seg.server.database import Database, check_url
from c2seg.server.folder import ServerFolder
from c2seg.server.jobs import Jobs
from c2seg.server.migrating import remove, upgrade
from c2seg.server.names import check_name
from c2seg.server.references import store_reference
from c2seg.server.seasons import check_counting, check_title
from c2seg.server.tables import Season as SeasonRow
from c2seg.server.views import Counting, IssuedToken

__all__ = ["PUBLIC_SHARE", "SeasonPlan", "create_season", "new_database"]

PUBLIC_SHARE = 0.3
"""Of the labeled pixels, in the tiles that the boards of open phases score."""


@dataclass(frozen=True)
class SeasonPlan:
    """A season to be made. ``public_share`` 1: without private tiles.

    ``seed`` draws the split; whoever knows it and the tiles' classes can draw it again. None: random, and stored nowhere.
    """

    title: str
    references: Mapping[str, ReferenceSource]
    legend: Legend
    counting: Counting = "best"
    public_share: float = PUBLIC_SHARE
    embargo_until: datetime | None = None
    seed: int | None = None


def create_season(
    data: str | os.PathLike[str],
    plan: SeasonPlan,
    *,
    organizer: str = "organizer",
    database: str | None = None,
    inputs: Sequence[Path] = (),
) -> IssuedToken:
    """Make a data folder, and return the first organizer's token. The folder is for its owner alone.

    ``database`` is the URL of an empty database in PostgreSQL; None: SQLite in the folder. ``inputs`` are further files
    that nothing may replace. Raises OutputError if the folder exists, InputError and DataError for what is wrong in the plan
    or the ground truths, and InputError for a database that has tables already.
    """
    if not plan.references:
        raise InputError("a season needs at least one data set with its ground truth (NAME=PATH)")
    for name in plan.references:
        check_name("data set", name)
    url = None if database is None else check_url(database)
    out = Output(Path(data), "data", is_folder=True)
    check_outputs([out], [*inputs, *(source.path for source in plan.references.values())], overwrite=False)
    with commit(overwrite=False) as files:
        folder = ServerFolder.make(files.add(out, private=True), url)
        with new_database(folder) as opened, opened.write() as session:
            return _fill(session, plan, organizer)


@contextmanager
def new_database(folder: ServerFolder) -> Iterator[Database]:
    """Yield the database of a new folder, with empty tables.

    It is closed at the end, so that SQLite's file is whole by itself. Where the block raises, PostgreSQL's tables are removed.
    Raises InputError for a database that has tables of a season already.
    """
    database = Database(folder.database_url)
    try:
        if database.revision() is not None:
            raise InputError("`database`: it has tables of a season already; give an empty one")
        upgrade(database)
        if not database.is_sqlite:
            Jobs(folder)  # its tables: processes that start at the same time would make them at the same time
        try:
            yield database
        except BaseException:
            if not database.is_sqlite:
                remove(database)
            raise
    finally:
        database.close()


def _fill(session: Session, plan: SeasonPlan, organizer: str) -> IssuedToken:
    now = datetime.now(UTC)
    session.add(
        SeasonRow(
            id=1, title=check_title(plan.title), legend=json.dumps(plan.legend.as_dict()),
            counting=check_counting(plan.counting), created_at=now, closed_at=None,
            embargo_until=plan.embargo_until.astimezone(UTC) if plan.embargo_until else None,
        )
    )  # fmt: skip
    seed = secrets.randbits(128) if plan.seed is None else plan.seed
    rng = np.random.default_rng(seed)
    for position, (name, source) in enumerate(plan.references.items()):
        store_reference(session, name, position, source, plan.legend, plan.public_share, rng)
    note(session, "command line", "create season", "season", now, datasets=", ".join(plan.references))
    return tokens.issue(session, None, organizer, actor="command line", now=now)
