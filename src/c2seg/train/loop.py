"""Learn a network from drawn patches.

What is seen at step i is a function of (seed, i); random layers are seeded by it too. So a run that was killed goes on from
its last state and ends with the same bits (same versions, device, precision, threads). Under ``torchrun`` each process loads
its share of every batch and gradients are summed.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from itertools import repeat
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from c2seg.artifacts import BandSpec
from c2seg.errors import InputError, TrainingError
from c2seg.losses import class_weights
from c2seg.methods import METHODS, MethodContext, TrainingMethod
from c2seg.models import build_model, choose_device, choose_precision, load_pretrained, place
from c2seg.models.cost import model_cost
from c2seg.progress import Progress, no_progress
from c2seg.recipes.schema import Recipe
from c2seg.recipes.training import MaskedMethod, PseudoLabelMethod
from c2seg.sampling import PatchSampler, TrainingScene
from c2seg.train.curves import Curves
from c2seg.train.loader import batches, to_batch
from c2seg.train.signals import StopSignal, quiet_fabric
from c2seg.train.state import State, check_same_run, identity, load_state, save_state
from c2seg.train.statistics import check_batch_norm, renew_statistics, target_patches

__all__ = ["TrainingJob", "train"]

_LOG_EVERY = 10
_RANDOM = threading.Lock()
"""Held while torch's random numbers, which all threads share, are set and drawn."""


@dataclass(frozen=True)
class TrainingJob:
    """One training: recipe, bands by modality, scenes with and without labels, seed, and the folder of its state."""

    recipe: Recipe
    bands: Mapping[str, int]
    num_classes: int
    """Outputs of the network, that of the background included."""
    source: Sequence[TrainingScene]
    target: Sequence[TrainingScene]
    seed: int
    folder: Path
    data: str
    """Fingerprint of everything learnt from: a state of other data is refused."""
    device: str = "auto"
    loader_threads: int = 1
    inputs: Mapping[str, Sequence[BandSpec]] = field(default_factory=dict)
    """What is known of the bands, for pretrained weights; empty: nothing."""
    start: Mapping[str, np.ndarray] = field(default_factory=dict)
    """First weights by tensor name; the others are random or pretrained."""
    notes: dict[str, Any] = field(default_factory=dict)
    """Takes what the run record should tell of this training (``pretrained``: what was and was not loaded)."""


def train(
    job: TrainingJob, *, resume: bool = False, progress: Progress = no_progress, stop: StopSignal | None = None
) -> dict[str, np.ndarray]:
    """Train and return the weights by name (the averaged ones if the recipe averages).

    The state is written every ``checkpoint_every`` steps and when the process is told to stop (SIGINT, SIGTERM);
    ``resume`` goes on from it. ``stop``: the signal of trainings side by side, in the place of an own one. Raises
    TrainingError when the loss is not finite or nothing can be learnt.
    """
    settings = job.recipe.training
    precision = choose_precision(settings.precision, choose_device(job.device))
    job.notes["precision"] = precision
    samplers = _samplers(job)
    with _RANDOM:
        fabric = _fabric(job.device, precision)
        learner, averaged = _build(job, fabric, samplers[0])
    now = identity(job.recipe, job.seed, job.data, _digest(job.start), fabric.device, precision, fabric.world_size)
    path = job.folder / "state.pt"
    start = 0
    if not resume and fabric.is_global_zero:
        path.unlink(missing_ok=True)
    if resume and path.exists():
        state = load_state(path)
        check_same_run(state.identity, now, path)
        start = state.step
        learner.load_state_dict(state.content["learner"])
        if averaged is not None:
            averaged.load_state_dict(state.content["averaged"])

    def save(step: int) -> None:
        if fabric.is_global_zero:
            content = {"learner": learner.state_dict(), "averaged": averaged.state_dict() if averaged else None}
            save_state(path, State(step, now, content))

    clock, spent, counted = time.perf_counter(), time.process_time(), 0
    curves = Curves(job.folder / "curves.csv", start, enabled=fabric.is_global_zero)
    with curves, nullcontext(stop) if stop else StopSignal() as stop:
        for step, losses, rate in _steps(job, fabric, learner, averaged, samplers, start):
            last = step == settings.iterations
            if not counted:  # the first step warms up
                clock, spent, counted = time.perf_counter(), time.process_time(), step
            if step % _LOG_EVERY == 0 or last:
                curves.add(step, learner.learning_rate(), rate, losses)
                progress(step, settings.iterations, f"loss {losses['loss']:.3f}  {rate:.0f} patches/s")
            if step % settings.checkpoint_every == 0 or last or stop.requested:
                curves.flush()
                save(step)
            if stop.requested and not last:
                raise KeyboardInterrupt(stop.requested)
    if 0 < counted < settings.iterations:
        steps = settings.iterations - counted
        job.notes["step_seconds"] = (time.perf_counter() - clock) / steps
        job.notes["step_processor_seconds"] = (time.process_time() - spent) / steps
    if fabric.world_size > 1:
        fabric.barrier()
    model = learner.model if averaged is None else averaged.module
    if settings.adabn:
        patches = target_patches(job.target, settings.sampling, job.seed, fabric.device)
        renew_statistics(model, patches, _autocast(fabric))
    return {name: value.cpu().numpy() for name, value in model.state_dict().items()}


def _fabric(device: str, precision: str) -> Fabric:
    """Return the devices of this process; several processes when started by torchrun."""
    accelerator = choose_device(device).type
    local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    names: dict[str, Any] = {"32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed"}
    if precision == "16" and accelerator == "cpu":
        raise InputError("precision 16 needs a CUDA device; use training.precision=bf16 or 32")
    with quiet_fabric():
        fabric = Fabric(
            accelerator=accelerator,
            devices=local,
            num_nodes=max(1, int(os.environ.get("WORLD_SIZE", "1")) // local),
            strategy="ddp" if several else "auto",
            precision=names[precision],
        )
        fabric.launch()
    return fabric


def _autocast(fabric: Fabric) -> Callable[[], AbstractContextManager[None]]:
    """Return mixed precision that keeps no cast weights: a training's would be dropped whenever one beside it ends a pass,
    and what weights used twice add up in would depend on when.
    """

    @contextmanager
    def reduced() -> Iterator[None]:
        kept = torch.is_autocast_cache_enabled()
        torch.set_autocast_cache_enabled(False)
        try:
            with fabric.autocast():
                yield
        finally:
            torch.set_autocast_cache_enabled(kept)

    return reduced


def _samplers(job: TrainingJob) -> tuple[PatchSampler, PatchSampler | None]:
    training = job.recipe.training
    sampling = training.sampling
    sizes = (sampling.batch_size, sampling.batch_size)
    if job.target and isinstance(training.method, PseudoLabelMethod | MaskedMethod):  # both cities make up one batch
        size = min(max(1, round(training.method.target_share * sampling.batch_size)), sampling.batch_size - 1)
        sizes = (sampling.batch_size - size, size)
    own, other = (sampling.model_copy(update={"batch_size": size}) for size in sizes)
    target = None
    if job.target:
        target = PatchSampler(job.target, other, training.augment, job.seed, job.num_classes, stream=1)
    source = PatchSampler(job.source, own, training.augment, job.seed, job.num_classes, style=target)
    return source, target if training.method.uses_target else None


def _build(job: TrainingJob, fabric: Fabric, sampler: PatchSampler) -> tuple[TrainingMethod, AveragedModel | None]:
    training = job.recipe.training
    torch.manual_seed(job.seed)
    model = build_model(job.recipe.model, job.bands, job.num_classes)
    inputs = job.inputs or {name: (BandSpec(),) * count for name, count in job.bands.items()}
    if not set(model.state_dict()) <= set(job.start) and (
        report := load_pretrained(model, getattr(job.recipe.model, "pretrained", None), inputs)
    ):
        job.notes["pretrained"] = report.record()
    if training.adabn:
        check_batch_norm(model)
    if fit_inputs := getattr(model, "fit_inputs", None):
        fit_inputs([scene.reader for scene in job.source])
    load_initial_weights(model, job.start)
    parameters, gflops = model_cost(model, job.bands)
    job.notes.update(parameters=parameters, gflops_128=round(gflops, 4))
    stride = int(getattr(model, "stride_px", 1))
    if training.sampling.patch_px % stride:
        raise InputError(
            f"training.sampling.patch_px ({training.sampling.patch_px}) must be a multiple of {stride}, the stride of "
            f"{job.recipe.model.name}"
        )
    model = place(model, fabric.device)
    weights = class_weights(training.loss.class_weights, sampler.class_counts())
    context = MethodContext(
        model=model,
        settings=training,
        num_classes=job.num_classes,
        class_weights=None if weights is None else torch.from_numpy(weights).to(fabric.device),
        device=fabric.device,
        autocast=_autocast(fabric),
        processes=fabric.world_size,
        background=job.recipe.background != "none",
    )
    learner = METHODS[training.method.name](context)
    averaged = None
    if training.ema_decay is not None:
        averaged = AveragedModel(model, multi_avg_fn=_warm_average(training.ema_decay), use_buffers=True)
    return learner, averaged


_Tensors = tuple[Tensor, ...] | list[Tensor]


def _warm_average(decay: float) -> Callable[[_Tensors, _Tensors, Tensor | int], None]:
    """Return the update of averaged weights: after n steps the decay is at most (1 + n) / (10 + n), so that a short training
    does not keep its random start (as in TensorFlow's ExponentialMovingAverage).
    """

    def update(averaged: _Tensors, current: _Tensors, seen: Tensor | int) -> None:
        steps = int(seen)
        get_ema_multi_avg_fn(min(decay, (1 + steps) / (10 + steps)))(averaged, current, seen)  # type: ignore[no-untyped-call]

    return update


def load_initial_weights(model: nn.Module, start: Mapping[str, np.ndarray]) -> None:
    """Load first weights by tensor name; InputError for one that the network lacks or has in another shape."""
    own = model.state_dict()
    for name, value in start.items():
        if name not in own or tuple(own[name].shape) != value.shape:
            has = f"has it as {tuple(own[name].shape)}" if name in own else "has no such tensor"
            raise InputError(f"cannot start from the tensor {name} {value.shape}: {type(model).__name__} {has}")
    model.load_state_dict({name: torch.from_numpy(value.copy()) for name, value in start.items()}, strict=False)


def _steps(
    job: TrainingJob,
    fabric: Fabric,
    learner: TrainingMethod,
    averaged: AveragedModel | None,
    samplers: tuple[PatchSampler, PatchSampler | None],
    start: int,
) -> Iterator[tuple[int, dict[str, float], float]]:
    """Yield (steps done, losses, patches per second) after every step."""
    settings = job.recipe.training
    options = {"rank": fabric.global_rank, "processes": fabric.world_size, "threads": job.loader_threads}
    source = batches(samplers[0], start, settings.iterations, **options)
    target = batches(samplers[1], start, settings.iterations, **options) if samplers[1] else repeat(None)
    learner.model.train()
    clock = time.perf_counter()
    rate = 0.0
    random = True  # until the first step has drawn nothing
    for step, (sample, other) in enumerate(zip(source, target, strict=False), start):
        batch = to_batch(sample, fabric.device)
        further = to_batch(other, fabric.device) if other is not None else None
        if random:
            with _RANDOM:
                # Random layers are a function of the step, like the patches.
                torch.manual_seed(job.seed * 1_000_003 + step)
                before = torch.get_rng_state()
                losses = learner.step(batch, further)
                random = fabric.device.type != "cpu" or not torch.equal(before, torch.get_rng_state())
        else:
            losses = learner.step(batch, further)
        values = {name: float(value) for name, value in losses.items()}
        if not isfinite(values["loss"]):
            raise TrainingError(
                f"the loss is not finite at step {step + 1} ({', '.join(f'{k} {v}' for k, v in values.items())}); lower "
                f"training.optimizer.lr (now {learner.learning_rate():.2g}) or set gradient_clip"
            )
        if averaged is not None:
            averaged.update_parameters(learner.model)
        now = time.perf_counter()
        speed = settings.sampling.batch_size / max(now - clock, 1e-9)
        rate = speed if not rate else 0.9 * rate + 0.1 * speed
        clock = now
        yield step + 1, values, rate


def _digest(weights: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name, value in weights.items():
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(value).data)
    return digest.hexdigest()[:16] if weights else ""
