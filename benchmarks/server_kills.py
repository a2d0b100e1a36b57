"""Kill -9 of a challenge server and its worker at random: is an entry lost, or scored twice?

``python benchmarks/server_kills.py --kills 50``

Server and worker are processes of their own (``c2seg serve run --workers 0``, ``c2seg serve worker``). Teams upload entries by
tus without a break, and send an entry again until it is answered: by a receipt, or by the refusal of identical archives, where
the receipt was lost. Meanwhile one of the two processes is killed and started again, over and over: four times in five at a
random moment of its work, else while it starts.

Afterwards every entry that was sent must be there once, with the digest of what was sent, scored once, by counts that equal
those of the archive itself. ``--folder`` keeps the season: a second run goes on in it.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
from sqlalchemy import select

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from c2seg.challenge.submission import Decoder
from c2seg.server.references import withheld
from c2seg.server.results import result_row
from c2seg.server.scoring import Claim, count_entry
from c2seg.server.seasons import datasets, legend
from c2seg.server.service import Service, open_service
from c2seg.server.tables import Audit, Result
from helpers.challenge_site import archives, make_season

TUS = {"Tus-Resumable": "1.0.0"}
TEAMS = 3
PATIENCE_S = 120


@dataclass
class Sent:
    """What the teams know: digests that were answered, by team; the answers; how often they had to try again."""

    digests: dict[str, list[str]] = field(default_factory=dict)
    receipts: dict[int, str] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    again: Counter = field(default_factory=Counter)


class Process:
    """A command that is killed and started again."""

    def __init__(self, name: str, *arguments: str) -> None:
        self.name, self.kills, self._arguments = name, 0, arguments
        self.start()

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    def start(self) -> None:
        command = [sys.executable, "-m", "c2seg", "serve", *self._arguments]
        self._process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def kill(self) -> None:
        """End it as a power cut would, and start it again at once."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        self.kills += 1
        self.start()

    def stop(self) -> int:
        """End it as a person would; return its exit code."""
        self._process.terminate()
        return self._process.wait(90)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def upload(client: httpx.Client, name: str, data: bytes, addresses: dict[str, str]) -> str:
    """Upload a file in two pieces, or what is missing of it; return its id. ``addresses`` are uploads begun before."""
    offset = offset_of(client, addresses.get(name))
    if offset is None:
        metadata = f"dataset {base64.b64encode(name.encode()).decode()}"
        headers = {**TUS, "Upload-Length": str(len(data)), "Upload-Metadata": metadata}
        answer = client.post("/api/v1/uploads", headers=headers)
        answer.raise_for_status()
        addresses[name], offset = answer.headers["location"], 0
    half = len(data) // 2
    while offset < len(data):
        end = half if offset < half else len(data)
        headers = {**TUS, "Upload-Offset": str(offset), "Content-Type": "application/offset+octet-stream"}
        client.patch(addresses[name], headers=headers, content=data[offset:end]).raise_for_status()
        offset = end
    return addresses[name].rpartition("/")[2]


def offset_of(client: httpx.Client, address: str | None) -> int | None:
    """Return how much of an upload has arrived; None if there is no such upload (any more)."""
    if address is None:
        return None
    answer = client.head(address, headers=TUS)
    if answer.status_code in (403, 404, 410):
        return None
    answer.raise_for_status()
    return int(answer.headers["Upload-Offset"])


def entry_digest(contents: dict[str, bytes]) -> str:
    lines = (f"{name} {hashlib.sha256(contents[name]).hexdigest()}\n" for name in sorted(contents))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def send(client: httpx.Client, contents: dict[str, bytes], addresses: dict[str, str]) -> httpx.Response:
    uploads = {name: upload(client, name, data, addresses) for name, data in contents.items()}
    answer = client.post("/api/v1/entries", json={"method": "kills", "uploads": uploads})
    if answer.status_code == 409:  # the server has the entry already: these uploads are not needed
        for address in addresses.values():
            client.delete(address, headers=TUS)
    return answer


def work(url: str, team: str, token: str, first: int, stop: threading.Event, sent: Sent) -> None:
    """Send entry after entry, each until it is answered."""
    number = first
    while not stop.is_set():
        number += 1
        contents = archives(0.3, seed=number)
        answer = until_answered(url, token, contents, stop, sent)
        if answer is None:
            sent.wrong.append(f"no answer to an entry of {team} in {PATIENCE_S} s after the last kill")
            return
        note_answer(sent, team, entry_digest(contents), answer)
        stop.wait(0.5)


def until_answered(
    url: str, token: str, contents: dict[str, bytes], stop: threading.Event, sent: Sent
) -> httpx.Response | None:
    """Send an entry until it is answered, the last one, too; None if that takes too long after the last kill."""
    end, addresses = None, {}
    while end is None or time.monotonic() < end:
        try:
            with httpx.Client(
                base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=20, trust_env=False
            ) as client:
                answer = send(client, contents, addresses)
            if answer.status_code < 500 and answer.status_code != 429:
                return answer
            sent.again[f"answer {answer.status_code}"] += 1
        except httpx.HTTPError as error:
            sent.again[type(error).__name__] += 1
        time.sleep(0.3)
        if stop.is_set() and end is None:
            end = time.monotonic() + PATIENCE_S
    return None


def note_answer(sent: Sent, team: str, digest: str, answer: httpx.Response) -> None:
    content = answer.json()
    if answer.status_code == 201:
        sent.receipts[content["id"]] = digest
        if content["digest"] != digest:
            sent.wrong.append(f"receipt {content['id']} has another digest")
    elif content["error"]["code"] == "identical":
        sent.again["identical"] += 1
    else:
        sent.wrong.append(f"{answer.status_code}: {content['error']['message']}")
        return
    sent.digests.setdefault(team, []).append(digest)


def recount(service: Service, entry) -> set[tuple]:
    """Return the results that an entry should have, counted here."""
    with service.database.read() as session:
        ids = legend(session).ids
        references = [withheld(session, row, ids) for row in datasets(session)]
    by_name = {item.dataset: item.sha256 for item in entry.archives}
    claimed = Claim(entry.id, 0, tuple((ref.dataset_id, by_name[ref.name]) for ref in references))
    with Decoder() as decoder:
        counted = count_entry(claimed, references, service.archives, decoder)
    rows = (result_row(entry.id, *item) for item in counted.counts)
    return {(row.dataset_id, row.part, row.tiles, row.mosaic) for row in rows}


def verdict(service: Service, sent: Sent, sample: int) -> dict:
    """Compare what the teams know with what the server has."""
    entries = every_entry(service)
    there = Counter((entry.team, entry.digest) for entry in entries)
    known = {(team, digest) for team, digests in sent.digests.items() for digest in digests}
    with service.database.read() as session:
        results = session.scalars(select(Result)).all()
        acts = Counter(session.scalars(select(Audit.subject).where(Audit.action == "entry scored")))
    stored = Counter(row.entry_id for row in results)
    wrong_counts = 0
    for entry in random.Random(0).sample(entries, min(sample, len(entries))):
        seen = {(r.dataset_id, r.part, r.tiles, r.mosaic) for r in results if r.entry_id == entry.id}
        wrong_counts += seen != recount(service, entry)
    by_id = {entry.id: entry for entry in entries}
    return {
        "answered": len(known), "entries": len(entries),
        "lost": sum(there[key] == 0 for key in known)
        + sum(by_id.get(number) is None or by_id[number].digest != digest for number, digest in sent.receipts.items()),
        "there_twice": sum(count > 1 for count in there.values()),
        "not_scored": sum(entry.status != "scored" for entry in entries),
        "scored_twice": sum(acts[f"entry {entry.id}"] != 1 or stored[entry.id] != 4 for entry in entries),
        "archives_damaged": sum(not intact(service, item.sha256) for entry in entries for item in entry.archives),
        "recounted": min(sample, len(entries)), "wrong_counts": wrong_counts, "wrong_answers": sent.wrong,
        "sent_again": dict(sent.again),
    }  # fmt: skip


def intact(service: Service, sha256: str) -> bool:
    return hashlib.sha256(service.archives.path(sha256).read_bytes()).hexdigest() == sha256


def every_entry(service: Service) -> list:
    entries, page = [], service.entries(limit=1000)
    while page:
        entries += page
        page = service.entries(limit=1000, before=page[-1].id)
    return entries


def run(data: Path, options: argparse.Namespace) -> dict:
    port, sent, stop = free_port(), Sent(), threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())  # no more kills: what has happened so far is checked
    with (
        open_service(data) as service,
        Process("server", "run", str(data), "--port", str(port), "--workers", "0") as server,
        Process("worker", "worker", str(data)) as worker,
    ):
        threads = teams_at_work(service, f"http://127.0.0.1:{port}", stop, sent)
        began = time.monotonic()
        kill_at_random([server, worker], service, port, stop, options)
        stop.set()
        for thread in threads:
            thread.join()
        killed_s = time.monotonic() - began
        drained = drain(service, options.wait_s)
        codes = [server.stop(), worker.stop()]
        return {
            "kills": {process.name: process.kills for process in (server, worker)}, "seconds": round(killed_s),
            "queue_empty_after_s": drained, "exit_codes": codes, **verdict(service, sent, options.recount),
        }  # fmt: skip


def teams_at_work(service: Service, url: str, stop: threading.Event, sent: Sent) -> list[threading.Thread]:
    """Add teams, and let each send entries from a thread of its own."""
    now, first = datetime.now(UTC), 1_000_000 * len(service.teams())
    if not service.challenge().phases:
        quotas = {"daily_quota": 100_000, "total_quota": 100_000}
        service.add_phase("Kills", now - timedelta(hours=1), None, actor="benchmark", **quotas)
    threads = []
    for number in range(TEAMS):
        name = f"Team {first + number}"
        token = service.create_team(name, actor="benchmark")[1].text
        arguments = (url, name, token, first + 10_000 * number, stop, sent)
        threads.append(threading.Thread(target=work, args=arguments))
        threads[-1].start()
    return threads


def kill_at_random(
    processes: list[Process], service: Service, port: int, stop: threading.Event, options: argparse.Namespace
) -> None:
    rng = random.Random(options.seed)
    for _ in range(options.kills):
        process = rng.choice(processes)
        if rng.random() < 0.8:
            wait_until_ready(process, service, port)
        if stop.wait(rng.uniform(0, options.longest_s)):
            break
        process.kill()


def wait_until_ready(process: Process, service: Service, port: int, longest_s: float = 120) -> None:
    """Wait until the server answers, or the worker reports."""
    end = time.monotonic() + longest_s
    while time.monotonic() < end and not is_ready(process, service, port):
        time.sleep(0.05)


def is_ready(process: Process, service: Service, port: int) -> bool:
    if process.name == "worker":
        return any(f":{process.pid}:" in state.name for state in service.queue_state().workers)
    try:
        return httpx.get(f"http://127.0.0.1:{port}/health", timeout=5, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


def drain(service: Service, wait_s: float) -> float | None:
    """Wait until nothing waits; return the seconds, None if it takes too long."""
    began = time.monotonic()
    while time.monotonic() - began < wait_s:
        state = service.queue_state()
        if not state.queued and not state.scoring:
            return round(time.monotonic() - began, 1)
        time.sleep(0.5)
    return None


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--longest-s", type=float, default=3.0, help="Kills come within so many seconds.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--recount", type=int, default=20, help="Entries whose counts are computed again.")
    parser.add_argument("--wait-s", type=float, default=180, help="Wait so long for an empty queue.")
    parser.add_argument("--folder", type=Path, help="Keep the season here; default: a temporary folder.")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        data = folder / "season"
        if not data.exists():
            make_season(folder)
        result = run(data, options)
    print(json.dumps(result, indent=1))
    clean = ("lost", "there_twice", "not_scored", "scored_twice", "archives_damaged", "wrong_counts", "wrong_answers")
    sys.exit(any(result[key] for key in clean))


if __name__ == "__main__":
    main()
