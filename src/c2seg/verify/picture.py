"""A picture of the risk: from light to dark, where the map is likely wrong; transparent where it has no class."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from c2seg.predict.layers import LAYER_NODATA, LAYER_STEPS
from c2seg.raster import open_raster
from c2seg.verify.assessment import Assessment

__all__ = ["write_picture"]

_MOST_PX = 1024
_BAR_PX = 12
_COLORS = np.array([[255, 255, 229], [254, 227, 145], [251, 154, 41], [204, 76, 2], [102, 37, 6]], np.float64)


def write_picture(path: Path, raster: Path, assessment: Assessment) -> None:
    """Write a PNG of the first band of a raster of risk, its longer side at most 1024 pixels, with a bar of its colors."""
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    with open_raster(raster) as dataset:
        factor = max(1.0, max(dataset.shape) / _MOST_PX)
        steps = dataset.read(1, out_shape=tuple(max(1, round(side / factor)) for side in dataset.shape))
    colors = np.zeros((256, 4), np.uint8)
    levels = np.linspace(0, len(_COLORS) - 1, LAYER_STEPS + 1)
    for channel in range(3):
        colors[: LAYER_STEPS + 1, channel] = np.interp(levels, np.arange(len(_COLORS)), _COLORS[:, channel])
    colors[:LAYER_NODATA, 3] = 255
    bar = np.tile(np.linspace(0, LAYER_STEPS, steps.shape[1]).astype(np.uint8), (_BAR_PX, 1))
    facts = PngInfo()
    facts.add_text("Software", "c2seg")
    facts.add_text("Description", f"risk of {assessment.map}, 0 to 1 from left to right in the bar below")
    Image.fromarray(colors[np.concatenate([steps, bar])]).save(path, "PNG", pnginfo=facts)
