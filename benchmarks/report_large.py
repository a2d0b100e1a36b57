"""Time, memory and page size of the report of a city as large as Beijing: `python benchmarks/report_large.py`.

Two runs with confidence, ground truth, four MSI and two SAR bands without overviews; class edges as rough as a forest's map.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from rasterio.crs import CRS

from c2seg.legend import c2seg13
from c2seg.raster import write_cog, write_map
from c2seg.report import ReportOptions, make_report
from c2seg.types import Grid

HEIGHT, WIDTH = 13474, 8706


def field(seed: int, first: int, last: int) -> np.ndarray:
    """Rows of a map of 13 classes: blocks of 40 pixels, a fifth of the pixels at random."""
    coarse = np.random.default_rng(seed).integers(1, 14, (HEIGHT // 40 + 1, WIDTH // 40 + 1)).astype(np.uint8)
    ids = coarse[np.arange(first, last) // 40][:, np.arange(WIDTH) // 40]
    rng = np.random.default_rng([seed, first])
    return np.where(rng.random(ids.shape, np.float32) < 0.2, rng.integers(1, 14, ids.shape).astype(np.uint8), ids)


def main() -> None:
    place = Grid(HEIGHT, WIDTH, Affine(10, 0, 5e5, 0, -10, 4e6), CRS.from_epsg(32650).to_wkt())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        city = folder / "beijing"
        city.mkdir()
        for stack, count, dtype in (("msi", 4, "uint16"), ("sar", 2, "float32")):
            profile = {"driver": "GTiff", "count": count, "height": HEIGHT, "width": WIDTH, "dtype": dtype, "tiled": True,
                       "transform": place.transform, "crs": CRS.from_epsg(32650)}  # fmt: skip
            with rasterio.open(city / f"{stack}.tif", "w", **profile) as dataset:
                for first in range(0, HEIGHT, 512):
                    last = min(first + 512, HEIGHT)
                    rows = np.stack([field(k, first, last) for k in range(count)]) * 100
                    dataset.write(rows.astype(dtype), window=((first, last), (0, WIDTH)))
        runs = []
        for k, run in enumerate((folder / "forest", folder / "unet")):
            run.mkdir()
            write_map(run / "beijing.tif", lambda a, b, k=k: field(k, a, b)[None], place, c2seg13(), overwrite=True)
            write_cog(run / "sure.tif", lambda a, b: field(9, a, b)[None] * np.uint8(15), place, count=1, dtype=np.uint8,
                      nodata=255, overwrite=True)  # fmt: skip
            notes = {"path": "beijing.tif", "area_km2": {}, "city": {"name": "beijing", "path": str(city)},
                     "confidence": "sure.tif", "key": {"scene": "beijing"}}  # fmt: skip
            (run / "beijing.json").write_text(json.dumps(notes))
            runs.append(run)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        started = time.perf_counter()
        options = ReportOptions(folder / "page.html", references=(runs[0] / "beijing.tif",))
        result = make_report(runs, options)
        print(f"{HEIGHT} x {WIDTH}: {time.perf_counter() - started:.1f} s, page {result.size_bytes / 1e6:.1f} MB")
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"peak memory {peak:.0f} MiB ({before:.0f} MiB before)")
        if len(sys.argv) > 1:
            Path(sys.argv[1]).write_bytes((folder / "page.html").read_bytes())


if __name__ == "__main__":
    main()
