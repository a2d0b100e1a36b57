"""Compare recipes honestly: the same pairs of cities, the same seeds, every run in a process of its own, resumable.

A benchmark folder holds ``runs/<pair>/<recipe>[-<inputs>]/seed<k>`` (run folders as ``c2seg fit`` writes them, with the map and
its scores), ``benchmark.json``, ``benchmark.csv`` and ``benchmark.html``. A run whose ``result.json`` belongs to the same
settings is not run again.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from c2seg.artifacts import RunRecord
from c2seg.artifacts.benchmark import BenchmarkCosts, BenchmarkKey, BenchmarkResult
from c2seg.data import open_city
from c2seg.errors import C2SegError, DataError, InputError
from c2seg.metrics import check_reference
from c2seg.progress import Progress, no_progress
from c2seg.recipes import load_recipe

__all__ = ["Benchmark", "Pair", "Run", "estimate_seconds", "finished", "parse_pairs", "plan", "run_all"]

_CALIBRATION_STEPS = 20
_POLL_SECONDS = 0.5
_GRACE_SECONDS = 5
RARE_PX = 1000
FOLDS = 4
_NO_FOLDS = ("validation.folds=0", "validation.final=true")


@dataclass(frozen=True)
class Pair:
    """A labeled source, an unlabeled target, and the target's ground truth (None: the target cannot be scored).

    The target may be the source itself: then guarded block folds inside the city are scored, pooled, and methods that learn
    from a target's images see those of the city, of the held-out blocks too.
    """

    source: Path
    target: Path
    reference: Path | None
    number: int = 1
    """Among pairs of cities with the same names."""

    @property
    def inside(self) -> bool:
        """True if the pair is one city."""
        return self.source == self.target

    @property
    def name(self) -> str:
        """Folder name of the pair."""
        cities = dict.fromkeys(path.resolve().name for path in (self.source, self.target))
        return "-".join([*cities, *([str(self.number)] if self.number > 1 else [])])


@dataclass(frozen=True)
class Benchmark:
    """What is compared. ``equal_seconds`` gives every recipe with networks about that much training time on this machine:
    processor time on a CPU, so that other work changes nothing, else time. A forest beside the networks is part of it."""

    pairs: tuple[Pair, ...]
    recipes: tuple[str, ...]
    out: Path
    preset: str = "tiny"
    seeds: int = 3
    single_modalities: bool = False
    equal_seconds: float | None = None
    offline: bool = False
    """Also score a random split of overlapping tiles inside the source, as published offline numbers were made."""
    device: str = "cpu"
    overrides: tuple[str, ...] = ()
    jobs: int = 1
    """Runs at a time; each gets its share of the cores."""


@dataclass(frozen=True)
class Run:
    """One fit and map: pair, recipe, inputs (``all`` or a modality), seed, and where it goes."""

    pair: Pair
    recipe: str
    inputs: str
    seed: int
    folder: Path
    overrides: tuple[str, ...]

    @property
    def map(self) -> Path:
        """Where the map of the target goes."""
        return self.folder / "maps" / f"{self.pair.target.resolve().name}.tif"

    @property
    def label(self) -> str:
        """Row of the table."""
        return self.recipe if self.inputs == "default" else f"{self.recipe} ({self.inputs})"

    @property
    def name(self) -> str:
        """What tells the run from the others."""
        return f"{self.pair.name} {self.label} seed {self.seed}"


def parse_pairs(texts: Sequence[str]) -> tuple[Pair, ...]:
    """Read pairs; those whose cities have the same names as an earlier pair's are numbered."""
    found: list[Pair] = []
    for text in texts:
        pair = parse_pair(text)
        same = sum(other.name == replace(pair, number=other.number).name for other in found)
        found.append(replace(pair, number=same + 1))
    return tuple(found)


def parse_pair(text: str) -> Pair:
    """Read ``SOURCE:TARGET[:TRUTH]``, or ``CITY`` for folds inside one city. Without TRUTH the target's own label is the
    ground truth, if it has one."""
    parts = text.split(":")
    if len(parts) not in {1, 2, 3} or not all(parts):
        raise InputError(f"--pair {text!r} is not of the form SOURCE:TARGET[:TRUTH], nor a city")
    if len(parts) == 1:
        return Pair(Path(text), Path(text), None)
    source, target = Path(parts[0]), Path(parts[1])
    if source.resolve() == target.resolve():
        raise InputError(f"--pair {text!r} names one city twice; give it once for folds inside it")
    if len(parts) == 3:
        return Pair(source, target, Path(parts[2]))
    beside = target / "label.tif"
    return Pair(source, target, beside if beside.is_file() else None)


def plan(benchmark: Benchmark) -> list[Run]:
    """Return every run, pairs first, then recipes, then seeds; checks recipes, cities and ground truths before any work."""
    runs = []
    for pair in benchmark.pairs:
        cities = open_city(pair.source), open_city(pair.target)
        if pair.reference is not None and len(cities[1].scenes) == 1:
            check_reference(cities[1].scenes[0].grid, f"the map of {pair.target}", pair.reference, by_index=True)
        shared = [name for name in cities[0].modality_names if name in cities[1].modality_names]
        for recipe in benchmark.recipes:
            choices = ["default", *shared] if benchmark.single_modalities and len(shared) > 1 else ["default"]
            for inputs in choices:
                more = () if inputs == "default" else (f"inputs=[{inputs}]",)
                overrides = (*benchmark.overrides, *more)
                if pair.inside:
                    folds = load_recipe(recipe, benchmark.preset, overrides).validation.folds or FOLDS
                    overrides += (f"validation.folds={folds}", "validation.final=false")
                load_recipe(recipe, benchmark.preset, overrides)
                name = recipe if inputs == "default" else f"{recipe}-{inputs}"
                runs += [
                    Run(
                        pair, recipe, inputs, seed, benchmark.out / "runs" / pair.name / name / f"seed{seed}", overrides
                    )
                    for seed in range(benchmark.seeds)
                ]
    return runs


def estimate_seconds(benchmark: Benchmark, waiting: Sequence[Run], progress: Progress = no_progress) -> float:
    """Return about how many seconds of training these runs take, one after the other, from a few measured steps of each recipe.

    What cannot be measured counts as none, and fails when its turn comes. Variants count as what they vary, but for equal
    time, which needs the cost of each.
    """
    total = 0.0
    alike: dict[tuple[Pair, str], list[Run]] = {}
    for run in waiting:
        alike.setdefault((run.pair, run.label), []).append(run)  # the seeds cost the same
    for done, same in enumerate(alike.values()):
        total += len(same) * _training_seconds(benchmark, same[0])
        progress(done + 1, len(alike), same[0].label)
    return total


def _training_seconds(benchmark: Benchmark, run: Run) -> float:
    recipe = load_recipe(run.recipe, benchmark.preset, run.overrides)
    try:
        each = _costs(benchmark, run if benchmark.equal_seconds else replace(run, recipe=run.recipe.split("@")[0]))
    except C2SegError:
        return 0.0
    steps = recipe.model.trees if recipe.model.name == "forest" else recipe.training.iterations
    if benchmark.equal_seconds and recipe.model.name != "forest":
        steps = _equal_steps(benchmark.equal_seconds, each)
    folds = 0 if run.pair.reference is not None else recipe.validation.folds
    return (each.step_seconds * steps + each.forest_seconds) * (folds + recipe.validation.final)


def _costs(benchmark: Benchmark, run: Run) -> BenchmarkCosts:
    """Measure what a recipe costs, once for the bands of a city; it is kept."""
    recipe = load_recipe(run.recipe, benchmark.preset, run.overrides)
    city = open_city(run.pair.source)
    bands = city.band_counts(city.modality_names)
    identity = {"recipe": recipe.model_dump(mode="json"), "bands": bands, "device": benchmark.device}
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:8]
    kept = benchmark.out / "calibration" / f"{run.recipe.replace('@', '-')}-{digest}.json"
    if not kept.exists():
        folder = kept.with_suffix("")
        shutil.rmtree(folder, ignore_errors=True)
        if recipe.model.name == "forest":
            steps = max(1, recipe.model.trees // 10)
            start = time.perf_counter()
            _fit(benchmark, run, folder, (f"model.trees={steps}", *_NO_FOLDS))
            each = BenchmarkCosts(step=0.0, step_seconds=(time.perf_counter() - start) / steps)
        else:
            _fit(benchmark, run, folder, (f"training.iterations={_CALIBRATION_STEPS}", *_NO_FOLDS))
            record = RunRecord.read(folder / "record.json")
            cost = "processor_seconds" if benchmark.device == "cpu" else "seconds"
            each = BenchmarkCosts(
                step=getattr(record, f"step_{cost}"),
                step_seconds=record.step_seconds or 0.0,
                forest=getattr(record, f"forest_{cost}") or 0.0,
                forest_seconds=record.forest_seconds or 0.0,
            )
        each.write(kept)
        shutil.rmtree(folder, ignore_errors=True)
    return BenchmarkCosts.read(kept)


def _equal_steps(seconds: float, each: BenchmarkCosts) -> int:
    return max(_CALIBRATION_STEPS, round((seconds - each.forest) / each.step))


def run_all(
    benchmark: Benchmark, runs: Sequence[Run], progress: Progress = no_progress
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Run what is not finished, ``benchmark.jobs`` at a time. Return one result per run (scores, seconds, memory, size), and
    what went wrong by the run's name: a run that fails does not stop the others. Stopped, all of them stop.
    """
    results: dict[int, dict[str, Any]] = {}
    failed: dict[str, str] = {}
    stop = threading.Event()
    progress(0, len(runs), "")
    with ThreadPoolExecutor(benchmark.jobs) as pool:
        futures = {pool.submit(_one, benchmark, run, stop): place for place, run in enumerate(runs)}
        try:
            for done, future in enumerate(as_completed(futures)):
                place = futures[future]
                try:
                    results[place] = future.result()
                except C2SegError as error:
                    failed[runs[place].name] = str(error)
                progress(done + 1, len(runs), runs[place].name)
        except BaseException:
            stop.set()
            pool.shutdown(cancel_futures=True)
            raise
    return [results[place] for place in sorted(results)], failed


def _one(benchmark: Benchmark, run: Run, stop: threading.Event) -> dict[str, Any]:
    path = run.folder / "result.json"
    if finished(benchmark, run):
        return BenchmarkResult.read(path).as_json()
    overrides = _equal(benchmark, run)
    offline = _offline(benchmark, run, overrides, stop)
    fitted = _fit(benchmark, run, run.folder, overrides, stop)
    record = RunRecord.read(run.folder / "record.json")
    map_seconds, scored = (
        (None, _inside_scores(run, fitted)) if run.pair.inside else _map_and_score(benchmark, run, stop)
    )
    result = {
        "key": _key(benchmark, run),
        "pair": run.pair.name,
        "recipe": run.recipe,
        "inputs": run.inputs,
        "label": run.label,
        "seed": run.seed,
        "iterations": record.iterations,
        "fit_seconds": fitted["seconds"],
        "map_seconds": map_seconds,
        "peak_memory_mib": record.peak_memory_mib,
        "parameters": record.parameters,
        "gflops_128": record.gflops_128,
        "uses_target_images": record.uses_target_images,
        "commit": record.commit,
        "validation": fitted["validation"],
        "scores": scored,
        "offline": offline,
    }
    stored = BenchmarkResult.model_validate(result)
    stored.write(path)
    return stored.as_json()


def _map_and_score(benchmark: Benchmark, run: Run, stop: threading.Event) -> tuple[float, dict[str, Any] | None]:
    """Map the target; return the seconds, and the scores if there is a ground truth."""
    out = run.map
    model = str(run.folder / "model.safetensors")
    mapped = _child(
        benchmark,
        ["predict", model, str(run.pair.target), "--out", str(out), "--overwrite", "--device", benchmark.device],
        stop,
    )
    scored = None
    if run.pair.reference is not None:
        options = ["--out", str(run.folder / f"scores-{out.stem}.json"), "--overwrite"]
        scored = _child(benchmark, ["score", str(out), str(run.pair.reference), "--by-index", *options], stop)
    return sum(m["seconds"] for m in mapped["maps"]), scored


def _inside_scores(run: Run, fitted: dict[str, Any]) -> dict[str, Any]:
    """Return the pooled scores of the folds, with the names of the classes."""
    legend = open_city(run.pair.source).legend
    return {**fitted["validation"]["scores"], "classes": [{"id": c.id, "name": c.name} for c in legend.classes]}


def _offline(benchmark: Benchmark, run: Run, overrides: Sequence[str], stop: threading.Event) -> dict[str, Any] | None:
    """Score the random split of overlapping tiles: what published offline validation measured."""
    if not benchmark.offline:
        return None
    folder = run.folder / "offline"
    fitted = _fit(benchmark, run, folder, (*overrides, "validation={kind: random_tiles, final: false}"), stop)
    content: dict[str, Any] = fitted["validation"]
    return content


def _fit(
    benchmark: Benchmark, run: Run, folder: Path, overrides: Sequence[str], stop: threading.Event | None = None
) -> dict[str, Any]:
    sets = [part for text in (*run.overrides, *overrides) for part in ("--set", text)]
    if run.pair.reference is not None and not any("validation" in text for text in overrides):
        sets += ["--set", "validation.folds=0"]
    arguments = [
        "fit", run.recipe, "--source", str(run.pair.source), "--target", str(run.pair.target), "--out", str(folder),
        "--preset", benchmark.preset, "--seed", str(run.seed), "--device", benchmark.device, "--resume", *sets,
    ]  # fmt: skip
    return _child(benchmark, arguments, stop)


def _child(benchmark: Benchmark, arguments: Sequence[str], stop: threading.Event | None = None) -> dict[str, Any]:
    """Run a command of ours in a process of its own, so that memory is its own, and return its JSON."""
    command = [sys.executable, "-m", "c2seg", *arguments, "--json"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=_environment(benchmark.jobs)
    ) as process:
        try:
            out, errors = _output(process, stop)
        except BaseException:
            _end(process)
            raise
    if process.returncode in {130, 143}:
        raise KeyboardInterrupt
    if process.returncode:
        last = errors.strip().splitlines()[-1:] or ["no message"]
        raise C2SegError(f"c2seg {arguments[0]} failed for {arguments[1]}: {last[0].removeprefix('c2seg: ')}")
    content: dict[str, Any] = json.loads(out)
    return content


def _output(process: subprocess.Popen[str], stop: threading.Event | None) -> tuple[str, str]:
    """Return what a process prints until it ends; KeyboardInterrupt once ``stop`` is set."""
    while stop is None or not stop.is_set():
        with suppress(subprocess.TimeoutExpired):
            return process.communicate(timeout=_POLL_SECONDS)
    raise KeyboardInterrupt


def _end(process: subprocess.Popen[str]) -> None:
    """Let a process that writes what can be resumed end: Ctrl-C has reached it too, a signal to the benchmark alone has not."""
    try:
        process.communicate(timeout=_GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        process.terminate()
        process.communicate()


def _environment(jobs: int) -> dict[str, str]:
    """Return the environment of one of several runs at a time: its share of the cores, unless the user has said otherwise."""
    share = str(max(1, (os.cpu_count() or 1) // jobs))
    return ({"OMP_NUM_THREADS": share, "LOKY_MAX_CPU_COUNT": share} if jobs > 1 else {}) | os.environ


def _key(benchmark: Benchmark, run: Run) -> BenchmarkKey:
    """Return what a result depends on."""
    return BenchmarkKey(
        recipe=load_recipe(run.recipe, benchmark.preset, run.overrides),
        seed=run.seed,
        equal_seconds=benchmark.equal_seconds,
        offline=benchmark.offline,
        device=benchmark.device,
        cities=tuple(open_city(path).fingerprint() for path in (run.pair.source, run.pair.target)),
        reference=str(run.pair.reference) if run.pair.reference else None,
    )


def finished(benchmark: Benchmark, run: Run) -> bool:
    """Return True if the run's result is there and belongs to these settings."""
    path = run.folder / "result.json"
    if not path.exists():
        return False
    try:
        return BenchmarkResult.read(path).key == _key(benchmark, run)
    except DataError:
        return False


def _equal(benchmark: Benchmark, run: Run) -> tuple[str, ...]:
    """Return the override that gives a network its training time."""
    recipe = load_recipe(run.recipe, benchmark.preset, run.overrides)
    if benchmark.equal_seconds is None or recipe.model.name == "forest":
        return ()
    return (f"training.iterations={_equal_steps(benchmark.equal_seconds, _costs(benchmark, run))}",)


def common_classes(result: dict[str, Any]) -> Iterator[int]:
    """Yield the positions of the classes with at least 1000 ground truth pixels."""
    for index, pixels in enumerate(result["scores"]["support"]):
        if pixels >= RARE_PX:
            yield index
