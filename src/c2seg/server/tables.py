"""The tables. SQLite and PostgreSQL have the same ones; ``migrations`` makes and changes them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Text,
    TypeDecorator,
    UniqueConstraint,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

__all__ = [
    "Archive",
    "Audit",
    "Base",
    "Dataset",
    "Entry",
    "Moment",
    "Phase",
    "ReferenceTile",
    "Result",
    "Season",
    "Team",
    "Token",
    "Worker",
]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Moment(TypeDecorator[datetime]):
    """A time as microseconds since 1970 in UTC: the same value, order and precision in every database."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """Return the number of a time, which must have a zone."""
        return None if value is None else (value - _EPOCH) // _MICROSECOND

    def process_result_value(self, value: Any | None, dialect: Dialect) -> datetime | None:
        """Return the time of a number."""
        return None if value is None else _EPOCH + int(value) * _MICROSECOND


class Base(DeclarativeBase):
    """Base of the tables, with names for constraints, which migrations need."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {datetime: Moment, str: Text, bytes: LargeBinary, bool: Boolean}  # noqa: RUF012


_CASCADE = "RESTRICT"  # nothing of a season is ever removed by the way


class Season(Base):
    """The one season of the folder."""

    __tablename__ = "season"
    __table_args__ = (CheckConstraint("id = 1", name="one"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]
    legend: Mapped[str]  # JSON
    counting: Mapped[str] = mapped_column(String(8))
    created_at: Mapped[datetime]
    embargo_until: Mapped[datetime | None]
    closed_at: Mapped[datetime | None]


class Dataset(Base):
    """A data set."""

    __tablename__ = "dataset"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(80), unique=True)
    position: Mapped[int]


class ReferenceTile(Base):
    """The withheld ground truth of a tile: zlib of uint8 [H, W]; its place in the scene, where known; its part."""

    __tablename__ = "reference_tile"

    dataset_id: Mapped[int] = mapped_column(ForeignKey("dataset.id", ondelete=_CASCADE), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    height: Mapped[int]
    width: Mapped[int]
    row: Mapped[int | None]
    col: Mapped[int | None]
    part: Mapped[str] = mapped_column(String(8))
    labels: Mapped[bytes]


class Phase(Base):
    """A phase."""

    __tablename__ = "phase"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(80), unique=True)
    opens_at: Mapped[datetime]
    closes_at: Mapped[datetime | None]
    part: Mapped[str] = mapped_column(String(8))
    hidden: Mapped[bool]
    late: Mapped[bool]
    daily_quota: Mapped[int]
    total_quota: Mapped[int]


class Team(Base):
    """A team. ``spelling`` is the name without case and runs of blanks, so that no two teams look alike."""

    __tablename__ = "team"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(80))
    spelling: Mapped[str] = mapped_column(String(160), unique=True)
    contact: Mapped[str]
    created_at: Mapped[datetime]
    disqualified_at: Mapped[datetime | None]
    reason: Mapped[str | None]


class Token(Base):
    """A token: its public half and the SHA-256 of its secret half. Without a team it is an organizer's."""

    __tablename__ = "token"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    digest: Mapped[bytes]
    team_id: Mapped[int | None] = mapped_column(ForeignKey("team.id", ondelete=_CASCADE), index=True)
    name: Mapped[str] = mapped_column(String(80))
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]


class Entry(Base):
    """An entry. ``claim`` counts how often a worker has begun it, and only the last one may write its results."""

    __tablename__ = "entry"
    __table_args__ = (
        UniqueConstraint("team_id", "phase_id", "digest"),
        Index("ix_entry_status_id", "status", "id"),
        Index("ix_entry_team_id_phase_id", "team_id", "phase_id"),
        # An id is never given twice.
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    team_id: Mapped[int] = mapped_column(ForeignKey("team.id", ondelete=_CASCADE))
    phase_id: Mapped[int] = mapped_column(ForeignKey("phase.id", ondelete=_CASCADE))
    method: Mapped[str] = mapped_column(String(80))
    received_at: Mapped[datetime]
    digest: Mapped[str] = mapped_column(String(64))
    status: Mapped[str] = mapped_column(String(16))
    reason: Mapped[str | None]
    claim: Mapped[int]
    worker: Mapped[str | None]
    claimed_at: Mapped[datetime | None]
    scored_at: Mapped[datetime | None]
    withdrawn_at: Mapped[datetime | None]
    disqualified_at: Mapped[datetime | None]
    disqualified_for: Mapped[str | None]

    team: Mapped[Team] = relationship(lazy="raise")
    phase: Mapped[Phase] = relationship(lazy="raise")
    archives: Mapped[list[Archive]] = relationship(lazy="raise", order_by="Archive.dataset_id")
    results: Mapped[list[Result]] = relationship(lazy="raise", order_by="Result.dataset_id")


class Archive(Base):
    """An archive of an entry. The file lies in the store under its digest."""

    __tablename__ = "archive"

    entry_id: Mapped[int] = mapped_column(ForeignKey("entry.id", ondelete=_CASCADE), primary_key=True)
    dataset_id: Mapped[int] = mapped_column(ForeignKey("dataset.id", ondelete=_CASCADE), primary_key=True)
    sha256: Mapped[str] = mapped_column(String(64), index=True)
    size: Mapped[int] = mapped_column(BigInteger)

    dataset: Mapped[Dataset] = relationship(lazy="raise")


class Result(Base):
    """The confusion counts of an entry on one part of a data set, as JSON; ``mosaic`` is empty where no places are known."""

    __tablename__ = "result"

    entry_id: Mapped[int] = mapped_column(ForeignKey("entry.id", ondelete=_CASCADE), primary_key=True)
    dataset_id: Mapped[int] = mapped_column(ForeignKey("dataset.id", ondelete=_CASCADE), primary_key=True)
    part: Mapped[str] = mapped_column(String(8), primary_key=True)
    tiles: Mapped[str]
    mosaic: Mapped[str | None]

    dataset: Mapped[Dataset] = relationship(lazy="raise")


class Audit(Base):
    """A line of the audit log. Nothing in this package changes or removes one."""

    __tablename__ = "audit"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    at: Mapped[datetime]
    actor: Mapped[str]
    action: Mapped[str] = mapped_column(String(40))
    subject: Mapped[str]
    details: Mapped[str]  # JSON


class Worker(Base):
    """A worker process that reports every few seconds. A line of one that is gone is removed after a day."""

    __tablename__ = "worker"

    name: Mapped[str] = mapped_column(String(120), primary_key=True)
    started_at: Mapped[datetime]
    seen_at: Mapped[datetime]
    entry_id: Mapped[int | None]
