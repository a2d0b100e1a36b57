"""Where a file lies on the ground: its grid with the horizontal CRS, north up. Files without a grid are refused."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

from affine import Affine

from c2seg.errors import DataError
from c2seg.types import Grid

__all__ = ["horizontal_wkt", "placed_grid"]


def placed_grid(dataset: Any, path: Path) -> tuple[Grid, tuple[bool, bool]]:
    """Return the grid of an open rasterio dataset, and whether its rows and its columns are stored in reverse.

    Only georeferenced files are turned north up. Raises DataError if the file is placed by ground control points or by
    rational polynomials (RPC) alone, or if its pixels have no size.
    """
    transform, crs = dataset.transform, dataset.crs
    if not all(math.isfinite(value) for value in transform) or transform.determinant == 0:
        raise DataError(
            f"{path}: its transform is not finite, or its pixels have no size; assign one (gdal_translate -a_ullr)"
        )
    if crs is None and transform.is_identity:
        _check_unplaced(dataset, path)
    wkt = horizontal_wkt(crs.to_wkt()) if crs else None
    south_up = mirrored = False
    if wkt and transform.b == transform.d == 0:
        south_up, mirrored = transform.e > 0, transform.a < 0
        if mirrored:
            transform = transform @ Affine(-1, 0, dataset.width, 0, 1, 0)
        if south_up:
            transform = transform @ Affine(1, 0, 0, 0, -1, dataset.height)
    return Grid(dataset.height, dataset.width, transform, wkt), (south_up, mirrored)


def horizontal_wkt(wkt: str) -> str:
    """Return the horizontal part of a compound CRS; another CRS stays."""
    if not wkt.startswith(("COMPD_CS[", "COMPOUNDCRS[")):
        return wkt
    start = re.search(r"(PROJCS|GEOGCS|PROJCRS|GEOGCRS|BOUNDCRS)\[", wkt)
    if start is None:
        return wkt
    depth = quoted = 0
    for place in range(start.start(), len(wkt)):
        quoted ^= wkt[place] == '"'
        depth += 0 if quoted else {"[": 1, "]": -1}.get(wkt[place], 0)
        if wkt[place] == "]" and depth == 0 and not quoted:
            return wkt[start.start() : place + 1]
    return wkt


def _check_unplaced(dataset: Any, path: Path) -> None:
    way = "warp it to a projected grid first (gdalwarp -t_srs EPSG:..."
    if dataset.gcps[0]:
        raise DataError(f"{path} is placed by ground control points only; {way} -tps)")
    if dataset.rpcs is not None:
        raise DataError(f"{path} is placed by rational polynomials (RPC) only; {way} -rpc)")
