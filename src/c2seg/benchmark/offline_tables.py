"""The challenge's Tables II and III: scores inside the source on a split that leaks, and of the same weights across cities."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from html import escape
from statistics import mean, stdev

from c2seg.artifacts.benchmark import BenchmarkResult
from c2seg.artifacts.offline import OfflineRecord, TileScores
from c2seg.artifacts.offline_table import OfflineRow, Spread
from c2seg.artifacts.scores import ScoreRecord
from c2seg.benchmark.tables import aligned
from c2seg.data.splits import dataset_of_tiles
from c2seg.metrics.published import OfflineScore, published_offline, published_scores
from c2seg.recipes import random_start

__all__ = ["offline_csv", "offline_html", "offline_notes", "offline_rows", "offline_text"]

_HEAD = ("pair", "recipe", "Mpar", "weights", "OA", "mIoU", "mF1", "across: OA", "mIoU", "mF1")
_PUBLISHED_ACROSS = ("challenge", "mean", "MRSN (third place)")


def offline_rows(results: Sequence[BenchmarkResult]) -> list[OfflineRow]:
    """Return one row per pair, recipe and weights (the last, and the best where these were looked for) over the seeds."""
    table: list[OfflineRow] = []
    for key in dict.fromkeys((r.pair, r.label) for r in results):
        seeds = [r for r in results if (r.pair, r.label) == key and r.offline and r.offline.offline]
        if seeds:
            table += _rows(seeds)
    return table


def offline_text(rows: Sequence[OfflineRow], which: str) -> str:
    """Return Table II or III for a terminal, the published rows beside, and what the splits leak."""
    return "\n".join([aligned([_HEAD, *_cells(rows, which)]), *offline_notes(rows)])


def offline_html(rows: Sequence[OfflineRow], which: str) -> str:
    """Return Table II or III as HTML."""
    lines = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in line)}</tr>" for line in _cells(rows, which))
    head = "".join(f"<th>{escape(cell)}</th>" for cell in _HEAD)
    notes = "".join(f"<p>{escape(note)}</p>" for note in offline_notes(rows))
    return f"<table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table>{notes}"


def offline_csv(rows: Sequence[OfflineRow], which: str) -> str:
    """Return Table II or III as CSV; means and deviations apart, the published rows at the end."""
    out = io.StringIO()
    scores = [f"{prefix}{name}" for prefix in ("", "across_") for name in ("oa", "miou", "mf1")]
    writer = csv.writer(out, lineterminator="\n")
    spreads = [part for name in scores for part in (name, f"{name}_std")]
    writer.writerow(["pair", "label", "weights", "seeds", "parameters", "released_split", "leak", *spreads])
    for row in rows:
        released, leak = all(split.released for split in row.splits), max(split.leak for split in row.splits)
        numbers = [part for name in scores for part in getattr(row, name)]
        writer.writerow([row.pair, row.label, row.weights, row.seeds, row.parameters, released, leak, *numbers])
    for score in published_offline(which):
        published = [part for value in (score.oa, score.miou, score.mf1) for part in (value, None)]
        beside = [None] * len(published)  # across the cities: the mean of both datasets alone
        writer.writerow([score.dataset, score.recipe, "published", None, None, True, None, *published, *beside])
    return out.getvalue()


def offline_notes(rows: Sequence[OfflineRow]) -> list[str]:
    """Return what the columns are, what the split of each pair leaks, and which rows cannot predict the background."""
    if not rows:
        return []
    notes = [
        "Inside the source, every tile of validation whole: background is a 14th class, absent classes score 0, overlaps count "
        "twice. Across: the same weights on the target, in the challenge's convention. best: what the leaking tiles chose."
    ]
    for pair in dict.fromkeys(row.pair for row in rows):
        splits = next(row.splits for row in rows if row.pair == pair)
        notes += [
            f"{pair}: {split.training_tiles} training and {split.validation_tiles} validation tiles of {split.tile_px} px "
            f"every {split.step_px} px, {'as the third place released them' if split.released else 'drawn at random'}; "
            f"{split.leaking_tiles} of {split.validation_tiles} overlap training tiles, and {split.leak:.1%} of their pixels "
            "are trained on."
            for split in splits
        ]
    if random := list(dict.fromkeys(row.label for row in rows if row.random_start)):
        notes.append(f"~ starts at random, published with pretrained weights: {', '.join(random)}.")
    blind = list(dict.fromkeys(row.label for row in rows if not row.background))
    return notes + ([f"Never predicting background, which scores 0: {', '.join(blind)}."] if blind else [])


def _rows(seeds: Sequence[BenchmarkResult]) -> Iterator[OfflineRow]:
    """Yield the rows of a pair and a recipe."""
    known = [(result, result.offline.offline) for result in seeds if result.offline and result.offline.offline]
    yield _row(known, "last", lambda record: record.last)
    if all(record.best for _, record in known):
        yield _row(known, "best", lambda record: record.best or record.last)


def _row(
    known: Sequence[tuple[BenchmarkResult, OfflineRecord]], weights: str, of: Callable[[OfflineRecord], TileScores]
) -> OfflineRow:
    first, record = known[0]
    inside = [of(record).scores for _, record in known]
    across = [_across(result, weights) for result, _ in known]
    scores = {name: _spread([getattr(one, name) for one in inside]) for name in ("oa", "miou", "mf1")}
    beside = {f"across_{name}": _spread([getattr(one, name, None) for one in across]) for name in scores}
    return OfflineRow.model_validate(
        {
            "pair": first.pair, "label": first.label, "weights": weights, "seeds": len(known),
            "steps": tuple(of(record).step for _, record in known),
            "dataset": dataset_of_tiles(record.splits[0].training_tiles + record.splits[0].validation_tiles),
            "splits": record.splits, "background": record.background, "parameters": first.parameters, **scores, **beside,
            "random_start": any(random_start(recipe) for recipe in first.key.recipes),
        }
    )  # fmt: skip


def _across(result: BenchmarkResult, weights: str) -> ScoreRecord | None:
    if result.offline_across is None:
        return None
    return (result.offline_across.best if weights == "best" else None) or result.offline_across.last


def _cells(rows: Sequence[OfflineRow], which: str) -> list[tuple[str, ...]]:
    """Return the rows as text, the published ones behind the last of their recipe and pair."""
    lines: list[tuple[str, ...]] = []
    for place, row in enumerate(rows):
        lines.append(_line(row))
        following = rows[place + 1] if place + 1 < len(rows) else None
        if following is None or (following.pair, following.label) != (row.pair, row.label):
            lines += [_published(score, row) for score in published_offline(which) if _fits(score, row)]
    return lines


def _line(row: OfflineRow) -> tuple[str, ...]:
    steps = sorted({step for step in row.steps if step is not None})
    numbers = f" ({steps[0]})" if len(steps) == 1 else f" ({steps[0]} to {steps[-1]})" if steps else ""
    return (
        row.pair, f"{row.label} ~" if row.random_start else row.label,
        "-" if row.parameters is None else f"{row.parameters / 1e6:.2f}", row.weights + numbers,
        _pm(row.oa), _pm(row.miou), _pm(row.mf1), _pm(row.across_oa), _pm(row.across_miou), _pm(row.across_mf1),
    )  # fmt: skip


def _fits(score: OfflineScore, row: OfflineRow) -> bool:
    return score.recipe == row.label and row.dataset in {score.dataset, None}


def _published(score: OfflineScore, row: OfflineRow) -> tuple[str, ...]:
    """Return a published row; its score across the cities was published as the mean of both datasets, for the system alone."""
    (across,) = [one for one in published_scores() if (one.source, one.dataset, one.method) == _PUBLISHED_ACROSS]
    beside = (across.oa, across.miou, across.mf1) if score.recipe == "mrsn" else (None, None, None)
    numbers = ["-" if value is None else f"{value:.4f}" for value in (score.oa, score.miou, score.mf1, *beside)]
    return (row.pair, f"{score.method} {score.dataset}", "-", "published", *numbers[:3], *_of_both(numbers[3:]))


def _of_both(numbers: Sequence[str]) -> list[str]:
    return [*numbers[:2], numbers[2] if numbers[2] == "-" else f"{numbers[2]} (AB and BW)"]


def _spread(values: Sequence[float | None]) -> Spread:
    numbers = [value for value in values if value is not None]
    if not numbers:
        return None, None
    return mean(numbers), stdev(numbers) if len(numbers) > 1 else None


def _pm(value: Spread) -> str:
    center, spread = value
    if center is None:
        return "-"
    return f"{center:.3f}" if spread is None else f"{center:.3f} +-{spread:.3f}"
