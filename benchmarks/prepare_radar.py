"""Time and memory of a Sentinel-1 GRD scene of true size: beside gdalwarp by tie points, and beside sarsen with a DEM.

    python benchmarks/prepare_radar.py FOLDER

FOLDER (8 GiB free) takes the scene, 16705 x 26102 pixels of speckle made by tests/products/make_sentinel1.py, and the
outputs; the scene is kept and used again. gdalwarp (Debian's gdal-bin) warps the DN of the same file onto the same grid of
10 m; c2seg also calibrates, subtracts noise and takes decibels. Each run is a process of its own with one thread; rasters are
written tiled, without compression. sarsen geocodes onto a model of 1440 x 1440 posts, and c2seg onto the same posts.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
LINES, PIXELS = 16705, 26102
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "GDAL_CACHEMAX": "64", "GDAL_NUM_THREADS": "1"}

GDALWARP = (
    "gdalwarp -q -overwrite -t_srs EPSG:32632 -tr 10 10 -tps -r bilinear -ot Float32 -srcnodata 0 -dstnodata 0 -wm 256 "
    "-co TILED=YES -co BIGTIFF=YES"
)


def make_scene(folder: Path) -> None:
    """Write the product."""
    sys.path.insert(0, str(ROOT / "tests/products"))
    from make_sentinel1 import Made, make_safe

    folder.mkdir(parents=True, exist_ok=True)
    raw = folder / "dn.raw"
    image = np.memmap(raw, np.uint16, "w+", shape=(LINES, PIXELS))
    speckle = np.sqrt(np.random.default_rng(0).gamma(4.4, 1 / 4.4, (1024, PIXELS))).astype(np.float32)
    for row in range(0, LINES, 1024):
        count = min(1024, LINES - row)
        level = 120 + 60 * np.sin(np.arange(PIXELS) / 300) + row / 200
        image[row : row + count] = (np.roll(speckle[:count], row * 7, axis=1) * level + 1).astype(np.uint16)
    make_safe(folder, Made({"VV": image}), compress=False)
    raw.unlink()


def grid_of(safe: Path, resolution: float = 10.0):
    """Return the grid in UTM of the whole scene."""
    from affine import Affine
    from rasterio.crs import CRS
    from rasterio.warp import transform_bounds

    sys.path.insert(0, str(ROOT / "src"))
    from c2seg.products import sentinel1
    from c2seg.products.base import ProductOptions
    from c2seg.types import Grid

    west, south, east, north = sentinel1.open(safe, ProductOptions()).bounds_lonlat
    left, bottom, right, top = transform_bounds("EPSG:4326", "EPSG:32632", west, south, east, north)
    left, top = left // resolution * resolution, top // resolution * resolution
    size = int((top - bottom) / resolution), int((right - left) / resolution)
    return Grid(*size, Affine(resolution, 0, left, 0, -resolution, top), CRS.from_epsg(32632).to_wkt())


def write_model(path: Path, west: float, south: float, size: tuple[int, int], step: float) -> Path:
    """Write hills of up to 900 m as an elevation model over the ellipsoid."""
    import rasterio
    from affine import Affine

    lat = south + step * (size[0] - 0.5 - np.arange(size[0]))[:, None]
    lon = west + step * (np.arange(size[1]) + 0.5)
    heights = (450 + 300 * np.sin(lon * 200) + 150 * np.cos(lat * 300)).astype(np.float32)
    with rasterio.open(
        path, "w", driver="GTiff", height=size[0], width=size[1], count=1, dtype="float32", crs="EPSG:4326", tiled=True,
        transform=Affine(step, 0, west, 0, -step, south + step * size[0]),
    ) as dataset:  # fmt: skip
        dataset.write(heights, 1)
    return path


def run_ours(safe: Path, out: Path, dem: Path | None = None, like: Path | None = None) -> None:
    """Warp the scene onto its grid, or onto the raster ``like``, 512 rows at a time."""
    import rasterio

    from c2seg.products import sentinel1
    from c2seg.products.base import ProductOptions
    from c2seg.types import Grid

    options = ProductOptions(dem=dem, dem_datum="ellipsoid" if dem else None, multilook=1)
    product = sentinel1.open(safe, options)
    grid = grid_of(safe)
    if like:
        with rasterio.open(like) as dataset:
            grid = Grid(dataset.height, dataset.width, dataset.transform, dataset.crs.to_wkt())
    profile = {
        "driver": "GTiff", "height": grid.height, "width": grid.width, "count": 1, "dtype": "float32", "tiled": True,
        "transform": grid.transform, "crs": grid.crs, "bigtiff": "IF_SAFER", "blockxsize": 512, "blockysize": 512,
    }  # fmt: skip
    with rasterio.open(out, "w", **profile) as dataset:
        for row in range(0, grid.height, 512):
            window = grid.window.rows(row, min(512, grid.height - row))
            dataset.write(
                product.warp(grid, window).values, window=rasterio.windows.Window(0, row, grid.width, window.height)
            )


def run_sarsen(safe: Path, out: Path, dem: Path) -> None:
    """Geocode onto the posts of a model with sarsen, bilinear, no flattening."""
    import warnings

    warnings.simplefilter("ignore")
    import dask
    from sarsen import Sentinel1SarProduct, apps

    with dask.config.set(scheduler="synchronous"):
        product = Sentinel1SarProduct(str(safe), "IW/VV")
        apps.terrain_correction(
            product, str(dem), output_urlpath=str(out), interp_method="linear",
            convert_to_dem_ecef_kwargs={"source_crs": "EPSG:4979"},
        )  # fmt: skip


def environment() -> dict[str, str]:
    """Return the environment of a run."""
    return os.environ | ONE_THREAD | {"PYTHONPATH": str(ROOT / "src")}


def measured(label: str, command: list[str], out: Path) -> None:
    """Run a command as one process and print its time and memory; its output is removed."""
    start = time.perf_counter()
    child = subprocess.Popen(command, env=environment())
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - start
    out.unlink(missing_ok=True)
    if status:
        raise SystemExit(f"{label} failed with status {status}")
    cpu = usage.ru_utime + usage.ru_stime
    print(f"| {label} | {seconds:.0f} s | {cpu:.0f} s | {usage.ru_maxrss / 1024:.0f} MiB |", flush=True)


def main() -> None:
    """Print the table; ``--only PATTERN`` prints the lines whose names match."""
    folder = Path(sys.argv[1])
    only = sys.argv[3] if sys.argv[2:3] == ["--only"] else ""
    if not list(folder.glob("S1A_*.SAFE/manifest.safe")):  # in a process of its own, whose memory is not this one's
        subprocess.run([sys.executable, __file__, "--child", "scene", str(folder)], check=True, env=environment())
    (safe,), out = folder.glob("S1A_*.SAFE"), folder / "out.tif"
    grid = grid_of(safe)
    (image,) = safe.glob("measurement/*.tiff")
    west, south, east, north = grid.bounds_xy
    extent = map(str, (west, south, east, north))
    warp = [*GDALWARP.split(), "-te", *extent, str(image), str(out)]
    whole = write_model(folder / "whole.tif", 8.5, 50.5, (3000, 7200), 1 / 1200)
    part = write_model(folder / "part.tif", 11.6, 52.3, (1440, 1440), 1 / 3600)
    child = [sys.executable, __file__, "--child"]
    runs = {
        "gdalwarp -tps": warp,
        "c2seg, tie points": [*child, "ours", str(safe), str(out)],
        "c2seg, elevation model": [*child, "ours", str(safe), str(out), str(whole)],
        "sarsen, 1440 x 1440 posts": [*child, "sarsen", str(safe), str(out), str(part)],
        "c2seg, 1440 x 1440 posts": [*child, "ours", str(safe), str(out), str(part), str(part)],
    }
    print(f"grid {grid.height} x {grid.width}\n| run | time | CPU | memory |\n|---|---|---|---|", flush=True)
    for label, command in runs.items():
        if re.search(only, label):
            measured(label, command, out)


def run_child(kind: str, *paths: str) -> None:
    """Make the scene, or run one line of the table."""
    first, *rest = (Path(item) for item in paths)
    if kind == "scene":
        make_scene(first)
    elif kind == "sarsen":
        run_sarsen(first, *rest)
    else:
        run_ours(first, *rest)


if __name__ == "__main__":
    run_child(*sys.argv[2:]) if sys.argv[1] == "--child" else main()
