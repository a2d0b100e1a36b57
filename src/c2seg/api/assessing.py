"""Where a map is likely wrong, before any label."""

from __future__ import annotations

from collections.abc import Sequence

from c2seg.api.arguments import FilePath, as_path, optional_path
from c2seg.progress import ShowProgress, opened_bars
from c2seg.verify.assess import AssessOptions, assess
from c2seg.verify.assessment import Assessment

__all__ = ["assess_map"]


def assess_map(
    map_path: FilePath,
    out: FilePath,
    *,
    picture: FilePath | None = None,
    confidence: FilePath | None = None,
    model: FilePath | None = None,
    city: FilePath | None = None,
    others: Sequence[FilePath] = (),
    parts: bool = False,
    zones: FilePath | None = None,
    zone_field: str | None = None,
    overwrite: bool = False,
    progress: ShowProgress = False,
) -> Assessment:
    """Estimate where a map is likely wrong, without any label of its city, and write it as a raster.

    It is estimated from the model's probabilities, calibrated on held-out blocks of the sources, from the distance of pixels to
    those that the model was trained on, and from other models. A shift between the cities breaks calibration: only a sample
    tells the accuracy (``draw_sample``).

    Args:
        map_path: A map that ``predict`` wrote, with ``confidence``.
        out: The raster: bands ``risk``, ``error``, ``novelty``, ``outside``, ``disagreement``, as far as they are known. A JSON
            with the table by class and zone lies beside it.
        picture: Also write a PNG of the risk here.
        confidence: The map's confidence; None: the file that its record names.
        model: The map's model or its run folder; None: that in whose folder the map lies.
        city: The mapped city; None: where it was when the map was made.
        others: Maps of other models on the same grid: where they differ, one is wrong.
        parts: Also predict with every network and the forest of the model alone.
        zones: A vector file of zones, such as districts, for the table.
        zone_field: Its field of names; None: ``name``.
        overwrite: Replace existing files.
        progress: False, True for bars, or a callable.

    Raises:
        InputError: The map has no record or no confidence.
        DataError: A file does not belong to the map.
        OutputError: A file exists or cannot be written.
    """
    options = AssessOptions(
        as_path(out),
        optional_path(picture),
        optional_path(confidence),
        optional_path(model),
        optional_path(city),
        tuple(as_path(other) for other in others),
        parts,
        optional_path(zones),
        zone_field,
        overwrite,
    )
    with opened_bars(progress) as bars:
        return assess(as_path(map_path), options, bars)
