"""Train a network on drawn patches.

Patches and random layers of step i are functions of (seed, i). So a run that was killed resumes from its last state, with
bit-identical results for the same versions, device, precision and threads. Under ``torchrun`` each process loads a part of
every batch, and gradients are summed.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import repeat
from math import isfinite
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from c2seg.data import Band
from c2seg.errors import DataError, InputError, TrainingError, one_line
from c2seg.losses import class_weights
from c2seg.methods import Accumulation, Batch, MethodContext, TrainingMethod, build_method
from c2seg.models import (
    PretrainedReport,
    build_model,
    choose_device,
    choose_precision,
    load_pretrained,
    place,
)
from c2seg.models.batch_statistics import synchronize_batch_norm
from c2seg.models.cost import model_cost
from c2seg.progress import Progress, no_progress
from c2seg.sampling import PatchSampler
from c2seg.train.checkpointing import checkpoint_activations
from c2seg.train.clock import StepClock
from c2seg.train.curves import Curves
from c2seg.train.job import TrainingJob, TrainingResult
from c2seg.train.loader import Feed
from c2seg.train.probe import Probe
from c2seg.train.randomness import RANDOM, randomness_unchanged
from c2seg.train.samplers import Samplers, samplers_of
from c2seg.train.signals import StopSignal
from c2seg.train.state import (
    State,
    check_same_run,
    identity,
    load_state,
    remove_states,
    save_state,
    state_file,
)
from c2seg.train.statistics import check_batch_norm, renew_statistics, target_patches
from c2seg.train.world import World, join_world

__all__ = ["train"]

_LOG_EVERY = 10
_LABELS_AT_MOST = 0.8  # of the loss: a network cannot be trained on a few pixels alone


@randomness_unchanged()
def train(
    job: TrainingJob, *, resume: bool = False, progress: Progress = no_progress, stop: StopSignal | None = None
) -> TrainingResult:
    """Train a network.

    The state is saved every ``checkpoint_every`` steps and on SIGINT or SIGTERM; ``resume`` continues from it. ``stop``: the
    signal that parallel trainings share. Raises TrainingError when the loss is not finite or there is nothing to train on.
    """
    settings = job.recipe.training
    precision = choose_precision(settings.precision, choose_device(job.device))
    with RANDOM:
        world = join_world(job.device, precision)
        samplers = samplers_of(job, world.size)
        built = _build(job, world, samplers)
    method, averaged = built.method, built.averaged
    now = identity(job.recipe, job.seed, job.data, _digest(job.initial_weights), world.device, precision, world.size)
    start, clock = 0, StepClock()
    if not resume and world.is_first:
        remove_states(job.folder)
    common = job.shared if world.size == 1 else None
    adopted = bool(resume and common and common.adopt(now, job.folder))
    if resume and (path := state_file(job.folder)):
        state = load_state(path)
        check_same_run(state.identity, now, path)
        start, clock = state.step, _restore(state, method, averaged, path)
    if job.probe and world.is_first:
        job.probe.resume(start)

    def save(step: int) -> None:
        if world.is_first:
            content = {
                "method": method.state_dict(),
                "averaged": averaged.state_dict() if averaged else None,
                "clock": clock.saved(),
            }
            save_state(job.folder, State(step, now, content))

    curves = Curves(job.folder / "curves.csv", start, enabled=world.is_first)
    with curves, nullcontext(stop) if stop else StopSignal() as stop:
        for step, losses, rate in _steps(job, world, built, samplers, start):
            last = step == settings.iterations
            clock.step()
            if step % _LOG_EVERY == 0 or last:
                curves.add(step, method.learning_rate(), rate, losses)
                progress(step, settings.iterations, f"loss {losses['loss']:.3f}  {rate:.0f} patches/s")
            if looked := _look(job.probe, step, method, averaged, world, last=last):
                clock.skip()  # is no time of the training
            if looked or step % settings.checkpoint_every == 0 or last or stop.requested:
                curves.flush()
                save(step)
            if stop.requested and not last:
                raise KeyboardInterrupt(stop.requested)
    world.barrier()
    costs, shared = clock.costs(), None
    if common:
        costs, shared = common.finish(now, job.folder, costs, settings.iterations, adopted=adopted)
    model = method.model if averaged is None else averaged.module
    if settings.adabn:
        patches = target_patches(job.target, settings.sampling, job.seed, world.device)
        renew_statistics(model, patches, world.autocast)
    return TrainingResult(
        _weights(model), precision, built.parameters, round(built.gflops_128, 4), *costs, built.pretrained, shared
    )


def _look(
    probe: Probe | None, step: int, method: TrainingMethod, averaged: AveragedModel | None, world: World, *, last: bool
) -> bool:
    """Show the weights to a probe; return whether it looked. It is not shown the last weights, which are the result."""
    if probe is None or last or step % probe.every or not world.is_first:
        return False
    probe.look(step, _weights(method.model if averaged is None else averaged.module))
    return True


def _weights(model: nn.Module) -> dict[str, np.ndarray]:
    return {name: value.cpu().numpy() for name, value in model.state_dict().items()}


def _restore(state: State, method: TrainingMethod, averaged: AveragedModel | None, path: Path) -> StepClock:
    """Restore a state of the same identity; return its clock. DataError if it does not fit after all."""
    try:
        method.load_state_dict(state.content["method"])
        if averaged is not None:
            averaged.load_state_dict(state.content["averaged"])
        return StepClock.resumed(state.content.get("clock", {}))
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, RuntimeError) as error:
        reason = one_line(error)[:200]
        raise DataError(
            f"the state {path} does not fit the network or its method ({type(error).__name__}: {reason}); remove it to train "
            "this network anew"
        ) from error


@dataclass(frozen=True)
class _Built:
    """A training that is ready to run."""

    method: TrainingMethod
    accumulation: Accumulation
    averaged: AveragedModel | None
    parameters: int
    gflops_128: float
    pretrained: PretrainedReport | None


def _build(job: TrainingJob, world: World, samplers: Samplers) -> _Built:
    training = job.recipe.training
    torch.manual_seed(job.seed)
    model = build_model(job.recipe.model, job.bands, job.num_classes)
    inputs = job.inputs or {name: (Band(),) * count for name, count in job.bands.items()}
    report = None
    if not set(model.state_dict()) <= set(job.initial_weights):
        report = load_pretrained(model, getattr(job.recipe.model, "pretrained", None), inputs)
    if training.adabn:
        check_batch_norm(model)
    if fit_inputs := getattr(model, "fit_inputs", None):
        fit_inputs([scene.reader for scene in job.source])
    load_initial_weights(model, job.initial_weights)
    parameters, gflops = model_cost(model, job.bands)
    stride = int(getattr(model, "stride_px", 1))
    if training.sampling.patch_px % stride:
        raise InputError(
            f"training.sampling.patch_px ({training.sampling.patch_px}) must be a multiple of {stride}, the stride of "
            f"{job.recipe.model.name}"
        )
    model = place(model, world.device)
    if training.sync_batchnorm and world.size > 1:
        synchronize_batch_norm(model, world.device)
    accumulation = Accumulation(training.accumulate)
    weights = class_weights(training.loss.class_weights, samplers.class_counts())
    context = MethodContext(
        model=model,
        settings=training,
        num_classes=job.num_classes,
        class_weights=None if weights is None else torch.from_numpy(weights).to(world.device),
        device=world.device,
        autocast=world.autocast,
        processes=world.size,
        background=job.recipe.background != "none",
        labels_weight=min(job.recipe.target_labels.weight, _LABELS_AT_MOST),
        accumulation=accumulation,
    )
    method = build_method(context)
    averaged = None
    if training.ema_decay is not None:
        averaged = AveragedModel(model, multi_avg_fn=_warm_average(training.ema_decay), use_buffers=True)
    # After the copy whose weights are averaged, which needs neither.
    if training.checkpoint_activations:
        checkpoint_activations(model)
    if training.compile:
        model.compile()
    return _Built(method, accumulation, averaged, parameters, gflops, report)


_Tensors = tuple[Tensor, ...] | list[Tensor]


def _warm_average(decay: float) -> Callable[[_Tensors, _Tensors, Tensor | int], None]:
    """Return the update of averaged weights; after n steps the decay is at most (1 + n) / (10 + n).

    So random initial weights do not remain in short trainings (as in TensorFlow's ExponentialMovingAverage).
    """

    def update(averaged: _Tensors, current: _Tensors, count: Tensor | int) -> None:
        steps = int(count)
        get_ema_multi_avg_fn(min(decay, (1 + steps) / (10 + steps)))(averaged, current, count)  # type: ignore[no-untyped-call]

    return update


def load_initial_weights(model: nn.Module, weights: Mapping[str, np.ndarray]) -> None:
    """Load initial weights by tensor name; InputError for a tensor that the network lacks or has in another shape."""
    state = model.state_dict()
    for name, value in weights.items():
        if name not in state or tuple(state[name].shape) != value.shape:
            has = f"has it as {tuple(state[name].shape)}" if name in state else "has no such tensor"
            raise InputError(f"cannot start from the tensor {name} {value.shape}: {type(model).__name__} {has}")
    model.load_state_dict({name: torch.from_numpy(value.copy()) for name, value in weights.items()}, strict=False)


def _steps(
    job: TrainingJob,
    world: World,
    built: _Built,
    samplers: Samplers,
    start: int,
) -> Iterator[tuple[int, dict[str, float], float]]:
    """Yield (completed steps, losses, patches per second) after every step."""
    settings, method, averaged = job.recipe.training, built.method, built.averaged

    def fed(sampler: PatchSampler | None) -> Iterator[Batch | None]:
        augments = settings.augment_on == "device"
        if sampler is None:
            return repeat(None)
        feed = Feed(sampler, world.device, augments, world.rank, world.size, job.loader_threads)
        return feed.batches(start, settings.iterations)

    method.model.train()
    clock = time.perf_counter()
    rate = 0.0
    random = True  # until a step draws no random numbers
    fed_batches = zip(fed(samplers.source), fed(samplers.target), fed(samplers.labeled), strict=False)
    for step, (source, target, labeled) in enumerate(fed_batches, start):
        assert source is not None
        parts = list(_parts(source, target, labeled, settings.accumulate))
        if random:
            with RANDOM:
                # Random layers are a function of the step, as the patches are.
                torch.manual_seed(job.seed * 1_000_003 + step)
                before = torch.get_rng_state()
                values = _step(built, parts)
                random = world.device.type != "cpu" or not torch.equal(before, torch.get_rng_state())
        else:
            values = _step(built, parts)
        if not isfinite(values["loss"]):
            raise TrainingError(
                f"the loss is not finite at step {step + 1} ({', '.join(f'{k} {v}' for k, v in values.items())}); lower "
                f"training.optimizer.lr (now {method.learning_rate():.2g}) or set gradient_clip"
            )
        if averaged is not None:
            averaged.update_parameters(method.model)
        now = time.perf_counter()
        speed = settings.sampling.batch_size / max(now - clock, 1e-9)
        rate = speed if not rate else 0.9 * rate + 0.1 * speed
        clock = now
        yield step + 1, values, rate


def _parts(source: Batch, target: Batch | None, few: Batch | None, count: int) -> Iterator[tuple[Batch, Batch | None]]:
    """Yield the parts of a batch: patches of the sources, followed by those around labels of the target, and of the target."""
    divided = [[batch] * count if batch is None else batch.parts(count) for batch in (source, target, few)]
    for of_source, of_target, labeled in zip(*divided, strict=True):
        assert of_source is not None
        yield of_source if labeled is None else of_source.with_labeled(labeled), of_target


def _step(built: _Built, parts: Sequence[tuple[Batch, Batch | None]]) -> dict[str, float]:
    """Take one step on a batch in parts, and return the mean of their losses."""
    values: dict[str, float] = {}
    for built.accumulation.part, (source, target) in enumerate(parts):
        losses = built.method.step(source, target)
        numbers = torch.stack(
            [torch.as_tensor(value).float() for value in losses.values()]
        ).tolist()  # one wait for the device
        for name, value in zip(losses, numbers, strict=True):
            values[name] = values.get(name, 0.0) + value / len(parts)
    return values


def _digest(weights: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name, value in weights.items():
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(value).data)
    return digest.hexdigest()[:16] if weights else ""
