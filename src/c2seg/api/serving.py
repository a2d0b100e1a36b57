"""Serve a challenge: the web pages, the interface for programs, and the workers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from c2seg.errors import InputError, needs_extra

__all__ = ["serve_challenge"]


def serve_challenge(
    data: str | Path,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    public_url: str | None = None,
    trusted_proxies: Sequence[str] = ("127.0.0.1",),
    certificate: str | Path | None = None,
    key: str | Path | None = None,
    workers: int = 1,
    ready: Callable[[str], None] = lambda url: None,
) -> None:
    """Serve the season in a data folder until the process gets SIGINT or SIGTERM.

    ``public_url`` is the address that participants type; with https, cookies are sent over https only. ``trusted_proxies``
    are the reverse proxies whose headers name the sender. ``certificate`` and ``key`` are for https without a proxy.
    ``workers`` processes score beside the server; 0 where they run on their own. ``ready`` gets the address once it answers.

    Raises DataError for a folder that holds no season, OutputError if another server works in it, InputError for an address
    that cannot be used, MissingExtraError without the extra ``server``.
    """
    if (certificate is None) != (key is None):
        raise InputError("`certificate` and `key` belong together; give both")
    if workers < 0:
        raise InputError(f"`workers` must be at least 0, found {workers}")
    with needs_extra("a challenge server", "server"):
        import fastapi  # noqa: F401
        import python_multipart  # noqa: F401
        import sqlalchemy  # noqa: F401
        import uvicorn  # noqa: F401
    from c2seg.server.web.running import Address, Tls, run_site
    from c2seg.server.web.settings import WebSettings

    tls = Tls(Path(certificate), Path(key)) if certificate is not None and key is not None else None
    settings = WebSettings(public_url=public_url, trusted_proxies=tuple(trusted_proxies))
    run_site(Path(data), Address(host, port, tls), settings, workers=workers, ready=ready)
