"""Tokens: no passwords. A token is ``c2seg_ID_SECRET``: the public half finds the row, the digest of the secret half decides.

Secrets have 256 random bits, so that a plain SHA-256 of them cannot be reversed; nothing else is stored.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from c2seg.server.audit import note
from c2seg.server.errors import Refusal
from c2seg.server.names import check_name
from c2seg.server.tables import Token as TokenRow
from c2seg.server.views import IssuedToken, Principal, Token

__all__ = ["all_tokens", "authenticate", "holder", "issue", "revoke", "rotate"]

_FORM = re.compile(r"c2seg_([0-9a-f]{16})_([A-Za-z0-9_-]{43})", re.ASCII)
_PUBLIC = re.compile(r"[0-9a-f]{16}", re.ASCII)
_NOBODYS = bytes(32)


def issue(
    session: Session,
    team_id: int | None,
    name: str,
    *,
    actor: str,
    now: datetime,
    expires_at: datetime | None = None,
) -> IssuedToken:
    """Make a token for a team, or for an organizer."""
    check_name("holder" if team_id is None else "team", name)
    public, secret = secrets.token_hex(8), secrets.token_urlsafe(32)
    row = TokenRow(
        id=public, digest=_digest(secret), team_id=team_id, name=name, created_at=now, expires_at=expires_at,
        revoked_at=None,
    )  # fmt: skip
    session.add(row)
    who = f"organizer {name}" if team_id is None else f"team {name}"
    note(session, actor, "issue token", who, now, token=public, expires_at=expires_at)
    return IssuedToken(_view(row), f"c2seg_{public}_{secret}")


def rotate(session: Session, token_id: str, *, actor: str, now: datetime) -> IssuedToken:
    """Revoke a token, and issue another one to its holder."""
    row = _row(session, token_id)
    if row.revoked_at is None:
        revoke(session, token_id, actor=actor, now=now)
    return issue(session, row.team_id, row.name, actor=actor, now=now, expires_at=row.expires_at)


def revoke(session: Session, token_id: str, *, actor: str, now: datetime) -> Token:
    """End a token. Raises Refusal for one that is unknown or ended."""
    row = _row(session, token_id)
    if row.revoked_at is not None:
        raise Refusal("state", f"the token {row.id} is revoked already")
    row.revoked_at = now
    note(
        session,
        actor,
        "revoke token",
        f"{'organizer' if row.team_id is None else 'team'} {row.name}",
        now,
        token=row.id,
    )
    return _view(row)


def all_tokens(session: Session, team_id: int | None) -> tuple[Token, ...]:
    """Return the tokens of a team, or all, the newest first."""
    query = select(TokenRow).order_by(TokenRow.created_at.desc(), TokenRow.id)
    if team_id is not None:
        query = query.where(TokenRow.team_id == team_id)
    return tuple(_view(row) for row in session.scalars(query))


def authenticate(session: Session, text: str, now: datetime) -> Principal | None:
    """Return who holds a token; None if nobody does. Secrets are compared in constant time."""
    match = _FORM.fullmatch(text) if len(text) < 100 else None
    public, secret = match.groups() if match else ("", "")
    row = session.get(TokenRow, public)
    same = hmac.compare_digest(_digest(secret), row.digest if row else _NOBODYS)
    return _principal(row, now) if same and row is not None else None


def holder(session: Session, token_id: str, now: datetime) -> Principal | None:
    """Return who holds a token that is neither revoked nor expired."""
    row = session.get(TokenRow, token_id) if _PUBLIC.fullmatch(token_id) else None
    return None if row is None else _principal(row, now)


def _principal(row: TokenRow, now: datetime) -> Principal | None:
    ended = row.revoked_at is not None or (row.expires_at is not None and row.expires_at <= now)
    return None if ended else Principal(row.id, row.team_id, row.name)


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def _row(session: Session, token_id: str) -> TokenRow:
    row = session.get(TokenRow, token_id) if _PUBLIC.fullmatch(token_id) else None
    if row is None:
        raise Refusal("unknown", "there is no such token")
    return row


def _view(row: TokenRow) -> Token:
    return Token(row.id, row.team_id, row.name, row.created_at, row.expires_at, row.revoked_at)
