"""The audit log: one line for every act. It is written in the transaction of the act itself."""

from __future__ import annotations

import json
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from c2seg.server.tables import Audit
from c2seg.server.views import AuditLine

__all__ = ["lines", "note"]

_LONGEST = 1000


def note(session: Session, actor: str, action: str, subject: str, now: datetime, **details: object) -> None:
    """Add a line. ``details`` are shown as texts, without those that are None. No secret belongs in them."""
    texts = {key: str(value)[:_LONGEST] for key, value in details.items() if value is not None}
    session.add(
        Audit(
            at=now, actor=actor[:_LONGEST], action=action[:40], subject=subject[:_LONGEST],
            details=json.dumps(texts, sort_keys=True),
        )
    )  # fmt: skip


def lines(session: Session, *, limit: int, before: int | None) -> tuple[AuditLine, ...]:
    """Return lines, the newest first."""
    query = select(Audit).order_by(Audit.id.desc()).limit(max(0, min(limit, _LONGEST)))
    if before is not None:
        query = query.where(Audit.id < before)
    return tuple(
        AuditLine(row.id, row.at, row.actor, row.action, row.subject, json.loads(row.details))
        for row in session.scalars(query)
    )
