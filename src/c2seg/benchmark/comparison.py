"""Is a recipe better than others over several pairs of cities and seeds, beyond chance?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from c2seg.benchmark.runner import Run
from c2seg.benchmark.tables import aligned
from c2seg.legend import c2seg13
from c2seg.metrics import Comparison, Confusion, ReferenceCode, compare_pooled, count_maps, pair_maps
from c2seg.progress import Progress, no_progress

__all__ = ["PairedDifference", "compare_recipes", "comparison_text"]

BLOCK_PX = 100


@dataclass(frozen=True)
class PairedDifference:
    """The mIoU of a recipe minus that of ``other`` over the same pairs, seeds and blocks."""

    other: str
    comparison: Comparison
    by_pair: dict[str, float | None]

    def as_dict(self) -> dict[str, Any]:
        """Return everything for JSON."""
        return {"other": self.other, **self.comparison.as_json(), "by_pair": self.by_pair}


def compare_recipes(
    runs: Sequence[Run], baseline: str, *, block_px: int = BLOCK_PX, progress: Progress = no_progress
) -> list[PairedDifference]:
    """Compare the recipe (row) ``baseline`` with every other one over the scored pairs and seeds that both have.

    Needs the maps of finished runs. Empty if no pair has a ground truth, or the baseline was not run.
    """
    scored = [run for run in runs if run.pair.reference is not None and not run.pair.inside]
    if all(run.label != baseline for run in scored):
        return []
    counts: dict[tuple[str, str, int], list[Confusion]] = {}
    for done, run in enumerate(scored):
        assert run.pair.reference is not None
        found = pair_maps(run.map, run.pair.reference, by_index=True)
        counts[run.label, run.pair.name, run.seed] = count_maps(found, ReferenceCode(c2seg13()), block_px=block_px)
        progress(done + 1, len(scored), run.label)
    own = {key[1:] for key in counts if key[0] == baseline}
    result = []
    for other in dict.fromkeys(run.label for run in scored if run.label != baseline):
        shared = sorted(own & {key[1:] for key in counts if key[0] == other})
        pairs = list(dict.fromkeys(pair for pair, _ in shared))
        if not pairs:
            continue
        first, second = (
            [[counts[name, pair, seed] for p, seed in shared if p == pair] for pair in pairs]
            for name in (baseline, other)
        )
        comparison, by_pair = compare_pooled(first, second)
        result.append(PairedDifference(other, comparison, dict(zip(pairs, by_pair, strict=True))))
    return result


def comparison_text(baseline: str, found: Sequence[PairedDifference]) -> str:
    """Return one line per other recipe: difference with its 95 % interval, and the worst and best pair."""
    lines = [["mIoU minus that of", "difference", "95 %", "p", "pairs", "worst pair", "best pair"]]
    for item in found:
        difference, known = item.comparison.difference, [(v, k) for k, v in item.by_pair.items() if v is not None]
        if difference.value is None or difference.low is None:
            continue
        (low, worst), (high, best) = min(known), max(known)
        interval = f"{difference.low:+.3f} .. {difference.high:+.3f}"
        lines.append(
            [item.other, f"{difference.value:+.3f}", interval, f"{item.comparison.p_value:.3f}", str(len(known)),
             f"{low:+.3f} {worst}", f"{high:+.3f} {best}"]
        )  # fmt: skip
    return f"{baseline} against the others\n{aligned(lines)}"
