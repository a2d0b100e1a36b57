"""Signed cookies of who is signed in, and the tokens that forms carry against requests that other sites forge (CSRF).

Nothing is stored: a cookie names the token that opened the session, and is void when that token is revoked.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Session", "Signer"]

_SEPARATOR = "."
_VERSION = "1"


@dataclass(frozen=True, slots=True)
class Session:
    """What a cookie holds. ``token_id`` is None before somebody signs in; ``nonce`` ties forms to the cookie."""

    nonce: str
    expires_at: int
    token_id: str | None = None


class Signer:
    """Makes and reads cookies and form tokens with a secret of the server."""

    def __init__(self, secret: bytes, *, session_s: int, clock: Callable[[], float] = time.time) -> None:
        self._secret, self._session_s, self._clock = secret, session_s, clock

    def start(self, token_id: str | None = None) -> Session:
        """Return a new session, with a new nonce: what was known of an earlier one is worth nothing."""
        return Session(secrets.token_urlsafe(18), int(self._clock()) + self._session_s, token_id)

    def cookie(self, session: Session) -> str:
        """Return the value of a session's cookie."""
        body = _SEPARATOR.join((_VERSION, session.nonce, str(session.expires_at), session.token_id or ""))
        return f"{body}{_SEPARATOR}{self._sign('cookie', body)}"

    def session(self, cookie: str | None) -> Session | None:
        """Return the session of a cookie, None for one that is not ours, was changed, or is too old."""
        body, _, signature = (cookie or "").rpartition(_SEPARATOR)
        if not hmac.compare_digest(self._sign("cookie", body).encode(), signature.encode("utf-8", "replace")):
            return None
        version, nonce, expires_at, token = body.split(_SEPARATOR, 3)
        if version != _VERSION or int(expires_at) <= self._clock():
            return None
        return Session(nonce, int(expires_at), token or None)

    def form_token(self, session: Session) -> str:
        """Return the token that every form of a session carries."""
        return self._sign("form", f"{session.nonce}{_SEPARATOR}{session.token_id or ''}")

    def is_form_token(self, session: Session, value: str) -> bool:
        """Compare a form's token in constant time."""
        return hmac.compare_digest(self.form_token(session).encode(), value.encode("utf-8", "replace"))

    def _sign(self, purpose: str, body: str) -> str:
        digest = hmac.digest(self._secret, f"{purpose}\0{body}".encode("utf-8", "replace"), hashlib.sha256)
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
