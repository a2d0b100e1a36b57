"""Score a map, or a folder of tiles, against a ground truth: counts first, then every score that is asked for."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from c2seg.artifacts.scores import (
    BootstrapSettings,
    BoundaryPixels,
    BoundaryScores,
    ScoreComparison,
    ScoreIntervals,
    ScoreRecord,
    ScoresByTiles,
    ScoreValues,
    class_names,
)
from c2seg.errors import InputError, unknown_name
from c2seg.legend import Legend, load_legend
from c2seg.metrics import (
    PROTOCOLS,
    BoundaryCounts,
    Confusion,
    GridOf,
    MapPair,
    bootstrap_scores,
    compare_maps,
    count_boundaries,
    count_maps,
    pair_maps,
    scores,
)
from c2seg.metrics.tiles import count_tiles
from c2seg.pipeline.few_shot import check_comparable, leave_out, left_out_pixels
from c2seg.pipeline.score_notes import score_notes, uncovered_share
from c2seg.progress import Bars, silent_bars

__all__ = ["score_maps"]

_LOG = logging.getLogger(__name__)
StrPath = str | os.PathLike[str]


def score_maps(
    prediction: StrPath,
    reference: StrPath,
    *,
    protocol: str = "challenge",
    legend: Legend | StrPath | None = None,
    label_map: str | None = None,
    label_field: str | None = None,
    on: GridOf = "reference",
    valid: StrPath | None = None,
    intervals: bool = False,
    against: StrPath | None = None,
    block_px: int = 100,
    replicates: int = 1000,
    boundary_px: int | None = None,
    tile_px: int | None = None,
    workers: int = 2,
    seed: int = 0,
    bars: Bars = silent_bars,
) -> ScoreRecord:
    """Score a map of class ids (uint8; 0 nodata), or a folder of them, against a label raster, a city, polygons, or tiles.

    Ground truth 0 and 255 are ignored; a labeled pixel without a prediction is an error. ``protocol`` is a name in
    ``metrics.PROTOCOLS``; ``legend`` is a legend or its YAML file (default: the city's, the map's, C2Seg-13); the map's must
    agree with it. ``label_map`` is the label mapping of the reference, a name or a mapping file (default: what the city
    states), ``label_field`` the attribute of a vector file. ``on``: whose grid is scored where one is coarser. Pixels
    count only where the raster ``valid`` is non-zero. ``intervals`` adds 95 % intervals by block bootstrap (``replicates``
    draws of squares of ``block_px`` ground truth pixels, with ``seed``), ``against`` the paired difference to a second map,
    ``boundary_px`` boundary F1 within that many pixels, ``tile_px`` the scores over touching tiles of that side, where
    pixels of tiles that overlap count in each, as in the challenge.
    ``workers`` threads read and count; memory does not depend on the size of the maps.

    Raises InputError for unknown names and invalid settings, DataError and GridError for files that do not fit.
    """
    if legend is not None and not isinstance(legend, Legend):
        legend = load_legend(Path(legend))
    if against is not None:
        check_comparable(Path(prediction), Path(against))
    find = partial(
        pair_maps, reference=Path(reference), legend=legend, label_map=label_map, label_field=label_field, on=on,
        valid=None if valid is None else Path(valid),
    )  # fmt: skip

    def match(path: Path) -> tuple[MapPair, ...]:
        return leave_out(find(path))

    work = _Scoring(_protocol(protocol), workers, bars)
    pairs = match(Path(prediction))
    if tile_px is not None and len(pairs) > 1:
        raise InputError(
            f"`tile_px` cuts one map into tiles; {prediction} holds {len(pairs)} maps, which are tiles or scenes"
        )
    left_out = left_out_pixels(pairs)
    settings = BootstrapSettings(replicates=replicates, seed=seed, block_px=block_px)
    sampling = block_px if intervals or against is not None else None
    blocks = work.count(pairs, sampling, "counting")
    comparison = None
    if against is not None:
        second = work.count(match(Path(against)), sampling, "counting the other map")
        comparison = work.compare(blocks, second, settings, Path(against).name)
    confusion = _total(blocks)
    code = pairs[0].code
    notes = (*(left_out.notes if left_out else ()), *score_notes(pairs, confusion))
    for note in notes:
        _LOG.info(note)
    return ScoreRecord(
        **asdict(scores(confusion, protocol)),
        confusion=confusion,
        classes=class_names(code.legend),
        legend=code.legend.name,
        prediction=Path(prediction).name,
        reference=Path(reference).name,
        maps=len(pairs),
        notes=notes,
        uncovered=uncovered_share(confusion),
        matched_by="rows and columns" if any(pair.unplaced for pair in pairs) else "georeference",
        intervals=work.intervals(blocks, settings) if intervals else None,
        comparison=comparison,
        boundary=work.boundary(pairs, boundary_px) if boundary_px is not None else None,
        by_tiles=work.by_tiles(pairs[0], confusion, tile_px) if tile_px is not None else None,
        few_shot=left_out is not None,
        left_out_pixels=left_out.left_out if left_out else 0,
    )


@dataclass(frozen=True)
class _Scoring:
    """What is the same for all counts of one call."""

    protocol: str
    workers: int
    bars: Bars

    def count(self, pairs: Sequence[MapPair], block_px: int | None, label: str) -> list[Confusion]:
        return count_maps(
            pairs, protocol=self.protocol, block_px=block_px, workers=self.workers, progress=self.bars(label)
        )

    def intervals(self, blocks: Sequence[Confusion], settings: BootstrapSettings) -> ScoreIntervals:
        values = bootstrap_scores(blocks, self.protocol, replicates=settings.replicates, seed=settings.seed)
        return ScoreIntervals.model_validate({**dict(settings), **values})

    def compare(
        self, first: Sequence[Confusion], second: Sequence[Confusion], settings: BootstrapSettings, against: str
    ) -> ScoreComparison:
        values = compare_maps(first, second, self.protocol, replicates=settings.replicates, seed=settings.seed)
        others = ScoreValues.of(scores(_total(second), self.protocol))
        return ScoreComparison.model_validate(
            {**dict(settings), "against": against, "against_scores": others, **values}
        )

    def boundary(self, pairs: Sequence[MapPair], tolerance_px: int) -> BoundaryScores:
        counts = count_boundaries(pairs, tolerance_px, workers=self.workers, progress=self.bars("boundaries"))
        return BoundaryScores(
            tolerance_px=tolerance_px, mean_f1=counts.mean_f1(), f1=counts.f1(), counts=_boundary_pixels(counts)
        )

    def by_tiles(self, pair: MapPair, whole: Confusion, tile_px: int) -> ScoresByTiles:
        counts, tiles = count_tiles(pair, whole, tile_px, protocol=self.protocol, workers=self.workers)
        values = ScoreValues.of(scores(counts, self.protocol))
        return ScoresByTiles(**dict(values), tile_px=tile_px, tiles=tiles)


def _boundary_pixels(counts: BoundaryCounts) -> BoundaryPixels:
    return BoundaryPixels(
        reference=tuple(counts.reference.tolist()),
        reference_matched=tuple(counts.reference_matched.tolist()),
        prediction=tuple(counts.prediction.tolist()),
        prediction_matched=tuple(counts.prediction_matched.tolist()),
    )


def _total(blocks: Sequence[Confusion]) -> Confusion:
    return sum(blocks[1:], blocks[0])


def _protocol(name: str) -> str:
    if name not in PROTOCOLS:
        raise InputError(unknown_name("protocol", name, PROTOCOLS))
    return name
