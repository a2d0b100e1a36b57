"""The published offline protocol in a benchmark: a run's second training, on a random split of the source's tiles that leaks.

Its weights, the last and those that were best on the validation tiles, are scored there as published, and across the cities.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from c2seg.artifacts.benchmark import BenchmarkResult
from c2seg.artifacts.offline import OfflineRecord
from c2seg.artifacts.offline_table import OfflineAcross
from c2seg.artifacts.scores import ScoreRecord
from c2seg.artifacts.validation import ValidationRecord
from c2seg.benchmark.plan import Benchmark, Run
from c2seg.benchmark.runner import Runner
from c2seg.benchmark.tasks import PredictTask, ScoreTask, fit_task
from c2seg.data import open_city
from c2seg.data.published import DATASETS
from c2seg.recipes import Recipe

__all__ = ["chooses_other", "is_scored_offline", "offline_overrides", "run_offline"]

EVERY = 1600
"""Iterations between two scores of the weights in the third place's notebook."""
_TIMES = 5  # of 8200 iterations; shorter trainings are scored as often


def run_offline(
    benchmark: Benchmark, run: Run, overrides: Sequence[str], runner: Runner
) -> tuple[ValidationRecord | None, OfflineAcross | None]:
    """Train on the released split of tiles, or one like it; return the scores inside the source, and across the cities.

    Both are None without the offline protocol; across, also where there is no ground truth.
    """
    if not benchmark.offline:
        return None, None
    split = (*overrides, *offline_overrides(run, overrides))
    folder = run.folder / "offline"
    trained = runner.fit(fit_task(run, benchmark.device, folder, split))
    reference = run.pair.reference
    if reference is None or trained.validation is None:
        return trained.validation, None
    last = _across(run, reference, benchmark.device, runner, "last", folder / "model.safetensors")
    best = None
    if chooses_other(trained.validation.offline):
        best = _across(run, reference, benchmark.device, runner, "best", folder / "best.safetensors")
    return trained.validation, OfflineAcross(last=last, best=best)


def offline_overrides(run: Run, overrides: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the validation on tiles: of the dataset's size and step, scored every 1600 iterations and five times at least."""
    recipe = run.settings(*overrides)
    keys = ["kind: random_tiles", "final: false", f"tile_px: {_tile_px(run, recipe)}"]
    if recipe.stages:
        keys.append(f"score_every: {min(EVERY, -(-recipe.training.iterations // _TIMES))}")
    return (f"validation={{{', '.join(keys)}}}",)


def _tile_px(run: Run, recipe: Recipe) -> int:
    """Return the recipe's side of tiles; where it names none that of the dataset whose bands the source has, halved until it
    fits a smaller city.
    """
    stated = recipe.validation.tile_px
    if stated != type(recipe.validation)().tile_px:
        return stated
    city = open_city(run.pair.source)
    bands = city.band_counts(city.modality_names)
    side = next((facts.tile_px for facts in DATASETS.values() if facts.bands() == bands), stated)
    while any(side > min(scene.grid.height, scene.grid.width) for scene in city.scenes):
        side //= 2
    return side


def chooses_other(record: OfflineRecord | None) -> bool:
    """Return True if the best weights are not the last."""
    return record is not None and record.best is not None and record.best is not record.last


def is_scored_offline(result: BenchmarkResult) -> bool:
    """Return True if a result has the offline scores of this version."""
    return result.offline is not None and result.offline.offline is not None


def _across(run: Run, reference: Path, device: str, runner: Runner, weights: str, model: Path) -> ScoreRecord:
    """Predict the target with a model and score the map."""
    place = run.folder / "offline" / weights
    out = place / run.map.name
    runner.predict(PredictTask(model, run.pair.target, out, device))
    return runner.score(ScoreTask(out, reference, place / "scores.json"))
