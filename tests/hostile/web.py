"""Spoiled requests and archives for a challenge server, and what became of them.

A request is determined by a seed and its number. It is right only if the server answers below 500 or closes the connection.
"""

from __future__ import annotations

import json
import re
import socket
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from random import Random
from urllib.parse import quote, urlencode

import httpx

from helpers.challenge_site import LiveSite, archives, enter, form_token
from hostile.mutations import VALUES, spoil_bytes, spoil_text

TYPES = (
    "application/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=b",
    "application/offset+octet-stream", "multipart/form-data", "text/plain", "application/json; charset=x", "",
)  # fmt: skip
METHODS = (
    "GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "CONNECT", "get", "X" * 300, "PROPFIND",
)  # fmt: skip
HEADER_VALUES = (
    b"", b"0", b"-1", b"1", b"5", b"999999999999999", b"9" * 400, b"x" * 5000, b"\xff\xfe", "é".encode(), b"null",
    b"chunked", b"1.0.0", b"a b", b"a YQ==,b YQ==", b"sha256 YQ==", b"Bearer ", b"Basic YTpi",
    b"c2seg=..; c2seg=1.2.3.4.5", b"bytes=0-", b"*/*", b"https://evil.example", b"gzip, br", b"100-continue",
    b"close", b"Upgrade", b"websocket", b"[::1]:99999", b"a" * 100 + b"\t",
)  # fmt: skip
HEADERS = (
    "Content-Length", "Transfer-Encoding", "Content-Type", "Authorization", "Cookie", "Host", "Origin",
    "Upload-Length", "Upload-Offset", "Upload-Metadata", "Upload-Checksum", "Tus-Resumable", "Expect", "Connection",
    "Upgrade", "X-Forwarded-For", "Range", "Accept", "Content-Encoding", "X-HTTP-Method-Override", "Sec-Fetch-Site",
    "If-None-Match", "Upload-Defer-Length",
)  # fmt: skip
PATHS = (
    "/..", "/../../etc/passwd", "/%00", "/%ff%fe", "//evil.example", "/api", "/api/v1", "/organizer/", "/entries/",
    "/entries/-1", "/style-.css", "/entries/1e3", "/entries/99999999999999999999999", "/api/v1/entries/0x1",
    "/api/v1/uploads/../x", "/api/v1/uploads/" + "a" * 32, "/\u202e", "/board?phase=-1", "/board?phase=1&phase=2",
    "/board?part=x", "/history.csv?phase=" + "9" * 100, "/organizer/entries?before=0", "/login?next=%0d%0aX:y",
    "/?" + "a=b&" * 2000, "/" + "a" * 20_000, "*", "http://x/", "/team?done=<script>",
    "/api/v1/entries?limit=100000", "/.env", "/index.php",
)  # fmt: skip


@dataclass(frozen=True)
class Request:
    """A request before it is sent. ``Host`` and ``Content-Length`` are added unless there."""

    method: str
    path: str
    headers: tuple[tuple[str, bytes], ...] = ()
    body: bytes = b""

    def raw(self) -> bytes:
        names = {name.lower() for name, _ in self.headers}
        headers = list(self.headers)
        if "host" not in names:
            headers.append(("Host", b"x"))
        if self.body and not names & {"content-length", "transfer-encoding"}:
            headers.append(("Content-Length", str(len(self.body)).encode()))
        lines = [
            f"{self.method} {self.path} HTTP/1.1".encode(),
            *(name.encode() + b": " + value for name, value in headers),
        ]
        return b"\r\n".join(lines) + b"\r\n\r\n" + self.body


@dataclass
class Outcome:
    """How many answers of which status, how many closed connections, and what was wrong."""

    statuses: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)


class Catalogue:
    """Requests that are right, of teams, organizers and anybody, to be spoiled."""

    def __init__(self, site: LiveSite) -> None:
        self.site = site
        self.teams = [site.team(f"Team {n}") for n in range(4)]
        browser, organizer = site.sign_in(self.teams[0]), site.sign_in(site.organizer)
        self.anonymous = site.client()
        self.requests = [*self._pages(browser, organizer), *self._forms(browser, organizer), *self._programs()]

    def _pages(self, browser: httpx.Client, organizer: httpx.Client) -> Iterator[Request]:
        public = (
            "/",
            "/board",
            "/history?phase=1",
            "/board.csv",
            "/history.csv",
            "/rules",
            "/help",
            "/login?next=/team",
            "/icon.svg",
            "/health",
        )
        yield from (Request("GET", path) for path in public)
        yield from (
            Request("GET", path, cookie(browser))
            for path in ("/team?before=3", "/submit", "/entries/1", "/entries/1/receipt.json")
        )
        paths = ("", "/entries?before=9", "/teams", "/teams/1", "/phases", "/phases/1", "/season", "/audit?before=5")
        yield from (Request("GET", f"/organizer{path}", cookie(organizer)) for path in paths)

    def _forms(self, browser: httpx.Client, organizer: httpx.Client) -> Iterator[Request]:
        token = form_token(self.anonymous.get("/login").text)
        yield form("/login", cookie(self.anonymous), token=self.teams[0], form_token=token, next="/team")
        token = form_token(browser.get("/submit").text)
        yield form("/entries/1/withdraw", cookie(browser), form_token=token)
        yield multipart("/submit", cookie(browser), token, archives(0.9))
        token, who = form_token(organizer.get("/organizer/teams").text), cookie(organizer)
        yield form("/organizer/teams", who, form_token=token, name="New team", contact="a@example.org")
        yield form("/organizer/teams/4/disqualify", who, form_token=token, reason="a reason")
        yield form("/organizer/teams/4/reinstate", who, form_token=token)
        yield form("/organizer/teams/4/token", who, form_token=token)
        yield form(
            "/organizer/phases", who, form_token=token, name="Next", opens_at="2098-01-01T00:00", closes_at="2098-02-01T00:00",
            part="all", daily_quota="5", total_quota="9", hidden="1", late="",
        )  # fmt: skip
        yield form(
            "/organizer/phases/1", who, form_token=token, act="save", name="Development", opens_at="2020-01-01T00:00"
        )
        yield form(
            "/organizer/season", who, form_token=token, act="save", title="Title", counting="best", embargo_until=""
        )
        for act in ("disqualify", "withdraw", "reinstate", "requeue"):
            yield form(f"/organizer/entries/1/{act}", who, form_token=token, reason="a reason")

    def _programs(self) -> Iterator[Request]:
        team, organizer = bearer(self.teams[1]), bearer(self.site.organizer)
        tus = (("Tus-Resumable", b"1.0.0"),)
        yield from (
            Request("GET", f"/api/v1/{path}") for path in ("challenge", "board?phase=1", "history", "openapi.json")
        )
        yield from (Request("GET", f"/api/v1/{path}", team) for path in ("me", "entries?limit=5&before=9", "entries/2"))
        yield from (
            Request("GET", f"/api/v1/{path}", organizer) for path in ("teams", "audit?limit=3", "board?part=private")
        )
        yield Request(
            "POST", "/api/v1/uploads", (*team, *tus, ("Upload-Length", b"5"), ("Upload-Metadata", b"dataset QUI="))
        )
        piece = (("Content-Type", b"application/offset+octet-stream"), ("Upload-Offset", b"0"))
        yield Request("POST", "/api/v1/uploads", (*team, *tus, *piece, ("Upload-Length", b"4")), b"abcd")
        address = self._upload()
        yield Request("PATCH", address, (*team, *tus, *piece), b"abc")
        yield Request("PATCH", address, (*team, *tus, *piece, ("Upload-Checksum", b"sha256 YQ==")), b"abc")
        yield Request("HEAD", address, (*team, *tus))
        yield Request("DELETE", "/api/v1/uploads/" + "0" * 32, (*team, *tus))
        json_type = (("Content-Type", b"application/json"),)
        entry = json.dumps({"method": "m", "uploads": {"AB": address[-32:], "BW": "0" * 32}}).encode()
        yield Request("POST", "/api/v1/entries", (*team, *json_type), entry)
        yield Request("POST", "/api/v1/entries/2/withdraw", team)
        yield Request("POST", "/api/v1/teams", (*organizer, *json_type), b'{"name": "By program", "contact": ""}')

    def _upload(self) -> str:
        client = self.site.client(self.teams[1])
        answer = client.post("/api/v1/uploads", headers={"Tus-Resumable": "1.0.0", "Upload-Length": "1000"})
        return str(answer.headers["location"])

    def spoiled(self, seed: int, number: int) -> bytes:
        """Return the bytes of one spoiled request."""
        rng = Random(f"{seed} {number}")
        request = rng.choice(self.requests)
        for _ in range(rng.choice((1, 1, 2, 3))):
            request = rng.choice(WAYS)(rng, request)
        raw = request.raw()
        return spoil_bytes(rng, raw) if rng.random() < 0.25 else raw


def cookie(client: httpx.Client) -> tuple[tuple[str, bytes], ...]:
    return (("Cookie", "; ".join(f"{name}={value}" for name, value in client.cookies.items()).encode()),)


def bearer(token: str) -> tuple[tuple[str, bytes], ...]:
    return (("Authorization", f"Bearer {token}".encode()),)


def form(path: str, who: tuple[tuple[str, bytes], ...], **fields: str) -> Request:
    return Request(
        "POST", path, (*who, ("Content-Type", b"application/x-www-form-urlencoded")), urlencode(fields).encode()
    )


def multipart(path: str, who: tuple[tuple[str, bytes], ...], token: str, files: dict[str, bytes]) -> Request:
    parts = [("form_token", None, token.encode()), ("method", None, b"by form")]
    parts += [(f"archive-{n}", f"{name}.zip", data) for n, (name, data) in enumerate(files.items())]
    body = b""
    for name, file, data in parts:
        extra = f'; filename="{file}"\r\nContent-Type: application/zip' if file else ""
        body += f'--b\r\nContent-Disposition: form-data; name="{name}"{extra}\r\n\r\n'.encode() + data + b"\r\n"
    return Request("POST", path, (*who, ("Content-Type", b"multipart/form-data; boundary=b")), body + b"--b--\r\n")


def _header(rng: Random, request: Request) -> Request:
    headers = list(request.headers)
    how = rng.randrange(4)
    value = rng.choice(HEADER_VALUES)
    if how == 0 or not headers:
        headers.append((rng.choice(HEADERS), value))
    elif how == 1:
        headers.pop(rng.randrange(len(headers)))
    elif how == 2:
        place = rng.randrange(len(headers))
        headers[place] = (headers[place][0], value if rng.random() < 0.6 else spoil_bytes(rng, headers[place][1]))
    else:
        headers.append(rng.choice(headers))
    return replace(request, headers=tuple((name, re.sub(rb"[\r\n\0]", b"", value)) for name, value in headers))


def _path(rng: Random, request: Request) -> Request:
    if rng.random() < 0.4:
        return replace(request, path=quote(rng.choice(PATHS), safe="/?=&%:*."))
    value = quote(str(rng.choice(VALUES))[:3000], safe="")
    parts = ["", *request.path.split("/")] if "/" not in request.path else request.path.split("/")
    parts[rng.randrange(1, len(parts))] = value
    path = (
        "/".join(parts)
        if rng.random() < 0.6
        else f"{request.path}{rng.choice('?&')}{rng.choice(('phase', 'before', 'part', 'limit', 'done'))}={value}"
    )
    return replace(request, path=path)


def _method(rng: Random, request: Request) -> Request:
    return replace(request, method=rng.choice(METHODS))


def _body(rng: Random, request: Request) -> Request:
    how = rng.randrange(4)
    if how == 0 or not request.body:
        return replace(request, body=spoil_bytes(rng, request.body or b'{"a": [1, 2]}'))
    if how == 1:
        text = spoil_text(rng, request.body.decode("latin-1"))
        return replace(request, body=text.encode("utf-8", "surrogateescape" if rng.random() < 0.5 else "replace"))
    if how == 2:
        kind = rng.choice(TYPES).encode()
        return replace(
            request, headers=(*(h for h in request.headers if h[0] != "Content-Type"), ("Content-Type", kind))
        )
    return replace(
        request, body=rng.choice((b"", b"[" * 5000, b"{}", b"null", b'"x"', rng.randbytes(3000), b"a=" * 2000))
    )


def _field(rng: Random, request: Request) -> Request:
    """Put an odd value into a field of a form or of JSON."""
    kind = dict(request.headers).get("Content-Type", b"")
    value = rng.choice(VALUES)
    if kind == b"application/json":
        try:
            content = json.loads(request.body)
        except ValueError:
            return request
        if isinstance(content, dict) and content:
            content[rng.choice(list(content))] = value
        return replace(request, body=json.dumps(content).encode())
    if kind.startswith(b"application/x-www"):
        pairs = request.body.decode("latin-1").split("&")
        place = rng.randrange(len(pairs))
        name = pairs[place].partition("=")[0]
        if name != "form_token" or rng.random() < 0.2:
            pairs[place] = (
                f"{name}={quote(str(value), errors='surrogatepass')}" if rng.random() < 0.8 else f"{name}=%00%ff%0a"
            )
        return replace(request, body="&".join(pairs).encode())
    return request


WAYS = (_header, _path, _method, _body, _field, _field)


def answer_of(site: LiveSite, data: bytes, wait_s: float) -> str:
    """Send bytes; return the status, ``closed`` for a connection that is closed without one, or ``hang``."""
    host, port = site.url.removeprefix("http://").split(":")
    received, end = b"", time.monotonic() + wait_s
    try:
        with socket.create_connection((host, int(port)), timeout=wait_s) as connection:
            connection.sendall(data)
            while b"\r\n" not in received:
                connection.settimeout(max(0.01, end - time.monotonic()))
                part = connection.recv(65536)
                if not part:
                    return "closed"
                received += part
    except TimeoutError:
        return "hang"
    except OSError:
        return "closed"
    match = re.match(rb"HTTP/1\.[01] (\d{3}) ", received)
    return match[1].decode() if match else "no HTTP"


def campaign(site: LiveSite, seed: int, count: int, *, threads: int = 12, wait_s: float = 30.0) -> Outcome:
    """Send so many spoiled requests. Faults are 5xx, hangs and answers that are no HTTP; then the server must still answer."""
    catalogue, outcome = Catalogue(site), Outcome()

    def send(number: int) -> tuple[int, str]:
        return number, answer_of(site, catalogue.spoiled(seed, number), wait_s)

    with ThreadPoolExecutor(threads) as pool:
        for number, status in pool.map(send, range(count)):
            outcome.statuses[status] += 1
            if status.startswith("5") or status in ("hang", "no HTTP"):
                outcome.faults.append(
                    f"request {number} of seed {seed}: {status}: {catalogue.spoiled(seed, number)[:300]!r}"
                )
    if catalogue.anonymous.get("/health").status_code != 200:
        outcome.faults.append("the server does not answer any more")
    return outcome


def archive_campaign(site: LiveSite, seed: int, count: int) -> Outcome:
    """Enter so many spoiled archives, and score them. Right are ``scored`` and ``refused``, and refusals at the door."""
    outcome, good = Outcome(), archives(0.5, seed=99)
    for number in range(count):
        rng = Random(f"archive {seed} {number}")
        name = rng.choice(list(good))
        contents = good | {name: spoil_bytes(rng, good[name]) or b"x"}
        client = site.client(site.team(f"Archives {number // 15}"))
        answer = enter(client, contents, f"number {number}")
        client.close()
        if answer.status_code != 201:
            outcome.statuses[f"at the door: {answer.json()['error']['code']}"] += 1
            if answer.status_code >= 500:
                outcome.faults.append(f"archive {number} of seed {seed}: {answer.status_code}")
            continue
        site.score(answer.json()["id"])
        entry = site.service.entry(answer.json()["id"])
        outcome.statuses[entry.status] += 1
        if entry.status not in ("scored", "refused"):
            outcome.faults.append(f"archive {number} of seed {seed}: {entry.status}: {entry.reason}")
    return outcome
