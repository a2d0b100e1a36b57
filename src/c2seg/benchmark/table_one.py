"""Table I of the challenge: every system on both datasets, ranked by mean IoU, the published row beside each."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from html import escape

from c2seg.artifacts.benchmark import BenchmarkRow, MeanStd, PairedDifference, RankedRow, RankedScores
from c2seg.benchmark.pairs import Pair
from c2seg.benchmark.tables import aligned, pm
from c2seg.metrics.published import PublishedScore, published_scores

__all__ = ["TABLE_ONE", "first_row", "ranking", "ranking_csv", "ranking_html", "ranking_notes", "ranking_text"]

TABLE_ONE = ("unet", "segnet", "deeplabv3plus", "mrsn", "second-place", "mmglots", "crosscity", "forest")
"""Recipes and systems of the table: the baselines, third, second and first place, then ours and the forest."""

_SOURCE = "challenge"
_MEAN = "mean"
_NAMES = {"miou": "mIoU", "oa": "OA", "mf1": "mF1"}


def ranking(
    rows: Sequence[BenchmarkRow], pairs: Sequence[Pair], differences: Sequence[PairedDifference] = ()
) -> tuple[RankedRow, ...]:
    """Return the rows of Table I, the best mean IoU first; rows without scores come last.

    A row is ranked by its average over the pairs as the challenge counts, over tiles, if all were scored so; else by pixels
    counted once. ``differences`` are those of the first row to the others.
    """
    columns = _columns(pairs)
    labels = list(dict.fromkeys(row.label for row in rows))
    behind = {item.other: item for item in differences}
    ranked = sorted((_row(label, rows, columns) for label in labels), key=_order)
    return tuple(
        row.model_copy(
            update={
                "rank": place,
                "behind_first": behind[row.label].difference.value if row.label in behind else None,
                "p_value": behind[row.label].p_value if row.label in behind else None,
            }
        )
        for place, row in enumerate(ranked, 1)
    )


def first_row(rows: Sequence[BenchmarkRow], pairs: Sequence[Pair]) -> str:
    """Return the label of the row that leads the table."""
    return ranking(rows, pairs)[0].label


def ranking_text(table: Sequence[RankedRow], notes: Sequence[str] = ()) -> str:
    """Return the table for a terminal: a part for each score, the published numbers beside ours."""
    parts = [aligned([*_cells(table, name)]) for name in _NAMES]
    return "\n\n".join([*parts, "\n".join(notes)]).rstrip()


def ranking_html(table: Sequence[RankedRow], notes: Sequence[str] = ()) -> str:
    """Return the table as HTML."""
    parts = []
    for name in _NAMES:
        head, *lines = _cells(table, name)
        body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in line)}</tr>" for line in lines)
        titles = "".join(f"<th>{escape(cell)}</th>" for cell in head)
        parts.append(f"<table><thead><tr>{titles}</tr></thead><tbody>{body}</tbody></table>")
    return "".join([*parts, *(f"<p>{escape(note)}</p>" for note in notes)])


def ranking_csv(table: Sequence[RankedRow]) -> str:
    """Return the table as CSV, one line for each row and column; means and deviations apart."""
    out = io.StringIO()
    scores = [f"{prefix}{name}" for prefix in ("", "mosaic_") for name in _NAMES]
    names = [part for name in scores for part in (name, f"{name}_std")] + [f"published_{name}" for name in _NAMES]
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["rank", "label", "method", "uses_target", "seeds", "dataset", *names, "behind_first", "p_value"])
    for row in table:
        for column, values in _named(row):
            numbers = [part for name in scores for part in getattr(values, name)]
            published = [getattr(values, f"published_{name}") for name in _NAMES]
            line = [row.rank, row.label, row.method, row.uses_target, row.seeds, column, *numbers, *published]
            writer.writerow(
                [*line, *((row.behind_first, row.p_value) if column == _named(row)[-1][0] else (None, None))]
            )
    return out.getvalue()


def ranking_notes(pairs: Sequence[Pair]) -> list[str]:
    """Return what the numbers are: how pixels of overlapping tiles count, and of which cities the published ones are."""
    tiled = [f"{pair.name} {pair.tile_px} px" for pair in pairs if pair.tile_px]
    notes = []
    if tiled:
        notes.append(
            f"tiles: over touching tiles as in the challenge ({', '.join(tiled)}), where pixels of overlaps count in each; "
            "mosaic: every pixel once"
        )
    if untiled := [pair.name for pair in pairs if not pair.tile_px]:
        notes.append(f"not scored over tiles, since of no city of the challenge: {', '.join(untiled)}")
    if others := [pair.name for pair in pairs if not pair.is_published]:
        notes.append(
            f"published scores are of Berlin (AB) and Wuhan (BW); the cities of {', '.join(others)} are others"
        )
    if any(pair.reference is None for pair in pairs):
        notes.append("a pair without ground truth has no scores")
    return notes


def _columns(pairs: Sequence[Pair]) -> dict[str, str | None]:
    """Return the datasets of the pairs by their names, which are the columns."""
    return {pair.name: pair.dataset for pair in pairs}


def _order(row: RankedRow) -> tuple[bool, float]:
    miou = _miou(row)
    return miou is None, -(miou or 0.0)


def _miou(row: RankedRow) -> float | None:
    """Return the score that ranks a row."""
    values = row.average or next(iter(row.datasets.values()), None)
    if values is None:
        return None
    return values.miou[0] if values.miou[0] is not None else values.mosaic_miou[0]


def _row(label: str, rows: Sequence[BenchmarkRow], columns: Mapping[str, str | None]) -> RankedRow:
    here = {row.pair: row for row in rows if row.label == label}
    first = next(iter(here.values()))
    published = {
        score.dataset: score for score in published_scores() if (score.source, score.recipe) == (_SOURCE, label)
    }
    datasets = {
        pair: _scores(here[pair], published.get(dataset or "")) for pair, dataset in columns.items() if pair in here
    }
    average = _scores(here[_MEAN], published.get(_MEAN)) if _MEAN in here and len(columns) > 1 else None
    return RankedRow(
        rank=0,
        label=label,
        method=next((score.method for score in published.values()), None),
        uses_target=first.uses_target,
        seeds=max(row.seeds for pair, row in here.items() if pair != _MEAN),
        datasets=datasets,
        average=average,
    )


def _scores(row: BenchmarkRow, published: PublishedScore | None) -> RankedScores:
    return RankedScores(
        oa=row.tiles_oa, miou=row.tiles_miou, mf1=row.tiles_mf1,
        mosaic_oa=row.oa, mosaic_miou=row.miou, mosaic_mf1=row.mf1,
        published_oa=published.oa if published else None,
        published_miou=published.miou if published else None,
        published_mf1=published.mf1 if published else None,
    )  # fmt: skip


def _named(row: RankedRow) -> list[tuple[str, RankedScores]]:
    """Return the columns of a row, the average last."""
    return [*row.datasets.items(), *([("average", row.average)] if row.average else [])]


def _cells(table: Sequence[RankedRow], name: str) -> list[list[str]]:
    """Return a part of the table as text in cells, with its head: the score ``name``, and who is behind the first."""
    columns = list(dict.fromkeys(column for row in table for column, _ in _named(row)))
    head = ["", "row", "target", "published as"]
    for column in columns:
        head += [f"{column} {_NAMES[name]}", "mosaic", "published"]
    ranked = name == "miou"
    head += ["behind the first", "p"] if ranked else []
    lines = [head]
    for row in table:
        scores = dict(_named(row))
        line = [str(row.rank), row.label, row.uses_target, row.method or "-"]
        for column in columns:
            line += _three(scores.get(column), name)
        line += [_number(row.behind_first), _number(row.p_value)] if ranked else []
        lines.append(line)
    return lines


def _three(values: RankedScores | None, name: str) -> list[str]:
    """Return a score over tiles, of pixels counted once, and as published."""
    if values is None:
        return ["-"] * 3
    tiles: MeanStd = getattr(values, name)
    mosaic: MeanStd = getattr(values, f"mosaic_{name}")
    return [pm(tiles), pm(mosaic), _number(getattr(values, f"published_{name}"))]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
