"""What training costs on this machine: measured in a few steps of each recipe, to state it before, and for equal time."""

from __future__ import annotations

import hashlib
import json
import tempfile
from contextlib import suppress
from pathlib import Path

from c2seg.artifacts.benchmark import BenchmarkCosts
from c2seg.artifacts.runs import RunRecord
from c2seg.benchmark.plan import Benchmark, Run
from c2seg.benchmark.runner import Runner
from c2seg.benchmark.tasks import fit_task
from c2seg.data import open_city
from c2seg.errors import C2SegError
from c2seg.recipes import Recipe
from c2seg.recipes.models import ForestModel

__all__ = ["equal_time", "known_costs", "measure_costs", "training_seconds"]

_CALIBRATION_STEPS = 20
_NO_FOLDS = ("validation.folds=0", "validation.final=true")


def training_seconds(benchmark: Benchmark, run: Run, costs: BenchmarkCosts) -> tuple[float, int]:
    """Return about how many seconds the training of a run takes, and its iterations (of a forest: trees)."""
    recipe = run.settings()
    folds = 0 if run.pair.reference is not None else recipe.validation.folds
    steps = _steps(recipe, benchmark.equal_seconds, costs)
    trainings = folds + recipe.validation.final + benchmark.offline
    return (costs.step_seconds * steps + costs.forest_seconds) * trainings, steps


def _steps(recipe: Recipe, equal_seconds: float | None, costs: BenchmarkCosts) -> int:
    if isinstance(recipe.model, ForestModel):
        return recipe.model.trees
    return _steps_within(equal_seconds, costs) if equal_seconds else recipe.training.iterations


def equal_time(benchmark: Benchmark, run: Run, runner: Runner) -> tuple[str, ...]:
    """Return the override that gives a network its training time; none without equal time, and for forests."""
    if benchmark.equal_seconds is None or isinstance(run.settings().model, ForestModel):
        return ()
    steps = _steps_within(benchmark.equal_seconds, measure_costs(benchmark, run, runner))
    return (f"training.iterations={steps}",)


def _steps_within(seconds: float, costs: BenchmarkCosts) -> int:
    """Return the iterations that take so long, with the forest."""
    return max(_CALIBRATION_STEPS, round((seconds - costs.forest) / costs.step))


def known_costs(benchmark: Benchmark, run: Run) -> BenchmarkCosts | None:
    """Return what was measured of a recipe in this folder on this kind of device; None if nothing was."""
    with suppress(C2SegError):
        return BenchmarkCosts.read(_calibration(benchmark, run))
    return None


def measure_costs(benchmark: Benchmark, run: Run, runner: Runner) -> BenchmarkCosts:
    """Measure what a recipe costs, once for the bands of a city; the file is in the benchmark's folder.

    Of runs that measure it at the same time, the first to finish tells all: a stopped run must find its number of steps again.
    """
    if (known := known_costs(benchmark, run)) is not None:
        return known
    path = _calibration(benchmark, run)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f"{path.stem}-", dir=path.parent) as folder:
        costs = _measure(benchmark, run, runner, Path(folder) / "run")
    if (known := known_costs(benchmark, run)) is not None:
        return known
    costs.write(path)
    return costs


def _calibration(benchmark: Benchmark, run: Run) -> Path:
    """Return the file for these costs."""
    city = open_city(run.pair.source)
    bands = city.band_counts(city.modality_names)
    identity = {"recipe": run.settings().model_dump(mode="json"), "bands": bands, "device": benchmark.device}
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:8]
    return benchmark.out / "calibration" / f"{run.recipe.replace('@', '-')}-{digest}.json"


def _measure(benchmark: Benchmark, run: Run, runner: Runner, folder: Path) -> BenchmarkCosts:
    model = run.settings().model
    if isinstance(model, ForestModel):
        trees = max(1, model.trees // 10)
        trained = runner.fit(fit_task(run, benchmark.device, folder, (f"model.trees={trees}", *_NO_FOLDS)))
        memory = trained.record.peak_memory_mib
        return BenchmarkCosts(step=0.0, step_seconds=trained.seconds / trees, peak_memory_mib=memory)
    steps = f"training.iterations={_CALIBRATION_STEPS}"
    trained = runner.fit(fit_task(run, benchmark.device, folder, (steps, *_NO_FOLDS)))
    return _of_networks(trained.record, processors=benchmark.device == "cpu")


def _of_networks(record: RunRecord, *, processors: bool) -> BenchmarkCosts:
    seconds, forest_seconds = record.step_seconds, record.forest_seconds or 0.0
    step, forest = seconds, forest_seconds
    if processors:
        step, forest = record.step_processor_seconds, record.forest_processor_seconds or 0.0
    if not step or not seconds:
        raise C2SegError(f"recipe {record.recipe}: its record does not tell what an iteration costs")
    return BenchmarkCosts(
        step=step,
        step_seconds=seconds,
        forest=forest,
        forest_seconds=forest_seconds,
        peak_memory_mib=record.peak_memory_mib,
        device_memory_mib=record.device_memory_mib,
        parameters=record.parameters,
        gflops_128=record.gflops_128,
    )
