"""The steps of a preparation, as the record tells them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from c2seg.prepare.layer import ImageLayer
from c2seg.prepare.record import Step
from c2seg.products.warping import BLOCK_PX, COARSER
from c2seg.types import Grid

if TYPE_CHECKING:
    from c2seg.prepare.request import Request

__all__ = ["steps_of"]


def steps_of(request: Request, grid: Grid, layers: Sequence[ImageLayer]) -> tuple[Step, ...]:
    """Return the steps that are known before pixels are read."""
    options = request.options
    steps = [_grid_step(request, grid)]
    for layer in layers:
        steps.append(
            Step(
                step=f"warp {layer.name}",
                parameters={
                    "kernel": options.kernel,
                    "average_from_native_pixels": COARSER,
                    "block_px": BLOCK_PX,
                    "pixel_m": round(layer.grid.pixel_side_m() or 0.0, 6),
                    "products": len(layer.products),
                },
            )
        )
        if len(layer.products) > 1:
            order = [product.facts.product for product in layer.products]
            steps.append(Step(step=f"composite {layer.name}", parameters={"how": layer.composite, "order": order}))
        encoding = layer.encoding
        steps.append(
            Step(
                step=f"store {layer.name}",
                parameters={"dtype": encoding.dtype, "scale": encoding.scale, "nodata": str(encoding.nodata)},
            )
        )
    steps.append(Step(step="valid", parameters={"valid_where": "all modalities are"}))
    if request.osm:
        steps.append(Step(step="label", parameters={"extract": request.osm.name, "rules": "default"}))
    return tuple(steps)


def _grid_step(request: Request, grid: Grid) -> Step:
    how = "like" if request.area.like else "bounds" if request.area.bounds else "overlap of the products"
    return Step(step="grid", parameters={"from": how, "height": grid.height, "width": grid.width})
