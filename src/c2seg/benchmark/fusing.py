"""Fused runs: make the map of the parts' probabilities, score it, sum up what the parts cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from c2seg.artifacts import provenance
from c2seg.artifacts.benchmark import BenchmarkKey, BenchmarkResult
from c2seg.artifacts.maps import MapRecord
from c2seg.artifacts.runs import TargetImageUse
from c2seg.artifacts.scores import ScoreRecord
from c2seg.benchmark.fused import Fusion
from c2seg.benchmark.tasks import FuseTask, fuse_task, predict_task, score_task
from c2seg.data import open_city
from c2seg.errors import C2SegError, InputError
from c2seg.fusion import FuseOptions, Rules, expert_rules, fuse, open_map
from c2seg.raster import RasterFile
from c2seg.raster.digests import files_digest

if TYPE_CHECKING:
    from c2seg.benchmark.plan import Run
    from c2seg.benchmark.runner import Runner

__all__ = ["fuse_maps", "fused_from_present_maps", "run_fused"]

N = TypeVar("N", int, float)


def run_fused(run: Run, fusion: Fusion, key: BenchmarkKey, device: str, runner: Runner) -> BenchmarkResult:
    """Fuse and score one run whose parts are finished; return its result. A part's probabilities are predicted again where
    they are missing or not those of its model.
    """
    parts = [_result(run, part) for part in fusion.parts]
    for part in fusion.parts:
        if not _has_probabilities(part):
            runner.predict(predict_task(replace(part, probabilities=True), device))
    seconds = runner.fuse(fuse_task(run, fusion))
    reference = run.pair.reference
    scored = None if reference is None else runner.score(score_task(run, reference))
    return _summed(run, fusion, key, parts, seconds, scored)


def _result(run: Run, part: Run) -> BenchmarkResult:
    """Return the result of a part; InputError if it has none."""
    try:
        return BenchmarkResult.read(part.folder / "result.json")
    except C2SegError as error:
        raise InputError(f"{run.label} needs the map of {part.label}, which has no result") from error


def _has_probabilities(part: Run) -> bool:
    """Return True if the probabilities of every map of a run are there, of the model that made the map."""
    for ids, probabilities in zip(_scenes(part.map), _scenes(part.probabilities_map), strict=False):
        try:
            record = MapRecord.read(ids.with_suffix(".json"))
            model = RasterFile(probabilities).tags.get("MODEL")
        except C2SegError:
            return False
        if record.key is not None and record.key.model != model:
            return False
    return 0 < len(_scenes(part.map)) == len(_scenes(part.probabilities_map))


def _scenes(place: Path) -> list[Path]:
    """Return the rasters of a map: itself, or those in its folder; none if it is not there."""
    if place.is_dir():
        return sorted(place.glob("*.tif"))
    return [place] if place.is_file() else []


def fused_from_present_maps(result: BenchmarkResult, fusion: Fusion) -> bool:
    """Return False if the probabilities of a part are others now than those that the map was fused from. Parts whose
    probabilities were removed, to save space, count as unchanged.
    """
    now = _digests(fusion.parts)
    return all(result.fused_from.get(label) == digest for label, digest in now.items())


def _digests(parts: Sequence[Run]) -> dict[str, str]:
    """Return a digest of the probabilities of each part that has any."""
    files = {part.label: _scenes(part.probabilities_map) for part in parts}
    return {label: files_digest(paths) for label, paths in files.items() if paths}


def _summed(
    run: Run,
    fusion: Fusion,
    key: BenchmarkKey,
    parts: Sequence[BenchmarkResult],
    seconds: float,
    scored: ScoreRecord | None,
) -> BenchmarkResult:
    """Return the result of a fused run; its costs are those of its parts and of the fusion."""
    uses = [part.uses_target_images for part in parts]
    commits = {part.commit for part in parts}
    return BenchmarkResult(
        key=key,
        pair=run.pair.name,
        recipe=run.recipe,
        inputs=run.inputs,
        label=run.label,
        seed=run.seed,
        iterations=None,
        fit_seconds=_training_seconds(parts),
        map_seconds=seconds + sum(part.map_seconds or 0.0 for part in parts),
        peak_memory_mib=_known(max, [part.peak_memory_mib for part in parts]),
        parameters=_known(sum, [part.parameters for part in parts]),
        gflops_128=_known(sum, [part.gflops_128 for part in parts]),
        uses_target_images=TargetImageUse(
            normalization=any(use.normalization for use in uses), training=any(use.training for use in uses)
        ),
        commit=commits.pop() if len(commits) == 1 else None,
        validation=None,
        scores=scored,
        offline=None,
        fused_from=_digests(fusion.parts),
    )


def _training_seconds(parts: Sequence[BenchmarkResult]) -> float:
    """Return how long the trainings of all parts took; those that some have in common count once."""
    shared = Counter(key for part in parts for key in part.shared_seconds)
    seconds = {key: value for part in parts for key, value in part.shared_seconds.items()}
    twice = sum((count - 1) * seconds[key] for key, count in shared.items())
    return sum(part.fit_seconds for part in parts) - twice


def _known(total: Callable[[list[N]], N], values: Sequence[N | None]) -> N | None:
    """Return the sum or the like of values; None if one of them is not known."""
    known = [value for value in values if value is not None]
    return total(known) if len(known) == len(values) else None


def fuse_maps(task: FuseTask) -> float:
    """Fuse the maps of every scene; return the seconds. Raises C2SegError subclasses, as ``c2seg fuse`` does."""
    legend = open_city(task.source).legend
    command = _command(task)
    scenes = [""] if not task.mean[0][0].is_dir() else [path.name for path in _scenes(task.mean[0][0])]
    seconds = 0.0
    for scene in scenes:
        maps = [(open_map(path / scene, legend), weight) for path, weight in task.mean]
        rules = expert_rules({}, [(name, path / scene) for name, path in task.rules], legend)
        record = fuse(
            [one for one, _ in maps],
            Rules(rules, task.threshold, task.soft),
            legend,
            FuseOptions(task.out / scene, overwrite=True),
            weights=[weight for _, weight in maps],
            process=provenance(seed=0, device="cpu", command=command),
        )
        seconds += record.seconds
    return seconds


def _command(task: FuseTask) -> tuple[str, ...]:
    """Return what repeats a fusion by hand."""
    rules = [text for name, path in task.rules for text in ("--rule", f"{name}={path}")]
    how = ["--soft"] if task.soft else [] if task.threshold is None else ["--threshold", f"{task.threshold:g}"]
    weights = ",".join(f"{weight:g}" for _, weight in task.mean)
    maps = [str(path) for path, _ in task.mean]
    return ("c2seg", "fuse", *maps, "--out", str(task.out), "--overwrite", "--weights", weights, *rules, *how)
