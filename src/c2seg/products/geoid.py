"""Height of the geoid over the WGS84 ellipsoid: EGM96 with this package, EGM2008 where PROJ's grid is installed.

``egm96_15min.tif``: EGM96 undulations at 15 minutes of arc, rounded to 0.1 m, from ``egm96_15.gtx`` of proj-datumgrid (public
domain; NGA and NASA, "The Development of the Joint NASA GSFC and NIMA Geopotential Model EGM96", NASA/TP-1998-206861).
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from c2seg.raster import RasterFile
from c2seg.types import Window

__all__ = ["Geoid", "find_geoid"]

_EGM2008 = "us_nga_egm08_25.tif"
_SHIPPED = Path(__file__).with_name("egm96_15min.tif")


@dataclass(frozen=True)
class Geoid:
    """A grid of undulations in meters, in degrees, over the whole world."""

    file: RasterFile
    model: Literal["egm96", "egm2008"]
    note: str = field(default="", compare=False)
    """What the user must know of it; empty: nothing."""

    def undulation(self, lon: np.ndarray, lat: np.ndarray) -> np.ndarray:
        """Return the height of the geoid over the ellipsoid in meters, bilinear; longitude and latitude [N] in degrees.

        The grid is read over the whole extent of the places: they lie near to each other.
        """
        transform, around = self.file.grid.transform, round(360 / self.file.grid.transform.a)
        rows = np.clip((np.asarray(lat) - transform.f) / transform.e - 0.5, 0, self.file.height - 1)
        cols = ((np.asarray(lon) - transform.c) / transform.a - 0.5) % around
        if np.ptp(cols) > around / 2:  # the seam lies between the places
            cols = np.where(cols < around / 2, cols + around, cols)
        row, col = int(rows.min()), int(cols.min())
        height = min(int(rows.max()) + 2, self.file.height) - row
        values = self._read_around(Window(row, col, height, int(cols.max()) + 2 - col), around)
        return _bilinear(values, rows - row, cols - col)

    def _read_around(self, window: Window, around: int) -> np.ndarray:
        """Return the values of a window whose columns count around the earth, float64 [H, W]."""
        band = self.file.file_bands[0]
        first, parts = window.col, []
        while first < window.col_end:
            start = first % around
            width = min(window.col_end - first, around - start)
            parts.append(self.file.read(Window(window.row, start, window.height, width))[0])
            first += width
        result: np.ndarray = np.concatenate(parts, axis=1) * band.scale + band.offset
        return result


def find_geoid(model: Literal["egm96", "egm2008"]) -> Geoid:
    """Return the grid of a model. Where EGM2008 is not installed this is EGM96, with a note."""
    if model == "egm96":
        return Geoid(RasterFile(_SHIPPED), "egm96")
    for folder in _folders():
        if (folder / _EGM2008).is_file():
            return Geoid(RasterFile(folder / _EGM2008, bands=(0,)), model)
    return Geoid(
        RasterFile(_SHIPPED),
        "egm96",
        f"the geoid EGM2008 is not installed ({_EGM2008} of PROJ), EGM96 takes its place: heights differ by less than 1 m in "
        "most places and by a few meters in high mountains, which moves pixels by about as much",
    )


def _folders() -> list[Path]:
    """Return the folders in which PROJ looks for grids."""
    named = [os.environ.get(name, "") for name in ("PROJ_DATA", "PROJ_LIB")]
    paths = [Path(part) for text in named for part in text.split(os.pathsep) if part]
    return [*paths, Path(sys.prefix) / "share/proj", Path("/usr/share/proj"), Path("/usr/local/share/proj")]


def _bilinear(values: np.ndarray, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
    row = np.minimum(rows.astype(int), max(values.shape[0] - 2, 0))
    col, down = cols.astype(int), np.minimum(row + 1, values.shape[0] - 1)
    y, x = rows - row, cols - col
    upper = values[row, col] * (1 - x) + values[row, col + 1] * x
    lower = values[down, col] * (1 - x) + values[down, col + 1] * x
    result: np.ndarray = upper * (1 - y) + lower * y
    return result
