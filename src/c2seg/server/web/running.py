"""The server process: uvicorn with our limits, and the workers beside it, which it starts again when they end."""

from __future__ import annotations

import asyncio
import ctypes
import logging
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from c2seg.errors import InputError
from c2seg.outputs import working_in
from c2seg.server.service import Service, open_service
from c2seg.server.web.app import create_app
from c2seg.server.web.protocol import timed_protocol
from c2seg.server.web.settings import WebSettings
from c2seg.server.web.site import Site, make_site
from c2seg.server.web.texts import write_pages

__all__ = ["Address", "Tls", "run_site", "server_config"]

_log = logging.getLogger("c2seg.server")
_RESTART_S = 2.0
_STOP_S = 30.0
_HEAD_BYTES = 32_768
_PDEATHSIG = 1  # PR_SET_PDEATHSIG of linux/prctl.h


@dataclass(frozen=True, slots=True)
class Tls:
    """Certificate and key, where no reverse proxy speaks https."""

    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen. Port 0: one that is free."""

    host: str = "127.0.0.1"
    port: int = 8000
    tls: Tls | None = None


def run_site(
    data: Path,
    address: Address,
    settings: WebSettings,
    *,
    workers: int = 1,
    ready: Callable[[str], None] = lambda url: None,
) -> None:
    """Serve a data folder until SIGINT or SIGTERM; open requests end first. ``ready`` gets the address once it answers.

    Raises OutputError if another server works in the folder, InputError for an address that cannot be used.
    """
    with open_service(data) as service, working_in(service.folder.incoming):
        write_pages(service.folder.pages)
        with _listening(address) as listener, _temporary_files_in(service.folder.incoming), _workers(data, workers):
            _serve(service, address, settings, listener, ready)


@contextmanager
def _listening(address: Address) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    with socket.socket(family) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((address.host, address.port))
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise InputError(f"cannot listen on `host={address.host}`, `port={address.port}`: {reason}") from error
        yield listener


@contextmanager
def _temporary_files_in(folder: Path) -> Iterator[None]:
    """Let forms come to rest on the disk of the data: a usual /tmp may be memory."""
    before, tempfile.tempdir = tempfile.tempdir, str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = before


def _serve(
    service: Service, address: Address, settings: WebSettings, listener: socket.socket, ready: Callable[[str], None]
) -> None:
    config = server_config(make_site(service, settings), address.tls)
    _Server(config, lambda: ready(_url(address, listener))).run(sockets=[listener])


def server_config(site: Site, tls: Tls | None = None) -> uvicorn.Config:
    """Return how uvicorn serves a site: one process, HTTP/1.1, our limits, no log of its own."""
    limits, trusted = site.settings.limits, site.settings.trusted_proxies
    protocol = timed_protocol(limits.header_s, limits.connections_per_address, trusted)
    return uvicorn.Config(
        create_app(site), http=protocol, ws="none", lifespan="on", log_config=None,
        server_header=False, timeout_keep_alive=15, timeout_graceful_shutdown=int(_STOP_S),
        limit_concurrency=limits.connections, h11_max_incomplete_event_size=_HEAD_BYTES,
        forwarded_allow_ips=list(trusted),
        ssl_certfile=tls.certificate if tls else None, ssl_keyfile=str(tls.key) if tls else None,
    )  # fmt: skip


def _url(address: Address, listener: socket.socket) -> str:
    host = f"[{address.host}]" if ":" in address.host else address.host
    return f"{'https' if address.tls else 'http'}://{host}:{listener.getsockname()[1]}"


class _Server(uvicorn.Server):
    """uvicorn's server, which says when it answers."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        await asyncio.sleep(0)
        self._ready()


@contextmanager
def _workers(data: Path, count: int) -> Iterator[None]:
    """Keep so many workers running within the block."""
    stop = threading.Event()
    keepers = [threading.Thread(target=_keep, args=(data, stop), name=f"worker {n}") for n in range(count)]
    for keeper in keepers:
        keeper.start()
    try:
        yield
    finally:
        stop.set()
        for keeper in keepers:
            keeper.join()


def _keep(data: Path, stop: threading.Event) -> None:
    """Start a worker again whenever it ends. It ends with this process, however that ends."""
    command = [sys.executable, "-m", "c2seg", "serve", "worker", str(data)]
    while not stop.is_set():
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, preexec_fn=_end_with_parent)
        while process.poll() is None and not stop.wait(0.2):
            pass
        if stop.is_set():
            _end(process)
        else:
            _log.error("a worker ended with %s; another one starts", process.returncode)
            stop.wait(_RESTART_S)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


_PRCTL = getattr(ctypes.CDLL(None), "prctl", None)


def _end_with_parent() -> None:
    if _PRCTL is not None:
        _PRCTL(_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
