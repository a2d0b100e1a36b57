"""``c2seg serve run``: the site and its workers, until stopped."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

from c2seg.api.serving import serve_challenge
from c2seg.cli.console import QUIET, note
from c2seg.cli.serve_common import DATA

__all__ = ["run"]


def run(
    data: Path = DATA,
    host: str = typer.Option("127.0.0.1", "--host", help="Address to listen on; 0.0.0.0: all of this machine."),
    port: int = typer.Option(8000, "--port", min=0, max=65535, help="Port; 0: a free one."),
    public_url: str | None = typer.Option(
        None, "--public-url", metavar="URL", help="What participants type, such as https://challenge.example.org."
    ),
    trusted_proxy: list[str] = typer.Option(
        ["127.0.0.1"], "--trusted-proxy", metavar="ADDRESS", help="Reverse proxy whose headers name the sender; repeat."
    ),
    certificate: Path | None = typer.Option(None, "--certificate", metavar="PEM", help="For https without a proxy."),
    key: Path | None = typer.Option(None, "--key", metavar="PEM", help="Key of the certificate."),
    workers: int = typer.Option(1, "--workers", min=0, help="Processes that score; 0: they run on their own."),
    quiet: bool = QUIET,
) -> None:
    """Serve the pages, the interface for programs and the queue until stopped."""
    with _log_on_stderr(quiet=quiet):
        serve_challenge(
            data, host=host, port=port, public_url=public_url, trusted_proxies=trusted_proxy, certificate=certificate,
            key=key, workers=workers, ready=lambda url: note(f"the site is at {url}", quiet=quiet),
        )  # fmt: skip


@contextmanager
def _log_on_stderr(*, quiet: bool) -> Iterator[None]:
    """Write the log of the site and of uvicorn with times; if quiet, warnings and errors only."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    loggers = [logging.getLogger(name) for name in ("c2seg", "uvicorn")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.WARNING if quiet else logging.INFO)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.removeHandler(handler)
            logger.setLevel(level)
