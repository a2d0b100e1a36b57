"""What a run says at its start, and how long it will take as soon as its first steps have shown it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from c2seg.errors import needs_extra
from c2seg.pipeline.prepare import Prepared
from c2seg.progress import Bars, Progress
from c2seg.recipes import Recipe
from c2seg.recipes.models import ForestModel

__all__ = ["FitPlan", "announced", "plan_lines", "plan_of", "trained_line"]

_LOG = logging.getLogger("c2seg.fit")
_MEASURED_S = 3.0  # of the first steps, before an estimate is told
_LEAST_PART = 0.01  # of all the work
_OTHER_WORK = ("statistics", "cache", "labels", "drift", "pseudo")
"""How the names of bars begin that show no training."""


@dataclass(frozen=True)
class FitPlan:
    """What a run trains, on what, and where."""

    recipe: str
    preset: str | None
    bands: dict[str, int]
    """Number by modality."""
    source_pixels: int
    target_pixels: int | None
    classes: int
    device: str
    work: tuple[str, ...]
    """What is trained, in words; the model of the run first, where there is one."""
    has_model: bool
    forests: bool
    """True: nothing but forests is trained."""
    total: float
    """Steps of all trainings of networks, or forests."""


def plan_of(recipe: Recipe, prepared: Prepared, preset: str | None, device: str) -> FitPlan:
    """Return the plan of a run on these data."""
    target = prepared.target
    is_forest = isinstance(recipe.model, ForestModel)
    work, total = (
        _forests(recipe, recipe.model) if isinstance(recipe.model, ForestModel) else _networks(recipe, prepared)
    )
    return FitPlan(
        recipe=recipe.name,
        preset=preset,
        bands={name: len(bands) for name, bands in prepared.inputs.items()},
        source_pixels=prepared.labeled_pixels,
        target_pixels=None if target is None else sum(s.grid.height * s.grid.width for s in target.city.scenes),
        classes=len(prepared.trained_classes),
        device="cpu" if is_forest else _device(device),
        work=work,
        has_model=recipe.validation.final,
        forests=is_forest,
        total=total,
    )


def plan_lines(plan: FitPlan) -> list[str]:
    """Return a plan as lines for people."""
    bands = ", ".join(f"{count} {name}" for name, count in plan.bands.items())
    target = "" if plan.target_pixels is None else f", {plan.target_pixels:,} pixels of the target"
    preset = f", preset {plan.preset}" if plan.preset else ""
    return [
        f"{plan.recipe}{preset}, on {plan.device}; bands: {bands}",
        f"{plan.source_pixels:,} labeled pixels of {plan.classes} classes in the sources{target}",
        f"to train: {'; '.join(plan.work)}",
    ]


def trained_line(plan: FitPlan) -> str:
    """Return what a run has trained, as a line for people."""
    target = "" if plan.target_pixels is None else f", for a target of {plan.target_pixels:,} pixels"
    what = plan.work[0] if plan.has_model else "no model: the recipe asks for scores on folds alone"
    return f"trained: {what}, on {plan.source_pixels:,} labeled pixels of {plan.classes} classes{target}"


def announced(plan: FitPlan, bars: Bars) -> Bars:
    """Say a plan, and return bars that also say, once, how long the work takes by its first steps."""
    for text in plan_lines(plan):
        _LOG.info(text)
    return _Estimate(plan, bars, _LOG.info)


@dataclass
class _Estimate:
    """Bars that measure the first training, and say how long all will take if every step costs as much."""

    plan: FitPlan
    bars: Bars
    say: Callable[[str], None]
    told: bool = field(default=False, init=False)

    def __call__(self, label: str) -> Progress:
        bar = self.bars(label)
        first: tuple[float, float] | None = None
        if label.startswith(_OTHER_WORK) or (label.endswith(("scored", "forest")) and not self.plan.forests):
            return bar

        def show(done: float, total: float, text: str = "") -> None:
            nonlocal first
            bar(done, total, text)
            if label == "forest":  # one unit of the work
                done, total = done / total, 1.0
            now = time.perf_counter()
            if first is None:
                first = now, done
            elif not self.told and now - first[0] >= _MEASURED_S and done - first[1] >= _LEAST_PART * total:
                self.told = True
                self.say(self._text(label, (now - first[0]) / (done - first[1]), done))

        return show

    def _text(self, label: str, seconds: float, done: float) -> str:
        hours = seconds * max(0.0, self.plan.total - done) / 3600
        rest = f"{hours:.1f} h" if hours >= 1 else f"{max(1.0, 60 * hours):.0f} min"
        return f"about {rest} of training remain, if all takes as long as the first part ({label})"


def _forests(recipe: Recipe, model: ForestModel) -> tuple[tuple[str, ...], float]:
    """Return the forests of a run in words, and their number."""
    folds = recipe.validation.count
    work = [f"a random forest of {model.trees} trees"] if recipe.validation.final else []
    if folds:
        work.append(f"{folds} more on folds of the sources, for validation (`validation=False` omits them)")
    return tuple(work), float(folds + recipe.validation.final)


def _networks(recipe: Recipe, prepared: Prepared) -> tuple[tuple[str, ...], float]:
    """Return the networks of a run in words, and the steps of all of them."""
    stages = {name: recipe.stage_networks(name, prepared.modalities) for name in recipe.stages}
    networks = [network for part in stages.values() for network in part]
    steps = sum(network.training.iterations for network in networks)
    names = ", ".join(f"{name} ({len(part)})" if len(part) > 1 else name for name, part in stages.items() if part)
    work = [f"{_count(len(networks), 'network')} in {steps:,} steps: {names}"] if recipe.validation.final else []
    work += ["a forest beside them"] if recipe.forest else []
    total = float(steps * (recipe.validation.count + recipe.validation.final))
    if recipe.validation.count:
        count = _count(recipe.validation.count, "fold")
        work.append(f"as many on each of {count} of the sources, for validation (`validation=False` omits them)")
    if (check := recipe.source_check) is not None:
        trial = [network for part in stages.values() for network in part[: check.networks or len(part)]]
        total += sum(network.training.iterations for network in trial)
        work.append(
            f"before that {_count(len(trial), 'network')} without some blocks of the sources, to check the recipe"
        )
    return tuple(work), total


def _count(number: int, name: str) -> str:
    return f"{number} {name}{'' if number == 1 else 's'}"


def _device(device: str) -> str:
    """Return the device that networks are trained on, in words."""
    with needs_extra("training a network", "train"):
        from c2seg.models import choose_device

    chosen = choose_device(device)
    if chosen.type != "cuda":
        return str(chosen.type)
    import torch

    return f"{chosen.type} ({torch.cuda.get_device_name(chosen)})"
