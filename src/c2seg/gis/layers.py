"""The map and its layers as assets of a STAC item: what their bands hold."""

from __future__ import annotations

from pathlib import Path

from c2seg.gis.stac import COG, Asset
from c2seg.legend import Legend
from c2seg.records import Json
from c2seg.types import Grid

__all__ = ["layer_asset", "map_asset"]

_TITLES = {
    "confidence": "Probability of the mapped class",
    "runner_up": "Runner-up class, and the margin over it",
    "probabilities": "Probability of every class",
}
_SCALED: Json = {"data_type": "uint8", "nodata": 255, "unit": "1", "raster:scale": 0.005, "raster:offset": 0}


def map_asset(path: Path, grid: Grid) -> Asset:
    """Return the map of class ids."""
    side = grid.pixel_side_m()
    band: Json = {"name": "land cover", "data_type": "uint8", "nodata": 0, "raster:sampling": "area"}
    band |= {"raster:spatial_resolution": side} if side else {}
    return Asset(path, "Map of class ids", COG, ("data", "classification"), (band,))


def layer_asset(name: str, path: Path, legend: Legend) -> Asset:
    """Return a layer beside the map: ``confidence``, ``runner_up`` or ``probabilities``."""
    bands: tuple[Json, ...]
    if name == "runner_up":
        ids: Json = {"name": "runner-up", "data_type": "uint8", "nodata": 255, "raster:sampling": "area"}
        bands = (ids, {"name": "margin", **_SCALED})
    else:
        bands = tuple({"name": text, **_SCALED} for text in (legend.names if name == "probabilities" else (name,)))
    return Asset(path, _TITLES[name], COG, ("data",), bands)
