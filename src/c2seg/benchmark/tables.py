"""Tables of a benchmark: mean and spread over seeds, paired differences, as rows, text, HTML and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from html import escape
from statistics import mean, stdev

from c2seg.artifacts.benchmark import BenchmarkResult, BenchmarkRow, MeanStd
from c2seg.recipes import random_start

__all__ = ["aligned", "as_csv", "as_html", "as_text", "modality_text", "pm", "rows"]

RARE_PX = 1000
_SCORES = ("oa", "kappa", "mf1", "miou")
_MOST_COLUMNS = 6
_BEFORE = ("pair", "recipe", "target", "OA", "Kappa", "mF1", "mIoU", ">=1000px")
_AFTER = ("fit s", "MiB", "Mpar", "GFLOP")
LEGEND = (
    "target: * trained on target images, + standardized by their statistics; ~ starts at random, published with pretrained "
    "weights; spread: standard deviation over seeds"
)


def rows(results: Sequence[BenchmarkResult], baseline: str = "forest") -> list[BenchmarkRow]:
    """Return one row per pair and recipe: mean and standard deviation of each score over the seeds.

    ``difference`` is the mIoU minus that of ``baseline`` with the same pair and seed (mean and deviation over seeds).
    Rows named ``mean`` average the pairs, each seed first: the challenge's score is the plain mean over its datasets.
    """
    pairs = list(dict.fromkeys(r.pair for r in results))
    labels = list(dict.fromkeys(r.label for r in results))
    base = {(r.pair, r.seed): _score(r, "miou") for r in results if r.label == baseline}
    table = []
    for pair in pairs:
        for label in labels:
            seeds = [r for r in results if r.pair == pair and r.label == label]
            if seeds:
                table.append(_row(pair, label, seeds, base))
    if len(pairs) > 1:
        table += [_mean_row(label, [r for r in results if r.label == label], pairs) for label in labels]
    return table


def as_text(table: Sequence[BenchmarkRow], baseline: str = "forest") -> str:
    """Return the table for a terminal; ``*`` marks training on target images, ``+`` statistics of target images."""
    return aligned(_cells(table, baseline))


def as_html(table: Sequence[BenchmarkRow], baseline: str = "forest") -> str:
    """Return the table as HTML, for a notebook."""
    head, *lines = _cells(table, baseline)
    body = "".join(f"<tr>{_html_cells(line, 'td')}</tr>" for line in lines)
    return f"<table><thead><tr>{_html_cells(head, 'th')}</tr></thead><tbody>{body}</tbody></table><p>{LEGEND}</p>"


def _html_cells(line: Sequence[str], tag: str) -> str:
    return "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in line)


def _cells(table: Sequence[BenchmarkRow], baseline: str) -> list[list[str]]:
    """Return the table as text in cells, with its head."""
    lines = [[*_BEFORE, f"vs {baseline}", *_AFTER]]
    lines += [
        [
            row.pair, row.label, row.uses_target, pm(row.oa), pm(row.kappa), pm(row.mf1), pm(row.miou),
            pm(row.miou_common), pm(row.difference, sign=True), _n(row.fit_seconds, 0), _n(row.peak_memory_mib, 0),
            _millions(row.parameters), _n(row.gflops_128, 2),
        ]
        for row in table
    ]  # fmt: skip
    return lines


def as_csv(table: Sequence[BenchmarkRow]) -> str:
    """Return the table as CSV; means and deviations in separate columns."""
    flat = [{k: v for key, value in row for k, v in _flatten(key, value)} for row in table]
    names = list(dict.fromkeys(name for row in flat for name in row))
    out = io.StringIO()
    writer = csv.DictWriter(out, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    return out.getvalue()


def modality_text(results: Sequence[BenchmarkResult]) -> str:
    """Return, per pair, the IoU of each class by row of the table (mean over seeds)."""
    parts = []
    for pair in dict.fromkeys(r.pair for r in results):
        scored = [r for r in results if r.pair == pair and r.scores]
        if scored:
            parts += [*_classes(pair, scored), ""]
    return "\n".join(parts)


def _classes(pair: str, results: Sequence[BenchmarkResult]) -> tuple[str, str]:
    """Return a title and the IoU of each class, a column a recipe, or, of many recipes, a line."""
    assert results[0].scores is not None
    classes, labels = results[0].scores.classes, list(dict.fromkeys(r.label for r in results))
    lines = [["class", *labels]]
    for index, item in enumerate(classes):
        by_label = [[r.scores.iou[index] for r in results if r.label == label and r.scores] for label in labels]
        lines.append([f"{item.id} {item.name}", *(_n(_average(values), 3) for values in by_label)])
    if len(labels) <= _MOST_COLUMNS:
        return f"IoU by class, {pair}", aligned(lines)
    key = "; ".join(line[0] for line in lines[1:])
    columns = [[str(item.id), *line[1:]] for item, line in zip(classes, lines[1:], strict=True)]
    turned = [list(line) for line in zip(["recipe", *labels], *columns, strict=True)]
    return f"IoU by class ({key}), {pair}", aligned(turned)


def aligned(lines: Sequence[Sequence[str]]) -> str:
    """Return cells as columns of equal width."""
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip() for line in lines)


def _row(
    pair: str, label: str, seeds: Sequence[BenchmarkResult], base: Mapping[tuple[str, int], float | None]
) -> BenchmarkRow:
    uses = seeds[0].uses_target_images
    return BenchmarkRow(
        pair=pair,
        label=label,
        seeds=len(seeds),
        uses_target=("*" if uses.training else "")
        + ("+" if uses.normalization else "")
        + ("~" if any(random_start(recipe) for recipe in seeds[0].key.recipes) else ""),
        oa=_spread([_score(r, "oa") for r in seeds]),
        kappa=_spread([_score(r, "kappa") for r in seeds]),
        mf1=_spread([_score(r, "mf1") for r in seeds]),
        miou=_spread([_score(r, "miou") for r in seeds]),
        tiles_oa=_spread([_score(r, "oa", by_tiles=True) for r in seeds]),
        tiles_mf1=_spread([_score(r, "mf1", by_tiles=True) for r in seeds]),
        tiles_miou=_spread([_score(r, "miou", by_tiles=True) for r in seeds]),
        miou_common=_spread([_common(r) for r in seeds]),
        difference=_spread(_differences(seeds, base)),
        offline_miou=_spread([r.offline.offline.last.miou for r in seeds if r.offline and r.offline.offline]),
        fit_seconds=_average([r.fit_seconds for r in seeds]),
        map_seconds=_average([r.map_seconds for r in seeds]),
        peak_memory_mib=_average([r.peak_memory_mib for r in seeds]),
        parameters=seeds[0].parameters,
        gflops_128=seeds[0].gflops_128,
        iterations=seeds[0].iterations,
    )


def _mean_row(label: str, results: Sequence[BenchmarkResult], pairs: Sequence[str]) -> BenchmarkRow:
    by_seed: dict[int, list[BenchmarkResult]] = {}
    for result in results:
        by_seed.setdefault(result.seed, []).append(result)
    complete = [group for group in by_seed.values() if len(group) == len(pairs)]
    means = {name: _spread([_average([_score(r, name) for r in group], all_needed=True) for group in complete])
             for name in _SCORES}  # fmt: skip
    means |= {
        f"tiles_{name}": _spread(
            [_average([_score(r, name, by_tiles=True) for r in group], all_needed=True) for group in complete]
        )
        for name in ("oa", "mf1", "miou")
    }
    common = _spread([_average([_common(r) for r in group], all_needed=True) for group in complete])
    return _row("mean", label, results, {}).model_copy(update={**means, "miou_common": common})


def _differences(seeds: Sequence[BenchmarkResult], base: Mapping[tuple[str, int], float | None]) -> list[float]:
    """Return the mIoU of runs minus that of the baseline with the same pair and seed, where both are known."""
    both = [(_score(r, "miou"), base.get((r.pair, r.seed))) for r in seeds]
    return [ours - theirs for ours, theirs in both if ours is not None and theirs is not None]


def _score(result: BenchmarkResult, name: str, *, by_tiles: bool = False) -> float | None:
    """Return a score of a result; None where it has none, or was not scored over tiles."""
    scores = getattr(result.scores, "by_tiles", None) if by_tiles else result.scores
    value: float | None = getattr(scores, name, None)
    return value


def _common(result: BenchmarkResult) -> float | None:
    """Return the mean IoU of the classes with at least 1000 ground truth pixels."""
    if not result.scores:
        return None
    return _average([iou for iou, px in zip(result.scores.iou, result.scores.support, strict=True) if px >= RARE_PX])


def _average(values: Sequence[float | None], *, all_needed: bool = False) -> float | None:
    known = [v for v in values if v is not None]
    if not known or (all_needed and len(known) < len(values)):
        return None
    return mean(known)


def _spread(values: Sequence[float | None]) -> MeanStd:
    known = [v for v in values if v is not None]
    if not known:
        return None, None
    return mean(known), stdev(known) if len(known) > 1 else None


def pm(value: MeanStd, *, sign: bool = False) -> str:
    """Return a mean and a deviation as text."""
    center, spread = value
    if center is None:
        return "-"
    text = f"{center:+.3f}" if sign else f"{center:.3f}"
    return text if spread is None else f"{text} +-{spread:.3f}"


def _n(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _millions(value: int | None) -> str:
    return _n(value / 1e6 if value else value, 2)


def _flatten(key: str, value: object) -> list[tuple[str, object]]:
    if isinstance(value, tuple):
        return [(key, value[0]), (f"{key}_std", value[1])]
    return [(key, value)]
