"""What ``real_pairs.py`` keeps of every cell, and its tables: by class, by place, means, intervals.

The results file holds the confusion counts of blocks, so that intervals need no map again.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean

import numpy as np

from c2seg.benchmark.tables import aligned
from c2seg.metrics import Comparison, Confusion, Scores, compare_pooled, scores


@dataclass(frozen=True)
class Cell:
    """A recipe on a pair with a seed. ``key`` is a digest of settings, seed and images: what is there is not run again."""

    key: str
    pair: str
    row: str
    preset: str
    seed: int
    equal_seconds: float | None
    commit: str | None
    oa: float
    miou: float
    processor_seconds: float
    """Of the training, of all threads; ``map_seconds`` pass while the target is mapped."""
    map_seconds: float
    iterations: int | None
    classes: tuple[str, ...]
    ids: tuple[int, ...]
    blocks: str
    """Confusion counts int32 [B, K, K+1] of blocks, compressed."""

    def confusions(self) -> list[Confusion]:
        """Return the counts by block."""
        size = len(self.ids)
        counts = np.frombuffer(zlib.decompress(base64.b64decode(self.blocks)), np.int32).reshape(-1, size, size + 1)
        return [Confusion(tuple(self.ids), block.astype(np.int64)) for block in counts]

    def scores(self) -> Scores:
        """Return the scores of the whole map."""
        blocks = self.confusions()
        return scores(sum(blocks[1:], blocks[0]))

    @property
    def group(self) -> tuple[str, str, float | None]:
        """What seeds and pairs are averaged within."""
        return self.row, self.preset, self.equal_seconds

    @property
    def label(self) -> str:
        """Row of a table."""
        return self.row if self.equal_seconds is None else f"{self.row} ({self.equal_seconds:g} s)"


def packed(blocks: Sequence[Confusion]) -> str:
    """Return the counts of blocks with labeled pixels as text."""
    counts = np.stack([block.counts for block in blocks if block.pixels]).astype(np.int32)
    return base64.b64encode(zlib.compress(counts.tobytes(), 9)).decode()


def read_cells(path: Path) -> dict[str, Cell]:
    """Return the cells of a results file by key."""
    if not path.is_file():
        return {}
    parts = json.loads(path.read_text(encoding="utf-8"))
    cells = [Cell(**{k: tuple(v) if isinstance(v, list) else v for k, v in part.items()}) for part in parts]
    return {cell.key: cell for cell in cells}


def add_cell(path: Path, cell: Cell) -> None:
    """Add a cell to a results file, into which other processes may write: a line a cell."""
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        cells = read_cells(path) | {cell.key: cell}
        ordered = sorted(cells.values(), key=lambda c: (c.pair, c.row, c.preset, c.equal_seconds or 0, c.seed, c.key))
        lines = ",\n".join(json.dumps(asdict(item)) for item in ordered)
        partial = path.with_suffix(f".{os.getpid()}.partial")
        partial.write_text(f"[\n{lines}\n]\n", encoding="utf-8")
        partial.replace(path)
    path.with_suffix(".lock").unlink(missing_ok=True)


def place_table(cells: Iterable[Cell]) -> str:
    """Return mIoU and OA by row and pair, means over pairs and processor seconds of a training."""
    cells = list(cells)
    pairs = list(dict.fromkeys(cell.pair for cell in cells))
    lines = [["mIoU (OA)", *pairs, "mean", "seeds", "processor s"]]
    for label in dict.fromkeys(cell.label for cell in cells):
        ours = [cell for cell in cells if cell.label == label]
        by_pair = {pair: [cell for cell in ours if cell.pair == pair] for pair in pairs}
        known = [part for part in by_pair.values() if part]
        whole = _scored(known) if len(known) == len(pairs) else "-"
        shown = [_scored([by_pair[pair]]) if by_pair[pair] else "-" for pair in pairs]
        seeds = str(min((len(part) for part in known), default=0))
        lines.append([label, *shown, whole, seeds, f"{mean(cell.processor_seconds for cell in ours):.0f}"])
    return aligned(lines)


def _scored(parts: Sequence[Sequence[Cell]]) -> str:
    """Return mean mIoU and OA over pairs, seeds first."""
    miou = mean(mean(cell.miou for cell in part) for part in parts)
    oa = mean(mean(cell.oa for cell in part) for part in parts)
    return f"{miou:.3f} ({oa:.2f})"


def class_tables(cells: Iterable[Cell]) -> str:
    """Return, for each pair, the IoU of every class of the ground truth by row, seeds averaged."""
    cells = list(cells)
    texts = []
    for pair in dict.fromkeys(cell.pair for cell in cells):
        ours = [cell for cell in cells if cell.pair == pair]
        labels = list(dict.fromkeys(cell.label for cell in ours))
        lines = [["class", "pixels", *labels]]
        scored = {label: [cell.scores() for cell in ours if cell.label == label] for label in labels}
        first = scored[labels[0]][0]
        for place, name in enumerate(ours[0].classes):
            values = [[one.iou[place] for one in scored[label]] for label in labels]
            if first.support[place]:
                lines.append([name, str(first.support[place]), *(_mean_text(value) for value in values)])
        texts.append(f"IoU by class, {pair}\n{aligned(lines)}")
    return "\n\n".join(texts)


def _mean_text(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{mean(known):.3f}" if known else "-"


def differences(cells: Iterable[Cell], baseline: str, score: str = "miou") -> str:
    """Return each row minus the baseline over the pairs and seeds that both have: bootstrap of pairs, seeds, blocks."""
    by_label: dict[str, dict[tuple[str, int], list[Confusion]]] = {}
    for cell in cells:
        by_label.setdefault(cell.label, {})[cell.pair, cell.seed] = cell.confusions()
    if baseline not in by_label:
        return f"no cell of {baseline}: nothing is compared"
    base = by_label.pop(baseline)
    name = {"miou": "mIoU", "oa": "OA"}[score]
    lines = [[f"{name} minus that of {baseline}", "difference", "95 %", "p", "pairs", "worst pair", "best pair"]]
    for label, other in by_label.items():
        compared = compare(other, base, score)
        if compared is not None:
            lines.append([label, *_compared(*compared)])
    return aligned(lines)


Counts = dict[tuple[str, int], list[Confusion]]


def compare(first: Counts, second: Counts, score: str) -> tuple[Comparison, dict[str, float | None]] | None:
    """Return the comparison over shared pairs and seeds, and its differences by pair; None where nothing is shared."""
    shared = sorted(first.keys() & second.keys())
    pairs = list(dict.fromkeys(pair for pair, _ in shared))
    if not pairs:
        return None
    runs = [[[counts[key] for key in shared if key[0] == pair] for pair in pairs] for counts in (first, second)]
    comparison, by_pair = compare_pooled(runs[0], runs[1], score)
    return comparison, dict(zip(pairs, by_pair, strict=True))


def _compared(comparison: Comparison, by_pair: dict[str, float | None]) -> list[str]:
    interval = comparison.difference
    known = sorted((value, pair) for pair, value in by_pair.items() if value is not None)
    if interval.value is None or interval.low is None or not known:
        return ["-"] * 6
    p_value = "-" if comparison.p_value is None else f"{comparison.p_value:.3f}"
    worst, best = (f"{value:+.3f} {pair}" for value, pair in (known[0], known[-1]))
    text = f"{interval.low:+.3f} .. {interval.high:+.3f}"
    return [f"{interval.value:+.3f}", text, p_value, str(len(known)), worst, best]
