"""A small season with two data sets, archives for it, and its site in a thread of this process."""

from __future__ import annotations

import asyncio
import atexit
import base64
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import httpx
import numpy as np
import rasterio
import uvicorn

from c2seg.challenge import Decoder, tile_windows
from c2seg.challenge.withheld import ReferenceSource
from c2seg.legend import c2seg13
from c2seg.server.creating import SeasonPlan, create_season
from c2seg.server.folder import ServerFolder
from c2seg.server.service import Service, open_service
from c2seg.server.views import Phase
from c2seg.server.web.running import server_config
from c2seg.server.web.settings import WebLimits, WebSettings
from c2seg.server.web.site import Site, make_site
from c2seg.server.worker import Worker
from helpers.submission_makers import pack, tiff

TILE_PX = 16
SHAPES = {"AB": (48, 64), "BW": (64, 64)}
OFF = WebLimits(pages_per_minute=100_000, writes_per_minute=100_000, logins_per_minute=100_000)


def reference(name: str) -> np.ndarray:
    """Class ids 0..13 [H, W] in patches, some unknown; every tile has most classes."""
    height, width = SHAPES[name]
    rng = np.random.default_rng(len(name) + ord(name[0]))
    return np.kron(rng.integers(0, 14, (height // 4, width // 4)), np.ones((4, 4))).astype(np.uint8)


def prediction(name: str, wrong: float, seed: int = 0) -> np.ndarray:
    """The ground truth, with a share of the pixels drawn anew."""
    labels = reference(name)
    rng = np.random.default_rng(seed)
    drawn = rng.integers(1, 14, labels.shape).astype(np.uint8)
    return np.where(rng.random(labels.shape) < wrong, drawn, np.maximum(labels, 1)).astype(np.uint8)


def archive(ids: np.ndarray) -> bytes:
    """The zip of a map."""
    windows = tile_windows(*ids.shape, TILE_PX)
    tiles = (ids[w.row : w.row + w.height, w.col : w.col + w.width] for w in windows)
    return pack({f"{n}_prediction.tif": tiff(tile) for n, tile in enumerate(tiles)})


def archives(wrong: float, seed: int = 0) -> dict[str, bytes]:
    """Archives of an entry, by data set."""
    return {name: archive(prediction(name, wrong, seed)) for name in SHAPES}


def write_raster(path: Path, ids: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(
        path, "w", driver="GTiff", height=ids.shape[0], width=ids.shape[1], count=1, dtype="uint8", crs="EPSG:32633",
        transform=rasterio.Affine(10, 0, 4e5, 0, -10, 5.8e6),
    ) as dataset:  # fmt: skip
        dataset.write(ids, 1)
    return path


def make_season(folder: Path, title: str = "C2Seg test season") -> tuple[Path, str]:
    """Make a data folder; return it and the organizer's token."""
    sources = {
        name: ReferenceSource(write_raster(folder / f"{name}_label.tif", reference(name)), TILE_PX) for name in SHAPES
    }
    data = folder / "season"
    issued = create_season(data, SeasonPlan(title, sources, c2seg13(), public_share=0.4, seed=1))
    return data, issued.text


@cache
def shared_decoder() -> Decoder:
    """The decoder of all sites of this process: it takes a second to start."""
    decoder = Decoder()
    atexit.register(decoder.close)
    return decoder


@dataclass
class LiveSite:
    """A site that answers. ``sign_in`` and ``post`` act as a browser does."""

    url: str
    data: Path
    service: Service
    organizer: str
    teams: dict[str, str] = field(default_factory=dict)
    """Tokens by name."""
    clients: list[httpx.Client] = field(default_factory=list)
    """All that were made; they are closed with the site."""
    app_site: Site | None = None
    """The state of the application."""
    _worker: Worker | None = None
    _signed_in: dict[str, httpx.Client] = field(default_factory=dict)

    def client(self, token: str | None = None) -> httpx.Client:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self.clients.append(httpx.Client(base_url=self.url, headers=headers, timeout=30, trust_env=False))
        return self.clients[-1]

    def team(self, name: str) -> str:
        """Return the token of a team, which is added if it is not there."""
        if name not in self.teams:
            _, issued = self.service.create_team(name, "mail@example.org", actor="test")
            self.teams[name] = issued.text
        return self.teams[name]

    def open_phase(self, name: str = "Development", **options: object) -> Phase:
        now = datetime.now(UTC)
        options = {"actor": "test", "daily_quota": 50, "total_quota": 500, **options}
        return self.service.add_phase(name, now - timedelta(hours=1), now + timedelta(days=7), **options)

    def as_person(self, token: str) -> httpx.Client:
        """Return a client with a session, the same for every call."""
        if token not in self._signed_in:
            self._signed_in[token] = self.sign_in(token)
        return self._signed_in[token]

    def sign_in(self, token: str) -> httpx.Client:
        """Return a client with a new session."""
        client = self.client()
        answer = client.post("/login", data={"token": token, "form_token": form_token(client.get("/login").text)})
        assert answer.status_code == 303, answer.text
        return client

    def score(self, *entry_ids: int) -> None:
        """Score entries, or all that waits, in this process."""
        self._worker = self._worker or Worker(ServerFolder.open(self.data), shared_decoder())
        for entry_id in entry_ids or sorted(entry.id for entry in self.service.entries(private=True)):
            self._worker.score(entry_id)

    def close(self) -> None:
        for client in self.clients:
            client.close()
        if self._worker:
            self._worker.close()


def form_token(page: str) -> str:
    found = re.search(r'name="form_token" value="([^"]+)"', page)
    assert found, page
    return found.group(1)


def upload(client: httpx.Client, dataset: str, data: bytes, piece: int = 1 << 20) -> str:
    """Upload by tus in pieces; return the id of the upload."""
    version = {"Tus-Resumable": "1.0.0"}
    metadata = f"dataset {base64.b64encode(dataset.encode()).decode()}"
    answer = client.post(
        "/api/v1/uploads", headers={**version, "Upload-Length": str(len(data)), "Upload-Metadata": metadata}
    )
    assert answer.status_code == 201, answer.text
    address = answer.headers["location"]
    for start in range(0, len(data), piece):
        headers = {**version, "Upload-Offset": str(start), "Content-Type": "application/offset+octet-stream"}
        answer = client.patch(address, headers=headers, content=data[start : start + piece])
        assert answer.status_code == 204, answer.text
    return address.rpartition("/")[2]


def enter(client: httpx.Client, contents: dict[str, bytes], method: str = "main") -> httpx.Response:
    """Upload archives and make them an entry."""
    uploads = {name: upload(client, name, data) for name, data in contents.items()}
    return client.post("/api/v1/entries", json={"method": method, "uploads": uploads})


@contextmanager
def running_site(folder: Path, settings: WebSettings | None = None) -> Iterator[LiveSite]:
    """Run a new season's site in a thread, on a free port of the loopback."""
    data, organizer = make_season(folder)
    settings = settings or WebSettings(limits=OFF)
    with open_service(data) as service, socket.create_server(("127.0.0.1", 0)) as listener:
        state = make_site(service, settings)
        server = uvicorn.Server(server_config(state))
        site = LiveSite(f"http://127.0.0.1:{listener.getsockname()[1]}", data, service, organizer, app_site=state)
        thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])))
        thread.start()
        try:
            while not server.started:
                assert thread.is_alive()
                thread.join(0.02)
            yield site
        finally:
            site.close()
            server.should_exit = True
            thread.join()
