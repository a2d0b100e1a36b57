"""The page to label a sample: one HTML file with its pictures, which loads nothing and knows nothing of the map.

It is made from the points' places, the legend and the images. Neither the mapped class nor the stratum is an argument.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from importlib import resources
from pathlib import Path
from string import Template

from affine import Affine

from c2seg._version import __version__
from c2seg.errors import InputError
from c2seg.progress import Progress, no_progress
from c2seg.types import Grid
from c2seg.verify.chips import (
    ChipLayer,
    ChipScale,
    Stretch,
    chip_scales,
    encode_chip,
    measure_stretch,
    placement,
    read_chip,
)
from c2seg.verify.samples import LegendRecord, SampleRecord
from c2seg.verify.writing import place_texts

__all__ = ["PagePoints", "page_of_sample", "write_page"]

MOST_BYTES = 150_000_000
"""Of a page of 400 points; longer samples may have as much for each point."""
_BYTES_A_POINT = MOST_BYTES // 400
_TEXT_BYTES = 2000  # of a point, beside its pictures


@dataclass(frozen=True)
class PagePoints:
    """What a page shows: points by id with pixel row and column, in their order, and how they are to be labeled."""

    sample_id: str
    name: str
    grid: Grid
    legend: LegendRecord
    points: tuple[tuple[int, int, int], ...]
    min_unit_px: int | None = None
    tolerance_m: float | None = None


def page_of_sample(record: SampleRecord) -> PagePoints:
    """Return what the page of a sample shows: nothing of its strata."""
    points = tuple((point.id, point.row, point.col) for point in record.points)
    return PagePoints(
        record.sample_id, Path(record.path).stem, record.grid.grid(), record.legend, points, record.min_unit_px,
        record.tolerance_m,
    )  # fmt: skip


def write_page(path: Path, shown: PagePoints, layers: Sequence[ChipLayer], progress: Progress = no_progress) -> int:
    """Write the page to a path and return its bytes. Chips are read and written one point at a time.

    Raises InputError if no point lies on any image.
    """
    scales = chip_scales(shown.grid)
    places = [_places(shown, layer, scales) for layer in layers]
    stretches = [
        measure_stretch(layer, [by_scale[-1] for by_scale in by_point])
        for layer, by_point in zip(layers, places, strict=True)
    ]
    head, tail = _shell(shown, layers, scales, places)
    pictures = 0
    with path.open("w", encoding="utf-8", newline="\n") as stream:
        stream.write(head)
        for index, (number, _, _) in enumerate(shown.points):
            chips = list(_chips(layers, stretches, [by_point[index] for by_point in places]))
            pictures += sum(map(bool, chips))
            stream.write(f'<script type="application/json" data-chips="{number}">{json.dumps(chips)}</script>\n')
            progress(index + 1, len(shown.points))
        stream.write(tail)
    if not pictures:
        raise InputError("the images show none of the points; give the `city` that was mapped, or another `backdrop`")
    return path.stat().st_size


def _places(shown: PagePoints, layer: ChipLayer, scales: Sequence[ChipScale]) -> list[tuple[Affine | None, ...]]:
    """Return, for each point, where its chips lie in a layer."""
    return [tuple(placement(shown.grid, layer, row, col, scale.px) for scale in scales) for _, row, col in shown.points]


def _chips(
    layers: Sequence[ChipLayer], stretches: Sequence[Stretch], places: Sequence[tuple[Affine | None, ...]]
) -> Iterator[str]:
    """Yield the data URIs of a point: by layer, then by scale; empty where there is no image."""
    count = sum(len(by_scale) for by_scale in places)
    most = (_BYTES_A_POINT - _TEXT_BYTES) // max(count, 1) * 3 // 4  # base64 adds a third
    for layer, stretch, by_scale in zip(layers, stretches, places, strict=True):
        for place in by_scale:
            chip = None if place is None else read_chip(layer, place)
            yield "" if chip is None else encode_chip(stretch.apply(chip), most)


def _shell(
    shown: PagePoints, layers: Sequence[ChipLayer], scales: Sequence[ChipScale],
    places: Sequence[list[tuple[Affine | None, ...]]],
) -> tuple[str, str]:  # fmt: skip
    """Return what stands before and after the chips."""
    script = _asset("label.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    title = f"Label {shown.name}"
    lead = (
        f"{len(shown.points)} points of {shown.name}.gpkg. For each, say what stands on the ground at the marked pixel, "
        "from the images alone."
    )
    mark = "\n<!-- chips -->\n"
    page = Template(_asset("label.html")).substitute(
        script_hash=f"sha256-{digest}", version=__version__, title=escape(title), style=_asset("label.css"),
        lead=escape(lead), data=_json(_data(shown, layers, scales, places)), chips=mark, script=script,
    )  # fmt: skip
    head, _, tail = page.partition(mark)
    return head, tail


def _data(
    shown: PagePoints, layers: Sequence[ChipLayer], scales: Sequence[ChipScale],
    places: Sequence[list[tuple[Affine | None, ...]]],
) -> dict[str, object]:  # fmt: skip
    """Return what the script reads."""
    side_m = shown.grid.pixel_side_m()
    tolerance_px = shown.tolerance_m / (side_m or 1.0) if shown.tolerance_m else 0.0
    return {
        "sample_id": shown.sample_id,
        "name": shown.name,
        "classes": [{"name": item.name, "color": item.color} for item in shown.legend.classes],
        "layers": [layer.title for layer in layers],
        "scales": [
            {"px": scale.px, "text": scale.text, "smooth": [_is_fine(by_point, k) for by_point in places]}
            for k, scale in enumerate(scales)
        ],
        "unit_px": shown.min_unit_px or 0,
        "tolerance_px": tolerance_px,
        "marks": _marks(shown),
        "points": [
            {"id" if key == "point_id" else key: value for key, value in place.items()}
            for place in place_texts(shown.grid, shown.points)
        ],
    }


def _marks(shown: PagePoints) -> str:
    """Say what the marks in the pictures mean."""
    side_m = shown.grid.pixel_side_m()
    size = f" ({side_m:.3g} m)" if side_m else ""
    texts = [f"White square: the pixel{size}; in the wide pictures, the extent of the near ones."]
    if shown.min_unit_px:
        area = f" ({shown.min_unit_px * side_m**2:.4g} m²)" if side_m else ""
        texts.append(
            f"Dashed: the minimum mapping unit{area}. What is smaller counts to what surrounds it; label the class that the "
            "unit around the point mostly has."
        )
    if shown.tolerance_m:
        unit = "m" if side_m else "pixels"
        texts.append(f"Yellow circle: {shown.tolerance_m:g} {unit}, as far as images and map may be displaced.")
    return " ".join(texts)


def _is_fine(places: list[tuple[Affine | None, ...]], scale: int) -> bool:
    """Return whether chips have so many pixels that they are better shown smooth."""
    place = next((by_scale[scale] for by_scale in places if by_scale[scale] is not None), None)
    return place is not None and math.hypot(place.a, place.d) > 200


def _json(content: object) -> str:
    """Return JSON that cannot end the element it stands in."""
    return json.dumps(content, ensure_ascii=False).replace("<", "\\u003c")


def _asset(name: str) -> str:
    return resources.files("c2seg.verify").joinpath("page", name).read_text(encoding="utf-8")
