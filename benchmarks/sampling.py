"""Patches per second from files and from the cache, beside TorchGeo on the same files; memory of opening a huge city.

    python benchmarks/sampling.py [--peer] [--patches 200] [--scratch DIR]

A city of 3000 x 3000 px (4 bands at 10 m, 116 bands at 30 m; GeoTIFF, zstd, blocks of 256, pixel-interleaved) is written to
a temporary folder. Everyone draws random patches of 128 px as float32 arrays on the 10 m grid. With ``--peer`` a throw-away
virtual environment gets TorchGeo (RandomGeoSampler over RasterDataset; torch is shared with the running environment).
Building the cache is timed on its own. So are normalized patches whose HSI bands are seen as 16 components, mixed for
each patch or once for the city (in memory both). The last part opens cities of Beijing's size, made of holes, each in a
fresh process, and reports how much the process grew before the first patch.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine

from c2seg.data import Normalizer, SceneReader, cached, city_statistics, open_city
from c2seg.data.city import City
from c2seg.data.memory import city_bytes
from c2seg.data.projected import project_city
from c2seg.data.published import CITIES, DATASETS
from c2seg.types import Window

SIZE = 3000
PATCH = 128
STACKS = {"msi": (4, 10.0), "hsi": (116, 30.0)}

PEER = """
import sys, time, warnings
warnings.simplefilter("ignore")
from torchgeo.datasets import RasterDataset
from torchgeo.samplers import RandomGeoSampler

class Msi(RasterDataset):
    filename_glob = "msi.tif"

class Hsi(RasterDataset):
    filename_glob = "hsi.tif"

folder, patches = sys.argv[1], int(sys.argv[2])
msi = Msi(folder)
for name, dataset in (("msi", msi), ("msi and hsi", msi & Hsi(folder, res=10))):
    sampler = RandomGeoSampler(dataset, size=128, length=patches)
    queries = list(sampler)
    sample = dataset[queries[0]]
    assert tuple(sample["image"].shape[-2:]) == (128, 128), sample["image"].shape
    started = time.perf_counter()
    for query in queries:
        dataset[query]["image"].float()
    print(f"{name}\\t{patches / (time.perf_counter() - started)}", flush=True)
"""

OPENED = """
import resource, sys, time
from pathlib import Path
from c2seg.data import open_city
def grown():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
before, started = grown(), time.perf_counter()
city = open_city(Path(sys.argv[1]))
print((grown() - before) / 1e6, time.perf_counter() - started)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", action="store_true", help="install TorchGeo in a throw-away environment and compare")
    parser.add_argument("--patches", type=int, default=200)
    parser.add_argument("--scratch", type=Path, default=None)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.scratch) as name:
        scratch = Path(name)
        write_city(scratch / "city")
        rates = ours(scratch, options.patches)
        peer = peer_rates(scratch, options.patches) if options.peer else {}
        report(rates, peer)
        components(scratch, 10 * options.patches)
        for layout, path in huge_cities(scratch):
            answer = subprocess.run([sys.executable, "-c", OPENED, path], capture_output=True, text=True, check=True)
            grown, seconds = map(float, answer.stdout.split())
            print(f"opening Beijing as {layout}: {grown:.0f} MB more resident memory, {seconds:.2f} s")


def write_city(folder: Path) -> None:
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name, (bands, size_m) in STACKS.items():
        side = int(SIZE * 10 / size_m)
        profile = {
            "driver": "GTiff", "count": bands, "height": side, "width": side, "dtype": "int16", "crs": "EPSG:32632",
            "transform": Affine(size_m, 0, 5e5, 0, -size_m, 5e6), "tiled": True, "blockxsize": 256, "blockysize": 256,
            "compress": "zstd", "interleave": "pixel",
        }  # fmt: skip
        with rasterio.open(folder / f"{name}.tif", "w", **profile) as dataset:
            for row in range(0, side, 256):
                height = min(256, side - row)
                base = rng.normal(2000, 300, (1, height, side)).cumsum(axis=2) / np.sqrt(np.arange(1, side + 1))
                values = base + rng.normal(0, 40, (bands, height, side))
                dataset.write(values.astype(np.int16), window=((row, row + height), (0, side)))


def ours(scratch: Path, patches: int) -> dict[tuple[str, str], float]:
    city = open_city(scratch / "city")
    started = time.perf_counter()
    mapped = cached(city, scratch / "cache", 0)
    seconds = time.perf_counter() - started
    print(f"building the cache: {seconds:.1f} s for {city_bytes(city) / 1e6:.0f} MB")
    kept = cached(city, None, 1 << 40)
    rates = {}
    for what, names in (("msi", ("msi",)), ("msi and hsi", ("msi", "hsi"))):
        rates[what, "files"] = rate(reader(city, names), patches)
        rates[what, "cache"] = rate(reader(mapped, names), patches * 20)
        rates[what, "memory"] = rate(reader(kept, names), patches * 20)
    return rates


def components(scratch: Path, patches: int) -> None:
    city = open_city(scratch / "city")
    names = tuple(STACKS)
    plain = Normalizer.fit("per_city", city_statistics(city, names))
    axes = np.random.default_rng(2).normal(size=(16, STACKS["hsi"][0])).astype(np.float32)
    normalizer = replace(plain, projection={"hsi": axes})
    image, left = project_city(city, normalizer)
    rates = []
    for what, one, own in (("for each patch", city, normalizer), ("once", image, left)):
        scene = cached(one, None, 1 << 40).scenes[0]
        rates.append(rate(SceneReader(scene, names, own), patches))
        print(f"116 bands mixed to 16 {what}: {rates[-1]:.0f} patches/s, {city_bytes(one) / 1e6:.0f} MB")
    print(f"once against for each patch: {rates[1] / rates[0]:.1f} times")


def reader(city: City, names: tuple[str, ...]) -> Callable[[Window], object]:
    scene = city.scenes[0]
    return lambda window: [scene.read(name, window) for name in names]


def rate(read: Callable[[Window], object], patches: int) -> float:
    rng = np.random.default_rng(1)
    windows = [Window(*map(int, rng.integers(0, SIZE - PATCH, 2)), PATCH, PATCH) for _ in range(patches)]
    read(windows[0])
    started = time.perf_counter()
    for window in windows:
        read(window)
    return patches / (time.perf_counter() - started)


def peer_rates(scratch: Path, patches: int) -> dict[str, float]:
    environment = scratch / "peer"
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    python = environment / "bin" / "python"
    site = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    # torch and rasterio come from the running environment: the same builds, and no download of gigabytes
    Path(site, "shared.pth").write_text(sysconfig.get_path("purelib"))
    subprocess.run([python, "-m", "pip", "install", "--quiet", "torchgeo"], check=True)
    version = subprocess.run(
        [python, "-c", "import torchgeo; print(torchgeo.__version__)"], capture_output=True, text=True, check=True
    ).stdout.strip()
    print(f"peer: TorchGeo {version}")
    answer = subprocess.run(
        [python, "-c", PEER, scratch / "city", str(patches)], capture_output=True, text=True, check=False
    )
    if answer.returncode:
        print(answer.stderr, file=sys.stderr)
        raise SystemExit("the peer failed")
    return {line.split("\t")[0]: float(line.split("\t")[1]) for line in answer.stdout.splitlines()}


def report(rates: dict[tuple[str, str], float], peer: dict[str, float]) -> None:
    for what in ("msi", "msi and hsi"):
        other = peer.get(what)
        if other:
            print(f"{what:12} {'TorchGeo':8} {other:>10.1f} patches/s")
        for place in ("files", "cache", "memory"):
            found = rates[what, place]
            print(f"{what:12} {place:8} {found:>10.1f} patches/s" + (f"  {found / other:.1f} x" if other else ""))


def huge_cities(scratch: Path) -> list[tuple[str, str]]:
    """Make Beijing in three layouts from holes: right sizes, bands, types and numbers of files, no pixels on disk."""
    import h5py

    city, dataset = CITIES["Beijing"], DATASETS["C2Seg-BW"]
    folder, tiles, mat = scratch / "beijing", scratch / "C2Seg_BW" / "train", scratch / "beijing.mat"
    tile = city.tile_grids()[0]
    for name, bands in dataset.bands().items():
        ratio = 3 if name == "hsi" else 1
        profile = {
            "driver": "GTiff", "count": bands, "dtype": "uint16", "crs": "EPSG:3857", "tiled": True, "sparse_ok": True,
            "compress": "zstd", "interleave": "pixel", "bigtiff": "yes",
        }  # fmt: skip
        (tiles / name).mkdir(parents=True)
        folder.mkdir(exist_ok=True)
        size = {"height": -(-city.height // ratio), "width": -(-city.width // ratio)}
        at = Affine(10 * ratio, 0, 1.29e7, 0, -10 * ratio, 4.9e6)
        rasterio.open(folder / f"{name}.tif", "w", transform=at, **size, **profile).close()
        size = {"height": tile.tile_px, "width": tile.tile_px}
        rasterio.open(tiles / name / "0.tiff", "w", transform=at, **size, **profile).close()
        for index in range(1, tile.count):
            os.link(tiles / name / "0.tiff", tiles / name / f"{index}.tiff")
    with h5py.File(mat, "w", userblock_size=512) as file:
        file.create_dataset("HSI", (116, 2903, 4492), "u2", chunks=(8, 64, 64))
        file.create_dataset("MSI", (4, city.width, city.height), "u2", chunks=(4, 64, 64))
        file.create_dataset("SAR", (2, city.width, city.height), "f4", chunks=(2, 64, 64))
    return [("a folder of rasters", str(folder)), ("7140 tiles", str(tiles)), ("a .mat file v7.3", str(mat))]


if __name__ == "__main__":
    main()
