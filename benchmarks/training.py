"""How much of a training step is spent outside forward, backward and optimizer.

    python benchmarks/training.py [--steps 60] [--preset tiny]

Two measurements in one run, on a random scene in memory: the whole loop as `c2seg fit` runs it (patches drawn, read,
augmented in a thread; losses, averaging, curves, checkpoints), and the same steps on one ready batch (forward, backward,
optimizer only).
The share outside is 1 - ready / loop.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from affine import Affine

from c2seg.data import BandStatistics, Modality, Normalizer, Scene, SceneReader
from c2seg.methods import METHODS, MethodContext
from c2seg.models import build_model, choose_precision, place
from c2seg.raster import ArrayRaster
from c2seg.recipes import load_recipe
from c2seg.sampling import BandUnits, PatchSampler, TrainingScene
from c2seg.train import TrainingJob, train
from c2seg.train.loader import to_batch
from c2seg.train.world import join_world
from c2seg.types import Grid

BANDS = {"msi": 4, "sar": 2, "hsi": 3}
SIZE = (1000, 1200)


def scene() -> TrainingScene:
    rng = np.random.default_rng(0)
    stacks, statistics = {}, {}
    for name, count in BANDS.items():
        values = rng.integers(0, 4000, (count, *SIZE)).astype(np.int16)
        stacks[name] = Modality(ArrayRaster(values), name=name)
        flat = values.reshape(count, -1)
        statistics[name] = BandStatistics.of(flat, np.ones(flat.shape[1], np.int64))
    targets = np.repeat(np.repeat(rng.integers(0, 13, (50, 60)).astype(np.uint8), 20, 0), 20, 1)
    normalizer = Normalizer.fit("source", statistics)
    reader = SceneReader(Scene("benchmark", Grid(*SIZE, Affine.scale(10, -10)), stacks), tuple(BANDS), normalizer)
    return TrainingScene(reader, BandUnits.of(normalizer, statistics), np.ones(SIZE, bool), targets)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--preset", default="tiny")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    recipe = load_recipe("unet", options.preset, [f"training.iterations={options.steps}"])
    source = scene()
    sampler = PatchSampler([source], recipe.training.sampling, recipe.training.augment, 0, 13)
    loops, readies = [], []
    for _ in range(options.repeats):
        with tempfile.TemporaryDirectory() as folder:
            job = TrainingJob(recipe, BANDS, 13, [source], [], 0, Path(folder), "benchmark", "cpu")
            stamps: list[float] = []
            train(job, progress=lambda done, total, text="", stamps=stamps: stamps.append(time.perf_counter()))
            # Between the first and the last report: start-up is not part of a step. Reports come every 10 steps.
            loops.append((stamps[-1] - stamps[0]) / (options.steps - 10))
        readies.append(ready(recipe, sampler, options.steps - 10))
    loop, alone = np.median(loops), np.median(readies)
    print(
        f"threads {torch.get_num_threads()}, "
        f"{recipe.training.sampling.batch_size} patches of {recipe.training.sampling.patch_px} px"
    )
    print(f"step in the loop       {1000 * loop:8.1f} ms")
    print(f"step on a ready batch  {1000 * alone:8.1f} ms")
    print(f"share outside          {100 * (1 - alone / loop):8.1f} %")


def ready(recipe, sampler: PatchSampler, steps: int) -> float:
    torch.manual_seed(0)
    model = place(build_model(recipe.model, BANDS, 13), torch.device("cpu")).train()
    world = join_world("cpu", choose_precision(recipe.training.precision, torch.device("cpu")))  # that of the loop
    context = MethodContext(model, recipe.training, 13, None, world.device, world.autocast)
    learner = METHODS[recipe.training.method.name](context)
    batch = to_batch(sampler.load(sampler.draw(0)), torch.device("cpu"))
    for _ in range(10):
        learner.step(batch, None)
    start = time.perf_counter()
    for _ in range(steps):
        learner.step(batch, None)
    return (time.perf_counter() - start) / steps


if __name__ == "__main__":
    main()
