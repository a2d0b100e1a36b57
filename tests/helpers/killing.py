"""Commands that are killed at every call of the file system, and commands on a disk that is full.

``python tests/helpers/killing.py`` prints, by command, how many kills and full disks were tried and how many held, as JSON.

A process that has imported everything and opened nothing forks a child for every trial: libraries that start threads do not
survive a fork once they have started them. A trial runs in a copy of prepared inputs, ``o/`` in it is for outputs.
"""

from __future__ import annotations

import builtins
import hashlib
import io
import json
import os
import resource
import shutil
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path

KILLED = 99
FOREST = ["--set", "model.trees=3", "--set", "validation.folds=0", "--set", "prediction.window_px=32"]


@dataclass(frozen=True)
class Command:
    """A command line, the file that decides whether its outputs stand, and all of its files. ``once``: not to be repeated."""

    arguments: list[str]
    main: str
    files: tuple[str, ...]
    again: bool = False
    """It may run again where its main file stands, and gives the same, or says that it is done."""
    done: str = "nothing says so"
    """What a command says that refuses to do the same twice."""


def _cities() -> tuple[str, ...]:
    names = ("msi.tif", "hsi.tif", "sar.tif", "valid.tif", "reference.tif", "label.tif", "city.yaml")
    return tuple(f"o/pair/{city}/{name}" for city in ("*a", "*b") for name in names)


COMMANDS = {
    "predict": Command(
        ["predict", "run/model.safetensors", "town", "--out", "o/map.tif", "--probabilities", "o/p.tif", "--confidence",
         "o/c.tif", "--preview", "o/v.png", "-q"],
        "o/map.tif", ("o/p.tif", "o/c.tif", "o/v.png", "o/map.qml", "o/map.tif.aux.xml", "o/c.qml", "o/map.json"),
    ),
    "fuse": Command(
        ["fuse", "a.tif", "b.tif", "--out", "o/f.tif", "--probabilities", "o/p.tif", "-q"],
        "o/f.tif", ("o/p.tif", "o/f.qml", "o/f.tif.aux.xml", "o/f.json"),
    ),
    "label": Command(
        ["label", "o/l.tif", "--osm", "town.osm", "--like", "a.tif", "--fractions", "o/s.tif", "-q"],
        "o/l.tif", ("o/s.tif", "o/l.qml", "o/l.json"),
    ),
    "prepare": Command(
        ["prepare", "o/city", "--msi", "town/msi.tif", "--osm", "town.osm", "-q"], "o/city/prepare.json",
        tuple(f"o/city/{n}" for n in ("msi.tif", "valid.tif", "label.tif", "label.json", "city.yaml", "preview.png")),
    ),
    "simulate": Command(
        ["simulate", "o/pair", "--pair", "bw", "--scale", "0.004", "-q"], "o/pair/pair.yaml",
        tuple(f"o/pair/*/{n}" for n in ("msi.tif", "hsi.tif", "sar.tif", "valid.tif", "label.tif", "city.yaml")),
    ),
    "report": Command(
        ["report", "run", "a.tif", "--out", "o/page.html", "--figure", "o/page.png", "-q"], "o/page.html", ("o/page.png",)
    ),
    "score": Command(["score", "a.tif", "b.tif", "--out", "o/s.json", "-q"], "o/s.json", ()),
    "fit": Command(
        ["fit", "forest", "--source", "town", "--out", "o/run", *FOREST, "-q"],
        "o/run/model.safetensors", ("o/run/recipe.yaml", "o/run/record.json"),
    ),
    "submit pack": Command(["submit", "pack", "a.tif", "--out", "o/s.zip", "--tile-px", "32", "-q"], "o/s.zip", ()),
    "challenge init": Command(
        ["challenge", "init", "o/b.sqlite", "--reference", "T=b.tif", "--tile-px", "32", "-q"], "o/b.sqlite", ()
    ),
    "challenge add": Command(
        ["challenge", "add", "board.sqlite", "--submission", "T=s.zip", "--team", "A", "-q"], "board.sqlite", (), again=True,
        done="has these archives as entry 1 of",
    ),
    "submit join": Command(["submit", "join", "o/e.zip", "T=s.zip", "-q"], "o/e.zip", ()),
    "challenge draft": Command(
        ["challenge", "draft", "o", "-q"], "o/challenge.yaml",
        tuple(f"o/{name}" for name in ("overview.md", "data.md", "evaluation.md", "submitting.md", "terms.md", "logo.png")),
    ),
    "challenge kit": Command(
        ["challenge", "kit", "o/k.zip", "--board", "board.sqlite", "--images", "T=town", "-q"], "o/k.zip", ()
    ),
    "challenge rank": Command(
        ["challenge", "rank", "board.sqlite", "--csv", "o/b.csv", "--html", "o/b.html"], "o/b.html", ("o/b.csv",)
    ),
}  # fmt: skip


@dataclass
class Counts:
    """What was tried with a command, and what held; ``faults`` says what did not."""

    tried: int = 0
    held: int = 0
    faults: list[str] = field(default_factory=list)

    def add(self, fault: str | None) -> None:
        """Count a trial."""
        self.tried += 1
        self.held += fault is None
        if fault:
            self.faults.append(fault)


def import_everything() -> None:
    """Import what the commands import, so that children need not."""
    import c2seg.api.fitting
    import c2seg.api.fusing
    import c2seg.api.labeling
    import c2seg.api.models
    import c2seg.api.preparing
    import c2seg.api.reporting
    import c2seg.api.scoring
    import c2seg.api.simulating
    import c2seg.cli.challenge
    import c2seg.cli.submit  # noqa: F401


def prepare(base: Path) -> None:
    """Make the inputs of all commands, in a child."""
    base.mkdir(parents=True)
    status, text = _in_child(base, lambda: _make_inputs(base))
    assert status == 0, text


def kills(base: Path, name: str, *, every: int = 1, overwrite: bool = False) -> Counts:
    """Kill a command at every (``every``-th) call of the file system; see what stands, then run it again."""
    command, counts = COMMANDS[name], Counts()
    point = 1
    while True:
        with _copy(base) as work:
            before = {}
            if overwrite:
                _expect(work, command.arguments)
                before = _outputs(work, command)
            arguments = [*command.arguments, *(["--overwrite"] if overwrite else [])]
            status, text = _in_child(work, lambda args=arguments, at=point: _run_until(args, at))
            if status == 0:
                return counts
            counts.add(f"{text}" if status != KILLED else _after_kill(base, work, command, before, point))
        point += every


def full_disks(base: Path, name: str, limits: tuple[int, ...] = (0, 60, 700, 3000, 20_000)) -> Counts:
    """Run a command where no file may grow beyond some bytes; see that it says so in one line, then run it again."""
    command, counts = COMMANDS[name], Counts()
    for limit in limits:
        with _copy(base) as work:
            status, text = _in_child(work, lambda args=command.arguments, most=limit: _run_within(args, most))
            if status == 0:
                continue  # it needs less
            counts.add(_after_full(work, command, status, text, limit))
    return counts


def _after_kill(base: Path, work: Path, command: Command, before: dict[str, str], point: int) -> str | None:
    now = _outputs(work, command)
    if _inputs(work) != _inputs(base) and not command.again:
        return f"call {point}: an input changed"
    stands = command.main in now and now[command.main] != before.get(command.main)
    new = [path for path, known in now.items() if known != before.get(path)]
    if command.main in now and not stands and new:
        return f"call {point}: new {new} beside the old main file"
    if stands and not _complete(work, command):
        return f"call {point}: the main file stands without others: {sorted(now)}"
    repeat = ["--overwrite"] if command.main in now and not command.again else []
    status, text = _in_child(work, lambda: _run([*command.arguments, *repeat]))
    if status and command.done not in text:
        return f"call {point}: does not run again: {text}"
    if not _complete(work, command):
        return f"call {point}: after another run files are missing: {sorted(_outputs(work, command))}"
    left = [str(path.relative_to(work)) for path in work.rglob(".c2seg-tmp*")]
    return f"call {point}: left over: {left}" if left else None


def _after_full(work: Path, command: Command, status: int, text: str, limit: int) -> str | None:
    # libtiff and joblib write lines of their own, past GDAL and past us
    lines = [line for line in text.splitlines() if line.startswith("c2seg: ")]
    if status != 2 or len(lines) != 1 or "cannot write" not in lines[0] or "Traceback" in text:
        return f"{limit} bytes: exit {status}: {text[-300:]}"
    if not command.again and (work / command.main).exists():
        return f"{limit} bytes: {command.main} stands"
    status, text = _in_child(work, lambda: _run(command.arguments))
    return f"{limit} bytes: does not run again: {text}" if status or not _complete(work, command) else None


def _complete(work: Path, command: Command) -> bool:
    return all(any(work.glob(name)) for name in (command.main, *command.files))


def _outputs(work: Path, command: Command) -> dict[str, str]:
    found = {path for name in (command.main, *command.files) for path in work.glob(name)}
    return {str(path.relative_to(work)): f"{path.stat().st_ino} {path.stat().st_mtime_ns}" for path in found}


def _inputs(work: Path) -> dict[str, str]:
    files = [path for path in work.rglob("*") if path.is_file() and path.relative_to(work).parts[0] != "o"]
    return {str(path.relative_to(work)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@contextmanager
def _copy(base: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=base.parent) as folder:
        work = Path(folder) / "work"
        shutil.copytree(base, work)
        yield work


def _expect(work: Path, arguments: list[str]) -> None:
    status, text = _in_child(work, lambda: _run(arguments))
    assert status == 0, text


def _in_child(folder: Path, action: Callable[[], int]) -> tuple[int, str]:
    """Call ``action`` in a forked process in ``folder``; return its exit status and what it wrote to stderr."""
    receive, send = os.pipe()
    child = os.fork()
    if not child:
        status = 1
        try:
            os.dup2(send, 2)
            os.chdir(folder)
            status = action()
        except BaseException:
            os.write(2, traceback.format_exc().encode())
        finally:
            os._exit(status)
    os.close(send)
    with os.fdopen(receive, "rb") as stream:
        text = stream.read().decode(errors="replace")
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), text


def _run(arguments: list[str]) -> int:
    from c2seg.cli import run

    output, errors = io.StringIO(), io.StringIO()
    with redirect_stdout(output), redirect_stderr(errors):
        try:
            status = run(arguments)
        except Exception:
            errors.write(traceback.format_exc())
            status = 1
    os.write(2, errors.getvalue().encode())
    return status


def _run_within(arguments: list[str], limit: int) -> int:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    return _run(arguments)


_CALLS = (
    "rename",
    "replace",
    "mkdir",
    "unlink",
    "rmdir",
    "fsync",
    "fdatasync",
    "open",
    "pwrite",
    "ftruncate",
    "chmod",
    "link",
)


def _run_until(arguments: list[str], point: int) -> int:
    """Run a command and end the process at a call that changes the file system. Calls on reading are not counted."""
    count = 0

    def counted(function: Callable[..., object], *, is_open: bool = False) -> Callable[..., object]:
        def call(*args: object, **options: object) -> object:
            nonlocal count
            mode = args[1] if len(args) > 1 else options.get("mode", options.get("flags", "r"))
            writes = not is_open or (
                any(c in mode for c in "wax+") if isinstance(mode, str) else bool(int(str(mode)) & 3)
            )
            count += writes
            if count >= point:
                os._exit(KILLED)
            return function(*args, **options)

        return call

    for name in _CALLS:
        setattr(os, name, counted(getattr(os, name), is_open=name == "open"))
    builtins.open = io.open = counted(io.open, is_open=True)  # type: ignore[assignment]
    return _run(arguments)


def _make_inputs(base: Path) -> int:
    import numpy as np
    import rasterio
    from affine import Affine

    def write(path: Path, values: np.ndarray, **more: object) -> None:
        path.parent.mkdir(exist_ok=True)
        with rasterio.open(
            path, "w", driver="GTiff", count=len(values), height=40, width=48, dtype=values.dtype.name, crs="EPSG:32632",
            transform=Affine(10, 0, 600000, 0, -10, 5300000), **more,
        ) as dataset:  # fmt: skip
            dataset.write(values)

    ids = np.kron(np.random.default_rng(0).choice([1, 3, 10], (5, 6)), np.ones((8, 8), int)).astype(np.uint8)[None]
    noise = np.random.default_rng(1).normal(0, 20, (4, 40, 48))
    write(base / "town" / "msi.tif", (ids * np.array([90, 70, 50, 20])[:, None, None] + 300 + noise).astype(np.uint16))
    write(base / "town" / "label.tif", ids)
    write(base / "a.tif", ids, nodata=0)
    write(base / "b.tif", np.roll(ids, 3, 2), nodata=0)
    (base / "town.osm").write_text(_OSM)
    (base / "o").mkdir()
    for arguments in (
        ["fit", "forest", "--source", "town", "--out", "run", *FOREST, "-q"],
        ["challenge", "init", "board.sqlite", "--reference", "T=b.tif", "--tile-px", "32", "-q"],
        ["submit", "pack", "a.tif", "--out", "s.zip", "--tile-px", "32", "-q"],
    ):
        if status := _run(arguments):
            return status
    return 0


_OSM = """<?xml version='1.0' encoding='UTF-8'?>
<osm version="0.6" generator="made"><bounds minlat="47.8" minlon="10.2" maxlat="47.9" maxlon="10.4"/>
<node id="1" lat="47.8385" lon="10.3365"/><node id="2" lat="47.8385" lon="10.3400"/><node id="3" lat="47.8420" lon="10.3400"/>
<way id="1"><nd ref="1"/><nd ref="2"/><nd ref="3"/><nd ref="1"/><tag k="natural" v="water"/></way></osm>
"""


def main() -> None:
    """Try everything and print the counts."""
    every = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    import_everything()
    result: dict[str, dict[str, object]] = {}
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder) / "base"
        prepare(base)
        for name in sys.argv[2:] or COMMANDS:
            rows = {"killed": kills(base, name, every=every), "full disk": full_disks(base, name)}
            if not COMMANDS[name].again:
                rows["killed with --overwrite"] = kills(base, name, every=every, overwrite=True)
            result[name] = {what: vars(counts) for what, counts in rows.items()}
            print(json.dumps({name: result[name]}), file=sys.stderr, flush=True)
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
