"""How far workers scale: measured times of tasks on 1 and 2 workers, and a model of transfer up to 64 and beyond.

    python benchmarks/scaling.py [--size 3000] [--json benchmarks/scaling.json]

Measured with a U-Net (``tiny``) on a simulated scene of 4 + 2 bands at 10 m and 60 at 30 m, one thread a task: processor
seconds of a strip in a worker, of its storing in the command, bytes of a result, processor seconds of scheduler and command for
an empty task, seconds until two workers gave a result. Processor seconds hardly depend on what else the machine does.

The model: every worker computes strips one after the other, and has at most three that are not stored. A result passes the
scheduler, the link of the command, and the command itself, one after the other in each. All workers share the bandwidth of the
storage. What two workers took by the clock is printed beside it.
"""

from __future__ import annotations

import argparse
import heapq
import json
import os
import pickle
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from mapping_parts import class_map, write_scene

import c2seg
from c2seg.artifacts import MapKey, StripsKey
from c2seg.parallel import LocalCrew, open_crew, run_tasks
from c2seg.predict import MapOptions
from c2seg.predict.backends import BackendOptions
from c2seg.predict.city import build_scene
from c2seg.predict.layers import layer_shapes
from c2seg.predict.places import strip_parts
from c2seg.predict.plan import window_plan
from c2seg.predict.scratch import Scratch
from c2seg.predict.strips import StripJob, StripTask, Work, in_parts, strip_tasks

STACKS = {"msi": (4, 1), "sar": (2, 1), "hsi": (60, 3)}
GIGABIT = 125e6  # bytes a second


@dataclass(frozen=True)
class TimedJob:
    """A job whose results come with the processor seconds that they took."""

    job: Any

    @contextmanager
    def start(self) -> Iterator[Any]:
        with self.job.start() as function:

            def timed(task: Any) -> tuple[float, Any]:
                begun = time.process_time()
                result = function(task)
                return time.process_time() - begun, result

            yield timed


@dataclass(frozen=True)
class EmptyJob:
    """Tasks that do nothing: what remains is the way there and back."""

    @contextmanager
    def start(self) -> Iterator[Any]:
        yield lambda number: number


@dataclass
class Measured:
    """Means over strips, seconds and bytes."""

    strips: int
    pixels_per_strip: float
    task_s: float
    first_row_s: float
    """More for a strip that does not follow the one before: a row of windows is computed again."""
    store_s: float
    result_bytes: float
    read_bytes: float
    scheduler_s: float = 0.0
    command_s: float = 0.0
    start_s: float = 0.0
    walls: dict[str, float] = field(default_factory=dict)


def train(folder: Path) -> Path:
    """Return a model file that was trained for a moment."""
    write_scene(folder / "small", 192, 192, STACKS, None)
    with rasterio.open(folder / "small" / "msi.tif") as dataset:
        place = {"crs": dataset.crs, "transform": dataset.transform, "width": 192, "height": 192}
    ids = class_map(0, 0, (192, 192), 1).astype(np.uint8)[None] % 13 + 1
    with rasterio.open(folder / "small" / "label.tif", "w", driver="GTiff", count=1, dtype="uint8", **place) as dataset:
        dataset.write(ids)
    sets = ["training.iterations=3", "prediction.window_px=256", "prediction.tta=false", "normalization=source"]
    c2seg.fit("unet", source=folder / "small", out=folder / "run", preset="tiny", overrides=sets)
    return folder / "run" / "model.safetensors"


def job_of(model: Path, city: Path) -> tuple[Work, StripJob]:
    build = partial(build_scene, model, city, 0, {}, {}, "torch", BackendOptions("cpu", "32", False, 1))
    reader, predictor = build()
    loaded = c2seg.load_model(model)
    plan = window_plan(reader.scene, loaded.recipe.prediction, predictor)
    work = Work(plan, loaded.legend, ("ids", "confidence"), 2)
    places = MapOptions(city / "map.tif", confidence=city / "confidence.tif")
    parts = strip_parts(
        places, MapKey(), reader.scene.grid, loaded.legend, on_this_machine=False
    )  # results take them along
    return work, StripJob(work, build, parts)


def measure(work: Work, job: StripJob, city: Path, folder: Path) -> Measured:
    """Compute the scene by one worker: in order, then every fourth strip, which needs a row of windows twice."""
    total = len(work.plan.rows)
    following = _computed(work, job, strip_tasks(range(total)), folder / "a.tif")
    apart = _computed(work, job, [StripTask(k, k + 1) for k in range(3, total, 4)], folder / "b.tif")
    inner = [row for row in following if 0 < row["index"] < total - 1]
    task_s = _mean(inner, "cpu")
    read = sum(file.stat().st_size for file in city.glob("*.tif"))
    return Measured(
        total, work.plan.height * work.plan.width / total, task_s, max(0.0, _mean(apart, "cpu") - task_s),
        _mean(inner, "store"), _mean(inner, "bytes"), read / total,
    )  # fmt: skip


def _computed(work: Work, job: StripJob, tasks: list[StripTask], out: Path) -> list[dict[str, float]]:
    rows: list[dict[str, float]] = []
    shapes = layer_shapes((), work.plan.width, work.legend.num_classes)
    key = StripsKey(model="scaling", layers=tuple(sorted(work.layers)))
    with Scratch(out, key, work.plan.height, shapes, work.plan.strips, job.parts) as scratch, LocalCrew(1) as crew:

        def finished(_: int, result: tuple[float, Any], __: str) -> None:
            cpu, strip = result
            begun = time.process_time()
            whole = in_parts(strip, job.parts, job.parts.names)
            sums = scratch.rows.write(whole.first, whole.layers)
            scratch.enter(strip.index, whole.note.model_copy(update={"checksums": whole.note.checksums | sums}))
            store = time.process_time() - begun
            size = len(pickle.dumps(strip, protocol=5))
            rows.append({"index": strip.index, "cpu": cpu, "store": store, "bytes": size})

        run_tasks(crew, TimedJob(job), tasks, finished)
    return rows


def _mean(rows: list[dict[str, float]], name: str) -> float:
    return float(np.mean([row[name] for row in rows]))


def measure_scheduler(measured: Measured, tasks: int) -> None:
    """Fill in what an empty task costs the scheduler and the command."""
    with open_crew(1, "local:2") as crew:
        begun = time.perf_counter()
        run_tasks(crew, EmptyJob(), range(10), lambda *_: None)
        measured.start_s = time.perf_counter() - begun
        # The scheduler of a local cluster is in this process: both together, and the scheduler alone by its share of time.
        cpu = time.process_time()
        run_tasks(crew, EmptyJob(), range(tasks), lambda *_: None)
        measured.scheduler_s = (time.process_time() - cpu) / tasks
        measured.command_s = 0.0


def walls(measured: Measured, model: Path, city: Path, folder: Path) -> None:
    """Measure the whole command on one and two workers: wall seconds, and processor seconds of all processes."""
    for name, options in (("1 worker", {"cluster": "local:1"}), ("2 workers", {"cluster": "local:2"}),
                          ("--workers 2", {"workers": 2}), ("this process", {"threads": 1})):  # fmt: skip
        begun = time.perf_counter()
        c2seg.load_model(model).predict(city, folder / f"{name}.tif", confidence=folder / f"c {name}.tif", **options)
        measured.walls[name] = round(time.perf_counter() - begun, 1)
        say(f"  {name}: {measured.walls[name]} s")


def simulate(
    m: Measured, workers: int, strips: int, *, link: float = GIGABIT, store: float = 10 * GIGABIT, depth: int = 3
) -> float:
    """Return seconds from the first task to the last stored strip."""
    share = -(-strips // workers)
    lanes = [min(share, max(0, strips - k * share)) for k in range(workers)]
    busy = sum(lane > 0 for lane in lanes)
    task = max(m.task_s, m.read_bytes * busy / store)
    # Stations after the worker, each one at a time: scheduler, link, command.
    services = (m.scheduler_s, m.result_bytes / link, m.store_s + m.command_s)
    free = [0.0] * len(services)
    stored: list[list[float]] = [[] for _ in lanes]
    queue = [(m.first_row_s + task, k, 0) for k, lane in enumerate(lanes) if lane]
    heapq.heapify(queue)
    end = 0.0
    while queue:
        done, worker, number = heapq.heappop(queue)
        moment = done
        for station, service in enumerate(services):
            moment = free[station] = max(moment, free[station]) + service
        stored[worker].append(moment)
        end = max(end, moment)
        if number + 1 < lanes[worker]:
            waits = stored[worker][number + 1 - depth] if number + 1 >= depth else 0.0
            heapq.heappush(queue, (max(done, waits) + task, worker, number + 1))
    return end


def table(m: Measured, strips: int) -> list[dict[str, float]]:
    rows = []
    alone = simulate(m, 1, strips)
    for workers in (1, 2, 4, 8, 16, 32, 64, 128, 256):
        row: dict[str, float] = {"workers": workers}
        for name, options in (
            ("seconds", {}), ("slow_link", {"link": GIGABIT / 10}), ("slow_store", {"store": GIGABIT})
        ):  # fmt: skip
            seconds = simulate(m, workers, strips, **options)
            row[name] = round(seconds, 1)
            row[f"{name}_efficiency"] = round(alone / seconds / workers, 3)
        rows.append(row)
    return rows


def limits(m: Measured) -> dict[str, float]:
    """Return how many workers each station keeps busy, at full use."""
    return {
        "scheduler": m.task_s / max(m.scheduler_s, 1e-9),
        "link of 1 Gbit/s": m.task_s / (m.result_bytes / GIGABIT),
        "command": m.task_s / (m.store_s + m.command_s),
        "storage of 10 Gbit/s": m.task_s * 10 * GIGABIT / m.read_bytes,
    }


def report(m: Measured, rows: list[dict[str, float]], strips: int) -> str:
    lines = [
        f"a strip: {m.task_s:.3f} processor s in a worker, {m.first_row_s:.3f} more where a lane begins, "
        f"{1000 * m.store_s:.1f} ms to store, {m.result_bytes / 1e6:.2f} MB back, {m.read_bytes / 1e6:.2f} MB read; "
        f"an empty task: {1000 * m.scheduler_s:.1f} ms of scheduler and command",
        *(f"measured, {name}: {seconds} s" for name, seconds in m.walls.items()),
        *(f"{name} is busy with {count:.0f} workers" for name, count in limits(m).items()),
        f"{strips} strips:",
    ]
    lines += [" ".join(f"{name} {value:g}" for name, value in row.items()) for row in rows]
    return "\n".join(lines)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main(options: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory(dir=options.scratch) as name:
        folder = Path(name)
        model = train(folder)
        write_scene(folder / "city", options.size, options.size, STACKS, None)
        work, job = job_of(model, folder / "city")
        say(f"load {os.getloadavg()}; {len(work.plan.rows)} strips")
        measured = measure(work, job, folder / "city", folder)
        measure_scheduler(measured, options.tasks)
        if not options.no_walls:
            walls(measured, model, folder / "city", folder)
    rows = table(measured, options.strips)
    print(report(measured, rows, options.strips))
    if options.json:
        content = {"measured": asdict(measured), "limits": limits(measured), "strips": options.strips, "model": rows}
        options.json.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--size", type=int, default=3000, help="side of the scene, pixels")
    parser.add_argument("--strips", type=int, default=10_000, help="of the map in the model")
    parser.add_argument("--tasks", type=int, default=2000, help="empty tasks that measure the scheduler")
    parser.add_argument("--no-walls", action="store_true", help="leave out the whole commands")
    parser.add_argument("--scratch", type=Path)
    parser.add_argument("--json", type=Path)
    main(parser.parse_args())
