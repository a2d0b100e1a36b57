"""Write label rasters with OpenStreetMap's attribution in their tags."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from c2seg.labels.build import Labels
from c2seg.labels.burn import SAMPLES
from c2seg.labels.record import LabelRecord
from c2seg.labels.report import ATTRIBUTION, LICENSE, build_report
from c2seg.progress import Progress, no_progress
from c2seg.raster import RasterTags, write_cog, write_map

__all__ = ["write_labels"]


def write_labels(
    labels: Labels,
    out: Path,
    *,
    fractions: Path | None = None,
    overwrite: bool = False,
    progress: Progress = no_progress,
) -> LabelRecord:
    """Write the label raster (and the raster of area fractions), and return the report on it.

    ``out``: uint8 ids, 0 = unmapped or not covered. ``fractions``: float32, one band per class, area fraction 0..1 of the pixel
    in steps of 1/25. Both contain OpenStreetMap's attribution. Raises OutputError.
    """
    grid, legend = labels.grid, labels.table.legend
    by_code, by_class = np.zeros(256, np.int64), np.zeros(256, np.int64)
    total = grid.height * (2 if fractions else 1)

    def label_rows(first: int, last: int) -> np.ndarray:
        shares, codes = labels.shares(first, last)
        label = labels.decide(shares)
        by_code[:] += codes
        by_class[:] += np.bincount(label.ravel(), minlength=256)
        progress(last, total, "labels")
        return label[None]

    def fraction_rows(first: int, last: int) -> np.ndarray:
        shares, _ = labels.shares(first, last)
        progress(grid.height + last, total, "fractions")
        return shares.astype(np.float32) / SAMPLES

    write_map(out, label_rows, grid, legend, overwrite=overwrite, tags=_tags(labels))
    if fractions is not None:
        tags = RasterTags({"LEGEND": legend.name, **_tags(labels)}, (), legend.names)
        write_cog(
            fractions, fraction_rows, grid, count=legend.num_classes, dtype=np.float32, nodata=None,
            overwrite=overwrite, tags=tags, resampling="AVERAGE",
        )  # fmt: skip
    return build_report(labels, by_class, by_code)


def _tags(labels: Labels) -> dict[str, str]:
    tags = {
        "ATTRIBUTION": ATTRIBUTION, "LICENSE": LICENSE, "SOURCE": "OpenStreetMap",
        "RULES": f"{labels.table.name} {labels.table.digest}",
    }  # fmt: skip
    return tags | ({"OSM_TIMESTAMP": labels.coverage.timestamp} if labels.coverage.timestamp else {})
