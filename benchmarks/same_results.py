"""That two versions of c2seg give the same results: the proof that a change of structure changed nothing else.

    python benchmarks/same_results.py OLD NEW [--work DIR] [--only NAME ...] [--keep]

OLD and NEW are commits, or `.` for the working tree (a copy of its src/ as it is now). Both run the cases below with this
interpreter, each with its own src/ first on PYTHONPATH and in processes of its own: the packages are the same on both sides,
and a version that needs others cannot be compared. Both see the same inputs, two small simulated cities made once by OLD.
Compared are

- models: names, types, shapes and bits of all tensors, as NEW reads both files (so that it may rename tensors of old files);
- maps and layers: pixels, type, grid, nodata;
- scores and validations: the numbers and the confusion counts.

The cases stop trainings and a map in the middle, and let NEW go on where OLD was stopped (`handover`). One line each; exit
code 1 if anything differs. Minutes on two cores. With --work a case that is done is not run again, and the folder stays;
--keep keeps a folder made for the occasion. CASES holds every command in the spelling of 0.1.0: where NEW wants another, give
it as `new`.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

# --- what is run -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Stop:
    """Stop a command as soon as a file that fits ``pattern`` is there, with so many lines."""

    pattern: str
    lines: int = 0
    kill: bool = False
    """SIGKILL instead of SIGTERM."""


@dataclass(frozen=True)
class Step:
    """A command of c2seg, run in the folder of its case. Words in capitals are places of the inputs."""

    words: str
    new: str | None = None
    """How NEW says it, where that is not the same."""
    stop: Stop | None = None
    by: Literal["own", "old"] = "own"
    """``old``: with OLD's code on both sides."""


@dataclass(frozen=True)
class Case:
    """Steps, what they leave to be compared, and pairs of files that must be the same on either side."""

    name: str
    steps: tuple[Step, ...]
    results: tuple[str, ...]
    alike: tuple[tuple[str, str], ...] = ()


FOREST = "fit forest --source SOURCE --target TARGET --quiet --set model.trees=10"
SMALL = "--set training.sampling.patch_px=32 --set training.sampling.batch_size=4 --quiet"
UNET = f"fit unet --source SOURCE --target TARGET {SMALL} --set model.widths=[8,16]"
CROSSCITY = f"--source SOURCE --target TARGET {SMALL} --set model.widths=[8,16] --set forest.model.trees=10"
CRITICS = "[{sees: entropy, output: coarse, widths: [8]}, {sees: entropy, output: aux, widths: [8]}]"
MMUDA_CRITICS = f"--set 'phases.adaptation.training.method.critics={CRITICS}'"
STAGED = f"fit crosscity {CROSSCITY} --set training.iterations=60 --set training.checkpoint_every=5 --set forest=null"
SLOW = "--set training.iterations=80 --set training.checkpoint_every=5 --set training.ema_decay=0.9"
STRIPS = "--set validation.folds=0 --set prediction.window_px=8"
MAP = "predict run/model.safetensors TARGET --out map.tif --quiet"
SCORE = "score map.tif TRUTH --quiet --out scores.json"

MAPPED = ("run/model.safetensors", "map.tif", "scores.json")
STUDENTS = Stop("stopped/**/students/**/state.*")

CASES = (
    Case(
        "forest",
        (
            Step(f"{FOREST} --out run --set validation.folds=2"),
            Step(f"{MAP} --probabilities chances.tif --min-area-px 4"),
            Step(f"{SCORE} --intervals --boundary-px 2"),
        ),
        (*MAPPED, "chances.tif", "run/validation.json"),
    ),
    Case(
        "unet",
        (
            Step(f"{UNET} --out run --set training.iterations=12 --set validation.folds=2"),
            Step(f"{MAP} --probabilities chances.tif --second second.tif --confidence sure.tif"),
            Step(SCORE),
            Step("export run/model.safetensors run/model.onnx --quiet"),
            Step("predict run/model.onnx TARGET --out onnx.tif --no-tta --quiet"),
        ),
        (*MAPPED, "chances.tif", "second.tif", "sure.tif", "onnx.tif", "run/validation.json"),
    ),
    Case(
        "crosscity",
        (
            Step(f"fit crosscity {CROSSCITY} --out run --set training.iterations=6"),
            Step(f"{MAP} --probabilities chances.tif"),
            Step(SCORE),
        ),
        (*MAPPED, "chances.tif"),
    ),
    Case(  # masked learning first, trial on held-out blocks, calibrated confidence
        "pretraining",
        (
            Step(f"fit crosscity@pretraining {CROSSCITY} --out run --set training.iterations=6 --set gate={{}}"),
            Step(f"{MAP} --confidence sure.tif --no-tta"),
            Step(SCORE),
        ),
        (*MAPPED, "sure.tif"),
    ),
    Case(  # phases that start from parts of others, two critics
        "mmuda",
        (
            Step(
                f"fit mmuda --source SOURCE --target TARGET {SMALL} --set training.iterations=2 --out run {MMUDA_CRITICS}"
            ),
            Step(f"{MAP} --no-tta"),
            Step(SCORE),
        ),
        MAPPED,
    ),
    Case(
        "mmuda-ensemble",
        (
            Step(f"fit mmuda-ensemble --source SOURCE --target TARGET {SMALL} --set training.iterations=2 --out run"),
            Step(f"{MAP} --no-tta"),
            Step(SCORE),
        ),
        MAPPED,
    ),
    Case(
        "advent",
        (
            Step(
                f"fit advent --source SOURCE --target TARGET {SMALL} --set model.widths=[8,16] --out run --set "
                "training.iterations=8 --set 'training.method.critics=[{sees: entropy, weight: 0.001, widths: [8]}]'"
            ),
            Step(f"{MAP} --no-tta"),
            Step(SCORE),
        ),
        MAPPED,
    ),
    Case(
        "tiles",
        (
            Step(f"{FOREST} --out run".replace("SOURCE", "SOURCE_TILES").replace("TARGET", "TARGET_TILES")),
            Step(MAP.replace("TARGET", "TARGET_TILES")),
            Step(f"{SCORE} --by-index"),
        ),
        MAPPED,
    ),
    Case(  # no georeference, so the folds of the source stand for the score
        "mat",
        (
            Step(f"{FOREST} --out run".replace("SOURCE", "SOURCE_MAT").replace("TARGET", "TARGET_MAT")),
            Step(MAP.replace("TARGET", "TARGET_MAT")),
        ),
        ("run/model.safetensors", "map.tif", "run/validation.json"),
    ),
    Case(
        "resume",
        (
            Step(f"{STAGED} --out whole"),
            Step(f"{STAGED} --out stopped", stop=STUDENTS),
            Step(f"{STAGED} --out stopped --resume"),
            Step(f"{UNET} {SLOW} --out unet"),
            Step(f"{UNET} {SLOW} --out killed", stop=Stop("killed/**/state.*", kill=True)),
            Step(f"{UNET} {SLOW} --out killed --resume"),
        ),
        ("whole/model.safetensors", "unet/model.safetensors"),
        (
            ("whole/model.safetensors", "stopped/model.safetensors"),
            ("unet/model.safetensors", "killed/model.safetensors"),
        ),
    ),
    Case(
        "resumed-map",
        (
            Step(f"{FOREST} --out run {STRIPS}"),
            Step(MAP),
            Step(MAP.replace("map.tif", "killed.tif"), stop=Stop(".killed.tif.*/ledger.*", 4, kill=True)),
            Step(MAP.replace("map.tif", "killed.tif")),
        ),
        ("run/model.safetensors", "map.tif"),
        (("map.tif", "killed.tif"),),
    ),
    Case(  # NEW goes on where OLD was stopped, and maps with OLD's models
        "handover",
        (
            Step(f"{STAGED} --out staged", stop=Stop("staged/**/students/**/state.pt"), by="old"),
            Step(f"{STAGED} --out staged --resume"),
            Step(f"{UNET} {SLOW} --out unet", stop=Stop("unet/state.pt", kill=True), by="old"),
            Step(f"{UNET} {SLOW} --out unet --resume"),
            Step(f"{FOREST} --out forest {STRIPS}", by="old"),
            Step(
                "predict forest/model.safetensors TARGET --out map.tif --quiet",
                stop=Stop(".map.tif.*/ledger.*", 4, kill=True),
                by="old",
            ),
            Step("predict forest/model.safetensors TARGET --out map.tif --quiet"),
            Step(f"fit crosscity {CROSSCITY} --out city --set training.iterations=2 --set gate={{}}", by="old"),
            Step("predict city/model.safetensors TARGET --out city.tif --confidence sure.tif --no-tta --quiet"),
        ),
        ("staged/model.safetensors", "unet/model.safetensors", "map.tif", "city.tif", "sure.tif"),
    ),
)

NO_SCORES = {"reliability"}
"""Parts of a file that 0.1.0 did not write, with counts of their own."""
SCORES = {
    "oa", "kappa", "mf1", "miou", "iou", "f1", "precision", "recall", "support", "pixels", "counts", "mean_f1",
    "value", "low", "high", "quantity_disagreement", "allocation_disagreement",
}  # fmt: skip
"""Keys of numbers that are compared, wherever they are in a JSON file."""

PLACES = {
    "SOURCE": "pair/cedar", "TARGET": "pair/dogwood", "TRUTH": "pair/dogwood/label.tif", "SOURCE_TILES": "tiles/cedar",
    "TARGET_TILES": "tiles/dogwood", "SOURCE_MAT": "cedar.mat", "TARGET_MAT": "dogwood.mat",
}  # fmt: skip

SIMULATE = "simulate pair --pair bw --scale 0.02 --quiet"

OTHER_LAYOUTS = """
from pathlib import Path
import yaml
from c2seg.data import open_city, open_labelled_city
from c2seg.data.tiling import TileGrid
from c2seg.data.writers import write_mat, write_tiles
for file in Path("pair").glob("*/city.yaml"):  # a few of the 116 HSI bands, for the time it takes
    content = yaml.safe_load(file.read_text())
    hsi = content["modalities"]["hsi"]
    hsi |= {"keep": "1-20", "wavelengths_nm": hsi["wavelengths_nm"][:20]}
    file.write_text(yaml.safe_dump(content, sort_keys=False))
for city in (open_labelled_city(Path("pair/cedar")), open_city(Path("pair/dogwood"))):
    images = getattr(city, "images", city)
    grid = images.scenes[0].grid
    write_tiles(city, Path("tiles") / images.name, TileGrid(grid.height, grid.width, 64, 32))
    write_mat(city, Path(f"{images.name}.mat"))
"""

READ_MODELS = """
import hashlib, json, sys
from pathlib import Path
import numpy as np
try:
    from c2seg.artifacts import read_model_file as read
except ImportError:
    from c2seg.modelfile import load_model as read
found = {}
for path in sys.argv[1:]:
    try:
        tensors = read(Path(path)).tensors
    except Exception as error:
        found[path] = str(error)
        continue
    arrays = {name: np.ascontiguousarray(value) for name, value in tensors.items()}
    found[path] = {n: [str(a.dtype), list(a.shape), hashlib.sha256(a).hexdigest()] for n, a in arrays.items()}
print(json.dumps(found))
"""


# --- the two versions --------------------------------------------------------------------------------------------------

REPOSITORY = Path(__file__).resolve().parents[1]
POLL_SECONDS = 0.002


class FailedError(Exception):
    """A command of one of the versions failed."""


@dataclass(frozen=True)
class Side:
    """A version: which of the two, what names its code, the folder with its ``src``, and the folder of its results."""

    which: Literal["old", "new"]
    code: str
    tree: Path
    results: Path

    def run(self, arguments: Sequence[str], folder: Path, stop: Stop | None = None) -> str:
        """Run this interpreter with this version's code; return what it prints, or raise FailedError."""
        folder.mkdir(parents=True, exist_ok=True)
        # Two threads, so that networks of a phase are trained side by side.
        more = {"PYTHONPATH": str(self.tree / "src"), "OMP_NUM_THREADS": "2", "OMP_WAIT_POLICY": "passive"}
        with subprocess.Popen(
            [sys.executable, *arguments], cwd=folder, env=os.environ | more, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True,
        ) as process:  # fmt: skip
            if stop is not None:
                return _stopped(process, stop, folder)
            out, errors = process.communicate()
        if process.returncode:
            raise FailedError(errors.strip().splitlines()[-1] if errors.strip() else f"exit code {process.returncode}")
        return out

    def check(self) -> None:
        """Make sure that it is this version's code that runs."""
        found = self.run(["-c", "import c2seg; print(c2seg.__file__)"], self.results).strip()
        if not Path(found).is_relative_to(self.tree):
            raise SystemExit(f"the code of {self.code} is in {self.tree}, but Python imports {found}")


def _stopped(process: subprocess.Popen[str], stop: Stop, folder: Path) -> str:
    while process.poll() is None and not _there(stop, folder):
        time.sleep(POLL_SECONDS)
    process.send_signal(signal.SIGKILL if stop.kill else signal.SIGTERM)
    _, errors = process.communicate()
    if process.returncode not in {-signal.SIGKILL, 143}:
        last = errors.strip().splitlines()[-1:] or ["it ended before"]
        raise FailedError(f"not stopped at {stop.pattern}: {last[0]}")
    return ""


def _there(stop: Stop, folder: Path) -> bool:
    return any(path.read_bytes().count(b"\n") >= stop.lines for path in folder.glob(stop.pattern))


def prepare(which: Literal["old", "new"], reference: str, work: Path) -> Side:
    """Lay out the code of a version in the work folder."""
    if reference == ".":
        code = f"tree-{_digest_of(REPOSITORY / 'src')}"
    else:
        code = _git("rev-parse", "--verify", f"{reference}^{{commit}}").decode().strip()[:12]
    tree = work / "code" / code
    if not tree.exists():
        temporary = tree.with_name(f".{code}")
        shutil.rmtree(temporary, ignore_errors=True)
        if reference == ".":
            shutil.copytree(REPOSITORY / "src", temporary / "src", ignore=shutil.ignore_patterns("__pycache__"))
        else:  # no worktree: nothing is left behind in the repository
            with tarfile.open(fileobj=io.BytesIO(_git("archive", code, "src"))) as archive:
                archive.extractall(temporary, filter="data")
        temporary.rename(tree)
    side = Side(which, code, tree, work / f"{which}-{code}")
    side.check()
    return side


def _git(*arguments: str) -> bytes:
    done = subprocess.run(["git", "-C", str(REPOSITORY), *arguments], capture_output=True)
    if done.returncode:
        raise SystemExit(f"git {arguments[0]}: {done.stderr.decode().strip()}")
    return done.stdout


def _digest_of(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts):
        digest.update(f"{path.relative_to(folder)}\n".encode() + path.read_bytes())
    return digest.hexdigest()[:12]


# --- running -----------------------------------------------------------------------------------------------------------


def make_inputs(old: Side, work: Path) -> Path:
    """Return the folder of the inputs: a pair of cities as folders, as tiles and as .mat files."""
    made_by = hashlib.sha256(f"{SIMULATE}{OTHER_LAYOUTS}".encode()).hexdigest()
    folder = work / f"inputs-{old.code}-{made_by[:8]}"
    if not folder.exists():
        say("inputs")
        temporary = folder.with_name(f".{folder.name}")
        shutil.rmtree(temporary, ignore_errors=True)
        old.run(["-m", "c2seg", *shlex.split(SIMULATE)], temporary)
        old.run(["-c", OTHER_LAYOUTS], temporary)
        temporary.rename(folder)
    return folder


def run_case(case: Case, side: Side, old: Side, inputs: Path) -> str:
    """Run a case on one side unless it is done; return what went wrong, or nothing."""
    folder = side.results / case.name
    places = {word: str(inputs / place) for word, place in PLACES.items()}
    key = hashlib.sha256(json.dumps([asdict(case), old.code, SIMULATE, OTHER_LAYOUTS]).encode()).hexdigest()
    done = folder / "done.json"
    if done.exists() and json.loads(done.read_text(encoding="utf-8")) == key:
        return ""
    shutil.rmtree(folder, ignore_errors=True)
    begun = time.monotonic()
    for step in case.steps:
        by = old if step.by == "old" else side
        words = shlex.split(step.new if step.new is not None and by.which == "new" else step.words)
        try:
            by.run(["-m", "c2seg", *(places.get(word, word) for word in words)], folder, step.stop)
        except FailedError as error:
            return f"{' '.join(words[:2])}: {error}"
    done.write_text(json.dumps(key), encoding="utf-8")
    say(f"{case.name} {side.which}: {time.monotonic() - begun:.0f} s")
    return ""


def say(text: str) -> None:
    """Tell of the progress."""
    print(text, file=sys.stderr, flush=True)


# --- comparing ---------------------------------------------------------------------------------------------------------

Line = tuple[str, str, str]
"""What was compared, ``equal`` or ``different``, and how."""


def compare_case(case: Case, old: Side, new: Side) -> Iterator[Line]:
    """Yield a line for each result of a case."""
    pairs = [(name, old.results / case.name / name, new.results / case.name / name) for name in case.results]
    for side in (old, new):
        folder = side.results / case.name
        pairs += [
            (f"{side.which}: {second} as {first}", folder / first, folder / second) for first, second in case.alike
        ]
    models = [path for _, *both in pairs if both[0].suffix == ".safetensors" for path in both if path.exists()]
    tensors = json.loads(new.run(["-c", READ_MODELS, *map(str, models)], new.results)) if models else {}
    for name, first, second in pairs:
        if missing := [path.name for path in (first, second) if not path.exists()]:
            yield name, "different", f"no {' and no '.join(missing)}"
            continue
        if first.suffix == ".safetensors":
            found = _models(first, second, tensors)
        elif first.suffix == ".tif":
            found = _rasters(first, second)
        else:
            found = _numbers(first, second)
        yield (name, *found)


def _models(first: Path, second: Path, tensors: dict[str, Any]) -> tuple[str, str]:
    one, other = tensors[str(first)], tensors[str(second)]
    unread = [content for content in (one, other) if isinstance(content, str)]
    if unread:
        same = _raw(first) == _raw(second)
        return ("equal" if same else "different"), f"as sets of tensors without names; NEW cannot open one: {unread[0]}"
    if set(one) != set(other):
        return "different", f"names of tensors: {_few(set(one) ^ set(other))}"
    if changed := [name for name in one if one[name] != other[name]]:
        return "different", f"{len(changed)} of {len(one)} tensors: {_few(changed)}"
    return "equal", f"{len(one)} tensors"


def _raw(path: Path) -> Counter[tuple[str, tuple[int, ...], str]]:
    from safetensors.numpy import load_file

    arrays = map(np.ascontiguousarray, load_file(path).values())
    return Counter((str(a.dtype), a.shape, hashlib.sha256(a).hexdigest()) for a in arrays)


def _rasters(first: Path, second: Path) -> tuple[str, str]:
    import rasterio

    with rasterio.open(first) as one, rasterio.open(second) as other:
        for what in ("shape", "count", "dtypes", "transform", "crs", "nodata"):
            if (a := getattr(one, what)) != (b := getattr(other, what)):
                return "different", f"{what}: {a} and {b}"
        differing = (one.read() != other.read()).any(axis=0)
        what = f"{differing.size} pixels of {one.count} band{'s' if one.count > 1 else ''}"
    return ("different", f"{differing.sum()} of {what}") if differing.any() else ("equal", what)


def _numbers(first: Path, second: Path) -> tuple[str, str]:
    one, other = ({key: sorted(values) for key, values in _scores(path).items()} for path in (first, second))
    if changed := [key for key in sorted(set(one) | set(other)) if one.get(key) != other.get(key)]:
        return "different", _few(changed)
    return "equal", _few(list(one)) if one else "no scores"


def _scores(path: Path) -> dict[str, list[str]]:
    """Return the compared numbers of a JSON file as text by key, in whatever part of it they are."""
    found: dict[str, list[str]] = {}

    def walk(content: Any) -> None:
        for key, value in content.items() if isinstance(content, dict) else enumerate(content):
            if key in NO_SCORES:
                continue
            if key in SCORES and not isinstance(value, dict):
                found.setdefault(key, []).append(json.dumps(value))
            elif isinstance(value, dict | list):
                walk(value)

    walk(json.loads(path.read_text(encoding="utf-8")))
    return found


def _few(names: Sequence[str] | set[str]) -> str:
    shown = sorted(names)[:4]
    return ", ".join(shown) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def compare(old: Side, new: Side, inputs: Path, cases: Sequence[Case]) -> int:
    """Run the cases and print the table; return how many lines differ."""
    different = 0
    with ThreadPoolExecutor(2) as pool:  # mostly imports, which take one core each
        for case in cases:
            failures = list(pool.map(lambda side: run_case(case, side, old, inputs), (old, new)))  # noqa: B023
            lines = [(side.which, "different", f"failed: {text}") for side, text in zip((old, new), failures, strict=True)
                     if text]  # fmt: skip
            for what, verdict, how in lines or compare_case(case, old, new):
                print(f"{case.name:<15} {what:<52} {verdict:<9} {how}", flush=True)
                different += verdict != "equal"
    return different


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", metavar="OLD", help="commit, or . for the working tree")
    parser.add_argument("new", metavar="NEW", help="commit, or . for the working tree")
    parser.add_argument(
        "--work", type=Path, help="folder of inputs and results, which stays (default: a temporary one)"
    )
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=[case.name for case in CASES], help="cases to run")
    parser.add_argument("--keep", action="store_true", help="keep the temporary folder")
    options = parser.parse_args()
    work = (options.work or Path(tempfile.mkdtemp(prefix="same_results-"))).resolve()
    begun = time.monotonic()
    try:
        old, new = prepare("old", options.old, work), prepare("new", options.new, work)
        cases = [case for case in CASES if options.only is None or case.name in options.only]
        different = compare(old, new, make_inputs(old, work), cases)
    finally:
        if options.work is None and not options.keep:
            shutil.rmtree(work, ignore_errors=True)
    say(f"{time.monotonic() - begun:.0f} s" + (f", kept in {work}" if options.work or options.keep else ""))
    print(f"{different} different" if different else "all equal")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
