"""What a benchmark runs: recipes on pairs of cities, with seeds.

A benchmark folder holds ``runs/<pair>/<recipe>[-<inputs>]/seed<k>`` (run folders as ``c2seg fit`` writes them, with the map and
its scores), ``benchmark.json``, ``benchmark.csv`` and ``benchmark.html``.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from c2seg.benchmark.fused import Fusion, check_classes, fused_runs, wanted_systems
from c2seg.benchmark.pairs import Pair, PairLike, parse_pairs
from c2seg.benchmark.published_pairs import check_label_numbers, of_dataset
from c2seg.benchmark.sharing import common_only, trainings
from c2seg.benchmark.systems import Part, is_system
from c2seg.data import City, open_city
from c2seg.data.published import DATASETS
from c2seg.errors import InputError, RecipeError
from c2seg.metrics import check_reference
from c2seg.recipes import Recipe, load_recipe

__all__ = ["Benchmark", "Pair", "PairLike", "Run", "parse_pairs", "plan"]

FOLDS = 4

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Benchmark:
    """What is compared. ``equal_seconds`` gives every recipe with networks about that much training time on this machine:
    processor time on a CPU, so that other work changes nothing, else time. A forest beside the networks is part of it."""

    pairs: tuple[Pair, ...]
    recipes: tuple[str, ...]
    out: Path
    preset: str = "tiny"
    """``paper`` is ``paper-ab`` or ``paper-bw``, by the pair."""
    seeds: int = 3
    single_modalities: bool = False
    equal_seconds: float | None = None
    offline: bool = False
    """Also score a random split of overlapping tiles inside the source, as published offline numbers were made."""
    figure: tuple[str, str] | None = None
    """Recipes whose maps figure 6 shows, one seed of each: one on each modality alone and on all, and an adapted one."""
    device: str = "cpu"
    overrides: tuple[str, ...] = ()
    jobs: int = 1
    """Runs at a time."""


@dataclass(frozen=True)
class Run:
    """One training and prediction: pair, recipe, inputs (``default``, or modalities with ``+``), seed, and where it goes.

    A run with a ``fusion`` is not trained: its map is made of those of other runs, ``recipe`` is the name of a system, and
    there are no ``settings``.
    """

    pair: Pair
    recipe: str
    inputs: str
    seed: int
    folder: Path
    preset: str
    overrides: tuple[str, ...]
    probabilities: bool = False
    """Also predict the probabilities of all classes: a fused run reads them."""
    fusion: Fusion | None = None
    common: tuple[str, ...] = ()
    """Digests of trainings that other runs of the benchmark have, too: each is run once."""

    @property
    def map(self) -> Path:
        """Where the map of the target goes."""
        return self.folder / "maps" / f"{self.pair.target.resolve().name}.tif"

    @property
    def probabilities_map(self) -> Path:
        """Where the probabilities of the target's classes go, if they are asked for."""
        return self.map.with_name(f"{self.pair.target.resolve().name}.probabilities.tif")

    @property
    def label(self) -> str:
        """Row of the table."""
        return self.recipe if self.inputs == "default" else f"{self.recipe} ({self.inputs})"

    @property
    def name(self) -> str:
        """A name that no other run has."""
        return f"{self.pair.name} {self.label} seed {self.seed}"

    def settings(self, *overrides: str) -> Recipe:
        """Return the checked recipe, with more overrides on top. Raises RecipeError."""
        return load_recipe(self.recipe, self.preset, (*self.overrides, *overrides))

    @property
    def uses_target(self) -> bool:
        """True if anything behind the map is trained on images of the target. Raises RecipeError."""
        runs = (self,) if self.fusion is None else self.fusion.parts
        return any(run.settings().uses_target for run in runs)


def plan(benchmark: Benchmark) -> list[Run]:
    """Return every run, pairs first, then recipes, then seeds; checks recipes, cities and ground truths before any work."""
    runs: dict[Path, Run] = {}
    for given in benchmark.pairs:
        cities = open_city(given.source), open_city(given.target)
        pair = of_dataset(given, *cities)
        check_label_numbers(pair, cities[0])
        if pair.reference is None and not pair.inside:
            _LOG.warning(
                "%s: %s has no ground truth, so its maps get no scores; give one as a third path",
                pair.name,
                pair.target,
            )
        if pair.reference is not None and len(cities[1].scenes) == 1:
            check_reference(cities[1].scenes[0].grid, f"the map of {pair.target}", pair.reference)
        preset = _preset(benchmark.preset, cities[0], pair)
        for part in _parts(replace(benchmark, preset=preset), pair):
            for run in _runs_of(part, pair, part.recipes[0], cities):
                # A run that is planned twice is one run; its probabilities are predicted if any fused run reads them.
                earlier = runs.get(run.folder, run)
                common = () if benchmark.equal_seconds else trainings(run, _shared(*cities))
                layers = run.probabilities or earlier.probabilities
                runs[run.folder] = replace(run, probabilities=layers, common=common)
    return common_only(list(runs.values()))


def _parts(benchmark: Benchmark, pair: Pair) -> Iterator[Benchmark]:
    """Yield a benchmark of each recipe, and of those of the figure."""
    yield from (replace(benchmark, recipes=(name,)) for name in benchmark.recipes)
    if benchmark.figure is not None and not pair.inside:
        whole, adapted = benchmark.figure
        yield replace(benchmark, recipes=(whole,), seeds=1, single_modalities=True)
        yield replace(benchmark, recipes=(adapted,), seeds=1, single_modalities=False)


def _runs_of(benchmark: Benchmark, pair: Pair, name: str, cities: tuple[City, City]) -> Iterator[Run]:
    """Yield the runs of a recipe or of a system."""
    if is_system(name):
        yield from _system(benchmark, pair, name, cities)
        return
    for inputs in _inputs(benchmark, *cities):
        yield from _seeds(benchmark, pair, name, inputs)


def _system(benchmark: Benchmark, pair: Pair, name: str, cities: tuple[City, City]) -> Iterator[Run]:
    """Yield the runs of a system: its parts, those that need modalities that a city lacks left out, then its maps."""
    systems = wanted_systems(name)
    for system in systems:
        check_classes(system, cities[0].legend)
    shared = set(_shared(*cities))
    parts: dict[str, list[Run]] = {}
    used = {key for system in systems for key in system.used_parts}
    for key, part in systems[-1].parts.items():
        if key not in used:
            continue
        if part.inputs is not None and not shared.issuperset(part.inputs):
            _LOG.warning("%s: %s without its part %s: the cities lack %s", pair.name, name, key, _lacking(part, shared))
            continue
        inputs = "default" if part.inputs is None else "+".join(part.inputs)
        parts[key] = [replace(run, probabilities=True) for run in _seeds(benchmark, pair, part.recipe, inputs)]
        yield from parts[key]
    if pair.inside:
        _LOG.warning("%s: %s has no row inside one city, where no maps are written; its parts have", pair.name, name)
        return
    for system in systems:
        yield from fused_runs(system, parts, benchmark.out / "runs" / pair.name)


def _lacking(part: Part, shared: Collection[str]) -> str:
    return ", ".join(name for name in part.inputs or () if name not in shared)


def _preset(name: str, source: City, pair: Pair) -> str:
    """Return the preset of a pair: ``paper`` is that of its dataset, which the bands of the source's HSI tell."""
    if name != "paper":
        return name
    bands = source.scenes[0].modalities["hsi"].count if "hsi" in source.modality_names else 0
    for dataset, facts in DATASETS.items():
        if facts.hsi_bands == bands:
            return f"paper-{dataset[-2:].lower()}"
    known = " or ".join(f"{facts.hsi_bands} ({dataset})" for dataset, facts in DATASETS.items())
    raise InputError(
        f"preset paper: the HSI of {pair.source} has {bands} bands, not {known}; name paper-ab or paper-bw, or another preset"
    )


def _inputs(benchmark: Benchmark, source: City, target: City) -> list[str]:
    """Return what a recipe is trained on, one after the other: its inputs, and each modality alone if asked for."""
    shared = _shared(source, target)
    return ["default", *shared] if benchmark.single_modalities and len(shared) > 1 else ["default"]


def _shared(source: City, target: City) -> list[str]:
    """Return the modalities that both cities have."""
    return [name for name in source.modality_names if name in target.modality_names]


def _fitting(recipe: str, benchmark: Benchmark) -> tuple[str, ...]:
    """Return the overrides of a recipe: pretrained weights are left out, with a note, where its network takes none."""
    try:
        load_recipe(recipe, benchmark.preset, benchmark.overrides)
    except RecipeError:
        rest = tuple(text for text in benchmark.overrides if not text.strip().startswith("model.pretrained="))
        if rest == benchmark.overrides:
            raise
        load_recipe(recipe, benchmark.preset, rest)
        _LOG.warning("%s takes no pretrained weights: model.pretrained is left out", recipe)
        return rest
    return benchmark.overrides


def _seeds(benchmark: Benchmark, pair: Pair, recipe: str, inputs: str) -> Iterator[Run]:
    """Yield the runs that differ by their seeds only."""
    overrides = (
        *_fitting(recipe, benchmark),
        *(() if inputs == "default" else (f"inputs=[{inputs.replace('+', ',')}]",)),
    )
    if pair.inside:
        folds = load_recipe(recipe, benchmark.preset, overrides).validation.folds or FOLDS
        overrides += (f"validation.folds={folds}", "validation.final=false")
    load_recipe(recipe, benchmark.preset, overrides)
    name = recipe if inputs == "default" else f"{recipe}-{inputs}"
    for seed in range(benchmark.seeds):
        folder = benchmark.out / "runs" / pair.name / name / f"seed{seed}"
        yield Run(pair, recipe, inputs, seed, folder, benchmark.preset, overrides)
