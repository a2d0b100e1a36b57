"""Paired differences between recipes over several pairs of cities and seeds, with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from c2seg.artifacts.benchmark import PairedDifference
from c2seg.benchmark.plan import Run
from c2seg.benchmark.tables import aligned
from c2seg.metrics import Confusion, compare_pooled, count_maps, pair_maps
from c2seg.progress import Progress, no_progress

__all__ = ["compare_recipes", "comparison_text"]

BLOCK_PX = 100

_Counts = dict[tuple[str, int], list[Confusion]]
"""Of blocks, by pair and seed."""


def compare_recipes(
    runs: Sequence[Run], baseline: str, *, block_px: int = BLOCK_PX, progress: Progress = no_progress
) -> list[PairedDifference]:
    """Compare the recipe (row) ``baseline`` with every other one over the scored pairs and seeds that both have.

    Needs the maps of finished runs. Empty if no pair has a ground truth, or the baseline was not run.
    """
    scored = [run for run in runs if run.pair.reference is not None and not run.pair.inside]
    if all(run.label != baseline for run in scored):
        return []
    counts: dict[str, _Counts] = {}
    for done, run in enumerate(scored):
        counts.setdefault(run.label, {})[run.pair.name, run.seed] = _count(run, block_px)
        progress(done + 1, len(scored), run.label)
    base = counts.pop(baseline)
    compared = [_compare(label, base, other) for label, other in counts.items()]
    return [difference for difference in compared if difference]


def _count(run: Run, block_px: int) -> list[Confusion]:
    """Count a run's map by blocks."""
    assert run.pair.reference is not None
    maps = pair_maps(run.map, run.pair.reference)
    return count_maps(maps, block_px=block_px)


def _compare(label: str, base: Mapping[tuple[str, int], list[Confusion]], other: _Counts) -> PairedDifference | None:
    """Compare over the pairs and seeds that both have; None if there are none."""
    shared = sorted(base.keys() & other.keys())
    pairs = list(dict.fromkeys(pair for pair, _ in shared))
    if not pairs:
        return None
    first, second = ([[counts[key] for key in shared if key[0] == pair] for pair in pairs] for counts in (base, other))
    comparison, by_pair = compare_pooled(first, second)
    return PairedDifference(**dict(comparison), other=label, by_pair=dict(zip(pairs, by_pair, strict=True)))


def comparison_text(baseline: str, differences: Sequence[PairedDifference]) -> str:
    """Return one line per other recipe: difference with its 95 % interval, and the worst and best pair."""
    lines = [["mIoU minus that of", "difference", "95 %", "p", "pairs", "worst pair", "best pair"]]
    for item in differences:
        known = [(value, pair) for pair, value in item.by_pair.items() if value is not None]
        if item.difference.value is None or item.difference.low is None:
            continue
        (low, worst), (high, best) = min(known), max(known)
        interval = f"{item.difference.low:+.3f} .. {item.difference.high:+.3f}"
        lines.append(
            [item.other, f"{item.difference.value:+.3f}", interval, f"{item.p_value:.3f}", str(len(known)),
             f"{low:+.3f} {worst}", f"{high:+.3f} {best}"]
        )  # fmt: skip
    return f"{baseline} against the others\n{aligned(lines)}"
