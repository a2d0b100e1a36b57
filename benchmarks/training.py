"""How much of a training step is spent outside the network, and whether the loader feeds an accelerator.

    python benchmarks/training.py [--precision 32 bf16] [--steps 60] [--preset tiny] [--json FILE]
    python benchmarks/training.py --loader [--bands 242] [--threads 1 2] [--step-seconds 0.05] [--json FILE]
    python benchmarks/training.py --loader --device cuda        # with the copies and the work of the device

The first measures a U-Net on a random scene in memory, one run a precision: the whole loop as `c2seg fit` runs it (patches
drawn, read, augmented in a thread; losses, averaging, curves, checkpoints), and the same steps on one ready batch (forward,
backward, optimizer only). The share outside is 1 - ready / loop, once of the seconds that pass and once of processor seconds,
which other work on the machine changes less.

The second measures the loader alone on a city of 242 bands at 30 m, 4 and 2 at 10 m, 16 bits: patches per second with the
loader augmenting and with raw patches that a device augments (`training.augment_on`), beside what `--step-seconds` a step of
the recipe's batch would need. `processor seconds a patch` times the threads that a machine has tells the rate that it reaches.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from affine import Affine

from c2seg.data import BandStatistics, Modality, Normalizer, Scene, SceneReader
from c2seg.methods import METHODS, MethodContext
from c2seg.models import build_model, choose_precision, place
from c2seg.raster import ArrayRaster, GridRelation
from c2seg.recipes import Recipe, load_recipe
from c2seg.recipes.training import Augmentation
from c2seg.sampling import BandUnits, PatchSampler, TrainingScene
from c2seg.train import TrainingJob, train
from c2seg.train.loader import Feed, to_batch
from c2seg.train.world import join_world
from c2seg.types import Grid

BANDS = {"msi": 4, "sar": 2, "hsi": 3}
SIZE = (1000, 1200)
PLAIN, RICH = Augmentation(), Augmentation(gain_std=0.15, offset_std=0.25, noise_std=0.05)


def scene(bands: Mapping[str, int], ratio: int = 1) -> TrainingScene:
    """Return a random scene in memory; ``ratio`` is that of the HSI's pixels to the others'."""
    rng = np.random.default_rng(0)
    stacks, statistics = {}, {}
    for name, count in bands.items():
        coarse = ratio if name == "hsi" else 1
        height, width = SIZE[0] // coarse, SIZE[1] // coarse
        # All bands of a pixel together, as the cache has them.
        values = rng.integers(0, 4000, (height, width, count), np.int16).transpose(2, 0, 1)
        stacks[name] = Modality(ArrayRaster(values), GridRelation(coarse), name=name)
        flat = values[:, ::8, ::8].reshape(count, -1)
        statistics[name] = BandStatistics.of(flat, np.ones(flat.shape[1], np.int64))
    size = SIZE[0] // ratio * ratio, SIZE[1] // ratio * ratio
    targets = np.repeat(np.repeat(rng.integers(0, 13, (50, 60)).astype(np.uint8), 20, 0), 20, 1)[: size[0], : size[1]]
    normalizer = Normalizer.fit("source", statistics)
    reader = SceneReader(Scene("benchmark", Grid(*size, Affine.scale(10, -10)), stacks), tuple(bands), normalizer)
    return TrainingScene(reader, BandUnits.of(normalizer, statistics), np.ones(size, bool), targets)


# The share outside the network


@dataclass(frozen=True)
class Share:
    """Seconds of a step in the loop and on a ready batch; medians of the repeats."""

    preset: str
    precision: str
    threads: int
    batch: int
    patch_px: int
    loop_seconds: float
    ready_seconds: float
    loop_processor_seconds: float
    ready_processor_seconds: float

    def __str__(self) -> str:
        outside, spent = (
            100 * (1 - ready / loop)
            for ready, loop in (
                (self.ready_seconds, self.loop_seconds),
                (self.ready_processor_seconds, self.loop_processor_seconds),
            )
        )
        return (
            f"{self.preset}, {self.precision} bits, {self.threads} threads, {self.batch} patches of {self.patch_px} px: a step "
            f"{1000 * self.loop_seconds:.1f} ms in the loop, {1000 * self.ready_seconds:.1f} on a ready batch: outside "
            f"{outside:.1f} %, of processor seconds {spent:.1f} %"
        )


def share(options: argparse.Namespace, precision: str) -> Share:
    """Measure one precision."""
    changes = [f"training.iterations={options.steps}", f"training.precision={precision}"]
    recipe = load_recipe("unet", options.preset, changes)
    source = scene(BANDS)
    measured = [(*loop(recipe, source), *ready(recipe, source)) for _ in range(options.repeats)]
    passed, spent, ready_passed, ready_spent = (float(value) for value in np.median(measured, axis=0))
    sampling = recipe.training.sampling
    used = choose_precision(recipe.training.precision, torch.device("cpu"))
    return Share(
        options.preset, used, torch.get_num_threads(), sampling.batch_size, sampling.patch_px, passed, ready_passed, spent,
        ready_spent,
    )  # fmt: skip


def loop(recipe: Recipe, source: TrainingScene) -> tuple[float, float]:
    """Return seconds and processor seconds of a step as `c2seg fit` takes it."""
    with tempfile.TemporaryDirectory() as folder:
        job = TrainingJob(recipe, BANDS, 13, [source], [], 0, Path(folder), "benchmark", "cpu")
        result = train(job)
    assert result.step_seconds is not None
    assert result.step_processor_seconds is not None
    return result.step_seconds, result.step_processor_seconds


def ready(recipe: Recipe, source: TrainingScene) -> tuple[float, float]:
    """Return the same of steps on one batch that is ready."""
    torch.manual_seed(0)
    model = place(build_model(recipe.model, BANDS, 13), torch.device("cpu")).train()
    world = join_world("cpu", choose_precision(recipe.training.precision, torch.device("cpu")))  # that of the loop
    context = MethodContext(model, recipe.training, 13, None, world.device, world.autocast)
    learner = METHODS[recipe.training.method.name](context)
    sampler = PatchSampler([source], recipe.training.sampling, recipe.training.augment, 0, 13)
    batch = to_batch(sampler.load(sampler.draw(0)), torch.device("cpu"))
    learner.step(batch, None)
    steps = recipe.training.iterations - 1
    start, spent = time.perf_counter(), time.process_time()
    for _ in range(steps):
        learner.step(batch, None)
    return (time.perf_counter() - start) / steps, (time.process_time() - spent) / steps


# The loader


@dataclass(frozen=True)
class Rate:
    """Patches per second of the loader; ``transfer_mib`` travel to the device for each."""

    augment_on: str
    augmentation: str
    device: str
    bands: int
    patch_px: int
    threads: int
    patches_per_second: float
    processor_seconds: float
    """Of a patch."""
    transfer_mib: float
    needed: float
    """Patches per second that the steps take."""

    def __str__(self) -> str:
        return (
            f"{self.bands} + 6 bands, {self.patch_px} px, {self.augmentation}, augmented on the {self.augment_on}, "
            f"{self.threads} threads, {self.device}: {self.patches_per_second:.0f} patches/s (a step needs {self.needed:.0f}), "
            f"{1000 * self.processor_seconds:.1f} ms of a processor and {self.transfer_mib:.1f} MiB a patch"
        )


def rates(options: argparse.Namespace) -> Iterator[Rate]:
    """Measure the loader with each way to augment and each number of threads."""
    source = scene({"msi": 4, "sar": 2, "hsi": options.bands}, ratio=3)
    recipe = load_recipe("unet", "paper-ab", [])
    for threads in options.threads:
        for name, augment in (("turned", PLAIN), ("turned, gain, offset, noise", RICH)):
            sampler = PatchSampler([source], recipe.training.sampling, augment, 0, 13)
            for place_ in ("loader", "device"):
                yield rate(options, sampler, place_, name, threads)


def rate(options: argparse.Namespace, sampler: PatchSampler, augment_on: str, name: str, threads: int) -> Rate:
    """Measure the loader for some batches; on a CPU without what the device would do with raw patches."""
    device = torch.device(options.device)
    feed = Feed(sampler, device, augment_on == "device", threads=threads)
    if device.type == "cpu":
        arrived = feed.staged(0, options.batches + 1)
    else:
        arrived = ((batch, 0) for batch in feed.batches(0, options.batches + 1))
    next(arrived)
    size = sampler.settings.batch_size
    start, spent, moved = time.perf_counter(), time.process_time(), 0
    for _, count in arrived:
        moved += count
    if device.type == "cuda":
        torch.cuda.synchronize()
    patches = options.batches * size
    return Rate(
        augment_on, name, torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu", options.bands,
        sampler.size_px, threads, patches / (time.perf_counter() - start), (time.process_time() - spent) / patches,
        moved / patches / 2**20, size / options.step_seconds,
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--precision", nargs="+", default=["32", "auto"], choices=["32", "bf16", "auto"])
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--preset", default="tiny")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--loader", action="store_true", help="measure the loader alone")
    parser.add_argument("--bands", type=int, default=242, help="of the HSI")
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    parser.add_argument("--batches", type=int, default=6)
    parser.add_argument("--step-seconds", type=float, default=0.05, help="of a step on the accelerator, measured there")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--json", type=Path, default=None)
    options = parser.parse_args()
    figures = rates(options) if options.loader else (share(options, precision) for precision in options.precision)
    rows = []
    for row in figures:
        print(row, flush=True)
        rows.append(asdict(row))
        if options.json:
            options.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
