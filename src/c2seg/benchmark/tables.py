"""Tables of a benchmark: mean and spread over seeds, paired differences, as rows, text and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from statistics import mean, stdev
from typing import Any

from c2seg.benchmark.runner import common_classes
from c2seg.metrics.published import published_offline

__all__ = ["aligned", "as_csv", "as_text", "modality_text", "offline_text", "rows"]

_SCORES = ("oa", "kappa", "mf1", "miou")
_MOST_COLUMNS = 6


def rows(results: Sequence[dict[str, Any]], baseline: str = "forest") -> list[dict[str, Any]]:
    """Return one row per pair and recipe: mean and standard deviation of each score over the seeds.

    ``difference`` is the mIoU minus that of ``baseline`` with the same pair and seed (mean and deviation over seeds).
    Rows named ``mean`` average the pairs, each seed first: the challenge's score is the plain mean over its datasets.
    """
    table = []
    pairs = list(dict.fromkeys(r["pair"] for r in results))
    labels = list(dict.fromkeys(r["label"] for r in results))
    base = {(r["pair"], r["seed"]): _score(r, "miou") for r in results if r["label"] == baseline}
    for pair in pairs:
        for label in labels:
            found = [r for r in results if r["pair"] == pair and r["label"] == label]
            if found:
                table.append(_row(pair, label, found, base))
    if len(pairs) > 1:
        for label in labels:
            found = [r for r in results if r["label"] == label]
            table.append(_mean_row(label, found, pairs))
    return table


def as_text(table: Sequence[dict[str, Any]], baseline: str = "forest") -> str:
    """Return the table for a terminal; ``*`` marks training on target images, ``+`` statistics of target images."""
    head = [
        "pair",
        "recipe",
        "target",
        "OA",
        "Kappa",
        "mF1",
        "mIoU",
        ">=1000px",
        f"vs {baseline}",
        "fit s",
        "MiB",
        "Mpar",
        "GFLOP",
    ]
    lines = [head]
    lines += [
        [
            row["pair"], row["label"], row["uses_target"],
            *(_pm(row[name]) for name in _SCORES), _pm(row["miou_common"]), _pm(row["difference"], sign=True),
            _n(row["fit_seconds"], 0), _n(row["peak_memory_mib"], 0),
            _n(row["parameters"] and row["parameters"] / 1e6, 2), _n(row["gflops_128"], 2),
        ]
        for row in table
    ]  # fmt: skip
    return aligned(lines)


def as_csv(table: Sequence[dict[str, Any]]) -> str:
    """Return the table as CSV; means and deviations in columns of their own."""
    flat = [{k: v for key, value in row.items() for k, v in _flatten(key, value)} for row in table]
    names = list(dict.fromkeys(name for row in flat for name in row))
    out = io.StringIO()
    writer = csv.DictWriter(out, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    return out.getvalue()


def modality_text(results: Sequence[dict[str, Any]]) -> str:
    """Return, per pair, the IoU of each class by row of the table (mean over seeds)."""
    parts = []
    for pair in dict.fromkeys(r["pair"] for r in results):
        chosen = [r for r in results if r["pair"] == pair and r["scores"]]
        labels = list(dict.fromkeys(r["label"] for r in chosen))
        if not chosen:
            continue
        classes = chosen[0]["scores"]["classes"]
        lines = [["class", *labels]]
        for index, item in enumerate(classes):
            cells = [_average([r["scores"]["iou"][index] for r in chosen if r["label"] == label]) for label in labels]
            lines.append([f"{item['id']} {item['name']}", *(_n(cell, 3) for cell in cells)])
        key = ""
        if len(labels) > _MOST_COLUMNS:  # one line a recipe, and the classes by their ids
            key = f" ({'; '.join(line[0] for line in lines[1:])})"
            columns = [[str(item["id"]), *line[1:]] for item, line in zip(classes, lines[1:], strict=True)]
            lines = [list(row) for row in zip(["recipe", *labels], *columns, strict=True)]
        parts += [f"IoU by class{key}, {pair}", aligned(lines), ""]
    return "\n".join(parts)


def offline_text(table: Sequence[dict[str, Any]], which: str) -> str:
    """Return the challenge's Table II or III: the leaking split inside the source, as published and across cities."""
    published: dict[str, list[str]] = {}
    for score in published_offline(which):
        if score.miou is not None:
            published.setdefault(score.recipe, []).append(f"{score.method} {score.dataset} {score.miou:.3f}")
    lines = [["pair", "recipe", "Mpar", "offline mIoU (leaks)", "as published", "mIoU across cities"]]
    lines += [
        [
            row["pair"], row["label"], _n(row["parameters"] and row["parameters"] / 1e6, 2), _pm(row["offline_miou"]),
            ", ".join(published.get(row["label"], ["-"])), _pm(row["miou"]),
        ]
        for row in table if row["offline_miou"][0] is not None
    ]  # fmt: skip
    return aligned(lines)


def aligned(lines: Sequence[Sequence[str]]) -> str:
    """Return cells as columns of equal width."""
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip() for line in lines)


def _row(
    pair: str, label: str, found: Sequence[dict[str, Any]], base: dict[tuple[str, int], float | None]
) -> dict[str, Any]:
    differences = []
    for result in found:
        own, other = _score(result, "miou"), base.get((result["pair"], result["seed"]))
        if own is not None and other is not None:
            differences.append(own - other)
    uses = found[0]["uses_target_images"]
    return {
        "pair": pair,
        "label": label,
        "seeds": len(found),
        "uses_target": ("*" if uses["training"] else "") + ("+" if uses["normalization"] else ""),
        **{name: _spread([_score(r, name) for r in found]) for name in _SCORES},
        "miou_common": _spread([_common(r) for r in found]),
        "difference": _spread(differences),
        "offline_miou": _spread([r["offline"]["scores"]["miou"] for r in found if r.get("offline")]),
        "fit_seconds": _average([r["fit_seconds"] for r in found]),
        "map_seconds": _average([r["map_seconds"] for r in found]),
        "peak_memory_mib": _average([r["peak_memory_mib"] for r in found]),
        "parameters": found[0]["parameters"],
        "gflops_128": found[0]["gflops_128"],
        "iterations": found[0]["iterations"],
    }


def _mean_row(label: str, found: Sequence[dict[str, Any]], pairs: Sequence[str]) -> dict[str, Any]:
    by_seed: dict[int, list[dict[str, Any]]] = {}
    for result in found:
        by_seed.setdefault(result["seed"], []).append(result)
    whole = [group for group in by_seed.values() if len(group) == len(pairs)]
    row = _row("mean", label, found, {})
    for name in _SCORES:
        row[name] = _spread([_average([_score(r, name) for r in group], all_needed=True) for group in whole])
    row["miou_common"] = _spread([_average([_common(r) for r in group], all_needed=True) for group in whole])
    return row


def _score(result: dict[str, Any], name: str) -> float | None:
    value: float | None = (result["scores"] or {}).get(name)
    return value


def _common(result: dict[str, Any]) -> float | None:
    if not result["scores"]:
        return None
    return _average([result["scores"]["iou"][i] for i in common_classes(result)])


def _average(values: Sequence[float | None], *, all_needed: bool = False) -> float | None:
    known = [v for v in values if v is not None]
    if not known or (all_needed and len(known) < len(values)):
        return None
    return mean(known)


def _spread(values: Sequence[float | None]) -> tuple[float | None, float | None]:
    known = [v for v in values if v is not None]
    if not known:
        return None, None
    return mean(known), stdev(known) if len(known) > 1 else None


def _pm(value: tuple[float | None, float | None], *, sign: bool = False) -> str:
    center, spread = value
    if center is None:
        return "-"
    text = f"{center:+.3f}" if sign else f"{center:.3f}"
    return text if spread is None else f"{text} +-{spread:.3f}"


def _n(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _flatten(key: str, value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, tuple):
        return [(key, value[0]), (f"{key}_std", value[1])]
    return [(key, value)]
