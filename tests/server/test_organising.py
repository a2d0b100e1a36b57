"""docs/organising.md takes a newcomer to a running challenge: its commands are run as they stand."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest

import c2seg

DOCUMENT = Path(c2seg.__file__).parents[2] / "docs/organising.md"
SERVE = "c2seg serve run season --port 8000\n"


def blocks() -> list[str]:
    """The commands of the page, block by block."""
    return re.findall(r"^```bash\n(.*?)^```", DOCUMENT.read_text(), re.S | re.M)


@pytest.fixture
def shell(tmp_path):
    """Return a function that runs commands as a newcomer's shell does, where ``c2seg`` is this package."""
    program = tmp_path / "bin" / "c2seg"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -W ignore::ImportWarning -m c2seg "$@"\n')
    program.chmod(0o755)
    environment = {**os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}"}
    environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)

    def run(commands: str) -> str:
        done = subprocess.run(
            ["sh", "-ec", commands], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, f"{commands}\n{done.stderr}"
        return done.stdout

    run.environment = environment  # type: ignore[attr-defined]
    return run


@contextmanager
def served(shell, folder: Path):
    """Run the page's server command on a free port; yield its address."""
    command = SERVE.replace("8000", "0").split()
    process = subprocess.Popen(command, cwd=folder, env=shell.environment, stderr=subprocess.PIPE, text=True)
    try:
        address = next(m[1] for line in process.stderr if (m := re.search(r"the site is at (\S+)", line)))
        reader = threading.Thread(target=process.stderr.read)
        reader.start()
        yield address
    finally:
        process.terminate()
        process.wait(60)
        reader.join()
        process.stderr.close()


@pytest.mark.slow
def test_the_page_works(shell, tmp_path, make_city):
    for seed, name in enumerate(("berlin", "wuhan")):
        make_city(name, height=400, width=520, seed=seed)
    commands = blocks()
    assert SERVE in commands
    before, after = commands[: commands.index(SERVE)], commands[commands.index(SERVE) + 1 :]
    for block in before:
        shell(block)
    assert (tmp_path / "organizer.token").read_text().strip()
    assert {path.name for path in (tmp_path / "season/pages").iterdir()} == {
        f"{name}.md" for name in ("about", "rules", "terms", "license", "embargo")
    }
    with served(shell, tmp_path) as address:
        for block in after:
            shell(block)
        with urllib.request.urlopen(f"{address}/api/v1/challenge", timeout=30) as answer:
            challenge = json.load(answer)
    assert [phase["name"] for phase in challenge["phases"]] == ["Development", "Final", "After the challenge"]
    assert challenge["closed_at"]
    assert (tmp_path / "season-restored/server.json").is_file()
    assert (tmp_path / "season-record.zip").is_file()
