"""What a benchmark will cost, said before it starts: hours, memory and sizes of every recipe, measured or not known."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from c2seg.artifacts.benchmark import BenchmarkCosts, BenchmarkResult
from c2seg.artifacts.runs import RunRecord
from c2seg.benchmark.costs import known_costs, measure_costs, training_seconds
from c2seg.benchmark.plan import Benchmark, Run
from c2seg.benchmark.runner import Runner
from c2seg.benchmark.tables import aligned
from c2seg.errors import C2SegError
from c2seg.progress import Progress, no_progress
from c2seg.recipes.models import ForestModel

__all__ = ["CostLine", "cost_lines", "cost_text", "total_hours"]

_HEAD = ("pair", "recipe", "runs", "Mpar", "GFLOP", "MiB", "GPU MiB", "s/step", "steps", "hours")


@dataclass(frozen=True)
class CostLine:
    """What a recipe costs on a pair, over all its waiting seeds.

    None: not known. ``memory_mib`` is main memory of the training process, ``device_memory_mib`` what it reserved on a GPU.
    ``step_seconds`` are the seconds of an iteration (of a tree, of a forest), ``iterations`` those of a training, ``hours`` of
    all its trainings, one after the other; with the offline protocol there is one more for each run.
    """

    pair: str
    label: str
    runs: int
    iterations: int | None = None
    parameters: int | None = None
    gflops_128: float | None = None
    memory_mib: float | None = None
    device_memory_mib: float | None = None
    step_seconds: float | None = None
    hours: float | None = None
    common: bool = False
    """True if trainings of it are those of other rows, too: they are run once, and counted here for each."""


def cost_lines(
    benchmark: Benchmark,
    waiting: Sequence[Run],
    runner: Runner | None,
    progress: Progress = no_progress,
) -> list[CostLine]:
    """Return a line for each pair and recipe that is to be trained; the seeds cost the same, fused maps next to nothing.

    With a ``runner`` what is not known is measured in a few steps; without one, or where that fails, it stays unknown. Known is
    what was measured in this folder on this kind of device, or what a finished run of the same row has cost.
    """
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in waiting:
        if run.fusion is None:
            groups.setdefault((run.pair.name, run.label), []).append(run)
    lines = []
    for done, group in enumerate(groups.values()):
        lines.append(_line(benchmark, group, runner))
        progress(done + 1, len(groups), group[0].label)
    return lines


def total_hours(lines: Sequence[CostLine]) -> float:
    """Return the hours of what is known."""
    return sum(line.hours or 0.0 for line in lines)


def cost_text(lines: Sequence[CostLine], jobs: int = 1) -> str:
    """Return the lines as a table, with the hours of all together."""
    cells = [
        [
            line.pair, line.label, str(line.runs), _text(line.parameters and line.parameters / 1e6, 2),
            _text(line.gflops_128, 2), _text(line.memory_mib, 0), _gpu(line),
            _text(line.step_seconds, 3), _text(line.iterations, 0),
            _text(line.hours, 2),
        ]
        for line in lines
    ]  # fmt: skip
    unknown = list(dict.fromkeys(line.label for line in lines if line.hours is None))
    together = f"about {total_hours(lines) / jobs:.1f} hours of training"
    if unknown:
        together += f", and unknown ones of {', '.join(unknown)}, which were not measured on this device"
    if any(line.common for line in lines):
        together += "; trainings that rows have in common are run once and counted for each, so that it takes less"
    largest = max((line.memory_mib or 0.0 for line in lines), default=0.0)
    memory = f"; at most {largest:.0f} MiB of main memory a run" if largest else ""
    on_device = max((line.device_memory_mib or 0.0 for line in lines), default=0.0)
    memory += f", and {on_device:.0f} MiB of a GPU's" if on_device else ""
    return f"{aligned([list(_HEAD), *cells])}\n{together}{memory}"


def _line(benchmark: Benchmark, group: Sequence[Run], runner: Runner | None) -> CostLine:
    run = group[0]
    line = CostLine(run.pair.name, run.label, len(group), common=bool(run.common))
    costs = _costs(benchmark, run, runner)
    if costs is None:
        return replace(line, iterations=_iterations(benchmark, run))
    seconds, steps = training_seconds(benchmark, run, costs)
    return replace(
        line,
        iterations=steps,
        parameters=costs.parameters,
        gflops_128=costs.gflops_128,
        memory_mib=costs.peak_memory_mib,
        device_memory_mib=costs.device_memory_mib,
        step_seconds=costs.step_seconds,
        hours=len(group) * seconds / 3600,
    )


def _costs(benchmark: Benchmark, run: Run, runner: Runner | None) -> BenchmarkCosts | None:
    """Return what is known of a recipe's costs, or measured now; a variant costs as much as its recipe, but for equal time."""
    measured = run if benchmark.equal_seconds else replace(run, recipe=run.recipe.partition("@")[0])
    if (costs := known_costs(benchmark, measured) or _of_finished(benchmark, run)) is not None or runner is None:
        return costs
    with suppress(C2SegError):  # it fails again when it is run, and says why
        return measure_costs(benchmark, measured, runner)
    return None


def _of_finished(benchmark: Benchmark, run: Run) -> BenchmarkCosts | None:
    """Return the costs of a finished run of the same row and settings with another seed; None if there is none."""
    for seed in range(benchmark.seeds):
        folder = run.folder.with_name(f"seed{seed}")
        with suppress(C2SegError):
            result = BenchmarkResult.read(folder / "result.json")
            record = RunRecord.read(folder / "record.json")
            same = (result.key.recipe, result.key.device) == (run.settings(), benchmark.device)
            if same and record.step_seconds:
                return BenchmarkCosts(
                    step=record.step_seconds,
                    step_seconds=record.step_seconds,
                    forest=record.forest_seconds or 0.0,
                    forest_seconds=record.forest_seconds or 0.0,
                    peak_memory_mib=record.peak_memory_mib,
                    device_memory_mib=record.device_memory_mib,
                    parameters=record.parameters,
                    gflops_128=record.gflops_128,
                )
    return None


def _iterations(benchmark: Benchmark, run: Run) -> int | None:
    """Return the iterations of a recipe, or its trees; None if they follow from its costs, with equal time."""
    recipe = run.settings()
    if isinstance(recipe.model, ForestModel):
        return recipe.model.trees
    return None if benchmark.equal_seconds else recipe.training.iterations


def _gpu(line: CostLine) -> str:
    """Return the memory on a GPU as text; ``-`` where the costs are known, and it used none."""
    return "-" if line.hours is not None and line.device_memory_mib is None else _text(line.device_memory_mib, 0)


def _text(value: float | None, digits: int) -> str:
    return "unknown" if value is None else f"{value:.{digits}f}"
