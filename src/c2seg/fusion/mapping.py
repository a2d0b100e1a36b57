"""Fuse whole maps by blocks, in bounded memory, and write the fused map."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from c2seg.artifacts import MapRecord, MapRun, Provenance, TargetLabelsRecord
from c2seg.artifacts.maps import FusedMap, FusedRule, FusionRecord
from c2seg.artifacts.provenance import relative_path
from c2seg.errors import InputError
from c2seg.fusion.rules import Rules, fuse_window
from c2seg.fusion.sources import ScoreMap, check_grids
from c2seg.legend import Legend
from c2seg.outputs import (
    Output,
    attributes_output,
    check_outputs,
    commit,
    map_output,
    raster_output,
    record_output,
    style_output,
)
from c2seg.predict.layers import LAYER_NODATA, LAYER_STEPS, scaled
from c2seg.progress import Progress, no_progress
from c2seg.raster import RasterTags, attributes_text, qml_text, write_cog, write_map
from c2seg.types import Window

__all__ = ["FuseOptions", "fuse"]

_COLUMNS = 1024  # fused at once, of each block of rows
_TAGS = {"SOFTWARE": "c2seg"}
_WHOLE = np.array(LAYER_STEPS, np.float32)


@dataclass(frozen=True)
class FuseOptions:
    """Which files are written: the map, and all class probabilities if a path is given."""

    out: Path
    probabilities: Path | None = None
    overwrite: bool = False
    palette: str = "default"


def fuse(
    maps: Sequence[ScoreMap],
    rules: Rules,
    legend: Legend,
    options: FuseOptions,
    *,
    weights: Sequence[float] | None = None,
    process: Provenance | None = None,
    inputs: Sequence[Path] = (),
    progress: Progress = no_progress,
) -> MapRecord:
    """Write the weighted mean of ``maps``, changed by ``rules``, as a class map; a JSON and a style lie beside it.

    ``process`` is the provenance of the map, ``inputs`` are further files that nothing may replace. A class map counts as
    probability 1 of its class. All maps must lie on one grid. Memory is bounded by a block, whatever the size of the maps.
    All files appear together. Raises InputError, GridError, DataError or OutputError.
    """
    started = time.perf_counter()
    parts = _weights(maps, weights)
    sources = [*maps, *(rule.expert for rule in rules.rules)]
    check_grids(sources)
    legend.colors(options.palette)
    check_outputs(
        list(_outputs(options).values()),
        [*(file for source in sources for file in source.file.files), *inputs],
        overwrite=options.overwrite,
    )
    work = _Work(maps, parts, rules, legend, progress, passes=1 if options.probabilities is None else 2)
    grid = work.grid
    outputs = _outputs(options)
    with commit(overwrite=options.overwrite) as files:
        if options.probabilities is not None:
            tags = RasterTags(
                {**_TAGS, "SCALE": "0.005", "UNIT": "probability"}, [], legend.names, 1 / LAYER_STEPS, "1"
            )
            write_cog(
                files.add(outputs["probabilities"]), work.probabilities, grid, count=legend.num_classes, dtype=np.uint8,
                nodata=LAYER_NODATA, overwrite=True, tags=tags,
            )  # fmt: skip
        place = files.add(outputs["out"], main=True)
        write_map(place, work.ids, grid, legend, overwrite=True, tags=_TAGS, palette=options.palette)
        result = _record(options, work, maps, rules, process, started)
        files.text(outputs["style"], qml_text(legend, options.palette))
        pixels = dict(enumerate(work.counts.tolist()))
        files.text(outputs["attributes"], attributes_text(legend, pixels, grid.pixel_area_m2(), options.palette))
        files.text(outputs["record"], result.as_text())
    return result


def _record(
    options: FuseOptions,
    work: _Work,
    maps: Sequence[ScoreMap],
    rules: Rules,
    process: Provenance | None,
    started: float,
) -> MapRecord:
    """Return the record of a fused map."""
    pixels = {item.name: int(work.counts[item.id]) for item in work.legend.classes}
    return MapRecord(
        path=options.out.name,
        pixels=int(work.counts[1:].sum()),
        nodata_pixels=int(work.counts[0]),
        class_pixels=pixels,
        area_km2=MapRecord.areas(pixels, work.grid.pixel_area_m2()),
        seconds=round(time.perf_counter() - started, 3),
        run=MapRun(predicted=process.without_folders()) if process else None,
        target_labels=_target_labels([*maps, *(rule.expert for rule in rules.rules)]),
        fusion=FusionRecord(
            maps=tuple(
                FusedMap(path=relative_path(m.file.path, options.out), fingerprint=m.file.fingerprint(), weight=w)
                for m, w in zip(maps, work.weights, strict=True)
            ),
            rules=work.report(options.out),
            threshold=rules.threshold,
            soft=rules.soft,
        ),
    )


def _target_labels(maps: Sequence[ScoreMap]) -> tuple[TargetLabelsRecord, ...]:
    """Return the labels of targets that the models behind maps were trained on: a map fused from such ones is few-shot, too."""
    labels: dict[str, TargetLabelsRecord] = {}
    for one in maps:
        record = one.record()
        labels |= {item.digest: item for item in (record.target_labels if record else ())}
    return tuple(labels.values())


class _Work:
    """Rows of the fused map, computed on demand; counts the pixels of each id."""

    def __init__(
        self, maps: Sequence[ScoreMap], weights: Sequence[float], rules: Rules, legend: Legend, progress: Progress,
        passes: int,
    ) -> None:  # fmt: skip
        self.maps = maps
        self.weights = weights
        self.rules = rules
        self.legend = legend
        self.progress = progress
        self.grid = maps[0].file.grid
        self.total = passes * self.grid.height
        self.done = 0
        self.counts = np.zeros(256, np.int64)
        self.held = np.zeros(len(rules.rules), np.int64)
        self.changed = np.zeros(len(rules.rules), np.int64)

    def ids(self, first: int, last: int) -> np.ndarray:
        """Return uint8 [1, rows, W] of class ids, 0 without data."""
        table = self.legend.id_table()
        rows = np.zeros((1, last - first, self.grid.width), np.uint8)
        for window in self._windows(first, last):
            fused = fuse_window(self.maps, self.weights, self.rules, window)
            rows[0, :, window.col : window.col_end] = np.where(fused.valid, table[fused.index], 0)
            self.held += np.array(fused.held, np.int64)
            self.changed += np.array(fused.changed, np.int64)
        self.counts += np.bincount(rows.ravel(), minlength=256)
        return rows

    def probabilities(self, first: int, last: int) -> np.ndarray:
        """Return uint8 [K, rows, W], 0..200, 255 without data."""
        rows = np.empty((self.legend.num_classes, last - first, self.grid.width), np.uint8)
        for window in self._windows(first, last):
            fused = fuse_window(self.maps, self.weights, self.rules, window)
            rows[:, :, window.col : window.col_end] = scaled(fused.scores, _WHOLE, ~fused.valid)
        return rows

    def report(self, out: Path) -> tuple[FusedRule, ...]:
        """Return what each rule did."""
        return tuple(
            FusedRule(
                class_id=self.legend.ids[rule.index],
                name=self.legend.names[rule.index],
                expert=relative_path(rule.expert.file.path, out),
                held=int(held),
                changed=int(changed),
            )
            for rule, held, changed in zip(self.rules.rules, self.held, self.changed, strict=True)
        )

    def _windows(self, first: int, last: int) -> list[Window]:
        self.done += last - first
        self.progress(self.done, self.total, "rows")
        width = self.grid.width
        return [Window(first, col, last - first, min(_COLUMNS, width - col)) for col in range(0, width, _COLUMNS)]


def _weights(maps: Sequence[ScoreMap], weights: Sequence[float] | None) -> tuple[float, ...]:
    if not maps:
        raise InputError("no map to fuse; give at least one")
    if weights is None:
        return (1.0,) * len(maps)
    if len(weights) != len(maps):
        raise InputError(f"{len(weights)} weights for {len(maps)} maps; give one for each")
    if not all(0 < weight < float("inf") for weight in weights):
        raise InputError(f"weights must be above 0, found {', '.join(f'{w:g}' for w in weights)}")
    return tuple(weights)


def _outputs(options: FuseOptions) -> dict[str, Output]:
    named = {"out": map_output(options.out), "style": style_output(options.out)}
    named["attributes"] = attributes_output(options.out)
    named["record"] = record_output(options.out, "map")
    if options.probabilities is not None:
        named["probabilities"] = raster_output(options.probabilities, "probabilities")
    return named
