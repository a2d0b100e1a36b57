"""Map one scene to files: class map, optional confidence and probabilities, style, and a JSON of the run."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from c2seg.data import SceneReader
from c2seg.errors import C2SegError
from c2seg.inference.engine import Predictor, Strip, map_rows
from c2seg.inference.plan import WindowPlan
from c2seg.inference.scratch import Scratch
from c2seg.legend import Legend
from c2seg.outputs import check_output, write_json
from c2seg.progress import Progress, no_progress
from c2seg.raster import RasterTags, write_cog, write_map, write_qml
from c2seg.types import Grid

__all__ = ["MapOptions", "MapResult", "map_scene"]


@dataclass(frozen=True)
class MapOptions:
    """Which files a map consists of, and how windows are batched."""

    out: Path
    probabilities: Path | None = None
    confidence: Path | None = None
    batch_size: int = 1
    overwrite: bool = False
    palette: str = "default"


@dataclass
class MapResult:
    """What was mapped: valid and nodata pixels, area by class in km2, seconds, strips taken over from a former run."""

    path: str
    pixels: int
    nodata_pixels: int
    area_km2: dict[str, float]
    seconds: float
    resumed_strips: int
    peak_memory_mib: float
    extra: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return a JSON structure."""
        return {**{k: v for k, v in vars(self).items() if k != "extra"}, **self.extra}


def map_scene(
    reader: SceneReader,
    predictor: Predictor,
    plan: WindowPlan,
    legend: Legend,
    options: MapOptions,
    key: Mapping[str, Any],
    *,
    notes: Mapping[str, Any] | None = None,
    progress: Progress = no_progress,
) -> MapResult:
    """Map a scene; the files appear under their names only when they are whole.

    The map is uint8 ids, 0 where a needed modality is not valid. ``key`` names all that determines the result (model,
    city, options): a run that was killed goes on from its last finished strip if the key is the same.
    """
    started = time.perf_counter()
    outputs = [path for path in (options.out, options.probabilities, options.confidence) if path]
    for path in outputs:
        check_output(path, overwrite=options.overwrite)
    grid = reader.scene.grid
    shapes = _layer_shapes(options, grid, legend)
    with Scratch(options.out, {**key, "layers": sorted(shapes)}, grid.height, shapes) as scratch:
        resumed = len(scratch.finished)
        start = resumed
        progress(start, len(plan.rows), "strips")
        for strip in map_rows(
            reader, predictor, plan, batch_size=options.batch_size, strips=range(start, len(plan.rows))
        ):
            layers, counts = _decide(strip, legend, shapes)
            scratch.write(strip.index, strip.first, layers, {"counts": counts})
            progress(strip.index + 1, len(plan.rows), "strips")
        counts = np.sum([note["counts"] for note in scratch.finished.values()], axis=0)
        area = grid.pixel_area_m2() / 1e6
        result = MapResult(
            path=options.out.name,
            pixels=int(counts[1:].sum()),
            nodata_pixels=int(counts[0]),
            area_km2={item.name: round(float(counts[item.id]) * area, 6) for item in legend.classes},
            seconds=round(time.perf_counter() - started, 3),
            resumed_strips=resumed,
            peak_memory_mib=round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
            extra=dict(notes or {}),
        )
        _publish(scratch, grid, legend, options, key, result)
        scratch.remove()
    return result


def _layer_shapes(options: MapOptions, grid: Grid, legend: Legend) -> dict[str, tuple[tuple[int, ...], Any]]:
    shapes: dict[str, tuple[tuple[int, ...], Any]] = {"ids": ((grid.width,), np.uint8)}
    if options.confidence:
        shapes["confidence"] = ((grid.width,), np.uint8)
    if options.probabilities:
        shapes["probabilities"] = ((legend.num_classes, grid.width), np.uint8)
    return shapes


def _decide(strip: Strip, legend: Legend, shapes: Mapping[str, Any]) -> tuple[dict[str, np.ndarray], list[int]]:
    """Return the layers of a strip and the pixel counts by id."""
    best, index = _argmax(strip.scores)
    ids = legend.id_table()[index]
    ids[~strip.valid] = 0
    layers = {"ids": ids}
    if "confidence" in shapes:
        layers["confidence"] = np.where(strip.valid, _percent(best), 255).astype(np.uint8)
    if "probabilities" in shapes:
        scaled = np.where(strip.valid, _percent(strip.scores), 255).astype(np.uint8)
        layers["probabilities"] = scaled.transpose(1, 0, 2)
    return layers, np.bincount(ids.ravel(), minlength=256).tolist()


def _percent(probability: np.ndarray) -> np.ndarray:
    """Scale 0..1 to 0..200, half a percent each; 255 is left for nodata."""
    return np.asarray(np.rint(np.clip(probability, 0.0, 1.0) * 200.0))


def _argmax(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the largest score and its index over K; the lowest index wins a tie. Faster than numpy's along axis 0."""
    best = scores[0].copy()
    index = np.zeros(best.shape, np.uint8)
    for k in range(1, scores.shape[0]):
        better = scores[k] > best
        index[better] = k
        np.maximum(best, scores[k], out=best)
    return best, index


def _publish(
    scratch: Scratch, grid: Grid, legend: Legend, options: MapOptions, key: Mapping[str, Any], result: MapResult
) -> None:
    """Make the final files inside the scratch folder, then rename them to their places, the map last."""
    tags = {"MODEL": str(key.get("model", "")), "SOFTWARE": "c2seg"}
    parts: list[tuple[Path, Path]] = []
    palette = options.palette
    for path, name in ((options.probabilities, "probabilities"), (options.confidence, "confidence")):
        if path is None:
            continue
        temporary = scratch.folder / f"{name}.tif"
        _write_scaled(temporary, scratch, name, grid, legend, tags)
        parts.append((temporary, path))
    map_file = scratch.folder / "map.tif"
    write_map(
        map_file,
        lambda first, last: scratch.read("ids", first, last)[None],
        grid,
        legend,
        overwrite=True,
        tags=tags,
        palette=palette,
    )
    parts.append((map_file, options.out))
    write_qml(options.out.with_suffix(".qml"), legend, palette)
    write_json(options.out.with_suffix(".json"), result.as_dict())
    for temporary, path in parts:
        try:
            os.replace(temporary, path)
        except OSError as error:
            raise C2SegError(
                f"cannot write {path}: {error.strerror}; the finished map is kept in {temporary}"
            ) from error


def _write_scaled(path: Path, scratch: Scratch, name: str, grid: Grid, legend: Legend, tags: Mapping[str, str]) -> None:
    bands = legend.names if name == "probabilities" else ("confidence",)

    def rows(first: int, last: int) -> np.ndarray:
        values = scratch.read(name, first, last)
        return values.transpose(1, 0, 2) if values.ndim == 3 else values[None]

    write_cog(
        path, rows, grid, count=len(bands), dtype=np.uint8, nodata=255, overwrite=True,
        tags=RasterTags({**tags, "SCALE": "0.005", "UNIT": "probability"}, [], bands),
    )  # fmt: skip
