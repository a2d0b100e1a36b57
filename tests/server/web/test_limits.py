"""Requests that are too large, too slow, too many, or not HTTP end with an answer or a closed connection, never with a 5xx."""

from __future__ import annotations

import json
import socket
import time
from contextlib import ExitStack

import pytest

from c2seg.server.web.settings import WebLimits, WebSettings
from helpers.challenge_site import archives, enter, form_token, running_site

LIMITS = WebLimits(
    header_s=0.4,
    connections_per_address=12,
    idle_s=0.4,
    small_body=4096,
    pages_per_minute=20,
    writes_per_minute=30,
    logins_per_minute=5,
    expire_s=3600,
)
LOGIN = b"POST /login HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n"


@pytest.fixture(scope="module")
def strict(tmp_path_factory):
    with running_site(tmp_path_factory.mktemp("strict"), WebSettings(limits=LIMITS, trusted_proxies=())) as site:
        site.open_phase()
        site.team("Alpha")
        yield site


@pytest.fixture(autouse=True)
def quiet_minute(request):
    """Every test begins with full buckets."""
    if "strict" in request.fixturenames:
        state = request.getfixturevalue("strict").app_site
        for rates in (state.reads, state.writes, state.logins):
            rates._buckets.clear()


def raw(site, data: bytes, *more: bytes, wait_s: float = 5.0) -> bytes:
    """Send bytes, and more after pauses; return all that comes until the server closes."""
    host, port = site.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=wait_s) as connection:
        connection.sendall(data)
        for piece in more:
            time.sleep(0.2)
            try:
                connection.sendall(piece)
            except OSError:
                break
        received = b""
        try:
            while part := connection.recv(65536):
                received += part
        except ConnectionError:
            pass
        return received


def test_an_announced_body_is_refused_before_it_comes(strict):
    answer = raw(strict, b"POST /login HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 413")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"].startswith("request_entity_too_large")


def test_a_body_without_an_end_is_cut_off(strict):
    head = LOGIN + b"Transfer-Encoding: chunked\r\n\r\n"
    assert b" 413 " in raw(strict, head, *([b"1000\r\n" + b"a" * 4096 + b"\r\n"] * 3)).partition(b"\r\n")[0]


def test_a_body_that_stops_gets_408(strict):
    assert b" 408 " in raw(strict, LOGIN + b"Content-Length: 100\r\n\r\ntoken=").partition(b"\r\n")[0]


@pytest.mark.parametrize("data", [b"", b"GET / HTTP/1.1\r\nHost:", b"POST /login HTTP/1.1\r\n"])
def test_heads_that_never_end_are_closed(strict, data):
    began = time.monotonic()
    assert raw(strict, data, b"x", wait_s=30) == b"" or data == b""  # "x" alone is no head: 400
    assert time.monotonic() - began < 20


def test_a_body_that_nobody_reads_does_not_hold_a_connection(strict):
    head = b"POST /submit HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n"
    began = time.monotonic()
    assert raw(strict, head, *([b"a"] * 10), wait_s=30).startswith(b"HTTP/1.1 303")
    assert time.monotonic() - began < 20


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"\r\n\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n", b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 200_000,
    ],
)  # fmt: skip
def test_what_is_no_http_gets_400_or_nothing(strict, data):
    answer = raw(strict, data, wait_s=30)
    assert answer == b"" or answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 431"))


def test_a_form_with_too_many_fields_is_refused(strict):
    client = strict.client()
    fields = "&".join(f"f{n}=x" for n in range(300))
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    assert client.post("/login", content=fields, headers=headers).status_code == 400


def test_one_address_cannot_read_without_end(strict):
    client = strict.client()
    answers = [client.get("/robots.txt") for _ in range(26)]
    assert {answer.status_code for answer in answers} == {200, 429}
    assert int(answers[-1].headers["retry-after"]) >= 1
    assert answers[-1].headers["content-security-policy"]


def test_tokens_cannot_be_guessed_without_end(strict):
    client = strict.client("c2seg_wrong_token")
    codes = [client.get("/api/v1/me").status_code for _ in range(8)]
    assert codes == [401] * 5 + [429] * 3
    assert strict.client(strict.team("Alpha")).get("/api/v1/me").status_code == 429
    form = strict.client()
    page = form.get("/login").text
    data = {"token": strict.team("Alpha"), "form_token": form_token(page)}
    assert form.post("/login", data=data).status_code == 429


def test_one_address_has_a_bounded_number_of_connections(strict):
    host, port = strict.url.removeprefix("http://").split(":")
    with ExitStack() as stack:
        connections = [stack.enter_context(socket.create_connection((host, int(port)), timeout=10)) for _ in range(30)]
        answers = [_answered(connection) for connection in connections]
    assert 0 < sum(answers) <= 12
    assert strict.client().get("/robots.txt").status_code == 200


def _answered(connection: socket.socket) -> bool:
    try:
        connection.sendall(b"GET /robots.txt HTTP/1.1\r\nHost: x\r\n\r\n")
        return bool(connection.recv(100))
    except OSError:
        return False


def test_headers_that_name_a_sender_do_not_count_from_strangers(strict):
    client = strict.client()
    codes = {client.get("/robots.txt", headers={"X-Forwarded-For": f"10.0.0.{n}"}).status_code for n in range(26)}
    assert 429 in codes


def test_a_broken_upload_resumes_where_it_stopped(strict):
    token = strict.team("Alpha")
    client = strict.client(token)
    address = client.post("/api/v1/uploads", headers={"Tus-Resumable": "1.0.0", "Upload-Length": "400000"}).headers[
        "location"
    ]
    head = (
        f"PATCH {address} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nTus-Resumable: 1.0.0\r\nUpload-Offset: 0\r\n"
        "Content-Type: application/offset+octet-stream\r\nContent-Length: 400000\r\n\r\n"
    )
    assert b" 408 " in raw(strict, head.encode() + b"a" * 300_000).partition(b"\r\n")[0]
    offset = int(client.head(address, headers={"Tus-Resumable": "1.0.0"}).headers["upload-offset"])
    assert 0 < offset <= 300_000
    client.delete(address, headers={"Tus-Resumable": "1.0.0"})


def test_a_form_that_is_too_large_is_refused(strict):
    client = strict.sign_in(strict.team("Alpha"))
    token = form_token(client.get("/submit").text)
    files = {"archive-0": ("a.zip", b"x" * 900_000), "archive-1": ("b.zip", b"y")}
    answer = client.post("/submit", data={"form_token": token, "method": "m"}, files=files)
    assert (answer.status_code, "bytes" in answer.text) == (413, True)
    assert [path for path in strict.service.folder.incoming.iterdir() if path.suffix == ".part"] == []


def test_an_entry_by_form(strict):
    client = strict.sign_in(strict.team("Alpha"))
    token = form_token(client.get("/submit").text)
    contents = list(archives(0.3).values())
    files = {f"archive-{n}": (f"{n}.zip", data) for n, data in enumerate(contents)}
    answer = client.post(
        "/submit", data={"form_token": token, "method": "by form"}, files={"archive-0": files["archive-0"]}
    )
    assert (answer.status_code, "BW is missing" in answer.text) == (422, True)
    answer = client.post("/submit", data={"form_token": token, "method": "by form"}, files=files)
    assert answer.status_code == 303
    assert "safe" in client.get(answer.headers["location"]).text
    again = client.post("/submit", data={"form_token": token, "method": "again"}, files=files)
    assert again.status_code == 409
    assert enter(strict.client(strict.team("Alpha")), archives(0.2)).status_code == 201
    assert [path for path in strict.service.folder.incoming.iterdir() if path.suffix == ".part"] == []
