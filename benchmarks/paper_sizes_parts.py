"""The trainings that ``paper_sizes.py`` measures, and the measurement of one of them."""

from __future__ import annotations

import copy
import json
import resource
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from c2seg.methods import MethodContext, build_method
from c2seg.models import build_model, place
from c2seg.models.cost import model_cost
from c2seg.pipeline.prepare import Prepared, prepare
from c2seg.progress import no_progress
from c2seg.recipes import Recipe, load_recipe
from c2seg.recipes.training import Augmentation, MaskedMethod, PseudoLabelMethod, Sampling
from c2seg.sampling import PatchSampler, TrainingScene, training_scenes
from c2seg.train.loader import Feed, to_batch
from c2seg.train.world import World

PAIRS = {"paper-ab": "ab", "paper-bw": "bw"}
OTHER_PRESETS = {"tiny": "ab", "small": "ab"}  # of benchmarks/accelerator.py
MODALITIES = ("msi", "sar", "hsi")
GIB = 2**30
WARM_UP, CUDA_SECONDS, CPU_STEPS = 5, 15.0, 3


def read_cells(path: Path) -> list[dict[str, Any]]:
    """Return the cells of a file of results; none if there is no file."""
    return list(json.loads(path.read_text())["cells"]) if path.exists() else []


def write_cells(path: Path, cells: Sequence[Any]) -> None:
    """Replace a file of results by these dataclasses, a line each."""
    lines = ",\n".join(json.dumps(asdict(cell), sort_keys=True) for cell in cells)
    part = path.with_suffix(".part")
    part.write_text(f'{{"cells": [\n{lines}\n]}}\n')
    part.replace(path)


@dataclass(frozen=True)
class Cell:
    """One training at its published size: its name, the recipe of this network alone, and how often it is trained."""

    name: str
    preset: str
    recipe: Recipe
    count: int = 1

    @property
    def identity(self) -> str:
        """Equal for equal trainings."""
        content = self.recipe.model_dump(mode="json", include={"model", "training", "inputs", "background"})
        return json.dumps([self.preset, content], sort_keys=True)


@dataclass(frozen=True)
class Figures:
    """What was measured of a cell; ``problem``: why nothing was."""

    cell: str
    device: str
    networks: int
    """Trained so, one after the other."""
    iterations: int
    recipe_batch: int
    patch_px: int
    problem: str | None = None
    precision: str = "32"
    batch: int = 0
    threads: int = 0
    parameters: int = 0
    steps: int = 0
    step_seconds: float = 0.0
    processor_seconds: float = 0.0
    """Of a step, over all threads: what other work on the machine does not change."""
    waiting_seconds: float = 0.0
    """Of a step, for patches that are not loaded yet."""
    peak_gib: float = 0.0
    loss_first: float = 0.0
    loss_last: float = 0.0
    forward_gflops: float = 0.0
    """Of one patch, without the backward pass; 0: not known."""
    forward: dict[str, float] | None = None
    """A forward pass against the CPU's, in units of its largest logit, and the share of pixels of the same class."""
    versions: str = ""

    @property
    def hours(self) -> float:
        """Of the whole schedule on this device; on a CPU, of one of its threads."""
        patches = self.networks * self.iterations * self.recipe_batch
        seconds = self.processor_seconds if self.device == "cpu" else self.step_seconds
        return seconds / max(1, self.batch) * patches / 3600


@dataclass(frozen=True)
class Limits:
    """How long a cell may be measured: steps to warm up, steps at most, seconds of steps, and when it has to end."""

    warm_up: int
    steps: int
    seconds: float
    end: float

    @classmethod
    def of(cls, device: str, share: float) -> Limits:
        end = time.perf_counter() + share
        return cls(0, CPU_STEPS, share, end) if device == "cpu" else cls(WARM_UP, 10**6, CUDA_SECONDS, end)


# Cells


def cells(recipes: Sequence[str], presets: Sequence[str]) -> list[Cell]:
    """Return the different trainings, preset by preset for each recipe."""
    different: dict[str, Cell] = {}
    for name in recipes:
        for preset in presets:
            for cell in _trainings(name, preset):
                different.setdefault(cell.identity, cell)
    return list(different.values())


def _trainings(name: str, preset: str) -> Iterator[Cell]:
    recipe = load_recipe(name, preset)
    inputs = MODALITIES if recipe.inputs == "all" else recipe.inputs
    for stage in recipe.stages:
        networks = recipe.stage_networks(stage, inputs)
        counted = all(network.name.isdigit() for network in networks)
        for network in networks[:1] if counted else networks:
            part = stage if counted else f"{stage} {network.name}"
            label = f"{name} {preset}" + ("" if len(recipe.stages) == 1 and counted else f" {part}")
            yield Cell(label, preset, recipe.alone(network), len(networks) if counted else 1)


# Data


@cache
def _prepared(
    folder: Path, preset: str, inputs: tuple[str, ...], normalization: str, max_bands: int | None
) -> Prepared:
    recipe = load_recipe("unet", "tiny").model_copy(
        update={"inputs": inputs, "normalization": normalization, "max_bands": max_bands}
    )
    pair = folder / (PAIRS | OTHER_PRESETS)[preset]
    source, target = sorted(path.parent for path in pair.glob("*/city.yaml"))  # alder and birch, cedar and dogwood
    return prepare(recipe, [source], target, None, no_progress)[1]


def _scenes(cell: Cell, folder: Path) -> tuple[Prepared, list[TrainingScene], list[TrainingScene]]:
    """Return the data of a cell, and the scenes of source and target."""
    recipe = cell.recipe
    inputs = MODALITIES if recipe.inputs == "all" else recipe.inputs
    data = _prepared(folder, cell.preset, inputs, recipe.normalization, recipe.max_bands)
    background = len(data.legend.ids) if recipe.background == "trained" else None
    source = training_scenes(data.sources[0].cached(None, GIB), inputs, background=background)
    assert data.target is not None
    target = training_scenes(data.target.cached(None, GIB), inputs)
    if isinstance(recipe.training.method, PseudoLabelMethod):  # any labels cost as much
        ids = np.random.default_rng(0).integers(0, len(data.legend.ids), target[0].valid.shape).astype(np.uint8)
        target = [replace(scene, targets=ids) for scene in target]
    return data, source, target


def _samplers(cell: Cell, batch: int, data: Prepared, source: list[TrainingScene], target: list[TrainingScene]):
    """Return the samplers of source and target (None: not trained on), as in a training with this batch."""
    training = cell.recipe.training
    method, classes = training.method, len(data.legend.ids)
    of_source = of_target = batch
    if isinstance(method, PseudoLabelMethod | MaskedMethod):  # both share a batch
        batch = max(2, batch)
        of_target = min(max(1, round(method.target_fraction * batch)), batch - 1)
        of_source = batch - of_target

    def sampler(scenes: list[TrainingScene], size: int, stream: int, other: PatchSampler | None = None) -> PatchSampler:
        sampling = training.sampling.model_copy(update={"batch_size": size})
        return PatchSampler(scenes, sampling, training.augment, 0, classes, stream, other)

    unlabeled = sampler(target, of_target, 1)
    return sampler(source, of_source, 0, unlabeled), unlabeled if method.uses_target else None


# One cell


def measure(cell: Cell, folder: Path, device: torch.device, batch: int, limits: Limits) -> Figures:
    """Train a network for some steps and return what they took."""
    data, source, target = _scenes(cell, folder)
    precision = "bf16" if device.type == "cuda" else "32"
    world = World(device, precision)
    training = cell.recipe.training.model_copy(update={"precision": precision})
    outputs = len(data.legend.ids) + (cell.recipe.background != "none")
    torch.manual_seed(0)
    model = build_model(cell.recipe.model, data.channels, outputs)
    if fit_inputs := getattr(model, "fit_inputs", None):
        fit_inputs([scene.reader for scene in source])
    samplers = _samplers(cell, batch, data, source, target)
    forward = None
    if device.type == "cuda":
        forward = compared(model, one_window(target, training.sampling), world)
        torch.cuda.reset_peak_memory_stats()
    gflops = forward_gflops(model, data.channels, training.sampling.patch_px)
    model = place(model, device).train()
    background = cell.recipe.background != "none"
    context = MethodContext(model, training, outputs, None, device, world.autocast, background=background)
    augments = training.augment_on == "device"
    steps = _steps(build_method(context), samplers, device, training.iterations, limits, augments=augments)
    seconds, spent, waiting, losses = (list(values) for values in zip(*steps, strict=True))
    return replace(
        empty(cell, device),
        precision=precision,
        batch=batch,
        threads=torch.get_num_threads(),
        parameters=sum(p.numel() for p in model.parameters()),
        steps=len(seconds),
        step_seconds=round(sum(seconds) / len(seconds), 4),
        processor_seconds=round(sum(spent) / len(spent), 4),
        waiting_seconds=round(sum(waiting) / len(waiting), 4),
        peak_gib=round(_peak_bytes(device) / GIB, 2),
        loss_first=round(losses[0], 4),
        loss_last=round(losses[-1], 4),
        forward_gflops=gflops,
        forward=forward,
        versions=f"torch {torch.__version__}",
    )


def forward_gflops(model: nn.Module, channels: Mapping[str, int], patch_px: int) -> float:
    """Return the arithmetic of a forward pass over one patch, counted without computing it."""
    try:
        return round(model_cost(copy.deepcopy(model).to("meta"), channels, patch_px)[1], 3)
    except (NotImplementedError, RuntimeError):  # a layer that cannot do without values
        return 0.0


def _steps(
    method, samplers, device: torch.device, last: int, limits: Limits, *, augments: bool = False
) -> Iterator[tuple[float, ...]]:
    """Yield seconds, processor seconds, seconds waiting for patches, and loss of each measured step: at least one."""
    source, target = (Feed(s, device, augments).batches(0, last) if s is not None else None for s in samplers)
    start, done = time.perf_counter(), 0
    warming = limits.warm_up
    while True:
        begun, worked = time.perf_counter(), time.process_time()
        batch, other = next(source), next(target) if target is not None else None
        loaded = time.perf_counter()
        loss = float(method.step(batch, other)["loss"])  # waits for the device
        now = time.perf_counter()
        if not np.isfinite(loss):
            raise FloatingPointError("the loss is not finite")
        if warming and now < limits.end:
            warming -= 1
            start = now
            continue
        done += 1
        yield now - begun, time.process_time() - worked, loaded - begun, loss
        if done >= limits.steps or now - start >= limits.seconds or now >= limits.end:
            return


def one_window(scenes: Sequence[TrainingScene], sampling: Sampling) -> Mapping[str, Tensor]:
    """Return one patch as a map's windows come: not augmented, and not enlarged."""
    plain = Augmentation(flips=False, rotations=False)
    unlabeled = [replace(scene, targets=None) for scene in scenes]
    sampler = PatchSampler(unlabeled, sampling.model_copy(update={"batch_size": 1}), plain, 0, 1)
    return to_batch(sampler.load(sampler.draw(0)), torch.device("cpu")).patch


def compared(model: nn.Module, patch: Mapping[str, Tensor], world: World) -> dict[str, float]:
    """Return how far a forward pass on a device is from the CPU's in 32 bits: largest difference over largest logit."""
    model.eval()
    with torch.inference_mode():
        expected = model(patch)["logits"]
        place(model, world.device)
        moved = {name: values.to(world.device) for name, values in patch.items()}
        plain = model(moved)["logits"].float().cpu()
        with world.autocast():
            lower = model(moved)["logits"].float().cpu()
    scale = float(expected.abs().max())
    result = {}
    for name, logits in (("32", plain), (world.precision, lower)):
        result[f"difference_{name}"] = round(float((logits - expected).abs().max()) / max(scale, 1e-12), 7)
        result[f"same_class_{name}"] = round(float((logits.argmax(1) == expected.argmax(1)).float().mean()), 6)
    return result


def empty(cell: Cell, device: torch.device, problem: str | None = None) -> Figures:
    """Return the figures of a cell of which nothing was measured."""
    training = cell.recipe.training
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    sampling = training.sampling
    return Figures(cell.name, name, cell.count, training.iterations, sampling.batch_size, sampling.patch_px, problem)


def _peak_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def on_cuda(cell: Cell, folder: Path, device: torch.device, share: float) -> Figures:
    """Measure a cell here, with half the patches as long as they do not fit."""
    limits = Limits.of("cuda", share)
    batch = cell.recipe.training.sampling.batch_size
    while batch:
        try:
            return measure(cell, folder, device, batch, limits)
        except torch.cuda.OutOfMemoryError:
            batch //= 2
        finally:
            torch.cuda.empty_cache()
    return empty(cell, device, "one patch does not fit")
