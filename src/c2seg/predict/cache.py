"""GDAL's cache of decoded blocks, as large as windows need and no larger."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from c2seg.data import Modality
from c2seg.predict.engine import Reader
from c2seg.predict.plan import WindowPlan
from c2seg.raster import RasterFile

__all__ = ["block_cache"]

_LEAST_BYTES, _MOST_BYTES = 64 * 2**20, 320 * 2**20


@contextmanager
def block_cache(reader: Reader, plan: WindowPlan) -> Iterator[None]:
    """Let GDAL keep the blocks that one window touches: with fewer, it decodes many-band blocks once per band."""
    import rasterio

    scene = getattr(reader, "scene", None)
    needed = sum(_touched_bytes(stack, plan) for stack in scene.modalities.values()) if scene is not None else 0
    with rasterio.Env(GDAL_CACHEMAX=min(_MOST_BYTES, max(_LEAST_BYTES, needed))):
        yield


def _touched_bytes(stack: Modality, plan: WindowPlan) -> int:
    """Return the bytes of the blocks that a window touches at most."""
    source = stack.source
    if not isinstance(source, RasterFile):
        return 0
    ratio = stack.relation.ratio
    touched = source.count * source.dtype.itemsize
    for length, window, block in zip((source.height, source.width), plan.window_hw, source.block_hw, strict=True):
        blocks = min(-(-length // block), (window // ratio) // block + 2)
        touched *= blocks * block
    return touched
