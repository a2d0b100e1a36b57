"""Many uploads at the same time into one challenge server: is any lost, how much memory does the server take?

``python benchmarks/server_load.py --uploads 100 --megabytes 20``

The server and its worker are processes of their own (``c2seg serve run``). Every team uploads one valid archive by tus,
in pieces of 4 MB with checksums, all at once. Afterwards every receipt must have the digest of what was sent, and so must the
files in the server's store. Peak memory is VmHWM of the server process.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from c2seg.challenge.withheld import ReferenceSource
from c2seg.legend import c2seg13
from c2seg.server.creating import SeasonPlan, create_season
from c2seg.server.service import open_service
from helpers.challenge_site import write_raster
from helpers.submission_makers import tiff

TILE_PX = 128
TUS = {"Tus-Resumable": "1.0.0"}
PIECE = 1 << 22


def side_for(megabytes: float) -> int:
    """Tiles on a side of a square map whose uncompressed archive has that size."""
    return max(1, round((megabytes * 1e6 / (TILE_PX**2 + 600)) ** 0.5))


def make_archive(path: Path, number: int, tiles: int) -> str:
    """Write a valid archive, different for every number: uncompressed tiles of random classes. Returns its SHA-256."""
    rng = np.random.default_rng(7)
    plain = [encoded(rng) for _ in range(8)]
    special = encoded(np.random.default_rng(1000 + number))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for tile in range(tiles):
            archive.writestr(f"{tile}_prediction.tif", special if tile == number % tiles else plain[tile % 8])
    return digest_of(path)


def encoded(rng: np.random.Generator) -> bytes:
    return tiff(rng.integers(1, 14, (TILE_PX, TILE_PX), dtype=np.uint8), compress="none")


def digest_of(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextmanager
def served(data: Path) -> Iterator[tuple[str, int]]:
    """Run the command; yield its address and its process id."""
    command = [sys.executable, "-m", "c2seg", "serve", "run", str(data), "--port", "0"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    url = ""
    for line in process.stderr:
        if match := re.search(r"the site is at (\S+)", line):
            url = match[1]
            break
    threading.Thread(target=lambda: [None for _ in process.stderr], daemon=True).start()
    try:
        yield url, process.pid
    finally:
        process.terminate()
        process.wait(60)


def peak_mb(pid: int) -> float:
    return int(re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1]) / 1024


def send(url: str, token: str, path: Path, start: threading.Barrier) -> dict:
    size = path.stat().st_size
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=url, headers=headers, timeout=600, trust_env=False) as client:
        start.wait()
        metadata = "dataset " + base64.b64encode(b"AB").decode()
        answer = client.post(
            "/api/v1/uploads", headers={**TUS, "Upload-Length": str(size), "Upload-Metadata": metadata}
        )
        answer.raise_for_status()
        address = answer.headers["location"]
        for offset in range(0, size, PIECE):
            with path.open("rb") as stream:
                stream.seek(offset)
                piece = stream.read(PIECE)
            digest = base64.b64encode(hashlib.sha256(piece).digest()).decode()
            client.patch(
                address, content=piece,
                headers={**TUS, "Upload-Offset": str(offset), "Content-Type": "application/offset+octet-stream",
                         "Upload-Checksum": f"sha256 {digest}"},
            ).raise_for_status()  # fmt: skip
        answer = client.post("/api/v1/entries", json={"method": "load", "uploads": {"AB": address[-32:]}})
        answer.raise_for_status()
        return answer.json()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--uploads", type=int, default=100)
    parser.add_argument("--megabytes", type=float, default=20)
    parser.add_argument("--score-minutes", type=float, default=3, help="Wait so long for scores.")
    options = parser.parse_args()
    side = side_for(options.megabytes)
    with tempfile.TemporaryDirectory() as folder:
        labels = np.random.default_rng(0).integers(0, 14, (side * TILE_PX, side * TILE_PX), dtype=np.uint8)
        source = ReferenceSource(write_raster(Path(folder) / "label.tif", labels), TILE_PX)
        data = Path(folder) / "data"
        create_season(data, SeasonPlan("Load", {"AB": source}, c2seg13()))
        with open_service(data) as service:
            now = datetime.now(UTC)
            service.add_phase("Development", now - timedelta(hours=1), now + timedelta(days=1), actor="benchmark")
            tokens = [service.create_team(f"Team {n}", actor="benchmark")[1].text for n in range(options.uploads)]
            with served(data) as (url, pid):
                print(json.dumps(measure(service, options, url, pid, tokens, side * side), indent=1))


def measure(service, options, url, pid, tokens, tiles) -> dict:
    folder = service.folder.root.parent
    paths = [folder / f"{number}.zip" for number in range(options.uploads)]
    digests = [make_archive(path, number, tiles) for number, path in enumerate(paths)]
    print("archives are made", file=sys.stderr, flush=True)
    idle, size, start = peak_mb(pid), paths[0].stat().st_size, threading.Barrier(options.uploads)
    began = time.monotonic()
    with ThreadPoolExecutor(options.uploads) as pool:
        receipts = list(pool.map(lambda n: send(url, tokens[n], paths[n], start), range(options.uploads)))
    seconds, peak = time.monotonic() - began, peak_mb(pid)
    print(f"uploads took {seconds:.1f} s, peak {peak:.0f} MB", file=sys.stderr, flush=True)
    right = sum(receipt["archives"][0]["sha256"] == digest for receipt, digest in zip(receipts, digests, strict=True))
    stored = {digest_of(path) for path in service.folder.archives.rglob("*") if path.is_file()}
    lost = sum(digest not in stored for digest in digests) + options.uploads - len(service.entries(limit=1000))
    end, scored = time.monotonic() + 60 * options.score_minutes, 0
    while scored < options.uploads and time.monotonic() < end:
        time.sleep(1)
        scored = sum(entry.status == "scored" for entry in service.entries(limit=1000))
    return {
        "uploads": options.uploads, "archive_mb": round(size / 1e6, 1), "receipts_right": right, "lost": lost,
        "seconds": round(seconds, 1), "mb_per_s": round(options.uploads * size / 1e6 / seconds, 1),
        "server_idle_mb": round(idle), "server_peak_mb": round(peak),
        "unfinished_files": len(list(service.folder.incoming.glob("*.part"))),
        "scored": scored, "scored_after_s": round(time.monotonic() - began, 1), "cores": len(os.sched_getaffinity(0)),
    }  # fmt: skip


if __name__ == "__main__":
    main()
