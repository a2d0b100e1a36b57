"""Time and memory of polygons of a map (``c2seg.gis.geopackage``): one line for each height; memory must not grow with it.

python benchmarks/polygons.py --rows 1200 3600
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from affine import Affine
from rasterio.crs import CRS
from scipy.ndimage import gaussian_filter

from c2seg.gis.geopackage import write_polygons
from c2seg.legend import c2seg13
from c2seg.raster import write_map
from c2seg.types import Grid

COLUMNS, TILE = 1200, 600


def ids(rows: int) -> np.ndarray:
    """A pattern of eight classes, a polygon for every 41 pixels, crossed by streets that run through the whole map."""
    rng = np.random.default_rng(0)
    fields = [gaussian_filter(rng.normal(size=(TILE, TILE)).astype(np.float32), 3, mode="wrap") for _ in range(8)]
    tile = (np.stack(fields).argmax(axis=0) + 1).astype(np.uint8)
    whole = np.tile(tile, (-(-rows // TILE), COLUMNS // TILE))[:rows]
    whole[:, ::97] = 2
    return whole


def measure(rows: int) -> None:
    values = ids(rows)
    place = Grid(rows, COLUMNS, Affine(10, 0, 500_000, 0, -10, 5_800_000), CRS.from_epsg(32633).to_wkt())
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder, "map.tif"), Path(folder, "map.gpkg")
        write_map(source, lambda first, last: values[None, first:last], place, c2seg13(), overwrite=True)
        started = time.process_time()
        made = write_polygons(out, source, c2seg13(), simplify_m=15.0, strip_px=600_000)
        seconds = time.process_time() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{rows} x {COLUMNS}: {made.polygons} polygons, {seconds:.1f} processor seconds, {peak:.0f} MiB at most")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, nargs="+", default=[1200, 3600])
    rows = parser.parse_args().rows
    if len(rows) == 1:
        measure(rows[0])
        return
    for count in rows:  # each in a process of its own: the peak is one of a process
        subprocess.run([sys.executable, __file__, "--rows", str(count)], check=True)


main()
