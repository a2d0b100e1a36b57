"""A reader who follows a page: runs its commands and its Python in one folder, in the order of the page."""

from __future__ import annotations

import contextlib
import io
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from c2seg.cli import run
from helpers.clusters import PATHS
from helpers.page_files import Maker, Shelf
from helpers.pages import Snippet

SCHEDULER = "tcp://head:8786"
# Programs that run until they are stopped, and what they say when they are ready.
SERVERS = {"scheduler": "Scheduler at:", "worker": "Registered to:"}
PROGRAMS = {
    "c2seg": [sys.executable, "-W", "ignore", "-m", "c2seg"],
    "torchrun": [sys.executable, "-W", "ignore", "-m", "torch.distributed.run"],
}


@dataclass
class Reader:
    """``files`` makes what a page takes for granted, when the first snippet names it; ``adapted`` changes words of commands."""

    folder: Path
    shelf: Shelf
    files: Mapping[str, Maker]
    adapted: Callable[[list[str]], list[str]]
    python_adapted: Callable[[str], str]
    scheduler: Callable[[], str]
    """Starts a cluster when it is first called, and returns its address."""
    used: set[str] = field(default_factory=set)

    def follow(self, snippet: Snippet) -> str:
        """Run a command or a Python block; returns what it prints."""
        words = snippet.words if snippet.language == "sh" else []
        self._provide(words or re.findall(r'"([^"\n]+)"', snippet.text))
        if snippet.language == "python":
            return self._finished([sys.executable, "-W", "ignore", self._script(self.python_adapted(snippet.text))])
        words = [word.replace(SCHEDULER, self.scheduler()) if SCHEDULER in word else word for word in words]
        program, *arguments = self.adapted(words)
        if program == "dask":
            return self._served([sys.executable, "-m", "dask", *arguments], SERVERS[arguments[0]])
        return self._ran(program, arguments)

    def _provide(self, words: Sequence[str]) -> None:
        """Make the files that words name. What people write is written anew for each command."""
        named = {part for word in words for part in re.split("[=:]", word)}
        for name, maker in self.files.items():
            if not any(part == name or part.startswith(f"{name}/") for part in named):
                continue
            self.used.add(name)
            path = self.folder / name
            if not path.exists() or getattr(maker, "by_people", False):
                path.parent.mkdir(parents=True, exist_ok=True)
                maker(self.shelf, path)

    def _ran(self, program: str, arguments: list[str]) -> str:
        """Run a command. Alternatives on a page write the same file: then the advice of the message is followed."""
        status, printed, said = self._tried(program, arguments)
        if status != 0 and "--overwrite" in said:
            status, printed, said = self._tried(program, [*arguments, "--overwrite"])
        assert status == 0, f"{program} {' '.join(arguments)}\n{said[-3000:]}"
        return printed

    def _tried(self, program: str, arguments: list[str]) -> tuple[int, str, str]:
        """Return exit code, stdout and stderr."""
        # Processes of a cluster import the main module, which must not be that of pytest.
        if program == "torchrun" or "--cluster" in arguments:
            done = self._process([*PROGRAMS[program], *arguments])
            return done.returncode, done.stdout, done.stderr
        assert program == "c2seg", program
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = run(arguments)
        return status, out.getvalue(), err.getvalue()

    def _script(self, code: str) -> str:
        path = self.folder / "snippet.py"
        path.write_text(code)
        return str(path)

    def _finished(self, command: list[str]) -> str:
        done = self._process(command)
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stderr[-3000:]}"
        return done.stdout

    def _process(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=self.folder, env=self._environment(), capture_output=True, text=True, timeout=600, check=False
        )

    def _served(self, command: list[str], sign: str) -> str:
        """Start a server, wait until it is ready, and stop it."""
        log = self.folder / "server.log"
        with log.open("w") as stream:
            process = subprocess.Popen(
                command, cwd=self.folder, env=self._environment(), stdout=stream, stderr=stream, text=True
            )
        try:
            for _ in range(600):
                if sign in log.read_text():
                    return ""
                assert process.poll() is None, log.read_text()
                time.sleep(0.1)
            raise AssertionError(log.read_text())
        finally:
            process.terminate()
            process.wait(60)

    @staticmethod
    def _environment() -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": os.pathsep.join(PATHS)}
