"""Time and memory of ``c2seg prepare`` on a whole Sentinel-2 tile beside ``gdalwarp``.

``python benchmarks/prepare.py FOLDER [--side 10980] [--only own,other]`` makes a SAFE folder of that side (10 bands
of 10 and 20 m and the scene classification; numbers are smooth fields with noise) once, then measures on it:

- ``own``: the tile's UTM zone: 10 m bands are copied, 20 m bands interpolated;
- ``other``: the neighboring zone: every pixel is interpolated.

``gdalwarp`` does the same on a VRT of the ten bands: bilinear, one cloud-optimized GeoTIFF, deflate, as many threads for the
compression. It reads no mask, and no checksums are written. Peak memory is the sum over the process tree (PSS). Results
are added to FOLDER/prepare.json, so that the parts can be run one by one. Needs the programs gdalwarp and gdalbuildvrt.
Radar: ``benchmarks/prepare_radar.py``.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from scipy.ndimage import zoom

BANDS = {
    "B02": 10, "B03": 10, "B04": 10, "B08": 10, "B05": 20, "B06": 20, "B07": 20, "B8A": 20, "B11": 20, "B12": 20,
}  # fmt: skip
PRODUCT = "S2B_MSIL2A_20230601T101559_N0509_R065_T33UUU_20230601T143000"
GRANULE = "L2A_T33UUU_A032576_20230601T101559"
WEST, NORTH = 300_000, 5_900_040
ZONES = {"own": "EPSG:32633", "other": "EPSG:32632"}


def main() -> None:
    """Make the tile, measure both programs, print and store the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--side", type=int, default=10_980)
    parser.add_argument("--only", default="own,other")
    parser.add_argument("--tools", default="c2seg,gdalwarp")
    parser.add_argument("--format", default="jp2", choices=["jp2", "tif"])
    parser.add_argument("--workers", type=int, default=1)
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    safe = make_safe(given.folder, given.side, given.format)
    stored = given.folder / "prepare.json"
    results = json.loads(stored.read_text()) if stored.exists() else {}
    for zone in given.only.split(","):
        for tool in given.tools.split(","):
            out = given.folder / f"out-{tool}-{zone}"
            shutil.rmtree(out, ignore_errors=True)
            out.mkdir()
            line = ours(safe, out, zone, given.workers) if tool == "c2seg" else theirs(safe, out, zone)
            results[f"{zone} {tool}"] = measured(line) | {"side": given.side, "format": given.format}
            shutil.rmtree(out)
            stored.write_text(json.dumps(results, indent=2))
    for zone in ZONES:
        pair = [results.get(f"{zone} {tool}") for tool in ("c2seg", "gdalwarp")]
        if all(pair):
            results[f"{zone} ratio"] = {
                key: round(pair[0][key] / pair[1][key], 2) for key in ("wall_s", "cpu_s", "peak_mib")
            }
    stored.write_text(json.dumps(results, indent=2))
    print(json.dumps(results, indent=2))


def ours(safe: Path, out: Path, zone: str, workers: int) -> list[str]:
    """Return the command of c2seg."""
    options = ["--msi", str(safe), "--crs", ZONES[zone], "--resolution", "10", "--workers", str(workers), "-q"]
    return [sys.executable, "-m", "c2seg", "prepare", str(out / "city"), *options]


def theirs(safe: Path, out: Path, zone: str) -> list[str]:
    """Return the command of gdalwarp."""
    images = [next(safe.rglob(f"*_{band}_{size}m.*")) for band, size in BANDS.items()]
    stack = out / "stack.vrt"
    build = ["gdalbuildvrt", "-q", "-separate", "-resolution", "highest", "-r", "bilinear", str(stack)]
    subprocess.run([*build, *map(str, images)], check=True)
    settings = ("COMPRESS=DEFLATE", "BLOCKSIZE=512", "NUM_THREADS=ALL_CPUS", "BIGTIFF=IF_SAFER")
    creation = [part for item in settings for part in ("-co", item)]
    warp = ["gdalwarp", "-q", "-r", "bilinear", "-t_srs", ZONES[zone], "-tr", "10", "10", "-tap", "-of", "COG"]
    return [*warp, "-srcnodata", "0", "-dstnodata", "0", *creation, str(stack), str(out / "msi.tif")]


def measured(command: list[str]) -> dict[str, float]:
    """Run a command; return wall and processor seconds and the peak memory of its process tree, MiB."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    process = subprocess.Popen(command)
    peak = Peak(process.pid)
    peak.start()
    if process.wait():
        raise SystemExit(f"failed: {' '.join(command)}")
    wall = time.perf_counter() - started
    peak.stop.set()
    peak.join()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"wall_s": round(wall, 1), "cpu_s": round(cpu, 1), "peak_mib": round(peak.kib / 1024)}


class Peak(threading.Thread):
    """The largest memory of a process and its descendants, sampled five times a second."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.pid, self.kib, self.stop = pid, 0, threading.Event()

    def run(self) -> None:
        """Sample until stopped."""
        while not self.stop.wait(0.2):
            self.kib = max(self.kib, sum(pss(pid) for pid in tree(self.pid)))


def tree(pid: int) -> list[int]:
    """Return a process and its descendants."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [pid, *(item for child in children for item in tree(int(child)))]


def pss(pid: int) -> int:
    """Return the proportional set size of a process, KiB."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)


def make_safe(folder: Path, side: int, suffix: str) -> Path:
    """Write the SAFE folder if it is not there, and return it."""
    safe = folder / f"{PRODUCT}.SAFE"
    done = folder / f"made-{side}-{suffix}"
    if done.exists():
        return safe
    shutil.rmtree(safe, ignore_errors=True)
    listed = []
    originals: dict[int, Path] = {}
    for band, size in [*BANDS.items(), ("SCL", 20)]:
        stem = f"GRANULE/{GRANULE}/IMG_DATA/R{size}m/T33UUU_20230601T101559_{band}_{size}m"
        path = safe / f"{stem}.{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = side * 10 // size
        if band == "SCL":
            write(path, np.full((pixels, pixels), 4, np.uint8), size)
        elif size in originals:  # the same pixels: the work to read them is the same
            shutil.copy(originals[size], path)
        else:
            write(path, field(pixels, seed=size), size)
            originals[size] = path
        listed.append(f"<IMAGE_FILE>{stem}</IMAGE_FILE>")
    (safe / "MTD_MSIL2A.xml").write_text(METADATA.format(images="\n".join(listed)))
    done.touch()
    return safe


def field(side: int, seed: int) -> np.ndarray:
    """Return digital numbers as of land: smooth fields on three scales and noise, uint16."""
    rng = np.random.default_rng(seed)
    values = np.full((side, side), 2500, np.float32)
    for cells, amplitude in ((20, 500), (200, 300), (1500, 200)):
        cells = max(2, min(cells, side))
        coarse = rng.standard_normal((cells, cells), dtype=np.float32) * amplitude
        values += zoom(coarse, side / cells, order=1)[:side, :side]
    values += rng.standard_normal(values.shape, dtype=np.float32) * 25
    return np.clip(values, 1100, 9000).astype(np.uint16)


def write(path: Path, values: np.ndarray, size: int) -> None:
    """Write an image as the agency does: JPEG 2000 with tiles of 1024 pixels, or a tiled GeoTIFF."""
    jp2 = {"driver": "JP2OpenJPEG", "QUALITY": "35", "REVERSIBLE": "NO", "RESOLUTIONS": "6"}
    options = jp2 if path.suffix == ".jp2" else {"driver": "GTiff", "tiled": True, "compress": "deflate", "zlevel": 1}
    tile = min(1024, len(values) // 16 * 16)
    with rasterio.open(
        path, "w", height=len(values), width=len(values), count=1, dtype=values.dtype, crs="EPSG:32633",
        transform=Affine(size, 0, WEST, 0, -size, NORTH), blockxsize=tile, blockysize=tile, **options,
    ) as file:  # fmt: skip
        file.write(values, 1)


METADATA = """<?xml version="1.0" encoding="UTF-8"?>
<n1:Level-2A_User_Product xmlns:n1="https://psd-14.sentinel2.eo.esa.int/PSD/User_Product_Level-2A.xsd">
<n1:General_Info><Product_Info><PRODUCT_START_TIME>2023-06-01T10:15:59.024Z</PRODUCT_START_TIME>
<PRODUCT_URI>S2B_MSIL2A_20230601T101559_N0509_R065_T33UUU_20230601T143000.SAFE</PRODUCT_URI>
<PROCESSING_LEVEL>Level-2A</PROCESSING_LEVEL><PRODUCT_TYPE>S2MSI2A</PRODUCT_TYPE>
<PROCESSING_BASELINE>05.09</PROCESSING_BASELINE>
<Datatake><SPACECRAFT_NAME>Sentinel-2B</SPACECRAFT_NAME></Datatake>
<Product_Organisation><Granule_List><Granule granuleIdentifier="S2B_OPER_MSI_L2A_TL" imageFormat="JPEG2000">
{images}
</Granule></Granule_List></Product_Organisation></Product_Info>
<Product_Image_Characteristics><Special_Values><SPECIAL_VALUE_TEXT>NODATA</SPECIAL_VALUE_TEXT>
<SPECIAL_VALUE_INDEX>0</SPECIAL_VALUE_INDEX></Special_Values>
<QUANTIFICATION_VALUES_LIST><BOA_QUANTIFICATION_VALUE unit="none">10000</BOA_QUANTIFICATION_VALUE>
</QUANTIFICATION_VALUES_LIST><BOA_ADD_OFFSET_VALUES_LIST>
""" + "\n".join(f'<BOA_ADD_OFFSET band_id="{n}">-1000</BOA_ADD_OFFSET>' for n in range(13)) + """
</BOA_ADD_OFFSET_VALUES_LIST></Product_Image_Characteristics></n1:General_Info></n1:Level-2A_User_Product>
"""  # fmt: skip


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
