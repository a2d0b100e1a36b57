"""Runs that train nothing: their maps are fused from those of other runs with the same pair and seed."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from c2seg.artifacts.benchmark import FusionKey
from c2seg.benchmark.systems import System, is_system, load_system
from c2seg.errors import RecipeError, unknown_name
from c2seg.legend import Legend

if TYPE_CHECKING:
    from c2seg.benchmark.plan import Run

__all__ = ["Fusion", "check_classes", "fused_runs", "trained_recipes", "wanted_systems"]

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Fusion:
    """How a map is made of those of other runs: the weighted mean of probabilities, then rules, each a class and its expert."""

    mean: tuple[tuple[Run, float], ...]
    rules: tuple[tuple[str, Run], ...] = ()
    threshold: float | None = None
    soft: bool = False

    @property
    def parts(self) -> tuple[Run, ...]:
        """Every run whose map is read, once."""
        runs = [run for run, _ in self.mean] + [run for _, run in self.rules]
        return tuple({run.folder: run for run in runs}.values())

    def key(self) -> FusionKey:
        """Return what the fused map depends on."""
        return FusionKey(
            mean=tuple((run.label, weight) for run, weight in self.mean),
            rules=tuple((name, run.label) for name, run in self.rules),
            threshold=self.threshold,
            soft=self.soft,
            recipes={run.label: run.settings() for run in self.parts},
        )


def wanted_systems(name: str) -> list[System]:
    """Return a system and the variants that its tables always show; a variant that is named stands alone."""
    system = load_system(name)
    if "@" in name:
        return [system]
    return [*(load_system(f"{name}@{row}") for row in system.rows), system]


def trained_recipes(names: Sequence[str]) -> list[str]:
    """Return the recipes that are trained for recipes and systems, each once."""
    parts = [
        [part.recipe for system in wanted_systems(name) for part in system.used_parts.values()]
        if is_system(name)
        else [name]
        for name in names
    ]
    return list(dict.fromkeys(recipe for group in parts for recipe in group))


def check_classes(system: System, legend: Legend) -> None:
    """Raise RecipeError if a rule names a class that the legend lacks."""
    known = {str(item.id) for item in legend.classes} | {item.name.casefold() for item in legend.classes}
    for name in system.rules:
        if name.strip().casefold() not in known:
            raise RecipeError(f"system {system.name}: rules: {unknown_name('class', name, legend.names)}")


def fused_runs(system: System, parts: Mapping[str, Sequence[Run]], place: Path) -> Iterator[Run]:
    """Yield the runs of a system, one for every seed, in the folder ``place``.

    ``parts`` are its trained runs by name, in the order of seeds; those that the cities allow. Rules without their expert are
    left out, and so is a map of which nothing remains; a note says so.
    """
    mean = {name: weight for name, weight in system.mean.items() if name in parts}
    rules = {name: expert for name, expert in system.rules.items() if expert in parts}
    if not mean or (system.rules and not rules and (system.soft or system.threshold is not None)):
        _LOG.warning("system %s is left out: the cities lack modalities of its parts", system.name)
        return
    for seed, first in enumerate(parts[next(iter(mean))]):
        fusion = Fusion(
            tuple((parts[name][seed], weight) for name, weight in mean.items()),
            tuple((name, parts[expert][seed]) for name, expert in rules.items()),
            system.threshold if rules else None,
            system.soft and bool(rules),
        )
        folder = place / system.name / f"seed{first.seed}"
        yield replace(
            first, recipe=system.name, inputs="default", folder=folder, overrides=(), probabilities=False, fusion=fusion
        )
