"""The layers of a view as data for the page: class ids and confidence compressed, pictures as images.

All layers of a view have one display size, chosen so that the whole page stays within its budget.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NotRequired, TypedDict

import numpy as np

from c2seg.data.composites import composites
from c2seg.metrics import ReferenceCode
from c2seg.metrics.pairs import unplaced_side
from c2seg.progress import Progress, no_progress
from c2seg.raster import RasterFile, RasterSource
from c2seg.report.imagery import Sampling, encode_picture, picture, sample, sample_ids
from c2seg.report.runs import MapFile, Run
from c2seg.report.views import View

__all__ = ["Layer", "Reliability", "RenderedView", "draw_views", "reference_ids", "to_class_ids"]

MAX_VIEWS = 12
_FIRST_PIXELS = 1_200_000  # of one view, if the budget allows
_CONFIDENCE_STEPS = 50  # 2 % each: compresses well and is finer than an eye can tell
_NODATA = 255


@dataclass(frozen=True)
class Reliability:
    """Shown pixels by confidence of the map in tenths: how many, and (with ground truth) labeled and right ones."""

    pixels: tuple[int, ...]
    labeled: tuple[int, ...]
    right: tuple[int, ...]
    mean_confidence: tuple[float, ...]
    """Of the labeled pixels of each tenth; 0 where there are none."""


class Layer(TypedDict):
    """A layer of a view: ``data`` is its pixels as text, ``of`` the two layers that a computed one compares."""

    kind: str
    title: str
    key: NotRequired[str]
    role: NotRequired[str]
    run: NotRequired[int]
    data: NotRequired[str]
    of: NotRequired[list[str]]


@dataclass(frozen=True)
class RenderedView:
    """A view as shown: its sampling, its layers (plain structures for JSON), and what was seen on the way."""

    sampling: Sampling
    layers: tuple[Layer, ...]
    reliability: dict[int, Reliability]
    """By run."""
    agreement: float | None
    """Fraction of the shown predicted pixels on which all maps agree; None for a single map."""

    @property
    def size(self) -> int:
        """Bytes in the page."""
        return sum(len(layer.get("data", "")) for layer in self.layers)


def draw_views(
    views: Sequence[View], runs: Sequence[Run], budget: int, progress: Progress = no_progress
) -> list[RenderedView]:
    """Draw the views, coarser until their layers take at most ``budget`` bytes together."""
    largest = max((view.grid.height * view.grid.width for view in views), default=0)
    pixels = min(_FIRST_PIXELS, 4 * _FIRST_PIXELS // max(1, len(views)), largest)
    while True:
        drawn = []
        for done, view in enumerate(views):
            progress(done, len(views), view.name)
            drawn.append(_draw(view, runs, Sampling.within(view.grid, pixels)))
        progress(len(views), len(views))
        size = sum(item.size for item in drawn)
        if size <= budget or pixels < 1000:
            return drawn
        pixels = int(pixels * min(0.7, 0.9 * budget / size))


def _draw(view: View, runs: Sequence[Run], sampling: Sampling) -> RenderedView:
    layers: list[Layer] = []
    if view.images is not None:
        layers += [
            {"kind": "image", "title": item.title, "data": encode_picture(picture(view.images, item, sampling))}
            for modality in view.images.modalities.values()
            for item in composites(modality)
        ]
    reference = reference_ids(view, sampling) if view.reference else None
    if reference is not None:
        layers.append({"kind": "ids", "role": "reference", "title": "Reference", "data": _pack(reference)})
    maps, reliability = [], {}
    for index, entry in view.maps:
        ids = sample_ids(entry.raster, sampling)
        maps.append(ids)
        title = _title(view, runs, index, entry)
        layers.append({"kind": "ids", "role": "map", "run": index, "title": f"Map: {title}", "data": _pack(ids)})
        if entry.confidence is not None:
            level = _confidence(entry.confidence, sampling)
            layers.append({"kind": "level", "run": index, "title": f"Confidence: {title}", "data": _pack(level)})
            reliability[index] = _reliability(level, ids, reference)
        if entry.runner_up is not None:
            margin = _confidence(entry.runner_up, sampling, band=1)
            unsure = np.where(margin == _NODATA, _NODATA, _CONFIDENCE_STEPS - np.minimum(margin, _CONFIDENCE_STEPS))
            layers.append(
                {
                    "kind": "level",
                    "run": index,
                    "title": f"Uncertainty: {title}",
                    "data": _pack(unsure.astype(np.uint8)),
                }
            )
    layers += _differences(layers)
    for number, layer in enumerate(layers):
        layer["key"] = f"layer{number}"
    mapped = np.logical_and.reduce([ids != 0 for ids in maps])
    same = np.logical_and.reduce([ids == maps[0] for ids in maps])[mapped]
    agreement = float(same.mean()) if len(maps) > 1 and same.size else None
    return RenderedView(sampling, tuple(layers), reliability, agreement)


def _title(view: View, runs: Sequence[Run], index: int, entry: MapFile) -> str:
    maps_of_run = sum(run == index for run, _ in view.maps)
    return f"{runs[index].name} ({entry.path.name})" if maps_of_run > 1 else runs[index].name


def _differences(layers: Sequence[Layer]) -> list[Layer]:
    """Layers that the page computes from two others: errors of each map, and where maps differ from the first."""
    places = {layer["title"]: number for number, layer in enumerate(layers)}
    maps = [layer for layer in layers if layer.get("role") == "map"]
    reference = places.get("Reference") if any(layer.get("role") == "reference" for layer in layers) else None
    pairs = []
    for number, layer in enumerate(maps):
        name = layer["title"].removeprefix("Map: ")
        if reference is not None:
            pairs.append(("errors", f"Errors: {name}", reference, places[layer["title"]], layer["run"]))
        if number:
            first = maps[0]["title"]
            title = f"Difference: {first.removeprefix('Map: ')} / {name}"
            pairs.append(("maps", title, places[first], places[layer["title"]], layer["run"]))
    return [
        {"kind": "difference", "role": role, "title": title, "of": [f"layer{a}", f"layer{b}"], "run": run}
        for role, title, a, b, run in pairs
    ]


def reference_ids(view: View, sampling: Sampling) -> np.ndarray:
    """Return the ground truth of a view that has one, as shown: uint8 ids [h, w], 0 unknown, 255 ignore."""
    assert view.reference is not None
    source = view.reference.open(view.grid)
    if unplaced_side(view.grid, view.name, source):
        sampling = Sampling(source.grid, sampling.height, sampling.width)
    values, inside = sample(source, sampling.axes(source.grid), (0,))
    return to_class_ids(np.where(inside, values[0], values.dtype.type(0)), source, view.code)


def to_class_ids(values: np.ndarray, source: RasterSource, code: ReferenceCode) -> np.ndarray:
    """Return the ids uint8 [h, w] of a ground truth's values; 0 where it has none."""
    nodata = source.nodata
    missing = np.zeros(values.shape, bool)
    if nodata is not None and nodata not in (code.legend.label_maps.get(code.label_map) or code.legend.ids):
        missing = values == nodata
    ids = np.zeros(values.shape, np.uint8)
    ids[~missing] = code.legend.apply_label_map(values[~missing], code.label_map)
    return ids


def _confidence(path: Path, sampling: Sampling, band: int = 0) -> np.ndarray:
    """Return a share that a band holds, uint8 0..50, 255 nodata."""
    values = sample_ids(RasterFile(path, bands=(band,)), sampling, outside=_NODATA)
    scaled = (values.astype(np.uint16) * _CONFIDENCE_STEPS + 100) // 200
    return np.where(values == _NODATA, _NODATA, np.minimum(scaled, _CONFIDENCE_STEPS)).astype(np.uint8)


def _reliability(level: np.ndarray, ids: np.ndarray, reference: np.ndarray | None) -> Reliability:
    known = level != _NODATA
    tenth = np.minimum(level.astype(int) * 10 // _CONFIDENCE_STEPS, 9)
    labeled = known & (reference != 0) & (reference != 255) if reference is not None else np.zeros(level.shape, bool)
    right = labeled & (ids == reference) if reference is not None else labeled
    counts = [np.bincount(tenth[mask], minlength=10) for mask in (known, labeled, right)]
    summed = np.bincount(tenth[labeled], weights=level[labeled] / _CONFIDENCE_STEPS, minlength=10)
    means = summed / np.maximum(counts[1], 1)
    pixels, of_reference, correct = (tuple(int(n) for n in count) for count in counts)
    return Reliability(pixels, of_reference, correct, tuple(float(m) for m in means))


def _pack(ids: np.ndarray) -> str:
    return base64.b64encode(zlib.compress(np.ascontiguousarray(ids).tobytes(), 9)).decode("ascii")
