"""The columns of the leaderboard on Codabench, and the scores that the scoring program writes for them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from c2seg.challenge.counting import DIGITS, METRICS, Counts, MeanScores, mean_scores, scores_of

__all__ = ["FINAL", "Column", "columns", "score_values"]

FINAL = "final_"
"""Before the keys of the final's columns: all columns are of one leaderboard, the only one that Codabench reads."""
_TITLES = {"miou": "mIoU", "oa": "OA", "kappa": "Kappa", "mf1": "mF1"}
_ORDER = ("miou", "oa", "kappa", "mf1")
_LONGEST = 36  # characters of a key or title on Codabench


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its key in ``scores.json``, its title, which metric it shows, of which data set, counted in which way.

    ``dataset`` None: the mean over the data sets.
    """

    key: str
    title: str
    metric: str
    dataset: str | None
    is_mosaic: bool


def columns(datasets: Sequence[str], *, with_mosaic: bool, prefix: str = "") -> list[Column]:
    """Return the columns of one stage of the challenge, the one that ranks first: the tile-counted mean IoU."""
    groups: list[tuple[str | None, bool]] = [(None, False), *([(None, True)] if with_mosaic else [])]
    groups += [(name, False) for name in datasets] if len(datasets) > 1 else []
    return list(_columns(groups, _slugs(datasets), prefix))


def score_values(counts: Mapping[str, Counts], prefix: str = "") -> dict[str, float]:
    """Return the value of every column by key, to four digits; undefined ones are left out, as Codabench takes no null."""
    tiles = {name: scores_of(counted.tiles) for name, counted in counts.items()}
    once = {name: scores_of(counted.mosaic) for name, counted in counts.items()}
    means: dict[bool, MeanScores] = {False: mean_scores(list(tiles.values())), True: mean_scores(list(once.values()))}
    with_mosaic = all(counted.mosaic is not None for counted in counts.values())
    values = {}
    for column in columns(list(counts), with_mosaic=with_mosaic, prefix=prefix):
        scored = means[column.is_mosaic] if column.dataset is None else tiles[column.dataset]
        value = scored[column.metric]
        if value is not None:
            values[column.key] = round(value, DIGITS)
    return values


def _columns(groups: Sequence[tuple[str | None, bool]], slugs: Mapping[str, str], prefix: str) -> Iterator[Column]:
    stage = "Final " if prefix else ""
    for dataset, is_mosaic in groups:
        for metric in sorted(METRICS, key=_ORDER.index):
            start = f"{slugs[dataset]}_" if dataset else "mosaic_" if is_mosaic else ""
            end = f" {_TITLES[metric]}{' (mosaic)' if is_mosaic else ''}"
            name = f"{stage}{dataset or ''}".strip()[: _LONGEST - len(end)]
            yield Column(f"{prefix}{start}{metric}", f"{name}{end}".strip(), metric, dataset, is_mosaic)


def _slugs(datasets: Sequence[str]) -> dict[str, str]:
    """Return short words for keys, one for each data set."""
    slugs: dict[str, str] = {}
    for position, name in enumerate(datasets, 1):
        slug = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")[:16] or "data"
        slugs[name] = f"{slug}{position}" if slug in {*slugs.values(), "mosaic", "final"} else slug
    return slugs
