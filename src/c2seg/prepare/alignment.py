"""Co-registration of the products with a reference: measured and reported always, undone in the warp when asked.

The reference is the first multispectral product, else the first hyperspectral one. A shift between radar and optical images
is reported alone: layover and foreshortening are no shifts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any

from c2seg.errors import MissingExtraError, install_command
from c2seg.prepare.layer import ImageLayer
from c2seg.prepare.record import Step
from c2seg.products import Product
from c2seg.progress import Progress
from c2seg.types import Grid

__all__ = ["Registration", "measured"]

_NOTED_PX = 0.5


@dataclass(frozen=True)
class Registration:
    """The layers with the shifts that are undone, the reports on all that were measured, and what the user must know."""

    layers: tuple[ImageLayer, ...]
    reports: tuple[dict[str, Any], ...] = ()
    steps: tuple[Step, ...] = ()
    notes: tuple[str, ...] = ()


def measured(layers: Sequence[ImageLayer], grid: Grid, *, align: bool, progress: Progress) -> Registration:
    """Measure the shift of every product against the reference. Raises MissingExtraError if it shall be undone and cannot."""
    reference = _reference(layers)
    moving = [(layer.name, product) for layer in layers for product in layer.products if product is not reference]
    if reference is None or not moving:
        return Registration(tuple(layers))
    if find_spec("skimage") is None:
        if align:
            raise MissingExtraError("co-registration", "prepare")
        return Registration(tuple(layers), notes=(f"co-registration was not checked: {install_command('prepare')}",))
    reports, notes = [], []
    applied: dict[int, tuple[float, float]] = {}
    for number, (kind, product) in enumerate(moving):
        report = _report(reference, product, grid, kind, applied, align=align)
        reports.append(report)
        notes += _notes(report, grid)
        progress(number + 1, len(moving), product.facts.product)
    step = Step(
        step="co-registration",
        parameters={"reference": reference.facts.product, "method": "phase correlation", "align": align},
    )
    return Registration(_shifted(layers, applied), tuple(reports), (step,), tuple(notes))


def _reference(layers: Sequence[ImageLayer]) -> Product | None:
    by_kind = {layer.name: layer for layer in layers}
    layer = by_kind.get("msi") or by_kind.get("hsi")
    return layer.products[0] if layer else None


def _report(
    reference: Product, product: Product, grid: Grid, kind: str, applied: dict[int, tuple[float, float]], *, align: bool
) -> dict[str, Any]:
    """Measure one product; a shift that is to be undone enters ``applied`` by the product's identity."""
    from c2seg.prepare.registration import measure_shift

    shift = measure_shift(reference, product, grid)
    use = align and kind != "sar" and shift.reliable and shift.east_m is not None and shift.north_m is not None
    if use:
        applied[id(product)] = (float(shift.east_m or 0), float(shift.north_m or 0))
    return {"modality": kind, "product": product.facts.product, "applied": use, **shift.as_json()}


def _notes(report: dict[str, Any], grid: Grid) -> list[str]:
    name, pixel = report["product"], grid.pixel_side_m() or 1.0
    if not report["reliable"]:
        why = f" ({report['reason']})" if report.get("reason") else ""
        return [f"{name}: its shift against the reference cannot be measured reliably{why}"]
    east, north = report["east_m"] or 0.0, report["north_m"] or 0.0
    if report["applied"] or max(abs(east), abs(north)) < _NOTED_PX * pixel:
        return []
    way = "it is not undone: radar geometry" if report["modality"] == "sar" else "`align=True` undoes it"
    return [f"{name} lies {east:+.1f} m east and {north:+.1f} m north of the reference; {way}"]


def _shifted(layers: Sequence[ImageLayer], applied: dict[int, tuple[float, float]]) -> tuple[ImageLayer, ...]:
    return tuple(
        replace(layer, shifts=tuple(applied.get(id(product), (0.0, 0.0)) for product in layer.products))
        for layer in layers
    )
