"""label.tif of a prepared city, from an OpenStreetMap extract."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from c2seg.errors import DataError
from c2seg.outputs import Output, raster_output, record_output, style_output
from c2seg.progress import Progress
from c2seg.raster import files_digest, qml_text
from c2seg.types import Grid

__all__ = ["label_digest", "label_outputs", "write_label"]

_LABEL = "label.tif"


def label_outputs(folder: Path) -> dict[str, Output]:
    """Return the label raster, its style and its report."""
    main = folder / _LABEL
    return {_LABEL: raster_output(main), "label.qml": style_output(main), "label.json": record_output(main, "labels")}


def label_digest(osm: Path | None) -> dict[str, str] | None:
    """Return digests of the extract and of the rule table. Raises DataError without the extract, MissingExtraError."""
    if osm is None:
        return None
    if not osm.is_file():
        raise DataError(f"`osm`: {osm} does not exist")
    from c2seg.labels import load_rules

    return {"extract": files_digest([osm]), "rules": load_rules(None).digest}


def write_label(osm: Path, grid: Grid, paths: Mapping[str, Path], progress: Progress) -> None:
    """Write the label raster on the fine grid with the shipped rules, its style and its report."""
    from c2seg.labels import load_rules, make_labels, write_labels

    table = load_rules(None)
    labels = make_labels(osm, table, grid, progress=progress)
    report = write_labels(labels, paths[_LABEL], overwrite=True, progress=progress)
    paths["label.qml"].write_text(qml_text(table.legend), encoding="utf-8")
    paths["label.json"].write_text(report.as_text(), encoding="utf-8")
