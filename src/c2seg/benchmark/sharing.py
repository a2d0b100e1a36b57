"""Trainings of networks that several runs of a benchmark have in common: each is run once."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from c2seg.artifacts.training import TrainedSettings
from c2seg.recipes import Recipe
from c2seg.recipes.schema import Stage
from c2seg.recipes.training import PseudoLabelMethod

if TYPE_CHECKING:
    from c2seg.benchmark.plan import Run

__all__ = ["common_only", "trainings"]


def trainings(run: Run, modalities: Sequence[str]) -> tuple[str, ...]:
    """Return a digest of each training of a run that starts from no other one of it; ``modalities`` are those of its cities.

    Runs with equal digests most likely have the training in common. Whether they do, the trainings tell themselves, when all
    that they depend on is known.
    """
    if run.fusion is not None or run.pair.inside:
        return ()
    recipe = run.settings()
    inputs = tuple(modalities) if recipe.inputs == "all" else recipe.inputs
    return tuple(dict.fromkeys(_digest(run, text) for text in _texts(recipe, inputs)))


def _texts(recipe: Recipe, modalities: Sequence[str]) -> Iterator[str]:
    """Yield the settings of trainings as text."""
    for place, (name, stage) in enumerate(recipe.stages.items()):
        if isinstance(stage.training.method, PseudoLabelMethod) or not (place == 0 or _starts_anew(stage)):
            continue
        for index, network in enumerate(recipe.stage_networks(name, modalities)):
            alone = recipe.alone(network)
            settings = TrainedSettings.of(alone).model_dump_json()
            compared = alone.comparison if alone.normalization == "auto" else None
            yield f"{index} {network.inputs} {alone.normalization} {compared} {alone.statistics} {settings}"


def _starts_anew(stage: Stage) -> bool:
    return stage.init_from is not None and not any(stage.init_from.values())


def _digest(run: Run, text: str) -> str:
    return hashlib.sha256(f"{run.pair.name} {run.seed} {text}".encode()).hexdigest()[:16]


def common_only(runs: Sequence[Run]) -> list[Run]:
    """Return runs whose ``common`` trainings are those of another one, too."""
    counts = Counter(key for run in runs for key in run.common)
    return [replace(run, common=tuple(key for key in run.common if counts[key] > 1)) for run in runs]
