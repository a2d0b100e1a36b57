"""Scores from stored counts, on a part of the tiles or on all. Scores are functions of counts, so nothing else is stored."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from functools import lru_cache

from c2seg.challenge.counting import Counts, mean_scores, scores_of
from c2seg.challenge.rows import Scored, rounded
from c2seg.metrics import Confusion
from c2seg.server.tables import Result
from c2seg.server.views import EntryScores, Part

__all__ = ["PARTS", "entry_scores", "result_row"]

PARTS: tuple[Part, ...] = ("public", "private", "all")


def result_row(entry_id: int, dataset_id: int, part: str, counts: Counts) -> Result:
    """Return the row of the counts of an entry on one part of a data set."""
    mosaic = None if counts.mosaic is None else json.dumps(counts.mosaic.as_dict())
    tiles = json.dumps(counts.tiles.as_dict())
    return Result(entry_id=entry_id, dataset_id=dataset_id, part=part, tiles=tiles, mosaic=mosaic)


def entry_scores(results: Sequence[Result], datasets: Iterable[tuple[int, str]], part: Part) -> EntryScores | None:
    """Return the scores of an entry over the data sets (id and name); None unless every one has counts on that part."""
    tiles: dict[str, tuple[float | None, ...]] = {}
    mosaic: dict[str, tuple[float | None, ...]] = {}
    for dataset_id, name in datasets:
        rows = [row for row in results if row.dataset_id == dataset_id and part in ("all", row.part)]
        if not rows:
            return None
        texts = tuple(row.mosaic for row in rows if row.mosaic is not None)
        tiles[name] = _values(tuple(row.tiles for row in rows))
        mosaic[name] = _values(texts if len(texts) == len(rows) else ())
    return EntryScores(part, _scored(tiles), _scored(mosaic))


@lru_cache(maxsize=50_000)
def _values(texts: tuple[str, ...]) -> tuple[float | None, ...]:
    """Return the four metrics of the sum of counts, in the order of METRICS; all None without counts."""
    parts = [Confusion.from_dict(json.loads(text)) for text in texts]
    total = sum(parts[1:], parts[0]) if parts else None
    return tuple(scores_of(total).values())


def _scored(values: dict[str, tuple[float | None, ...]]) -> Scored:
    by_name = {name: dict(zip(scores_of(None), item, strict=True)) for name, item in values.items()}
    means = mean_scores(list(by_name.values()))
    return Scored(rounded(list(means.values())), {name: rounded(list(item.values())) for name, item in by_name.items()})
