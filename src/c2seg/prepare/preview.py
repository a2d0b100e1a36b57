"""preview.png: the modalities of a prepared city beside each other, to see at a glance whether they fit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from c2seg.prepare.layer import ImageLayer
from c2seg.raster import open_raster

__all__ = ["write_preview"]

_SIDE_PX = 640
_GAP_PX = 8
_VISIBLE_NM = (660.0, 560.0, 480.0)
"""Red, green, blue."""


def write_preview(path: Path, files: Sequence[tuple[ImageLayer, Path]]) -> None:
    """Write a PNG of at most 640 pixels a side for each modality; invalid pixels are transparent, colors stretched."""
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    finest = max((layer.grid for layer, _ in files), key=lambda grid: grid.height)
    factor = max(1.0, max(finest.height, finest.width) / _SIDE_PX)
    shape = max(1, round(finest.height / factor)), max(1, round(finest.width / factor))
    panels = [_panel(layer, file, shape) for layer, file in files]
    gap = np.zeros((shape[0], _GAP_PX, 4), np.uint8)
    picture = np.concatenate([part for panel in panels for part in (panel, gap)][:-1], axis=1)
    made_by = PngInfo()
    made_by.add_text("Software", "c2seg")
    Image.fromarray(picture).save(path, "PNG", pnginfo=made_by)


def _panel(layer: ImageLayer, file: Path, shape: tuple[int, int]) -> np.ndarray:
    """Return uint8 [H, W, 4]."""
    numbers = _shown(layer)
    with open_raster(file) as dataset:
        stored: Any = dataset.read([number + 1 for number in numbers], out_shape=(len(numbers), *shape), masked=True)
    values = np.ma.filled(stored.astype(np.float32), np.nan)
    valid = np.asarray(np.isfinite(values).all(axis=0))
    colors = np.stack([_stretched(band, valid) for band in values], axis=-1)
    if len(numbers) == 1:
        colors = colors.repeat(3, axis=-1)
    return np.concatenate([colors, np.where(valid, 255, 0)[..., None]], axis=-1).astype(np.uint8)


def _shown(layer: ImageLayer) -> list[int]:
    """Return the bands shown as red, green and blue: by roles, else by wavelengths, else the first, in gray."""
    roles = {band.role: number for number, band in enumerate(layer.bands)}
    if {"red", "green", "blue"} <= roles.keys():
        return [roles["red"], roles["green"], roles["blue"]]
    known = {number: band.wavelength_nm for number, band in enumerate(layer.bands) if band.wavelength_nm}
    if layer.name != "sar" and len(known) >= 3:
        return [min(known, key=lambda number: abs(known[number] - nm)) for nm in _VISIBLE_NM]
    if layer.name == "sar" and len(layer.bands) >= 2:
        return [0, 1, 0]
    return [0]


def _stretched(band: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Return a band between its 2 and 98 percentiles as 0..255."""
    if not valid.any():
        return np.zeros(band.shape, np.uint8)
    low, high = np.percentile(band[valid], (2, 98))
    scaled = (np.where(valid, band, low) - low) / max(float(high - low), 1e-9) * 255
    result: np.ndarray = np.clip(np.rint(scaled), 0, 255).astype(np.uint8)
    return result
