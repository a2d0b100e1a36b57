"""A whole season in a real browser: an organizer, three teams, good, wrong and hostile files, a final phase, and its board."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
import threading
import time
import zipfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import select

from c2seg.challenge import tile_windows
from c2seg.cli import run
from c2seg.server.service import open_service
from c2seg.server.tables import Dataset, ReferenceTile
from helpers.browsing import Browser
from helpers.challenge_site import SHAPES, TILE_PX, archive, prediction, reference, write_raster
from helpers.submission_makers import pack

pytestmark = pytest.mark.slow
PHONE, DESK = 390, 1280


@contextmanager
def serving(data: Path):
    """Run ``c2seg serve run``; yield its address."""
    process = subprocess.Popen(
        [sys.executable, "-m", "c2seg", "serve", "run", str(data), "--port", "0"], stderr=subprocess.PIPE, text=True
    )
    lines: list[str] = []
    try:
        for line in process.stderr:
            lines.append(line)
            if address := re.search(r"the site is at (\S+)", line):
                break
        reader = threading.Thread(target=lambda: lines.extend(process.stderr))
        reader.start()
        yield address[1], lines
    finally:
        process.terminate()
        assert process.wait(60) in (0, 143), "".join(lines)
        reader.join()
        process.stderr.close()


class Person:
    """Somebody at the browser."""

    def __init__(self, browser: Browser, url: str, shots: Path) -> None:
        self.browser, self.url, self.shots = browser, url, shots

    def open(self, path: str) -> None:
        self.browser.post("/url", {"url": self.url + path})

    def text(self) -> str:
        return self.browser.script("return document.querySelector('main').innerText")

    def fill(self, **fields: str) -> None:
        for name, value in fields.items():
            self.browser.script(
                "const f = document.querySelector(`main [name='${arguments[0]}']`);"
                "if (f.type == 'checkbox') f.checked = true; else f.value = arguments[1];", name, value,
            )  # fmt: skip

    def press(self, words: str) -> None:
        """Press the button with these words, and wait for the next page."""
        self.browser.script("window.old = true")
        buttons = self.browser.post("/elements", {"using": "css selector", "value": "button"})
        for button in buttons:
            element = next(iter(button.values()))
            if self.browser.get(f"/element/{element}/text").strip().startswith(words):
                self.browser.post(f"/element/{element}/click", {})
                self.browser.wait("!window.old && document.readyState == 'complete'")
                return
        raise AssertionError(f"no button {words!r} in {self.text()}")

    def sign_in(self, token: str) -> None:
        self.browser.post("/url", {"url": self.url + "/"})
        self.browser.cdp("Network.clearBrowserCookies")
        self.open("/login")
        self.fill(token=token)
        self.press("Sign in")

    def submit(self, files: list[Path], method: str) -> None:
        self.open("/submit")
        self.fill(method=method)
        for place, file in enumerate(files):
            self.browser.upload(f"[name=archive-{place}]", file)
        self.press("Submit")

    def wait_for(self, state: str) -> str:
        """Load the entry's page again until it has a state."""
        end = time.monotonic() + 60
        while state not in (page := self.text()):
            assert time.monotonic() < end, page
            time.sleep(0.3)
            self.browser.post("/refresh", {})
        return page

    def look(self, name: str, path: str) -> None:
        """Take pictures of a page; on a phone nothing is wider than the screen."""
        for width in (DESK, PHONE):
            self.browser.size(width, 900, mobile=width == PHONE)
            self.open(path)
            self.browser.screenshot(self.shots / f"{name}-{width}.png", whole=True)
            assert self.browser.script("return document.documentElement.scrollWidth") <= width
        self.browser.size(DESK, 900)


def zips(folder: Path, name: str, wrong: float, seed: int) -> list[Path]:
    folder.mkdir(exist_ok=True)
    paths = [folder / f"{name}-{dataset}.zip" for dataset in SHAPES]
    for path, dataset in zip(paths, SHAPES, strict=True):
        path.write_bytes(archive(prediction(dataset, wrong, seed)))
    return paths


def bomb() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as file:
        for number in range(12):
            file.writestr(f"{number}_prediction.tif", bytes(20_000_000))
    return stream.getvalue()


def hostile(folder: Path) -> list[tuple[Path, str]]:
    """Archives for AB that no server should take, and what it says."""
    folder.mkdir(exist_ok=True)
    contents = {
        "outside.zip": (pack({"../../evil.tif": b"x"} | {f"{n}_prediction.tif": b"x" for n in range(11)}), "without a folder"),
        "bomb.zip": (bomb(), "more than"),
        "text.zip": (b"this is no archive at all, " * 5, "no zip file"),
        "script.zip": (pack({"<script>.tif": b"x"} | {f"{n}_prediction.tif": b"x" for n in range(11)}), "only files"),
    }  # fmt: skip
    for name, (data, _) in contents.items():
        (folder / name).write_bytes(data)
    return [(folder / name, words) for name, (_, words) in contents.items()]


def make_data(folder: Path, capsys) -> tuple[Path, str]:
    labels = {name: write_raster(folder / f"{name}_label.tif", reference(name)) for name in SHAPES}
    references = [part for name, path in labels.items() for part in ("--reference", f"{name}={path}")]
    data = folder / "data"
    capsys.readouterr()
    assert run(["serve", "init", str(data), "--title", "The season", *references, "--tile-px", str(TILE_PX), "-q"]) == 0
    return data, capsys.readouterr().out.split()[0]


def score(folder: Path, data: Path, part: str, wrong: float, seed: int, capsys) -> str:
    """The mean IoU of ``c2seg score`` over the tiles of a part, to four digits."""
    values = []
    for name, shape in SHAPES.items():
        valid = np.zeros(shape, np.uint8)
        for number, window in enumerate(tile_windows(*shape, TILE_PX)):
            if number in tiles_of(data, name, part):
                valid[window.row : window.row + window.height, window.col : window.col + window.width] = 1
        mask = write_raster(folder / f"{name}_{part}.tif", valid)
        map_path = write_raster(folder / f"{name}_map.tif", prediction(name, wrong, seed))
        capsys.readouterr()
        assert run(["score", str(map_path), str(folder / f"{name}_label.tif"), "--valid", str(mask), "--json"]) == 0
        values.append(json.loads(capsys.readouterr().out)["miou"])
    return f"{np.mean(values):.4f}"


def tiles_of(data: Path, name: str, part: str) -> set[int]:
    with open_service(data) as service, service.database.read() as session:
        query = select(ReferenceTile.number).join(Dataset, Dataset.id == ReferenceTile.dataset_id)
        return set(session.scalars(query.where(Dataset.name == name, ReferenceTile.part == part)))


def test_a_season(browser, tmp_path, capsys):
    data, organizer_token = make_data(tmp_path, capsys)
    (shots := tmp_path / "shots").mkdir()
    with serving(data) as (url, log):
        person = Person(browser, url, shots)
        person.sign_in(organizer_token)
        person.open("/organizer/phases")
        person.fill(name="Development", daily_quota="9", total_quota="20")
        person.press("Add the phase")
        tokens = [add_team(person, name) for name in ("Alpha", "Beta", "Gamma")]
        person.look("organizer", "/organizer")

        good(person, tokens[0], zips(tmp_path / "a", "good", 0.3, 1))
        wrong(person, tokens[1], tmp_path)
        refused(person, tokens[2], tmp_path)
        board = rows_of(person, "/board?phase=1")
        assert [row[1] for row in board] == ["Beta", "Alpha", "Gamma"]
        for row, made in zip(board, ((0.2, 2), (0.3, 1), (0.4, 3)), strict=True):
            assert row[2] == score(tmp_path, data, "public", *made, capsys)
        person.look("board", "/board?phase=1")

        open_final(person, organizer_token)
        for token, share in zip(tokens, (0.1, 0.25, 0.15), strict=True):
            person.sign_in(token)
            person.submit(zips(tmp_path / "final", f"{share}", share, 4), "final")
            assert "hidden until the organizers show them" in person.wait_for("scored")
        person.browser.cdp("Network.clearBrowserCookies")
        person.open("/board?phase=2")
        assert "hidden until the organizers show it" in person.text()
        person.look("hidden", "/board?phase=2")
        person.sign_in(organizer_token)
        person.open("/organizer/phases")
        person.press("Show the board")
        person.browser.cdp("Network.clearBrowserCookies")
        final = rows_of(person, "/board?phase=2")
        assert [row[1] for row in final] == ["Alpha", "Gamma", "Beta"]
        for row, share in zip(final, (0.1, 0.15, 0.25), strict=True):
            assert row[2] == score(tmp_path, data, "private", share, 4, capsys)
        person.look("final", "/board?phase=2")
        person.look("history", "/history?phase=1")
        assert [error for error in browser.errors() if "Content Security Policy" in error] == []
        assert not any("Traceback" in line for line in log)


def add_team(person: Person, name: str) -> str:
    person.open("/organizer/teams")
    person.fill(name=name, contact=f"{name}@example.org")
    person.press("Add the team")
    return person.browser.script("return document.querySelector('#token').innerText")


def good(person: Person, token: str, files: list[Path]) -> None:
    person.sign_in(token)
    person.submit(files, "unet")
    assert "received and safe" in person.text()
    page = person.wait_for("Scores")
    assert "Counted by" in page
    person.look("entry", "/entries/1")
    person.look("team", "/team")


def wrong(person: Person, token: str, folder: Path) -> None:
    person.sign_in(token)
    files = zips(folder / "b", "wrong", 0.2, 2)
    (folder / "b" / "short.zip").write_bytes(archive(prediction("AB", 0.2, 2)[:32]))
    person.submit([folder / "b" / "short.zip", files[1]], "unet")
    assert "are expected" in person.wait_for("refused")
    person.submit(files, "unet")
    person.wait_for("Scores")
    person.submit(files, "again")
    assert "identical" in person.text() or "already" in person.text()


def refused(person: Person, token: str, folder: Path) -> None:
    person.sign_in(token)
    files = zips(folder / "c", "good", 0.4, 3)
    for path, words in hostile(folder / "hostile"):
        person.submit([path, files[1]], path.stem)
        assert words in person.wait_for("refused")
        assert person.browser.script("return document.querySelectorAll('script').length") == 0
    person.submit(files, "good at last")
    person.wait_for("Scores")


def open_final(person: Person, token: str) -> None:
    person.sign_in(token)
    person.open("/organizer/phases")
    person.press("Close now")
    person.fill(name="Final", part="private", daily_quota="3", total_quota="3", hidden="1")
    person.press("Add the phase")
    person.look("phases", "/organizer/phases")


def rows_of(person: Person, path: str) -> list[list[str]]:
    """Rank, team and mIoU of the first table."""
    person.open(path)
    return person.browser.script(
        "return [...document.querySelector('table tbody').rows].map(r => [r.cells[0].innerText, "
        "r.cells[1].firstChild.textContent.trim(), r.cells[2].innerText])"
    )
