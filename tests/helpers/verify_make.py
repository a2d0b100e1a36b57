"""Small maps, their ground truth, and labeled samples of them, made by code."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np

from c2seg.legend import c2seg13
from c2seg.verify.samples import SampleRecord
from helpers import report_make

CLASSES = (1, 3, 7, 10, 12)


def patchy(height: int = 120, width: int = 150, seed: int = 0, block: int = 10) -> np.ndarray:
    """Squares of classes of uneven shares; the first row is nodata."""
    rng = np.random.default_rng(seed)
    shape = (-(-height // block), -(-width // block))
    blocks = rng.choice(np.array(CLASSES, np.uint8), shape, p=(0.4, 0.3, 0.2, 0.07, 0.03))
    ids = np.kron(blocks, np.ones((block, block), np.uint8))[:height, :width]
    ids[0] = 0
    return ids


def make_map(
    folder: Path, ids: np.ndarray, *, crs: str | None = report_make.UTM, name: str = "map", city: bool = False
) -> Path:
    """Write a map as `predict` would, with a confidence that rises along the columns, and maybe its city."""
    place = report_make.grid(*ids.shape, crs=crs)
    where = report_make.make_city(folder / "city", place, modalities=("msi", "sar")) if city else None
    path = report_make.make_map(folder / f"{name}.tif", ids, place, city_path=where, city="city")
    level = np.broadcast_to(np.linspace(40, 200, ids.shape[1]).astype(np.uint8), ids.shape).copy()
    level[ids == 0] = 255
    report_make.write_raster(folder / f"{name}_confidence.tif", level[None], place, nodata=255)
    text = path.with_suffix(".json").read_text()
    path.with_suffix(".json").write_text(text.replace('"confidence": null', f'"confidence": "{name}_confidence.tif"'))
    return path


def write_labels(
    path: Path, sample_csv: Path, record: SampleRecord, reference: np.ndarray, *, who: str = "anna", **changes: str
) -> Path:
    """Write the CSV of a sample with the reference at its points; ``changes`` are values of columns in all rows."""
    names = {item.id: item.name for item in c2seg13().classes} | {255: "cannot tell", 0: ""}
    rows = list(csv.DictReader(io.StringIO(sample_csv.read_text())))
    points = {point.id: point for point in record.points}
    for row in rows:
        point = points[int(row["point_id"])]
        row["reference"] = names[int(reference[point.row, point.col])]
        row["interpreter"] = who if row["reference"] else ""
        row.update(changes)
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(rows)
    path.write_text(stream.getvalue())
    return path
