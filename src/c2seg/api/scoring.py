"""Score maps, and the scores as an object."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from c2seg.api.arguments import FilePath, as_path, named_files
from c2seg.api.tables import html_table, number, score_line
from c2seg.artifacts.scores import ScoreRecord
from c2seg.data.inputs import city_inputs
from c2seg.legend import Legend
from c2seg.metrics import Confusion, GridOf
from c2seg.outputs import Output, check_outputs
from c2seg.pipeline.scoring import score_maps
from c2seg.progress import ShowProgress, opened_bars

__all__ = ["MapScores", "score"]


@dataclass(frozen=True)
class MapScores:
    """Scores of a map: fractions 0..1, None where undefined. Those by class are mappings from the class's name.

    A class that the ground truth does not have is undefined and in no mean.
    """

    record: ScoreRecord
    """All of it as on disk: intervals, comparison and boundaries too."""

    @property
    def oa(self) -> float | None:
        """Overall accuracy: the fraction of labeled pixels that are right."""
        return self.record.oa

    @property
    def kappa(self) -> float | None:
        """Cohen's kappa."""
        return self.record.kappa

    @property
    def mf1(self) -> float | None:
        """Mean of F1 over the classes."""
        return self.record.mf1

    @property
    def miou(self) -> float | None:
        """Mean of IoU over the classes: what the challenge ranks by."""
        return self.record.miou

    @cached_property
    def iou(self) -> Mapping[str, float | None]:
        """IoU by class name."""
        return self.record.by_class(self.record.iou)

    @cached_property
    def f1(self) -> Mapping[str, float | None]:
        """F1 by class name."""
        return self.record.by_class(self.record.f1)

    @cached_property
    def precision(self) -> Mapping[str, float | None]:
        """Precision (user's accuracy) by class name."""
        return self.record.by_class(self.record.precision)

    @cached_property
    def recall(self) -> Mapping[str, float | None]:
        """Recall (producer's accuracy) by class name."""
        return self.record.by_class(self.record.recall)

    @property
    def confusion(self) -> Confusion:
        """``counts`` int64 [K, K+1] of pixels (ground truth, prediction; last column: no class) in the order of ``ids``."""
        return self.record.confusion

    @property
    def pixels(self) -> int:
        """Number of labeled pixels."""
        return self.record.pixels

    def write(self, path: FilePath, *, overwrite: bool = False) -> None:
        """Write the scores as JSON, as ``c2seg score --out`` does. Raises OutputError if the file exists."""
        self.record.write(path, overwrite=overwrite)

    def _repr_html_(self) -> str:
        record = self.record
        support = dict(zip(self.iou, record.support, strict=True))
        rows = [
            (
                name,
                *(number(values[name]) for values in (self.iou, self.f1, self.precision, self.recall)),
                support[name],
            )
            for name in self.iou
        ]
        return html_table(
            ("class", "IoU", "F1", "precision", "recall", "pixels"), rows, f"{record.prediction}: {score_line(record)}"
        )


def score(
    prediction: FilePath,
    reference: FilePath,
    *,
    protocol: str = "challenge",
    legend: Legend | FilePath | None = None,
    label_map: str | None = None,
    label_field: str | None = None,
    on: GridOf = "reference",
    valid: FilePath | None = None,
    intervals: bool = False,
    against: FilePath | None = None,
    block_px: int = 100,
    replicates: int = 1000,
    boundary_px: int | None = None,
    tile_px: int | None = None,
    workers: int = 2,
    seed: int = 0,
    out: FilePath | None = None,
    overwrite: bool = False,
    progress: ShowProgress = False,
) -> MapScores:
    """Score a map of class ids against the ground truth.

    Ground truth 0 (unknown) and 255 (ignore) do not count; a labeled pixel without a prediction is an error.

    Args:
        prediction: A map (uint8 ids, 0 nodata), or a folder of tiles ``N_prediction.tif``.
        reference: A label raster, a city with labels, polygons (GeoPackage, GeoJSON, Shapefile), or a folder of tiles.
        protocol: The convention by which scores follow from counts (``docs/scoring.md``).
        legend: The classes, or their YAML file; None: those of the city, else of the map, else C2Seg's 13. Two that differ are
            refused.
        label_map: Label mapping of the ground truth's values: a name, or a mapping file; None: what the city states.
        label_field: Attribute of a vector file with the label values.
        on: Whose grid is scored where one is coarser. A finer raster is read on it by the most frequent class.
        valid: A raster; only pixels where it is non-zero count.
        intervals: Add 95 % intervals by block bootstrap.
        against: A second map; adds paired differences to it, with intervals.
        block_px: Side of the bootstrap's blocks in pixels of the ground truth.
        replicates: How often blocks are drawn.
        boundary_px: Add boundary F1 within so many pixels.
        tile_px: Add the scores over touching tiles of this side (``record.by_tiles``), as the challenge counts: 128 for AB, 256
            for BW.
        workers: Threads that read and count.
        seed: Of the bootstrap.
        out: Also write the scores to this JSON file.
        overwrite: Replace ``out``.
        progress: False, True for bars, or a callable.

    Raises:
        InputError: An unknown name or an invalid setting.
        DataError, GridError: Files that are damaged or do not match.
        OutputError: ``out`` exists.
    """
    if out is not None:
        maps = [
            file for path in (prediction, against, valid) if path is not None for file in city_inputs(as_path(path))
        ]
        maps += named_files(legend, label_map)
        check_outputs(
            [Output(as_path(out), suffixes=(".json",))], [*maps, *city_inputs(as_path(reference))], overwrite=overwrite
        )
    with opened_bars(progress) as bars:
        record = score_maps(
            prediction,
            reference,
            protocol=protocol,
            legend=legend,
            label_map=label_map,
            label_field=label_field,
            on=on,
            valid=valid,
            intervals=intervals,
            against=against,
            block_px=block_px,
            replicates=replicates,
            boundary_px=boundary_px,
            tile_px=tile_px,
            workers=workers,
            seed=seed,
            bars=bars,
        )
    scores = MapScores(record)
    if out is not None:
        scores.write(out, overwrite=overwrite)
    return scores
