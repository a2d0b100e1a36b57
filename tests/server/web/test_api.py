"""The interface for programs: uploads that resume, entries, refusals with codes."""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime, timedelta

import pytest

from helpers.challenge_site import SHAPES, archives, enter, running_site, upload

TUS = {"Tus-Resumable": "1.0.0"}
PIECE = {**TUS, "Content-Type": "application/offset+octet-stream"}


def start(client, length, **headers):
    return client.post("/api/v1/uploads", headers={**TUS, "Upload-Length": str(length), **headers})


def checksum(data, algorithm="sha256"):
    digest = hashlib.new(algorithm, data).digest()
    return {"Upload-Checksum": f"{algorithm} {base64.b64encode(digest).decode()}"}


@pytest.fixture
def client(site):
    return site.client(site.team("Uploader"))


def test_options_say_what_is_possible(site):
    headers = site.client().options("/api/v1/uploads").headers
    assert headers["tus-version"] == "1.0.0"
    assert headers["tus-extension"] == "creation,creation-with-upload,termination,checksum,expiration"
    assert int(headers["tus-max-size"]) > 0
    assert headers["tus-checksum-algorithm"] == "sha256,sha1"


def test_an_upload_resumes_and_ends(client):
    address = start(client, 10).headers["location"]
    assert (
        client.patch(address, headers={**PIECE, "Upload-Offset": "0"}, content=b"01234").headers["upload-offset"] == "5"
    )
    head = client.head(address, headers=TUS)
    assert (head.status_code, head.headers["upload-offset"], head.headers["upload-length"]) == (200, "5", "10")
    assert head.headers["cache-control"] == "no-store"
    assert datetime.strptime(head.headers["upload-expires"], "%a, %d %b %Y %H:%M:%S GMT").year >= 2024
    assert client.patch(address, headers={**PIECE, "Upload-Offset": "4"}, content=b"4").status_code == 409
    assert client.patch(address, headers={**PIECE, "Upload-Offset": "5"}, content=b"567890").status_code == 413
    assert client.patch(address, headers={**PIECE, "Upload-Offset": "5"}, content=b"56789").status_code == 204
    assert client.delete(address, headers=TUS).status_code == 204
    assert client.head(address, headers=TUS).status_code == 404


def test_creation_with_upload_and_checksums(client):
    answer = start(client, 4, **{"Content-Type": PIECE["Content-Type"]})
    assert answer.headers["upload-offset"] == "0"
    address = answer.headers["location"]
    wrong = client.patch(address, headers={**PIECE, "Upload-Offset": "0", **checksum(b"xx")}, content=b"ab")
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (460, "checksum_mismatch")
    right = client.patch(address, headers={**PIECE, "Upload-Offset": "0", **checksum(b"ab", "sha1")}, content=b"ab")
    assert right.headers["upload-offset"] == "2"
    client.delete(address, headers=TUS)
    body = client.post("/api/v1/uploads", headers={**PIECE, "Upload-Length": "3", **checksum(b"abc")}, content=b"abc")
    assert (body.status_code, body.headers["upload-offset"]) == (201, "3")
    client.delete(body.headers["location"], headers=TUS)


def test_uploads_refuse(site, client):
    assert client.post("/api/v1/uploads", headers={"Upload-Length": "3"}).status_code == 412
    assert start(client, 10**9).status_code == 413
    unknown = base64.b64encode(b"XY").decode()
    assert start(client, 5, **{"Upload-Metadata": f"dataset {unknown}"}).json()["error"]["code"] == "incomplete"
    address = start(client, 5).headers["location"]
    assert client.patch(address, headers={**TUS, "Upload-Offset": "0"}, content=b"a").status_code == 415
    other = site.client(site.team("Somebody else"))
    for method in ("HEAD", "DELETE", "PATCH"):
        assert other.request(method, address, headers={**PIECE, "Upload-Offset": "0"}).status_code == 404
        assert site.client().request(method, address, headers={**PIECE, "Upload-Offset": "0"}).status_code == 401
    assert site.client(site.organizer).head(address, headers=TUS).status_code == 403
    client.delete(address, headers=TUS)


def test_an_entry_is_scored_as_c2seg_does(site):
    client = site.client(site.team("Exact"))
    contents = archives(0.2, seed=5)
    receipt = enter(client, contents, "exact").json()
    assert receipt["status"] == "queued"
    assert receipt["queue_position"] == 1
    assert {a["dataset"]: a["sha256"] for a in receipt["archives"]} == {
        name: hashlib.sha256(data).hexdigest() for name, data in contents.items()
    }
    site.score()
    entry = client.get(f"/api/v1/entries/{receipt['id']}").json()
    assert (entry["status"], entry["queue_position"], entry["private_scores"]) == ("scored", None, {})
    seen = site.client(site.organizer).get(f"/api/v1/entries/{receipt['id']}").json()
    assert set(seen["private_scores"]) >= {"public", "private", "all"}
    assert entry["scores"] == seen["private_scores"]["public"]
    assert {k: receipt[k] for k in ("id", "digest", "received_at")} == {
        k: entry[k] for k in ("id", "digest", "received_at")
    }
    assert "scored_at" not in entry


def test_refusals_have_codes(site, tmp_path):
    client = site.client(site.team("Refused"))
    contents = archives(0.4)
    first = upload(client, "AB", contents["AB"])
    answer = client.post("/api/v1/entries", json={"method": "m", "uploads": {"AB": first}})
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "incomplete")
    answer = client.post("/api/v1/entries", json={"method": "m", "uploads": {"AB": first, "BW": first}})
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "invalid")
    second = upload(client, "BW", contents["BW"])
    swapped = client.post("/api/v1/entries", json={"method": "m", "uploads": {"AB": second, "BW": first}})
    assert swapped.json()["error"]["code"] == "invalid"
    bad_name = client.post("/api/v1/entries", json={"method": "=cmd|x", "uploads": {"AB": first, "BW": second}})
    assert bad_name.json()["error"]["code"] == "invalid"
    done = client.post("/api/v1/entries", json={"method": "m", "uploads": {"AB": first, "BW": second}})
    assert done.status_code == 201
    again = enter(client, contents, "n")
    assert (again.status_code, again.json()["error"]["code"]) == (409, "identical")
    assert (
        client.post("/api/v1/entries", json={"method": "m", "uploads": {"AB": first, "BW": second}}).status_code == 404
    )
    assert client.post("/api/v1/entries", json={"method": "m"}).status_code == 422
    assert client.post("/api/v1/entries", json={"method": "m", "uploads": {}, "more": 1}).status_code == 422
    withdrawn = client.post(f"/api/v1/entries/{done.json()['id']}/withdraw")
    assert withdrawn.json()["status"] == "withdrawn"
    assert client.post(f"/api/v1/entries/{done.json()['id']}/withdraw").json()["error"]["code"] == "state"
    assert site.service.folder.incoming.is_dir()


def test_organizers_add_teams_by_program(site):
    organizer = site.client(site.organizer)
    made = organizer.post("/api/v1/teams", json={"name": "By program"})
    assert made.status_code == 201
    client = site.client(made.json()["token"])
    me = client.get("/api/v1/me").json()
    assert (me["name"], me["organizer"], me["quota"]["remaining"]) == ("By program", False, 50)
    assert client.get("/api/v1/teams").status_code == 404
    assert "By program" in {team["name"] for team in organizer.get("/api/v1/teams").json()}
    assert organizer.get("/api/v1/audit?limit=1").json()[0]["action"]
    assert organizer.post("/api/v1/entries", json={"method": "m", "uploads": {}}).status_code == 403


def test_boards_for_programs(site):
    board = site.client().get("/api/v1/board").json()
    assert board["part"] == "public"
    assert [row["rank"] for row in board["rows"]] == list(range(1, len(board["rows"]) + 1))
    assert site.client(site.organizer).get("/api/v1/board?part=all").json()["part"] == "all"
    assert site.client().get("/api/v1/board?phase=77").json()["error"]["code"] == "unknown"
    assert site.client().get("/api/v1/board?phase=x").status_code == 422
    described = site.client().get("/api/v1/challenge").json()
    assert [dataset["name"] for dataset in described["datasets"]] == list(SHAPES)
    paths = site.client().get("/api/v1/openapi.json").json()["paths"]
    assert not any(path.startswith("/organizer") for path in paths)


def test_quotas_phases_and_hidden_boards(tmp_path):
    with running_site(tmp_path) as site:
        client = site.client(site.team("Quick"))
        assert start(client, 5).json()["error"]["code"] == "closed"
        now = datetime.now(UTC)
        phase = site.service.add_phase(
            "Final", now - timedelta(hours=1), now + timedelta(hours=1), actor="test", part="private", hidden=True,
            daily_quota=1, total_quota=5,
        )  # fmt: skip
        entry = enter(client, archives(0.1)).json()
        answer = start(client, 5)
        assert (answer.status_code, answer.json()["error"]["code"]) == (429, "daily_quota")
        assert 0 < int(answer.headers["retry-after"]) <= 86_401
        site.score()
        assert client.get(f"/api/v1/entries/{entry['id']}").json()["scores"] is None
        assert site.client().get("/api/v1/board").json() | {"phase": None} == {
            "phase": None, "hidden": True, "part": None, "rows": [],
        }  # fmt: skip
        assert site.client().get("/board.csv").status_code == 404
        assert site.client(site.organizer).get("/api/v1/board").json()["rows"][0]["team"] == "Quick"
        site.service.set_phase(phase.id, actor="test", hidden=False)
        assert site.client().get("/api/v1/board").json()["rows"][0]["team"] == "Quick"
