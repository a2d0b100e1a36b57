"""Run a bundle's scoring program as Codabench's compute worker does, without containers.

Source: codalab/codabench, commit c7dbc75, ``compute_worker/compute_worker.py``; only its steps were taken.

An entry without ``metadata.yaml`` is copied to the output of the prediction step, where the worker adds a file ``metadata``.
That output, unpacked, is ``input/res`` of the scoring step, and the reference data are ``input/ref``. The command of
``metadata.yaml`` runs in the folder of the program, with ``PYTHONUNBUFFERED`` and empty proxies as its only variables besides
those of the image.
"""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import yaml

__all__ = ["Scored", "run_scoring"]


@dataclass(frozen=True)
class Scored:
    """What the scoring step left: its exit code, what it printed, the folder ``output``."""

    code: int
    stdout: str
    stderr: str
    output: Path

    @property
    def scores(self) -> dict[str, float]:
        """The content of ``scores.json``."""
        return json.loads((self.output / "scores.json").read_text())

    @property
    def page(self) -> str:
        """The page of the entry."""
        return (self.output / "detailed_results.html").read_text(encoding="utf-8")


def run_scoring(bundle: Path, stage: int, entry: Path, root: Path, *, offline: bool = True) -> Scored:
    """Score an uploaded archive in a stage of a bundle; ``root`` stands for the worker's folder and is made."""
    with zipfile.ZipFile(bundle) as archive:
        content = yaml.safe_load(archive.read("competition.yaml"))
        (number,) = content["phases"][stage]["tasks"]
        task = next(task for task in content["tasks"] if task["index"] == number)
        for part, folder in (("scoring_program", "program"), ("reference_data", "input/ref")):
            _unpack(archive.open(task[part]), root / folder)
    _unpack(entry, root / "submission")
    shutil.copytree(root / "submission", root / "prediction")
    (root / "prediction/metadata").write_text("elapsedTime: 0.1\nexitCode: null\n")
    shutil.make_archive(str(root / "prediction_result"), "zip", root / "prediction")
    _unpack(root / "prediction_result.zip", root / "input/res")
    (root / "output").mkdir()
    command = yaml.safe_load((root / "program/metadata.yaml").read_text())["command"].replace("/app/", f"{root}/")
    words = [*(_without_network() if offline else []), *shlex.split(command)]
    path = f"{Path(sys.base_prefix) / 'bin'}:/usr/bin:/bin"
    done = subprocess.run(
        words, cwd=root / "program", capture_output=True, text=True, timeout=300, check=False,
        env={"PYTHONUNBUFFERED": "1", "http_proxy": "", "https_proxy": "", "PATH": path},
    )  # fmt: skip
    return Scored(done.returncode, done.stdout, done.stderr, root / "output")


def _unpack(source: object, folder: Path) -> None:
    with zipfile.ZipFile(source) as archive:
        archive.extractall(folder)


def _without_network() -> list[str]:
    """Return the words before a command that take the network from it, where the system allows that."""
    words = ["unshare", "--net", "--map-root-user"]
    try:
        works = subprocess.run([*words, "true"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        works = False
    return words if works else []
