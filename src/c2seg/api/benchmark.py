"""Compare recipes honestly: the same pairs of cities, the same seeds, every run in a process of its own, resumable.

A benchmark folder holds ``runs/<pair>/<recipe>[-<inputs>]/seed<k>`` (run folders as ``c2seg fit`` writes them, with the map and
its scores), ``benchmark.json``, ``benchmark.csv`` and ``benchmark.html``. A run whose ``result.json`` belongs to the same
settings is not run again.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from c2seg.data import open_city
from c2seg.errors import C2SegError, InputError
from c2seg.outputs import write_json
from c2seg.progress import Progress, no_progress
from c2seg.recipes import load_recipe

__all__ = ["Benchmark", "Pair", "Run", "estimate_seconds", "parse_pair", "plan", "run_all"]

_CALIBRATION_STEPS = 20
RARE_PX = 1000


@dataclass(frozen=True)
class Pair:
    """A labelled source, an unlabelled target, and the target's truth (None: the target cannot be scored)."""

    source: Path
    target: Path
    truth: Path | None

    @property
    def name(self) -> str:
        """Folder name of the pair."""
        return f"{self.source.resolve().name}-{self.target.resolve().name}"


@dataclass(frozen=True)
class Benchmark:
    """What is compared. ``equal_seconds`` gives every network about that much training time on this machine."""

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
    def label(self) -> str:
        """Row of the table."""
        return self.recipe if self.inputs == "default" else f"{self.recipe} ({self.inputs})"


def parse_pair(text: str) -> Pair:
    """Read ``SOURCE:TARGET[:TRUTH]``. Without TRUTH the target's own label is the truth, if it has one."""
    parts = text.split(":")
    if len(parts) not in {2, 3} or not all(parts):
        raise InputError(f"--pair {text!r} is not of the form SOURCE:TARGET[:TRUTH]")
    source, target = Path(parts[0]), Path(parts[1])
    if len(parts) == 3:
        return Pair(source, target, Path(parts[2]))
    beside = target / "label.tif"
    return Pair(source, target, beside if beside.is_file() else None)


def plan(benchmark: Benchmark) -> list[Run]:
    """Return every run, pairs first, then recipes, then seeds; checks recipes and cities before any work."""
    runs = []
    for pair in benchmark.pairs:
        cities = open_city(pair.source), open_city(pair.target)
        shared = [name for name in cities[0].modality_names if name in cities[1].modality_names]
        for recipe in benchmark.recipes:
            choices = ["default", *shared] if benchmark.single_modalities and len(shared) > 1 else ["default"]
            for inputs in choices:
                more = () if inputs == "default" else (f"inputs=[{inputs}]",)
                overrides = (*benchmark.overrides, *more)
                load_recipe(recipe, benchmark.preset, overrides)
                name = recipe if inputs == "default" else f"{recipe}-{inputs}"
                runs += [
                    Run(
                        pair, recipe, inputs, seed, benchmark.out / "runs" / pair.name / name / f"seed{seed}", overrides
                    )
                    for seed in range(benchmark.seeds)
                ]
    return runs


def estimate_seconds(benchmark: Benchmark, runs: Sequence[Run], progress: Progress = no_progress) -> dict[str, float]:
    """Return the seconds of one run by ``pair recipe``, from a few measured steps; finished runs need none."""
    seconds: dict[str, float] = {}
    waiting = {(run.pair.name, run.label): run for run in runs if not _finished(benchmark, run)}
    for done, ((pair, label), run) in enumerate(waiting.items()):
        recipe = load_recipe(run.recipe, benchmark.preset, run.overrides)
        folder = run.folder.parent / "calibration"
        shutil.rmtree(folder, ignore_errors=True)
        if recipe.model.name == "forest":
            trees = recipe.model.trees
            start = time.perf_counter()
            few = max(1, trees // 10)
            _fit(benchmark, run, folder, (f"model.trees={few}", "validation.folds=0"))
            spent = (time.perf_counter() - start) * (trees / few) * max(1, recipe.validation.folds)
        else:
            _fit(benchmark, run, folder, (f"training.iterations={_CALIBRATION_STEPS}", "validation.folds=0"))
            spent = _step_seconds(folder) * recipe.training.iterations
        seconds[f"{pair} {label}"] = benchmark.equal_seconds or spent
        if benchmark.equal_seconds and recipe.model.name != "forest":
            write_json(folder.parent / "equal.json", {"step_seconds": _step_seconds(folder)})
        shutil.rmtree(folder, ignore_errors=True)
        progress(done + 1, len(waiting), label)
    return seconds


def run_all(benchmark: Benchmark, runs: Sequence[Run], progress: Progress = no_progress) -> list[dict[str, Any]]:
    """Run what is not finished and return one result per run: scores, seconds, memory, size."""
    results = []
    for done, run in enumerate(runs):
        progress(done, len(runs), f"{run.pair.name} {run.label} seed {run.seed}")
        results.append(_one(benchmark, run))
        progress(done + 1, len(runs), "")
    return results


def _one(benchmark: Benchmark, run: Run) -> dict[str, Any]:
    path = run.folder / "result.json"
    if _finished(benchmark, run):
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return content
    overrides = _equal(benchmark, run)
    offline = _offline(benchmark, run, overrides)
    fitted = _fit(benchmark, run, run.folder, overrides)
    record = json.loads((run.folder / "record.json").read_text(encoding="utf-8"))
    out = run.folder / "maps" / f"{run.pair.target.resolve().name}.tif"
    model = str(run.folder / "model.safetensors")
    mapped = _child(
        benchmark,
        ["predict", model, str(run.pair.target), "--out", str(out), "--overwrite", "--device", benchmark.device],
    )
    scored = None
    if run.pair.truth is not None:
        options = ["--out", str(run.folder / f"scores-{out.stem}.json"), "--overwrite"]
        scored = _child(benchmark, ["score", str(out), str(run.pair.truth), "--by-index", *options])
    result = {
        "key": _key(benchmark, run),
        "pair": run.pair.name,
        "recipe": run.recipe,
        "inputs": run.inputs,
        "label": run.label,
        "seed": run.seed,
        "iterations": record.get("iterations"),
        "fit_seconds": fitted["seconds"],
        "map_seconds": sum(m["seconds"] for m in mapped["maps"]),
        "peak_memory_mib": record.get("peak_memory_mib"),
        "parameters": record.get("parameters"),
        "gflops_128": record.get("gflops_128"),
        "uses_target_images": record["uses_target_images"],
        "commit": record.get("commit"),
        "validation": fitted["validation"],
        "scores": scored,
        "offline": offline,
    }
    write_json(path, result)
    return result


def _offline(benchmark: Benchmark, run: Run, overrides: Sequence[str]) -> dict[str, Any] | None:
    """Score the random split of overlapping tiles: what published offline validation measured."""
    if not benchmark.offline:
        return None
    folder = run.folder / "offline"
    fitted = _fit(benchmark, run, folder, (*overrides, "validation={kind: random_tiles}"))
    content: dict[str, Any] = fitted["validation"]
    return content


def _fit(benchmark: Benchmark, run: Run, folder: Path, overrides: Sequence[str]) -> dict[str, Any]:
    sets = [part for text in (*run.overrides, *overrides) for part in ("--set", text)]
    if run.pair.truth is not None and not any("validation" in text for text in overrides):
        sets += ["--set", "validation.folds=0"]
    arguments = [
        "fit", run.recipe, "--source", str(run.pair.source), "--target", str(run.pair.target), "--out", str(folder),
        "--preset", benchmark.preset, "--seed", str(run.seed), "--device", benchmark.device, "--resume", *sets,
    ]  # fmt: skip
    return _child(benchmark, arguments)


def _child(benchmark: Benchmark, arguments: Sequence[str]) -> dict[str, Any]:
    """Run a command of ours in a process of its own, so that memory is its own, and return its JSON."""
    command = [sys.executable, "-m", "c2seg", *arguments, "--json"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode in {130, 143}:
        raise KeyboardInterrupt
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ["no message"]
        raise C2SegError(f"c2seg {arguments[0]} failed for {arguments[1]}: {last[0].removeprefix('c2seg: ')}")
    content: dict[str, Any] = json.loads(done.stdout)
    return content


def _key(benchmark: Benchmark, run: Run) -> dict[str, Any]:
    """Return what a result depends on."""
    return {
        "recipe": load_recipe(run.recipe, benchmark.preset, run.overrides).model_dump(mode="json"),
        "seed": run.seed,
        "equal_seconds": benchmark.equal_seconds,
        "offline": benchmark.offline,
        "device": benchmark.device,
        "cities": [open_city(path).fingerprint() for path in (run.pair.source, run.pair.target)],
        "truth": str(run.pair.truth) if run.pair.truth else None,
    }


def _finished(benchmark: Benchmark, run: Run) -> bool:
    path = run.folder / "result.json"
    if not path.exists():
        return False
    try:
        return bool(json.loads(path.read_text(encoding="utf-8"))["key"] == _key(benchmark, run))
    except (ValueError, KeyError, TypeError):
        return False


def _equal(benchmark: Benchmark, run: Run) -> tuple[str, ...]:
    """Return the override that gives a network its training time."""
    measured = run.folder.parent / "equal.json"
    if benchmark.equal_seconds is None or not measured.exists():
        return ()
    step = float(json.loads(measured.read_text(encoding="utf-8"))["step_seconds"])
    return (f"training.iterations={max(_CALIBRATION_STEPS, round(benchmark.equal_seconds / step))}",)


def _step_seconds(folder: Path) -> float:
    """Return the seconds of all trainings of a short run by iteration of its recipe."""
    record = json.loads((folder / "record.json").read_text(encoding="utf-8"))
    return float(record["step_seconds"])


def common_classes(result: dict[str, Any]) -> Iterator[int]:
    """Yield the positions of the classes with at least 1000 truth pixels."""
    for index, pixels in enumerate(result["scores"]["support"]):
        if pixels >= RARE_PX:
            yield index
