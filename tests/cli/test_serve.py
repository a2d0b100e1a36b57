"""A season by the command line, from nothing to its record."""

import json
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime

import pytest

from c2seg.cli import run
from c2seg.server.service import open_service
from helpers.season_make import SIDES, Season, SeasonMaker


@pytest.fixture
def call(capsys):
    """Return a function that runs `c2seg serve` and returns what it printed; it must succeed."""

    def called(*arguments):
        capsys.readouterr()
        assert run(["serve", *map(str, arguments)]) == 0, capsys.readouterr().err
        return capsys.readouterr().out

    return called


@pytest.fixture
def refused(capsys):
    def called(*arguments):
        capsys.readouterr()
        assert run(["serve", *map(str, arguments)]) == 2
        return capsys.readouterr().err

    return called


@pytest.fixture
def made(tmp_path, call):
    """Return the data folder of a season that the command line has made, and what it printed."""
    maker = SeasonMaker(tmp_path)
    options = []
    for name, source in maker.references().items():
        options += ["--reference", f"{name}={source.path}", "--tile-px", f"{name}={SIDES[name]}"]
    printed = json.loads(call("init", tmp_path / "data", "--title", "Two cities", *options, "--json"))
    return tmp_path / "data", printed


def submit(data, tmp_path, team_id=1):
    with open_service(data) as service:
        season = Season(service, SeasonMaker(tmp_path), None)
        return season.submit(service.team(team_id), at=datetime.now(UTC)).id


def test_a_season_from_nothing_to_its_record(made, call, refused, tmp_path):
    data, printed = made
    with open_service(data) as service:
        assert service.authenticate(printed["token"]).organizer
    assert "Development" in call("add-phase", data, "Development", "--opens", "2026-01-01", "--daily-quota", "3")
    token = call("add-team", data, "Team A", "--contact", "a@example.org").strip()
    assert json.loads(call("teams", data, "--json"))["teams"][0]["contact"] == "a@example.org"
    entry = submit(data, tmp_path)
    assert "queued" in call("entries", data)
    call("withdraw", data, entry)
    assert "withdrawn" in call("entries", data, "--team", "team a")
    call("reinstate", data, entry)
    call("disqualify", data, entry, "--reason", "copied")
    assert json.loads(call("entries", data, "--json"))["entries"][0]["reason"] == "copied"
    call("reinstate", data, entry)
    assert json.loads(call("set-phase", data, "Development", "--hidden", "--closes", "2036-01-01T12:00", "--json"))[
        "phases"
    ][0]["hidden"]
    assert (
        json.loads(call("season", data, "--title", "Three cities", "--counting", "last", "--json"))["title"]
        == "Three cities"
    )
    call("disqualify-team", data, "--team", "TEAM A", "--reason", "two names")
    call("reinstate-team", data, "--team", "Team A")
    other = json.loads(call("add-token", data, "--team", "Team A", "--json"))
    call("revoke-token", data, other["id"])
    assert "revoked" in call("tokens", data)
    assert call("board", data, "Development") == ""
    assert "create team" in call("audit", data)
    call("backup", data, "--out", tmp_path / "one.zip", "-q")
    call("restore", tmp_path / "one.zip", "--data", tmp_path / "again", "-q")
    with open_service(tmp_path / "again") as service:
        assert service.authenticate(token).name == "Team A"
    call("archive", data, "--out", tmp_path / "season.zip", "-q")
    call("upgrade", data, "-q")
    assert "revoked already" in refused("revoke-token", data, other["id"])


def test_what_is_wrong_is_said_in_one_line(made, refused, tmp_path):
    data, _ = made
    for arguments, text in (
        (("teams", tmp_path / "nothing"), "holds no season"),
        (("add-token", data, "--team", "Nobody"), "unknown team 'Nobody'"),
        (("board", data, "Final"), "unknown phase 'Final'"),
        (("withdraw", data, "7"), "there is no entry 7"),
        (("init", data, "--title", "A", "--reference", "AB=nothing.tif"), "exists already"),
        (("init", tmp_path / "b", "--title", "A", "--reference", "AB=nothing.tif"), "nothing.tif"),
        (("init", tmp_path / "b", "--title", "A", "--reference", "AB=x", "--database", "mysql://h/d"), "--database"),
        (("restore", tmp_path / "nothing.zip", "--data", tmp_path / "c"), "nothing.zip"),
    ):
        said = refused(*arguments)
        assert text in said
        assert said.count("\n") == 1
    assert not (tmp_path / "b").exists()


@pytest.mark.slow
def test_a_worker_process_scores_what_waits_and_stops_when_asked(made, call, tmp_path):
    data, _ = made
    call("add-phase", data, "Development", "--opens", "2026-01-01")
    call("add-team", data, "Team A")
    entry = submit(data, tmp_path)
    command = [sys.executable, "-m", "c2seg", "serve", "worker", str(data)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as worker, open_service(data) as service:
        deadline = time.monotonic() + 120
        while service.entry(entry).status != "scored":
            assert time.monotonic() < deadline
            assert worker.poll() is None
            time.sleep(0.1)
        assert len(service.queue_state().workers) == 1
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(60) == 0
        assert service.queue_state().workers == ()
    board = json.loads(call("board", data, "Development", "--part", "all", "--json"))
    assert board["rows"][0]["rank"] == 1
    assert board["part"] == "all"
