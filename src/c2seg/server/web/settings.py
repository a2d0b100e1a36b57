"""What the web side of a challenge may take of the machine, and how it is reached."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from c2seg.errors import InputError

__all__ = ["WebLimits", "WebSettings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WebLimits:
    """Limits of requests. Times are seconds, sizes bytes; rates are requests a minute and address."""

    small_body: int = 65_536
    """Of every request that uploads no archive."""
    header_s: float = 15
    """Until the head of a request is whole."""
    idle_s: float = 30
    """Between two pieces of a body."""
    answer_s: float = 60
    """For the answer, once the body is there."""
    upload_s: float = 3600
    """For one request with an archive; an interrupted upload resumes with the next one."""
    expire_s: int = 24 * 3600
    """After which an unfinished upload is removed."""
    open_uploads: int = 8
    """Unfinished uploads of a team at a time."""
    connections: int = 500
    """Open requests and connections, more are answered with 503."""
    connections_per_address: int = 100
    """Of one sender, trusted proxies apart; more are closed."""
    pages_per_minute: int = 600
    """Requests that read."""
    writes_per_minute: int = 300
    """Requests that change something; pieces of an upload do not count. Whole institutes may share one address."""
    logins_per_minute: int = 10
    """Failed attempts to sign in or to use a token."""
    session_s: int = 12 * 3600
    """A team or organizer stays signed in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSettings:
    """How the site is reached.

    ``public_url`` is what participants type, such as ``https://challenge.example.org``; None: the address of the request.
    ``trusted_proxies`` are addresses whose ``X-Forwarded-For`` and ``X-Forwarded-Proto`` count.
    """

    public_url: str | None = None
    trusted_proxies: tuple[str, ...] = ("127.0.0.1",)
    limits: WebLimits = WebLimits()

    def __post_init__(self) -> None:
        if self.public_url is None:
            return
        parts = urlsplit(self.public_url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.rstrip("/") or parts.query:
            raise InputError(
                f"`public_url={self.public_url}` is no address of a site; give one such as https://challenge.example.org"
            )

    @property
    def secure(self) -> bool:
        """True if browsers reach the site by https only."""
        return self.public_url is not None and self.public_url.startswith("https://")

    @property
    def origin(self) -> str | None:
        """Return scheme, host and port of the public address as browsers write them in ``Origin``."""
        if self.public_url is None:
            return None
        parts = urlsplit(self.public_url)
        return f"{parts.scheme}://{parts.netloc}".lower()
